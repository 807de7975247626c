"""The codebook: every column of every table, and every family of measures of `summary`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable

from cmburden.core import markdown
from cmburden.core.schema import Column
from cmburden.export.tables import Exported
from cmburden.summary import measures

HEADER = ("table", "column", "type", "unit", "allowed", "missing", "description")
#: Between two allowed values. No level of a contract holds a bar.
BAR = " | "
_INTRODUCTION = (
    "Codebook of the tables in this folder. In `.csv` a missing value is empty, in `.tsv` it is "
    "`n/a`; true and false are `true` and `false`; numbers have the decimals that give the same "
    "number back; text is UTF-8. Zero is a value, missing is not zero."
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of the codebook. ``allowed``: values joined by ``BAR``, or nothing."""

    table: str
    column: str
    type: str
    unit: str
    allowed: str
    missing: str
    description: str


def entries(tables: Iterable[Exported]) -> list[Entry]:
    """Columns of ``tables`` in order, then the families of measures of `summary`."""
    lines = [_of_column(table.name, column) for table in tables for column in table.columns]
    return [*lines, *_of_measures()]


def _of_column(table: str, column: Column) -> Entry:
    return Entry(
        table,
        column.name,
        column.kind,
        column.unit,
        BAR.join(column.levels) or ("false | true" if column.kind == "bool" else ""),
        "may be missing" if column.nullable else "never missing",
        column.description,
    )


def _of_measures() -> list[Entry]:
    """A line a family: what stands in ``measure``. Brackets hold a part that may be absent."""
    return [
        Entry(
            "summary: measure",
            family.TEMPLATE,
            "name",
            "",
            BAR.join(_words(family)),
            "never missing",
            _first_sentence(family),
        )
        for family in measures.FAMILIES
    ]


def _words(family: type) -> list[str]:
    """Values of the fields of a family whose type lists them, as field: values."""
    hints = inspect.get_annotations(family, eval_str=True)
    return [
        f"{field}: {', '.join(repr(word) for word in words if word)}"
        for field, hint in hints.items()
        if (words := getattr(hint, "__args__", ())) and all(isinstance(w, str) for w in words)
    ]


def _first_sentence(family: type) -> str:
    return " ".join((inspect.getdoc(family) or "").split("\n\n")[0].split())


def as_markdown(tables: Iterable[Exported]) -> str:
    """The codebook for people: a heading and a table for each table."""
    tables = list(tables)
    parts = ["# Codebook", _INTRODUCTION]
    for table in tables:
        rows = [dataclasses.astuple(_of_column(table.name, column))[1:] for column in table.columns]
        parts += [f"## {table.name}", f"A row is {table.row}.", markdown.table(HEADER[1:], rows)]
    rows = [
        (f"`{one.column}`", one.description, one.allowed.replace(BAR, "; "))
        for one in _of_measures()
    ]
    parts += [
        "## Measures of summary",
        "`measure` names the estimate: a part in braces is filled, one in brackets may be absent.",
        markdown.table(("name", "is", "values"), rows),
    ]
    return "\n\n".join(parts) + "\n"
