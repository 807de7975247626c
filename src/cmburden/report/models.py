"""Section: regression models of burden, their estimates and their fit."""

from __future__ import annotations

import dataclasses

from markupsafe import Markup

from cmburden.report import model_table, pooled
from cmburden.report.charts import forest
from cmburden.report.charts.chart import RATIO, Chart
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, first_upper, interval, number, of, p_value
from cmburden.summary.measures import (
    ModelFact,
    PatternRatio,
    Ratio,
    RatioKind,
    SampleFact,
    TermTest,
)
from cmburden.summary.strata import EVERYBODY

#: Families of ratios: heading, and title of the axis.
_TITLES: dict[RatioKind, tuple[str, str]] = {
    "odds ratio presence": ("Presence of a definite microbleed (logistic)", "Odds ratio"),
    "prevalence ratio presence": (
        "Presence of a definite microbleed (modified Poisson)",
        "Prevalence ratio",
    ),
    "rate ratio count": ("Number of definite microbleeds (negative binomial)", "Rate ratio"),
    "rate ratio count poisson": ("Number of definite microbleeds (Poisson)", "Rate ratio"),
    "rate ratio count corrected": (
        "Number of microbleeds, corrected (latent counts)",
        "Rate ratio",
    ),
}
_PATTERN_TITLE = "Pattern {pattern} against none (multinomial)"
_PATTERN_AXIS = "Relative risk ratio"


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Rows of `summary` of one family of ratios by term, a term as print sets it."""

    title: str
    axis: str
    rows: list[tuple[str, Row]]


@dataclasses.dataclass(frozen=True)
class Regression:
    """A model: its chart, terms that were not estimated with why, methods of the others.

    ``reasons``: why terms were not estimated, without the terms.
    """

    title: str
    chart: Chart | None
    refused: list[str]
    methods: list[str]
    reasons: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class FitRow:
    """A number about a fit as a whole; ``bad``: the fit did not converge."""

    name: str
    what: str
    value: Markup
    bad: bool
    method: str


@dataclasses.dataclass(frozen=True)
class TestRow:
    """A test of several parameters: outcome, hypothesis, chi-squared, p value, method."""

    outcome: str
    hypothesis: str
    statistic: Markup
    p: Markup
    method: str


@dataclasses.dataclass(frozen=True)
class Models:
    """Content of _models.html.j2. ``sample``: name and row of a number about the participants."""

    regressions: list[Regression]
    fits: list[FitRow]
    columns: tuple[str, ...]
    lines: list[model_table.Line]
    forests: list[pooled.Forest]
    tests: list[TestRow]
    sample: list[tuple[str, Row]]

    @property
    def without(self) -> list[tuple[str, list[str]]]:
        """Reasons for which models have no estimate at all, each with the titles of the models."""
        titles: dict[str, list[str]] = {}
        for one in self.regressions:
            for reason in one.reasons if one.chart is None else ():
                titles.setdefault(reason, []).append(one.title)
        return list(titles.items())


def select(tables: ReportTables) -> Models:
    """The models that `summary` holds rows of."""
    estimates = select_estimates(tables)
    regressions = [_regression(place, one) for place, one in enumerate(estimates)]
    return Models(
        regressions,
        [_fit(measure, row) for measure, row in tables.of(ModelFact)],
        model_table.COLUMNS,
        model_table.select(tables),
        pooled.select(tables),
        _tests(tables),
        [(first_upper(measure.fact), row) for measure, row in tables.of(SampleFact)],
    )


def _tests(tables: ReportTables) -> list[TestRow]:
    rows = {(m.model, m.hypothesis, m.number): row for m, row in tables.of(TermTest)}
    return [
        TestRow(model, hypothesis, number(row, "estimate", 1), p_value(p), row["method"])
        for (model, hypothesis, name), row in rows.items()
        if name == "chi-squared" and (p := rows.get((model, hypothesis, "p"))) is not None
    ]


def select_estimates(tables: ReportTables) -> list[Estimates]:
    """Ratios by family, in the order of the page; a family without rows is left out."""
    # The models of single cohorts have charts of their own.
    ratios = [(m, row) for m, row in tables.of(Ratio) if not row["stratum"].startswith("cohort=")]
    families = [
        Estimates(
            title,
            axis,
            [(_term(m.term, row), row) for m, row in ratios if m.kind == kind],
        )
        for kind, (title, axis) in _TITLES.items()
    ]
    patterns: dict[str, list[tuple[str, Row]]] = {}
    for measure, row in tables.of(PatternRatio):
        patterns.setdefault(measure.pattern, []).append((_term(measure.term, row), row))
    families += [
        Estimates(_PATTERN_TITLE.format(pattern=pattern), _PATTERN_AXIS, rows)
        for pattern, rows in patterns.items()
    ]
    return [family for family in families if family.rows]


def _term(term: str, row: Row) -> str:
    """A term in words, with the stratum unless of everybody."""
    return term.replace("=", " ") + _stratum(row)


def _stratum(row: Row) -> str:
    return "" if row["stratum"] == EVERYBODY.name else f" ({row['stratum']})"


def _regression(place: int, family: Estimates) -> Regression:
    estimated = [(term, row) for term, row in family.rows if row["estimate"] is not None]
    refused: dict[str, list[str]] = {}
    for term, row in family.rows:
        if row["estimate"] is None:
            refused.setdefault(row["method"], []).append(term)
    return Regression(
        title=family.title,
        chart=_chart(f"model-{place}", family, estimated) if estimated else None,
        refused=[f"{', '.join(terms)}: {why}" for why, terms in refused.items()],
        methods=list(dict.fromkeys(row["method"] for _, row in estimated)),
        reasons=tuple(refused),
    )


def _chart(name: str, family: Estimates, estimated: list[tuple[str, Row]]) -> Chart:
    lines = [forest.ForestLine(term, {forest.ONLY: row}) for term, row in estimated]
    return Chart(
        name=name,
        alt=f"Dots with 95 % intervals: {family.axis.lower()}s by term; {family.title}.",
        caption=f"{family.axis} with 95 % interval, on a logarithmic axis; the line is 1.",
        figure=forest.draw(lines, forest.Axis(family.axis, RATIO, logarithmic=True)),
        columns=["Term", f"{family.axis} (95 % interval)", "With the outcome/in the model"],
        rows=[[term, interval(row, 2), of(row)] for term, row in estimated],
    )


def _fit(measure: ModelFact, row: Row) -> FitRow:
    whole = row["estimate"] is not None and float(row["estimate"]).is_integer()
    value = number(row, "estimate", 0 if whole else 3)
    return FitRow(
        name=measure.model + _stratum(row),
        what=measure.fact,
        value=p_value(row) if measure.fact.endswith(" p") else value,
        bad=measure.fact == "converged" and row["estimate"] == 0,
        method=row["method"],
    )
