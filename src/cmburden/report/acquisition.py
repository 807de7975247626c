"""Section: acquisition by cohort and contrast, with what HARNESS asks to report of a protocol."""

from __future__ import annotations

import dataclasses
from typing import Literal

from markupsafe import Markup

from cmburden.report.tables import ACQUISITION, ReportTables, Title
from cmburden.report.typeset import Row, number
from cmburden.summary.measures import ImageMeasure, Scans, ScansWith
from cmburden.summary.strata import MISSING, Stratum

_STATISTICS: tuple[Literal["median", "min", "max"], ...] = ("median", "min", "max")


#: Columns of levels: their titles.
_LEVELS = {"scanner": "Scanner", "dimension": "Dimension", "image_kind": "Image"}


@dataclasses.dataclass(frozen=True)
class Level:
    """A level such as a scanner, in words, with the number of its scans, a row of `summary`."""

    words: str
    row: Row


@dataclasses.dataclass(frozen=True)
class Kind:
    """Scans of a cohort and contrast: number, and a cell for each column of the table.

    ``levels``: a list of levels for each column of ``_LEVELS``.
    """

    cohort: str
    contrast: str
    scans: Row
    levels: list[list[Level]]
    cells: list[Markup]


@dataclasses.dataclass(frozen=True)
class AcquisitionSection:
    """Content of _acquisition.html.j2: titles of the columns, and a row a cohort and contrast."""

    of_levels: list[str]
    columns: list[str]
    rows: list[Kind]


def select(tables: ReportTables) -> AcquisitionSection:
    """Scans by level, and median and range of each column of ``ACQUISITION``."""
    kinds = [
        Kind(
            kind["cohort"],
            kind["contrast"],
            tables.estimate(kind, Scans()),
            _levels(tables, kind),
            [
                median_and_range(tables, kind, "acquisition", name, title)
                for name, title in ACQUISITION.items()
            ],
        )
        for kind in tables.kinds()
    ]
    titles = [title.text for title in ACQUISITION.values()]
    return AcquisitionSection(list(_LEVELS.values()), titles, kinds)


def _levels(tables: ReportTables, kind: Stratum) -> list[list[Level]]:
    rows = tables.of(ScansWith, kind)
    return [
        [
            Level("not known" if one.level == MISSING else one.level, row)
            for one, row in rows
            if one.column == column
        ]
        for column in _LEVELS
    ]


def median_and_range(
    tables: ReportTables,
    stratum: Stratum,
    kind: Literal["acquisition", "qc"],
    column: str,
    title: Title,
) -> Markup:
    """Median of a column of `scans`, with the range where the scans differ."""
    rows = [tables.estimate(stratum, ImageMeasure(kind, column, name)) for name in _STATISTICS]
    median, least, most = rows
    cells = [number(row, "estimate", title.digits, title.factor) for row in rows]
    if median["estimate"] is None or least["estimate"] == most["estimate"]:
        return cells[0]
    return Markup("{} ({}–{})").format(*cells)
