"""Ratios of single cohorts and pooled over them: a forest an exposure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from cmburden.report.charts import forest
from cmburden.report.charts.chart import RATIO, Chart
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, interval, of
from cmburden.summary.measures import Pooled, Ratio, RatioKind
from cmburden.summary.strata import EVERYBODY

_OUTCOMES: dict[RatioKind, tuple[str, str]] = {
    "odds ratio presence": ("presence of a definite microbleed", "Odds ratio"),
    "rate ratio count": ("number of definite microbleeds", "Rate ratio"),
}


@dataclasses.dataclass(frozen=True)
class Forest:
    """A chart of the cohorts and their mean; ``numbers``: name and row of the heterogeneity."""

    title: str
    chart: Chart
    numbers: list[tuple[str, Row]]
    refused: list[str]
    methods: list[str]


def select(tables: ReportTables) -> list[Forest]:
    """A forest for each outcome and term that two cohorts or more have rows of."""
    by_cohort: dict[tuple[RatioKind, str], dict[str, Row]] = {}
    for ratio, row in tables.of(Ratio):
        cohort = _cohort(row)
        if cohort is not None:
            by_cohort.setdefault((ratio.kind, ratio.term), {})[cohort] = row
    pooled: dict[tuple[RatioKind, str, str], Row] = {
        (m.kind, m.term, m.number): row for m, row in tables.of(Pooled, EVERYBODY)
    }
    forests = []
    for place, ((kind, term), rows) in enumerate(by_cohort.items()):
        if kind in _OUTCOMES and (kind, term, "mean") in pooled:
            forests.append(_forest(f"pooling-{place}", kind, term, rows, pooled))
    return forests


def _cohort(row: Row) -> str | None:
    name = str(row["stratum"])
    return (
        name.removeprefix("cohort=") if name.startswith("cohort=") and " & " not in name else None
    )


def _forest(
    name: str,
    kind: RatioKind,
    term: str,
    rows: dict[str, Row],
    pooled: Mapping[tuple[RatioKind, str, str], Row],
) -> Forest:
    what, axis = _OUTCOMES[kind]
    title = f"{term.replace('=', ' ')}: {what}, by cohort"
    lines = [(cohort, row) for cohort, row in rows.items() if row["estimate"] is not None]
    for label, number in (("Pooled", "mean"), ("Another cohort", "prediction interval of")):
        row = pooled.get((kind, term, number))
        if row is not None and row["estimate"] is not None:
            lines.append((label, row))
    drawn = [forest.ForestLine(label, {forest.ONLY: row}) for label, row in lines]
    every = [*rows.values(), *(row for (k, t, _), row in pooled.items() if (k, t) == (kind, term))]
    refused = [row["method"] for row in every if row["estimate"] is None]
    chart = Chart(
        name=name,
        alt=f"Dots with 95 % intervals: {axis.lower()}s of {title}, and their pooled mean.",
        caption=f"{axis} with 95 % interval, on a logarithmic axis; the line is 1.",
        figure=forest.draw(drawn, forest.Axis(axis, RATIO, logarithmic=True)),
        columns=["Cohort", f"{axis} (95 % interval)", "With the outcome/in the model"],
        rows=[[label, interval(row, 2), of(row)] for label, row in lines],
    )
    numbers = [
        (label, pooled[kind, term, number])
        for label, number in (("I²", "I2 of"), ("τ²", "tau2 of"), ("Q", "Q of"))
        if (kind, term, number) in pooled
    ]
    methods = [pooled[kind, term, "mean"]["method"]]
    return Forest(title, chart, numbers, list(dict.fromkeys(refused)), methods)
