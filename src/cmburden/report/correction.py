"""Section: prevalence corrected for the detector's error, and at other thresholds."""

from __future__ import annotations

import dataclasses

from cmburden.report.charts import forest, thresholds
from cmburden.report.charts.chart import Chart
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, first_upper, interval, of
from cmburden.summary.measures import DetectorRate, Prevalence, PrevalenceAt
from cmburden.summary.names import Measure
from cmburden.summary.strata import Stratum

_CORRECTED = (
    "Apparent prevalence, and that corrected for the detector’s error in calling a scan positive "
    "or negative, each for definite microbleeds and for definite or possible ones."
)
_AT = (
    "The corrected prevalence of definite microbleeds were sensitivity (Se) and specificity (Sp) "
    "another, within their intervals."
)


@dataclasses.dataclass(frozen=True)
class CorrectedRow:
    """A prevalence of a contrast: ``label`` says in words which, ``row`` is of `summary`."""

    contrast: str
    label: str
    row: Row


@dataclasses.dataclass(frozen=True)
class DetectorErrorRow:
    """Sensitivity or specificity of the detector in a contrast, with the row of `summary`."""

    name: str
    row: Row


@dataclasses.dataclass(frozen=True)
class Correction:
    """Content of _correction.html.j2.

    ``refused``: what was not estimated, with the reason. ``methods``: of the chart's estimates.
    """

    chart: Chart | None
    fixed: Chart | None
    methods: list[str]
    errors: list[DetectorErrorRow]
    refused: list[str]
    thresholds: Chart | None


def select(tables: ReportTables, definite: float | None) -> Correction:
    """``definite``: threshold in use of a definite microbleed; None where it is not known."""
    estimates = select_prevalences(tables)
    fixed = select_fixed(tables)
    estimated = [one for one in estimates if one.row["estimate"] is not None]
    drawn = [one for one in fixed if one.row["estimate"] is not None]
    return Correction(
        chart=_chart("correction", estimated, _CORRECTED),
        fixed=_chart("correction-fixed", drawn, _AT),
        methods=list(dict.fromkeys(one.row["method"] for one in estimated)),
        errors=_errors(tables),
        refused=_refused(tables),
        thresholds=thresholds.draw(thresholds.select(tables), definite),
    )


def select_prevalences(tables: ReportTables) -> list[CorrectedRow]:
    """Prevalences as detected and corrected, by contrast."""
    return [
        CorrectedRow(name, first_upper(_words(measure)), row)
        for name in tables.contrasts()
        for measure, row in tables.of(Prevalence, Stratum(contrast=name))
    ]


def select_fixed(tables: ReportTables) -> list[CorrectedRow]:
    """Prevalences of definite microbleeds corrected with fixed sensitivity and specificity."""
    return [
        CorrectedRow(name, f"Se {measure.sensitivity:.2f}, Sp {measure.specificity:.2f}", row)
        for name in tables.contrasts()
        for measure, row in tables.of(PrevalenceAt, Stratum(contrast=name))
        if not measure.of
    ]


def _words(measure: Prevalence | PrevalenceAt) -> str:
    """Which prevalence, after the word prevalence."""
    if isinstance(measure, Prevalence):
        return f"{measure.stage} {measure.of}".rstrip()
    which = f"corrected {measure.of}".rstrip()
    return f"{which} at sensitivity {measure.sensitivity:.2f} specificity {measure.specificity:.2f}"


def _refused(tables: ReportTables) -> list[str]:
    """A sentence for each prevalence that was not estimated."""
    sentences = [
        f"{name}, {_words(measure)}: {row['method']}"
        for name in tables.contrasts()
        for measure, row in tables.of(Measure, Stratum(contrast=name))
        if isinstance(measure, (Prevalence, PrevalenceAt)) and row["estimate"] is None
    ]
    return list(dict.fromkeys(sentences))


def _errors(tables: ReportTables) -> list[DetectorErrorRow]:
    return [
        DetectorErrorRow(f"{name}, {measure.rate} {measure.of}".rstrip(), row)
        for name in tables.contrasts()
        for measure, row in tables.of(DetectorRate, Stratum(contrast=name))
        if row["estimate"] is not None
    ]


def _chart(name: str, estimates: list[CorrectedRow], caption: str) -> Chart | None:
    """A line for each label, the contrasts side by side; None without an estimate."""
    if not estimates:
        return None
    by_label: dict[str, dict[str, Row]] = {}
    for one in estimates:
        by_label.setdefault(one.label, {})[one.contrast] = one.row
    lines = [forest.ForestLine(label, rows) for label, rows in by_label.items()]
    return Chart(
        name=name,
        alt=f"Dots with 95 % intervals, by contrast. {caption}",
        caption=caption,
        figure=forest.draw(lines, forest.Axis("Prevalence, %")),
        columns=["Estimate", "Contrast", "Prevalence, % (95 % interval)", "Apparent n"],
        rows=[
            [line.label, contrast, interval(row, 1, 100), of(row)]
            for line in lines
            for contrast, row in line.rows.items()
        ],
    )
