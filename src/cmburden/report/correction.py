"""Section: prevalence corrected for the detector's error if it can be, and other thresholds."""

from __future__ import annotations

import dataclasses
from typing import Any

from cmburden.core.tables import PATTERNS
from cmburden.report.charts import forest, thresholds
from cmburden.report.charts.chart import Chart
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, first_upper, interval, level, number, of, share
from cmburden.summary.measures import (
    CorrectedMean,
    CorrectedPattern,
    CorrectionCheck,
    DetectorRate,
    Likelihood,
    PatternShare,
    Presence,
    Prevalence,
    PrevalenceAt,
)
from cmburden.summary.names import Measure
from cmburden.summary.strata import EVERYBODY, Stratum

_CORRECTED = (
    "Apparent prevalence, and that corrected for missed and for false lesions, each for definite "
    "microbleeds and for definite or possible ones."
)
_STRATA = (
    "Prevalence of definite microbleeds corrected for missed and for false lesions, by stratum; "
    "each variable has a model of its own, with age."
)
_PATTERNS = "Shares of participants by pattern, as called and corrected."
_PROFILE = (
    "Sensitivity analysis: the corrected prevalence of definite microbleeds at other numbers of "
    "false positives a scan, with the likelihood of this cohort’s counts at each, over the largest."
)
_SHARE = "Prevalence, % (95 % interval)"
#: Variables of strata whose name is not their title.
_TITLES = {"age_band": "Age"}
#: What is refused or not told is listed; each measure of these families.
_REFUSABLE = (Prevalence, CorrectedMean, CorrectedPattern)


@dataclasses.dataclass(frozen=True)
class CorrectedRow:
    """A prevalence of a contrast: ``label`` says in words which, ``row`` is of `summary`."""

    contrast: str
    label: str
    row: Row


@dataclasses.dataclass(frozen=True)
class DetectorErrorRow:
    """A figure of the detector in a contrast, with the row of `summary`."""

    name: str
    row: Row


@dataclasses.dataclass(frozen=True)
class Correction:
    """Content of _correction.html.j2.

    ``checks``: what the counts say of the detector's figures. ``refused``: what was not estimated,
    with the reason. ``methods``: of the chart's estimates. ``means``: corrected mean counts.
    ``errors``: figures of the detector, each with the rows of the ``contrasts``.
    """

    chart: Chart | None
    strata: Chart | None
    patterns: Chart | None
    profile: Chart | None
    methods: list[str]
    means: list[DetectorErrorRow]
    contrasts: list[str]
    errors: list[tuple[str, list[Row]]]
    checks: list[str]
    refused: list[str]
    thresholds: Chart | None


def select(tables: ReportTables, definite: float | None) -> Correction:
    """``definite``: threshold in use of a definite microbleed; None where it is not known."""
    estimated = [one for one in select_prevalences(tables) if one.row["estimate"] is not None]
    corrected = any(one.label.startswith("Corrected") for one in estimated)
    return Correction(
        chart=_chart("correction", estimated, _CORRECTED) if corrected else None,
        strata=_strata(tables),
        patterns=_patterns(tables),
        profile=_profile(tables),
        methods=list(dict.fromkeys(one.row["method"] for one in estimated)) if corrected else [],
        means=_named(tables, CorrectedMean),
        contrasts=tables.contrasts(),
        errors=_errors(tables),
        checks=_checks(tables),
        refused=_refused(tables),
        thresholds=thresholds.draw(thresholds.select(tables), definite),
    )


def select_prevalences(tables: ReportTables) -> list[CorrectedRow]:
    """Prevalences as detected and corrected, by contrast."""
    return [
        CorrectedRow(name, first_upper(f"{measure.stage} {measure.of}".rstrip()), row)
        for name in tables.contrasts()
        for measure, row in tables.of(Prevalence, Stratum(contrast=name))
    ]


def _checks(tables: ReportTables) -> list[str]:
    """A sentence for each check that does not hold, the gravest of each contrast first."""
    return [
        f"{name}{', ' + measure.of if measure.of else ''}: {row['method']}"
        for name in tables.contrasts()
        for measure, row in tables.of(CorrectionCheck, Stratum(contrast=name))
        if row["estimate"]
    ]


def _refused(tables: ReportTables) -> list[str]:
    """A sentence for each reason why something was not estimated, with what it is of."""
    reasons: dict[str, list[str]] = {}
    contrasts = tables.contrasts()
    for stratum, measure, row in tables.rows_of(_REFUSABLE):
        if row["estimate"] is not None or "contrast" not in stratum.variables:
            continue
        if stratum["contrast"] in contrasts:
            levels = [value for variable, value in stratum.levels if variable != "contrast"]
            name = " ".join([stratum["contrast"], *map(level, levels)])
            reasons.setdefault(row["method"], []).append(f"{name}, {_words(measure)}")
    return [f"{'; '.join(_short(names))}: {reason}" for reason, names in reasons.items()]


def _short(names: list[str], most: int = 4) -> list[str]:
    """The first ``most`` of ``names``, and how many more there are."""
    names = list(dict.fromkeys(names))
    return names if len(names) <= most else [*names[:most], f"{len(names) - most} more"]


def _words(measure: Measure) -> str:
    if isinstance(measure, Prevalence):
        return f"{measure.stage} {measure.of}".rstrip()
    return "corrected patterns" if isinstance(measure, CorrectedPattern) else measure.name


def _errors(tables: ReportTables) -> list[tuple[str, list[Row]]]:
    """Figures of the detector that a contrast has, each with the rows of all contrasts."""
    contrasts = tables.contrasts()
    measures = dict.fromkeys(
        measure
        for name in contrasts
        for measure, row in tables.of(DetectorRate, Stratum(contrast=name))
        if row["estimate"] is not None
    )
    return [
        (
            first_upper(measure.name.removeprefix("detector ")),
            [tables.estimate(Stratum(contrast=name), measure) for name in contrasts],
        )
        for measure in measures
    ]


def _named(tables: ReportTables, family: type[CorrectedMean]) -> list[DetectorErrorRow]:
    return [
        DetectorErrorRow(f"{name}, {measure.name}", row)
        for name in tables.contrasts()
        for measure, row in tables.of(family, Stratum(contrast=name))
        if row["estimate"] is not None
    ]


# --- charts ---


def _chart(name: str, estimates: list[CorrectedRow], caption: str) -> Chart | None:
    """A line for each label, the contrasts side by side; None without an estimate."""
    if not estimates:
        return None
    by_label: dict[str, dict[str, Row]] = {}
    for one in estimates:
        by_label.setdefault(one.label, {})[one.contrast] = one.row
    lines = [forest.ForestLine(label, rows) for label, rows in by_label.items()]
    return _forest(
        name,
        caption,
        lines,
        ["Estimate", "Contrast", _SHARE, "Apparent n"],
        [
            [line.label, contrast, interval(row, 1, 100), of(row)]
            for line in lines
            for contrast, row in line.rows.items()
        ],
    )


def _forest(
    name: str,
    caption: str,
    lines: list[forest.ForestLine],
    columns: list[str],
    rows: list[list[Any]],
    title: str = "Prevalence, %",
) -> Chart:
    return Chart(
        name=name,
        alt=f"Dots with 95 % intervals, by contrast. {caption}",
        caption=caption,
        figure=forest.draw(lines, forest.Axis(title)),
        columns=columns,
        rows=rows,
    )


def strata_lines(tables: ReportTables) -> list[forest.ForestLine]:
    """Corrected prevalences by level of each variable, with a row a contrast."""
    measure, contrasts = Prevalence("corrected"), tables.contrasts()
    levels: list[tuple[str, str, Row, str]] = []
    for stratum, name, row in tables.rows_of((Prevalence,)):
        others = [(variable, one) for variable, one in stratum.levels if variable != "contrast"]
        if name == measure and row["estimate"] is not None and len(others) == 1:
            levels += [(*others[0], row, stratum["contrast"])]
    first = {"age_band": 0, "sex": 1}
    levels.sort(key=lambda one: (first.get(one[0], 2), one[0], Stratum(**{one[0]: one[1]}).order))
    lines: dict[str, dict[str, Row]] = {}
    for variable, one, row, contrast in levels:
        if contrast in contrasts:
            title = _TITLES.get(variable, variable.replace("_", " ").capitalize())
            lines.setdefault(f"{title}: {level(one)}", {})[contrast] = row
    return [forest.ForestLine(label, rows) for label, rows in lines.items()]


def _strata(tables: ReportTables) -> Chart | None:
    lines = strata_lines(tables)
    if not lines:
        return None
    cells = []
    for line in lines:
        for contrast, row in line.rows.items():
            stratum = Stratum.parse(row["stratum"]) or EVERYBODY
            apparent = tables.estimate(stratum, Presence("definite"))
            mean = tables.estimate(stratum, CorrectedMean())
            cells.append(
                [line.label, contrast, share(apparent), share(row), interval(mean), of(row)]
            )
    columns = ["Stratum", "Contrast", "Apparent, %", "Corrected, %", "Corrected mean", "Apparent n"]
    return _forest("correction-strata", _STRATA, lines, columns, cells)


def _patterns(tables: ReportTables) -> Chart | None:
    """Patterns of all usable participants, then of those with a microbleed: called, corrected."""
    lines, cells = [], []
    for whose, words in (("", "of all"), ("positive", "of those with a microbleed")):
        for pattern in PATTERNS if not whose else PATTERNS[1:]:
            rows = {}
            for contrast in tables.contrasts():
                stratum = Stratum(contrast=contrast)
                measure = CorrectedPattern(pattern, "positive" if whose else "")
                row = tables.estimate(stratum, measure)
                if row["estimate"] is None:
                    continue
                rows[contrast] = row
                called = tables.estimate(
                    stratum, PatternShare(pattern, "positive" if whose else "")
                )
                cells.append([f"{level(pattern)}, {words}", contrast, share(called), share(row)])
            if rows:
                lines.append(forest.ForestLine(f"{level(pattern)}, {words}", rows))
    if not lines:
        return None
    columns = ["Pattern", "Contrast", "As called, %", "Corrected, %"]
    return _forest("correction-patterns", _PATTERNS, lines, columns, cells, "Participants, %")


def _profile(tables: ReportTables) -> Chart | None:
    """Corrected prevalences at other false positives a scan, a line each."""
    lines, cells = [], []
    for name in tables.contrasts():
        stratum = Stratum(contrast=name)
        for measure, row in tables.of(PrevalenceAt, stratum):
            label = f"{name}, {measure.false_positives:.2f} a scan"
            lines.append(forest.ForestLine(label, {name: row}))
            likelihood = tables.estimate(stratum, Likelihood(measure.false_positives, measure.of))
            cells.append([label, share(row), number(likelihood, "estimate", 2)])
    if not lines:
        return None
    columns = ["False positives", "Prevalence, %", "Relative likelihood"]
    return _forest("correction-profile", _PROFILE, lines, columns, cells)
