"""Section: characteristics of the participants with a usable scan (Table 1)."""

from __future__ import annotations

import dataclasses

from markupsafe import Markup

from cmburden.core.text import natural
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, level, number
from cmburden.summary.measures import Characteristic, CharacteristicLevel, TableOnePeople
from cmburden.summary.strata import Stratum
from cmburden.summary.table_one import INCLUDED

#: Variables that come first, then the others by name.
_FIRST = ("age", "sex", "site", "diagnosis", "contrast", "field_strength_t")
#: Titles of variables whose name is not their title; of numbers with the unit.
_TITLES = {
    "age": "Age, years",
    "field_strength_t": "Field strength",
    "slice_mm": "Slice, mm",
    "voxel_x_mm": "In plane, mm",
    "echo_time_s": "Echo time, s",
}
NO_VALUE = Markup('<span class="muted">–</span>')


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the table: a name, and a cell a column."""

    name: str
    cells: list[Markup]


@dataclasses.dataclass(frozen=True)
class Block:
    """The lines of a variable under its title."""

    variable: str
    title: str
    lines: list[Line]


@dataclasses.dataclass(frozen=True)
class TableOne:
    """Content of _table_one.html.j2: titles of the columns, number of people of each, blocks."""

    columns: list[str]
    people: list[Row]
    blocks: list[Block]


def select(tables: ReportTables) -> TableOne | None:
    """All, each cohort, then those with and without a definite microbleed by contrast."""
    columns = _columns(tables)
    people = [tables.estimate(stratum, TableOnePeople()) for stratum in columns.values()]
    if not people or not people[0]["n"]:
        return None
    return TableOne(list(columns), people, blocks(tables, list(columns.values())))


def _columns(tables: ReportTables) -> dict[str, Stratum]:
    columns = {"All": INCLUDED}
    with_cohort = [one for one in tables.strata if one.variables == ("included", "cohort")]
    if len(with_cohort) > 1:
        columns |= {stratum["cohort"]: stratum for stratum in with_cohort}
    for stratum in tables.strata:
        if stratum.variables == ("included", "contrast", "microbleed"):
            words = "with microbleed" if stratum["microbleed"] == "yes" else "without"
            columns[f"{stratum['contrast']}, {words}"] = stratum
    return columns


def blocks(tables: ReportTables, columns: list[Stratum]) -> list[Block]:
    """A block a variable, those of everybody first, with a cell for each of ``columns``."""
    variables = {measure.variable for measure, _ in tables.of(Characteristic)}
    with_levels: dict[str, set[str]] = {}
    for measure, _ in tables.of(CharacteristicLevel):
        with_levels.setdefault(measure.variable, set()).add(measure.level)
    return [
        Block(
            name,
            _TITLES.get(name, name.replace("_", " ").capitalize()),
            [
                *(
                    _of_levels(tables, columns, name, sorted(with_levels[name], key=natural))
                    if name in with_levels
                    else _of_numbers(tables, columns, name)
                ),
                _missing(tables, columns, name),
            ],
        )
        for name in sorted(variables, key=_order)
    ]


def _order(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


def _of_numbers(tables: ReportTables, columns: list[Stratum], name: str) -> list[Line]:
    mean, sd, median, q1, q3, least, most = (
        [tables.estimate(stratum, Characteristic(statistic, name)) for stratum in columns]
        for statistic in ("mean", "sd", "median", "q1", "q3", "min", "max")
    )
    digits = 1 if max((row["estimate"] or 0.0) for row in most) >= 1 else 3
    return [
        Line("mean (SD)", [_two(digits, *pair) for pair in zip(mean, sd, strict=True)]),
        Line(
            "median (quartiles)", [_three(digits, *one) for one in zip(median, q1, q3, strict=True)]
        ),
        Line("range", [_range(digits, *one) for one in zip(least, most, strict=True)]),
    ]


def _of_levels(
    tables: ReportTables, columns: list[Stratum], name: str, levels: list[str]
) -> list[Line]:
    return [
        Line(
            level(one),
            [
                _share(tables.estimate(stratum, CharacteristicLevel(name, one)))
                for stratum in columns
            ],
        )
        for one in levels
    ]


def _missing(tables: ReportTables, columns: list[Stratum], name: str) -> Line:
    measure = Characteristic("missing", name)
    return Line("not known", [number(tables.estimate(stratum, measure)) for stratum in columns])


def _two(digits: int, first: Row, second: Row) -> Markup:
    if first["estimate"] is None:
        return NO_VALUE
    return Markup("{} ({})").format(*(number(r, "estimate", digits) for r in (first, second)))


def _three(digits: int, middle: Row, low: Row, high: Row) -> Markup:
    if middle["estimate"] is None:
        return NO_VALUE
    cells = (number(row, "estimate", digits) for row in (middle, low, high))
    return Markup("{} ({}–{})").format(*cells)


def _range(digits: int, low: Row, high: Row) -> Markup:
    if low["estimate"] is None:
        return NO_VALUE
    return Markup("{}–{}").format(*(number(row, "estimate", digits) for row in (low, high)))


def _share(row: Row) -> Markup:
    """Number and per cent of those with a value."""
    if row["estimate"] is None:
        return NO_VALUE
    return Markup("{} ({} %)").format(number(row), number(row, "estimate", 1, 100))
