"""Sensitivity for inserted lesions against size or depth, a line for each way to draw them."""

from __future__ import annotations

import dataclasses

import plotly.graph_objects as go

from cmburden.report.charts.chart import (
    COLOURS,
    INK,
    MUTED,
    PERCENT,
    SYMBOLS,
    TEMPLATE,
    Chart,
    error_bars,
    hover_text,
    row_key,
)
from cmburden.report.typeset import Row, level, of, share

#: Colours of the ways to draw a lesion.
_COLOURS = {"physics": COLOURS["GRE"], "transplant": INK, "plain": COLOURS["SWI"]}


@dataclasses.dataclass(frozen=True)
class Curve:
    """Rows of `insertion` of one axis of a contrast, by renderer and rising level."""

    name: str
    contrast: str
    axis: str
    rows: dict[str, list[Row]]


def draw(curve: Curve) -> Chart | None:
    """The chart; None where no point has an estimate."""
    figure = go.Figure()
    for place, (renderer, rows) in enumerate(curve.rows.items()):
        known = [row for row in rows if row["estimate"] is not None]
        if not known:
            continue
        colour = _COLOURS.get(renderer, MUTED)
        figure.add_scatter(
            x=[row["x"] for row in known],
            y=[PERCENT.of(row) for row in known],
            error_y=error_bars(known, PERCENT),
            customdata=[row_key(row) for row in known],
            text=[hover_text(row, PERCENT) for row in known],
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            name=renderer,
            mode="lines+markers",
            line={"color": colour, "width": 1.5},
            marker={"size": 7, "symbol": SYMBOLS[place], "color": colour},
        )
    if not figure.data:
        return None
    figure.update_layout(template=TEMPLATE, height=320, showlegend=True)
    figure.update_xaxes(title_text=curve.axis.capitalize(), rangemode="tozero")
    figure.update_yaxes(title_text="Detected as definite, %", range=[0, 103])
    return Chart(
        name=curve.name,
        alt=f"Lines: share of inserted lesions in {curve.contrast} that are detected, against "
        f"their {curve.axis}, by the way they were drawn.",
        caption=f"{curve.contrast}: visible inserted lesions that are called definite, by "
        f"{curve.axis}. Ranges with too few lesions have no point.",
        figure=figure,
        columns=[curve.axis.capitalize(), "Drawn by", "Detected/inserted", "Share, %"],
        rows=[
            [level(row["level"]), renderer, of(row), share(row)]
            for renderer, rows in curve.rows.items()
            for row in rows
        ],
    )
