"""Section: prevalence by age, sex and site, beside published prevalences."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

from cmburden.report.charts import age
from cmburden.report.charts.chart import Chart
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, level
from cmburden.summary import bins
from cmburden.summary.measures import Presence, StandardisedPresence
from cmburden.summary.published import ANCHORS, REFERENCES, Reference
from cmburden.summary.strata import MISSING, Stratum

#: Where a chart draws the open age bands: years from their only edge. By eye.
_BELOW_YEARS, _ABOVE_YEARS = 5, 3


@dataclasses.dataclass(frozen=True)
class WhoCell:
    """A row of the table: contrast, age band, sex and site, with the row of `summary`."""

    names: tuple[str, str, str, str]
    row: Row


@dataclasses.dataclass(frozen=True)
class Published:
    """A published prevalence, as a row of the table."""

    study: str
    reference: Reference
    age: str
    contrast: str
    row: Row


@dataclasses.dataclass(frozen=True)
class Standardised:
    """Crude and standardised prevalence of a stratum, rows of `summary`; why there is none."""

    contrast: str
    who: str
    crude: Row
    standardised: Row
    why: str


@dataclasses.dataclass(frozen=True)
class Who:
    """Content of _who.html.j2; no chart where no participant has an age.

    ``methods``: how each contrast was standardised.
    """

    chart: Chart | None
    cells: list[WhoCell]
    standardised: list[Standardised]
    methods: list[str]
    anchors: list[Published]


def select(tables: ReportTables, config: dict[str, Any]) -> Who:
    """The chart by age and sex, the table by age, sex and site, published prevalences."""
    edges = config["report"]["age_bands"]
    middles = dict(zip(bins.age_band_labels(edges), band_middles(edges), strict=True))
    bands = [(band, middles[band]) for band in tables.levels("age_band") if band in middles]
    sexes = [sex for sex in tables.levels("sex") if sex != MISSING]
    return Who(
        chart=age.draw(
            age.select(tables, bands, sexes),
            age.select_published(tables),
            age.select_floors(tables),
        ),
        cells=_cells(tables),
        standardised=[_standardised(tables, stratum) for stratum in _with_standard(tables)],
        methods=[
            f"{stratum['contrast']}: {row['method']}"
            for stratum in _with_standard(tables)
            if stratum.variables == ("contrast",)
            and (row := tables.estimate(stratum, StandardisedPresence()))["estimate"] is not None
        ],
        anchors=[
            Published(
                anchor.study,
                REFERENCES[anchor.reference],
                anchor.age,
                anchor.contrast,
                tables.estimate(Stratum(published=anchor.study), Presence()),
            )
            for anchor in ANCHORS
        ],
    )


def _with_standard(tables: ReportTables) -> list[Stratum]:
    """Strata with a row of the standardised prevalence: contrast, then cohorts, then sites."""
    strata = [Stratum.parse(row["stratum"]) for _, row in tables.of(StandardisedPresence)]
    known = [stratum for stratum in strata if stratum is not None]
    return sorted(known, key=lambda one: (one["contrast"], len(one.variables) > 1))


def _standardised(tables: ReportTables, stratum: Stratum) -> Standardised:
    row = tables.estimate(stratum, StandardisedPresence())
    names = [
        f"{variable.capitalize()} {name}"
        for variable, name in stratum.levels
        if variable != "contrast"
    ]
    why = row["method"] if row["estimate"] is None else ""
    crude = tables.estimate(stratum, Presence("definite"))
    return Standardised(stratum["contrast"], ", ".join(names) or "All", crude, row, why)


def _cells(tables: ReportTables) -> list[WhoCell]:
    variables = ("contrast", "age_band", "sex", "site")
    strata = [stratum for stratum in tables.strata if stratum.variables == variables]
    strata.sort(key=lambda stratum: (stratum["contrast"], stratum.order))
    return [
        WhoCell(
            (
                stratum["contrast"],
                level(stratum["age_band"]),
                stratum["sex"],
                stratum["site"],
            ),
            tables.estimate(stratum, Presence("definite")),
        )
        for stratum in strata
    ]


def band_middles(edges: list[float]) -> list[float]:
    """Where a chart draws each age band, in years: in the middle, open bands near their edge.

    >>> band_middles([0, 50, 60, 70])
    [45, 55.0, 65.0, 73]
    """
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    if len(edges) > 1 and edges[0] == 0:
        middles[0] = edges[1] - _BELOW_YEARS
    return [*middles, edges[-1] + _ABOVE_YEARS]
