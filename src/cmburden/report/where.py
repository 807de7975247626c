"""Section: where microbleeds lie, by region and on slices of MNI152."""

from __future__ import annotations

import dataclasses

from cmburden.report.charts import lesion_map, regions
from cmburden.report.charts.chart import Chart
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row
from cmburden.space.regions import REGIONS, UNKNOWN
from cmburden.summary.measures import LesionsInRegion
from cmburden.summary.strata import Stratum


@dataclasses.dataclass(frozen=True)
class Where:
    """Content of _where.html.j2.

    ``unplaced``: by contrast, the row of the lesions outside of every region.
    ``unsided``: contrast, region and row of the lesions whose side is unknown, where there are any.
    """

    contrasts: list[str]
    regions: Chart | None
    unplaced: list[tuple[str, Row]]
    unsided: list[tuple[str, str, Row]]
    maps: list[Chart]


def select(tables: ReportTables) -> Where:
    """Charts of each contrast."""
    contrasts = tables.contrasts()
    unplaced = LesionsInRegion(UNKNOWN.name, "unknown")
    return Where(
        contrasts=contrasts,
        regions=regions.draw(regions.select(tables)),
        unplaced=[(name, tables.estimate(Stratum(contrast=name), unplaced)) for name in contrasts],
        unsided=_unsided(tables, contrasts),
        maps=[lesion_map.draw(cells) for cells in lesion_map.select(tables)],
    )


def _unsided(tables: ReportTables, contrasts: list[str]) -> list[tuple[str, str, Row]]:
    rows = [
        (
            name,
            region.name,
            tables.estimate(Stratum(contrast=name), LesionsInRegion(region.name, "unknown")),
        )
        for name in contrasts
        for region in REGIONS
    ]
    return [row for row in rows if row[-1]["n"]]
