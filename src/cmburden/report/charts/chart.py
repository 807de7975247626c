"""A chart of the report: its parts, and the look of all charts.

Every point carries its row's stratum and measure in ``customdata``. A chart holds no number that
is not in the table beside it. Colours are those of ``PALETTE``: the page exchanges them for the
reader's scheme.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import plotly.graph_objects as go
import plotly.io
from markupsafe import Markup

from cmburden.report.typeset import Row, script_json

INK, MUTED, RULE, PAPER = "#1b1d1f", "#5d6368", "#d9d9d1", "#fdfdfb"
#: Colour of each contrast.
COLOURS = {"GRE": "#17527f", "SWI": "#b0501c"}
#: Each colour on light paper, and the colour that the page puts in its place on dark paper.
PALETTE = {
    INK: "#e7e8e6",
    MUTED: "#9aa1a8",
    RULE: "#33383d",
    COLOURS["GRE"]: "#86b9e3",
    COLOURS["SWI"]: "#f0a06c",
    PAPER: "#15171a",
}
#: Markers of the series of a chart, in turn.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
_CLEAR = "rgba(0,0,0,0)"
#: Plotly draws lines and ticks of an axis that has a colour of its own. A colour of the template
#: does not count, so that the template turns lines and ticks on.
_AXIS = {
    "showline": True,
    "ticks": "outside",
    "showgrid": True,
    "zeroline": True,
    "fixedrange": True,
    "gridcolor": RULE,
    "linecolor": MUTED,
    "tickcolor": MUTED,
    "zerolinecolor": MUTED,
    "automargin": True,
    "title": {"font": {"color": MUTED}},
}
#: Name of the Plotly template of all charts. Sizes are in pixels of the screen.
TEMPLATE = "cmburden"
plotly.io.templates[TEMPLATE] = go.layout.Template(
    layout={
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": MUTED, "font": {"color": INK}},
        "dragmode": False,
        "margin": {"l": 10, "r": 14, "t": 34, "b": 44, "pad": 4},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1,
            "yanchor": "bottom",
            "font": {"color": INK},
        },
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


@dataclasses.dataclass(frozen=True)
class Chart:
    """A figure with its table.

    ``name`` is unique on the page. ``alt`` says in a sentence what the figure shows. ``rows`` are
    the table's cells, a list a row, one cell for each of ``columns``.
    """

    name: str
    alt: str
    caption: str
    figure: go.Figure
    columns: list[str]
    rows: list[list[Any]]

    def json(self) -> Markup:
        """The figure for a script element."""
        return script_json(self.figure.to_plotly_json(), sort_keys=True)

    @property
    def height(self) -> int:
        """Height of the figure in pixels."""
        return self.figure.layout.height


@dataclasses.dataclass(frozen=True)
class Scale:
    """How a chart prints an estimate: times ``factor``, with ``unit``, rounded to ``digits``."""

    factor: float
    unit: str
    digits: int

    def of(self, row: Row) -> float:
        """The row's estimate as the chart draws the estimate."""
        return row["estimate"] * self.factor

    def text(self, value: float) -> str:
        """``value`` of `summary` as the hover text prints the value, without the unit."""
        return f"{value * self.factor:.{self.digits}f}"


PERCENT = Scale(100.0, " %", 1)
RATIO = Scale(1.0, "", 2)


def row_key(row: Row) -> str:
    """Which row a point shows: the point's ``customdata``."""
    return f"{row['stratum']} | {row['measure']}"


def error_bars(rows: list[Row], scale: Scale) -> dict[str, Any]:
    """Plotly's error bars: distances from the estimates to the ends of their intervals."""
    return {
        "type": "data",
        "symmetric": False,
        "thickness": 1.5,
        "width": 0,
        "array": [_distance(row, "ci_high", scale) for row in rows],
        "arrayminus": [_distance(row, "ci_low", scale) for row in rows],
    }


def _distance(row: Row, end: str, scale: Scale) -> float | None:
    if row[end] is None:
        return None
    return abs(row[end] - row["estimate"]) * scale.factor


def hover_text(row: Row, scale: Scale) -> str:
    """Estimate, interval, numerator and denominator, as far as the row has them.

    >>> row = {"estimate": 0.25, "ci_low": 0.1, "ci_high": 0.5, "n": 3, "denominator": 12}
    >>> hover_text(row, PERCENT)
    '25.0 % (10.0–50.0), 3/12'
    """
    text = f"{scale.text(row['estimate'])}{scale.unit}"
    if row["ci_low"] is not None:
        text += f" ({scale.text(row['ci_low'])}–{scale.text(row['ci_high'])})"
    if row["denominator"] and row["n"] is not None:
        text += f", {row['n']}/{row['denominator']}"
    return text
