"""Tables of the cohort as text: what each cell becomes, and the columns with their contracts."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import read_json, whole_file
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.schema import Column, Table, as_records
from cmburden.core.tables import ALL, REVIEWS
from cmburden.summary import disclosure

#: Tables without a row of a person, scan or lesion: those of an export to share.
SHAREABLE = ("summary", "curves", "lesion_cells")
_KINDS = {"i": "int", "u": "int", "f": "float", "b": "bool"}


@dataclasses.dataclass(frozen=True)
class Exported:
    """A table with the columns that it holds, in order; ``rows`` by column, None for missing."""

    name: str
    row: str
    columns: tuple[Column, ...]
    rows: list[dict[str, Any]]


def read(layout: Layout, least: int | None = None) -> list[Exported]:
    """Tables of the cohort. With ``least``, those to share, with small numbers suppressed.

    Raises
    ------
    CMBurdenError
        If the folder has no tables.
    """
    if not layout.table("summary").exists():
        raise CMBurdenError(
            f"{layout.root}: no tables are here to export; cmburden run makes them first"
        )
    names = [*COHORT_TABLES, *([REVIEWS.name] if layout.reviews.exists() else [])]
    if least is None:
        return [_exported(ALL[name], layout) for name in names]
    tables = {name: _exported(ALL[name], layout) for name in SHAREABLE}
    return list(_suppressed(tables, least).values())


def _exported(table: Table, layout: Layout) -> Exported:
    frame = table.read(layout.table(table.name))
    described = read_json(layout.table_sidecar(table.name))
    columns = [*table.columns]
    for name in frame.columns[len(columns) :]:
        entry = described.get(name, {}) if isinstance(described, dict) else {}
        kind = _KINDS.get(frame[name].dtype.kind, "str")
        columns.append(Column(str(name), kind, str(entry.get("Description", ""))))
    return Exported(table.name, table.row, tuple(columns), as_records(frame))


def _suppressed(tables: dict[str, Exported], least: int) -> dict[str, Exported]:
    rows = disclosure.suppressed(tables["summary"].rows, least)
    shown = {(row["stratum"], row["measure"]): row for row in rows}
    kept = {
        "summary": rows,
        "curves": disclosure.of_curve(tables["curves"].rows, shown, least),
        "lesion_cells": disclosure.of_cells(tables["lesion_cells"].rows, shown, least),
    }
    return {name: dataclasses.replace(tables[name], rows=rows) for name, rows in kept.items()}


def cell(value: Any, missing: str = "") -> str:
    """A value as text: the shortest decimals that give the same number back.

    >>> cell(True), cell(0.1), cell(3), cell(None, "n/a"), cell("a b")
    ('true', '0.1', '3', 'n/a', 'a b')
    """
    if value is None or value is pd.NA:
        return missing
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, float) else str(value)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    r"""Comma-separated values, a missing value as nothing, lines ended by a newline.

    >>> csv_text(["a", "b"], [[None, "x, y"]])
    'a,b\n,"x, y"\n'
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([cell(value) for value in row] for row in rows)
    return stream.getvalue()


def tsv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    r"""Tab-separated values as BIDS has them: no quotes, a missing value as n/a.

    A tab or a line's end within a text becomes a space.

    >>> tsv_text(["a", "b"], [[None, "x\ty"]])
    'a\tb\nn/a\tx y\n'
    """
    lines = [list(header), *([cell(value, "n/a") for value in row] for row in rows)]
    return "".join("\t".join(map(_one_line, line)) + "\n" for line in lines)


def _one_line(text: str) -> str:
    return " ".join(text.replace("\t", " ").splitlines()) if text else text


def cells(table: Exported) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of a table."""
    names = [column.name for column in table.columns]
    return names, [[row[name] for name in names] for row in table.rows]


def write_text(path: Path, text: str) -> Path:
    """Write ``text`` as UTF-8 by rename; returns the path."""
    with whole_file(path, durable=False) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return path
