"""Estimates with their intervals, a line each: prevalences and ratios."""

from __future__ import annotations

import dataclasses
import textwrap

import plotly.graph_objects as go

from cmburden.report.charts.chart import (
    COLOURS,
    MUTED,
    PERCENT,
    SYMBOLS,
    TEMPLATE,
    Scale,
    error_bars,
    hover_text,
    row_key,
)
from cmburden.report.typeset import Row

#: The series of a chart that has only one.
ONLY = ""
_COLOURS = COLOURS | {ONLY: COLOURS["GRE"]}
#: Distance between the first and the last series of a line, in lines. By eye, as the next ones.
_SPREAD = 0.36
_LINE_PX, _WRAPPED_PX, _MARGINS_PX = 24, 34, 120
#: Letters of a label a line; a label has two lines, for which rows are higher.
_LABEL_LETTERS = 30
#: Ends of a logarithmic axis: beyond, an interval is drawn to the edge.
_LEAST, _MOST = 1e-6, 1e6


@dataclasses.dataclass(frozen=True)
class ForestLine:
    """A line of the chart: its label, and a row of `summary` by series."""

    label: str
    rows: dict[str, Row]


@dataclasses.dataclass(frozen=True)
class Axis:
    """Axis of the estimates. A logarithmic axis has a mark at 1."""

    title: str
    scale: Scale = PERCENT
    logarithmic: bool = False


@dataclasses.dataclass(frozen=True)
class Series:
    """Points of one colour: height in lines from the top, label of the line, row of `summary`."""

    name: str
    place: int
    points: list[tuple[float, str, Row]]


def select(lines: list[ForestLine]) -> list[Series]:
    """The series of ``lines`` that have an estimate. Series of one line lie side by side."""
    names = list(dict.fromkeys(name for line in lines for name in line.rows))
    all_series = []
    for place, name in enumerate(names):
        shift = _SPREAD * (place - (len(names) - 1) / 2) / max(1, len(names) - 1)
        points = [
            (at + shift, line.label, line.rows[name])
            for at, line in enumerate(lines)
            if name in line.rows and line.rows[name]["estimate"] is not None
        ]
        if points:
            all_series.append(Series(name, place, points))
    return all_series


def draw(lines: list[ForestLine], axis: Axis) -> go.Figure:
    """The figure; a line without an estimate stays empty."""
    figure = go.Figure()
    for series in select(lines):
        _add(figure, series, axis.scale)
    n_series = len({name for line in lines for name in line.rows})
    wrapped = any(len(line.label) > _LABEL_LETTERS for line in lines)
    line_px = _WRAPPED_PX if wrapped else _LINE_PX
    figure.update_layout(
        template=TEMPLATE,
        height=line_px * len(lines) * max(1, n_series // 2) + _MARGINS_PX,
        showlegend=n_series > 1,
    )
    figure.update_yaxes(
        tickvals=list(range(len(lines))),
        # The whole label is in the hover text.
        ticktext=[
            "<br>".join(textwrap.wrap(line.label, _LABEL_LETTERS, max_lines=2, placeholder=" …"))
            for line in lines
        ],
        range=[len(lines) - 0.4, -0.6],
        showgrid=False,
        zeroline=False,
    )
    if axis.logarithmic:
        _make_logarithmic(figure, lines, axis.title)
    else:
        figure.update_xaxes(title_text=axis.title, rangemode="tozero")
    return figure


def _add(figure: go.Figure, series: Series, scale: Scale) -> None:
    rows = [row for _, _, row in series.points]
    figure.add_scatter(
        x=[scale.of(row) for row in rows],
        y=[at for at, _, _ in series.points],
        error_x=error_bars(rows, scale),
        customdata=[row_key(row) for row in rows],
        text=[f"{label}<br>{hover_text(row, scale)}" for _, label, row in series.points],
        hovertemplate="%{text}<extra>%{fullData.name}</extra>",
        mode="markers",
        name=series.name,
        marker={
            "color": _COLOURS[series.name],
            "size": 8,
            "symbol": SYMBOLS[series.place % len(SYMBOLS)],
        },
    )


def _make_logarithmic(figure: go.Figure, lines: list[ForestLine], title: str) -> None:
    values = [
        row[field]
        for line in lines
        for row in line.rows.values()
        for field in ("ci_low", "ci_high", "estimate")
        if row[field]
    ]
    ticks = log_ticks(min(values, default=1), max(values, default=1))
    figure.update_xaxes(
        title_text=title, type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks]
    )
    figure.add_vline(x=1, line={"color": MUTED, "width": 1})


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis from ``low`` to ``high``: denser over fewer decades.

    >>> log_ticks(0.6, 2.2), log_ticks(0.01, 150)
    ([0.5, 0.7, 1, 1.5, 2, 3], [0.01, 0.1, 1, 10, 100, 1000])
    """
    low, high = max(low, _LEAST), min(high, _MOST)
    steps: tuple[float, ...] = (1,)
    if high / low < 12:
        steps = (1, 1.5, 2, 3, 5, 7)
    elif high / low < 200:
        steps = (1, 2, 5)
    all_ticks = [float(f"{step * 10.0**decade:.3g}") for decade in range(-7, 8) for step in steps]
    first = max(tick for tick in all_ticks if tick <= low)
    last = min(tick for tick in all_ticks if tick >= high)
    return [int(tick) if tick.is_integer() else tick for tick in all_ticks if first <= tick <= last]
