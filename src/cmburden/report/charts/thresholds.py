"""Prevalence against the threshold of the calibrated probability."""

from __future__ import annotations

import dataclasses

import plotly.graph_objects as go

from cmburden.report.charts.chart import (
    COLOURS,
    MUTED,
    PERCENT,
    SYMBOLS,
    TEMPLATE,
    Chart,
    error_bars,
    hover_text,
    row_key,
)
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, coordinate, of, share

#: Distance of the points of two contrasts, as a probability.
_APART = 0.008


@dataclasses.dataclass(frozen=True)
class Curve:
    """Rows of `curves` of a contrast, by rising threshold."""

    contrast: str
    rows: list[Row]


def select(tables: ReportTables) -> list[Curve]:
    """The curve of each contrast that has one."""
    return [
        Curve(name, rows)
        for name in tables.contrasts()
        if (rows := tables.curve("prevalence", contrast=name))
    ]


def draw(curves: list[Curve], in_use: float | None) -> Chart | None:
    """The chart; None without a curve. A line marks the threshold ``in_use`` if it is known."""
    if not curves:
        return None
    figure = go.Figure()
    for place, curve in enumerate(curves):
        figure.add_scatter(
            # Side by side: points of two contrasts that agree would hide each other.
            x=[row["x"] + _APART * place for row in curve.rows],
            y=[PERCENT.of(row) for row in curve.rows],
            error_y=error_bars(curve.rows, PERCENT),
            customdata=[row_key(row) for row in curve.rows],
            text=[hover_text(row, PERCENT) for row in curve.rows],
            hovertemplate="at %{x}: %{text}<extra>%{fullData.name}</extra>",
            name=curve.contrast,
            mode="lines+markers",
            line={"color": COLOURS[curve.contrast], "width": 1.5},
            marker={"size": 6, "symbol": SYMBOLS[place]},
        )
    figure.update_layout(template=TEMPLATE, height=320, showlegend=len(curves) > 1)
    if in_use is not None:
        figure.add_vline(x=in_use, line={"color": MUTED, "width": 1, "dash": "dash"})
    figure.update_xaxes(title_text="Threshold of the calibrated probability")
    figure.update_yaxes(title_text="Apparent prevalence, %", rangemode="tozero")
    return Chart(
        name="thresholds",
        alt="Lines: apparent prevalence against the threshold of the probability, by contrast.",
        caption="Apparent prevalence at other thresholds for a definite microbleed; the dashed "
        "line is the threshold in use.",
        figure=figure,
        columns=["Contrast", "Threshold", "With microbleed/usable", "Share, %"],
        rows=[
            [curve.contrast, coordinate(row), of(row), share(row)]
            for curve in curves
            for row in curve.rows
        ],
    )
