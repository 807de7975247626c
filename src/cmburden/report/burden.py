"""Section: how many participants have microbleeds, and how many."""

from __future__ import annotations

import dataclasses
from typing import Any

from cmburden.core.tables import GROUPS, PATTERN_LEVELS
from cmburden.report.charts import counts, forest
from cmburden.report.charts.chart import Chart
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, level, number, of, share
from cmburden.summary import bins
from cmburden.summary.measures import (
    AverageCount,
    BostonAge,
    BostonImaging,
    CountBin,
    Participants,
    PatternShare,
    Presence,
    PresenceInGroup,
    people,
)
from cmburden.summary.names import Measure
from cmburden.summary.strata import EVERYBODY, Stratum

#: Participants of ``BostonRows``, in their order.
_BOSTON: tuple[people.BostonWhich, ...] = (
    "below 50, left out",
    "not classifiable, left out",
    "of unknown age",
)
#: Variables of strata whose name is not their title.
_TITLES = {"age_band": "Age", "cohort": "Cohort"}


@dataclasses.dataclass(frozen=True)
class Average:
    """Averages of the count of a contrast, rows of `summary`; ``quartiles``: lower and upper."""

    contrast: str
    mean: Row
    median: Row
    quartiles: tuple[Row, Row]
    maximum: Row
    mean_of_positive: Row


@dataclasses.dataclass(frozen=True)
class Shares:
    """A line of the table of shares: a cell a contrast, rows of `summary`."""

    name: str
    cells: list[Row]


@dataclasses.dataclass(frozen=True)
class Block:
    """Lines of the table of shares under one heading."""

    name: str
    rows: list[Shares]


@dataclasses.dataclass(frozen=True)
class BostonRows:
    """Rows of a contrast: participants left out of the item of the Boston criteria, and those of
    unknown age in it."""

    contrast: str
    young: Row
    unplaced: Row
    age_unknown: Row


@dataclasses.dataclass(frozen=True)
class Burden:
    """Content of _burden.html.j2.

    Without contrasts there is no prevalence; without a microbleed there are no counts.
    """

    contrasts: list[str]
    prevalence: Chart | None
    counts: Chart | None
    averages: list[Average]
    blocks: list[Block]
    boston: list[BostonRows]


def select(tables: ReportTables, config: dict[str, Any]) -> Burden:
    """Charts and tables by contrast."""
    contrasts = tables.contrasts()
    strata = [Stratum(contrast=name) for name in contrasts]
    variables = ["cohort", *config["report"]["strata"], "age_band"]
    return Burden(
        contrasts=contrasts,
        prevalence=_prevalence(tables, variables) if contrasts else None,
        counts=counts.draw(counts.select(tables)),
        averages=[_average(tables, name) for name in contrasts],
        blocks=_blocks(tables, strata, config),
        boston=[
            BostonRows(name, *(tables.estimate(stratum, BostonAge(which)) for which in _BOSTON))
            for name, stratum in zip(contrasts, strata, strict=True)
        ],
    )


def _average(tables: ReportTables, contrast: str) -> Average:
    def estimate(average: people.Average) -> Row:
        return tables.estimate(Stratum(contrast=contrast), AverageCount(average))

    positive = AverageCount("mean", of="those with a microbleed")
    return Average(
        contrast=contrast,
        mean=estimate("mean"),
        median=estimate("median"),
        quartiles=(estimate("lower quartile"), estimate("upper quartile")),
        maximum=estimate("maximum"),
        mean_of_positive=tables.estimate(Stratum(contrast=contrast), positive),
    )


def _prevalence(tables: ReportTables, variables: list[str]) -> Chart:
    """Prevalence by stratum, each contrast for itself."""
    lines = prevalence_lines(tables, variables)
    return Chart(
        name="prevalence",
        alt="Dots with 95 % intervals: prevalence of definite microbleeds by stratum and contrast.",
        caption="Participants with at least one definite microbleed in the scan chosen for them, "
        "with Wilson’s 95 % interval, not corrected for detector error.",
        figure=forest.draw(lines, forest.Axis("With a definite microbleed, %")),
        columns=[
            "Stratum",
            "Contrast",
            "With microbleed/usable",
            "All",
            "Definite, %",
            "Definite or possible, %",
            "Mean count",
        ],
        rows=[
            [line.label, name, *_cells(tables, row)]
            for line in lines
            for name, row in line.rows.items()
        ],
    )


def prevalence_lines(tables: ReportTables, variables: list[str]) -> list[forest.ForestLine]:
    """All participants, then each level of ``variables``, with a row a contrast.

    A level without a participant of a contrast has no row of that contrast; a level without any
    has no line.
    """
    presence = Presence("definite")
    everybody = {
        name: tables.estimate(Stratum(contrast=name), presence) for name in tables.contrasts()
    }
    lines = [forest.ForestLine("All", everybody)]
    for variable in dict.fromkeys(variables):
        if variable == "contrast":
            continue
        title = _TITLES.get(variable, variable.replace("_", " ").capitalize())
        for value in tables.levels(variable):
            rows = {
                name: tables.estimate(_crossed(variable, value, name), presence)
                for name in tables.contrasts()
            }
            rows = {
                name: row
                for name, row in rows.items()
                if row["denominator"] or row.get("suppressed")
            }
            if rows:
                lines.append(forest.ForestLine(f"{title}: {level(value)}", rows))
    return lines


def _crossed(variable: str, value: str, contrast: str) -> Stratum:
    """The stratum of a level and a contrast, in the order of `summary`."""
    if variable == "cohort":
        return Stratum(cohort=value, contrast=contrast)
    return Stratum(contrast=contrast, **{variable: value})


def _cells(tables: ReportTables, presence: Row) -> list[Any]:
    """The table's cells after stratum and contrast; ``presence`` is the row of `summary`."""
    stratum = Stratum.parse(presence["stratum"]) or EVERYBODY
    return [
        of(presence),
        number(tables.estimate(stratum, Participants())),
        share(presence),
        share(tables.estimate(stratum, Presence("definite or possible"))),
        number(tables.estimate(stratum, AverageCount("mean")), "estimate", 2),
    ]


def _blocks(tables: ReportTables, strata: list[Stratum], config: dict[str, Any]) -> list[Block]:
    """Shares of participants by count, pattern and place."""

    def line(name: str, measure: Measure) -> Shares:
        return Shares(level(name), [tables.estimate(stratum, measure) for stratum in strata])

    labels = bins.bin_labels(config["report"]["bins"])
    patterns = [line(name, PatternShare(name)) for name in PATTERN_LEVELS]
    boston = "At least 2 strictly lobar, cerebellum not counted"
    boston += " (part of the imaging item of Boston v2.0)"
    largest = config["aggregate"]["macrohaemorrhage_mm"]
    return [
        Block("Count", [line(label, CountBin(label)) for label in labels]),
        Block("Pattern, of all usable", patterns),
        Block(
            "Pattern, of those with a definite microbleed",
            [line(name, PatternShare(name, "positive")) for name in PATTERN_LEVELS[1:]],
        ),
        Block(
            "Presence",
            [
                *[line(group, PresenceInGroup(group)) for group in GROUPS if group != "unknown"],
                line(boston, BostonImaging()),
                line(
                    f"A lesion above {largest:g} mm (macrohaemorrhage)",
                    Presence("macrohaemorrhage"),
                ),
            ],
        ),
    ]
