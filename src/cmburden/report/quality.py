"""Section: quality measures by cohort and contrast."""

from __future__ import annotations

import dataclasses

from markupsafe import Markup

from cmburden.report.acquisition import median_and_range
from cmburden.report.tables import QUALITY, ReportTables, Title
from cmburden.report.typeset import Row
from cmburden.summary.measures import ImageMeasure
from cmburden.summary.strata import Stratum


@dataclasses.dataclass(frozen=True)
class QualityCell:
    """Median and range; ``outlying`` counts the outlying scans, None with too few scans to tell."""

    range: Markup
    outlying: Row | None


@dataclasses.dataclass(frozen=True)
class QualityRow:
    """A measure, with a cell a cohort and contrast."""

    name: str
    cells: list[QualityCell]


@dataclasses.dataclass(frozen=True)
class Quality:
    """Content of _quality.html.j2: ``columns`` names cohort and contrast."""

    columns: list[str]
    rows: list[QualityRow]


def select(tables: ReportTables) -> Quality:
    """The measures that a scan of the cohort has."""
    kinds = tables.kinds()
    lines = [
        QualityRow(title.text, [_cell(tables, kind, name, title) for kind in kinds])
        for name, title in QUALITY.items()
        if any(_median(tables, kind, name) is not None for kind in kinds)
    ]
    return Quality([f"{kind['cohort']} {kind['contrast']}" for kind in kinds], lines)


def _median(tables: ReportTables, kind: Stratum, name: str) -> float | None:
    return tables.estimate(kind, ImageMeasure("qc", name, "median"))["estimate"]


def _cell(tables: ReportTables, kind: Stratum, name: str, title: Title) -> QualityCell:
    outlying = tables.estimate(kind, ImageMeasure("qc", name, "outlying"))
    return QualityCell(
        median_and_range(tables, kind, "qc", name, title),
        None if outlying["estimate"] is None else outlying,
    )
