"""Section: acquisition by cohort and contrast."""

from __future__ import annotations

import dataclasses
from typing import Literal

from markupsafe import Markup

from cmburden.report.tables import ACQUISITION, ReportTables, Title
from cmburden.report.typeset import Row, number
from cmburden.summary.measures import ImageMeasure, Scans
from cmburden.summary.strata import Stratum

_STATISTICS: tuple[Literal["median", "min", "max"], ...] = ("median", "min", "max")


@dataclasses.dataclass(frozen=True)
class Kind:
    """Scans of a cohort and contrast: number, and a cell for each column of the table."""

    cohort: str
    contrast: str
    scans: Row
    cells: list[Markup]


@dataclasses.dataclass(frozen=True)
class AcquisitionSection:
    """Content of _acquisition.html.j2: titles of the columns, and a row a cohort and contrast."""

    columns: list[str]
    rows: list[Kind]


def select(tables: ReportTables) -> AcquisitionSection:
    """Median and range of each column of ``ACQUISITION``."""
    kinds = [
        Kind(
            kind["cohort"],
            kind["contrast"],
            tables.estimate(kind, Scans()),
            [
                median_and_range(tables, kind, "acquisition", name, title)
                for name, title in ACQUISITION.items()
            ],
        )
        for kind in tables.kinds()
    ]
    return AcquisitionSection([title.text for title in ACQUISITION.values()], kinds)


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
