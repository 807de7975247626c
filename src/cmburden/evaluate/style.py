"""The look of matplotlib's figures: colours, marks, sizes, error bars, and how a file is written.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color, 2008), which are distinct without
colour vision. Widths and transparencies are by eye.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cmburden.core.files import whole_file

BLACK, GREY = "#222222", "#777777"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
#: 7 inches at 120 dots are 840 pixels; at 700 the letters are still 8 pixels high.
_WIDTH, _DPI = 7.0, 120
#: Settings of matplotlib, which types their names as literals.
STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "legend.fontsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
#: Transparency of an interval's band.
BAND = 0.13
#: Lines and caps of small error bars.
BARS: dict[str, Any] = {"capsize": 2, "elinewidth": 1}


def new_figure(height: float) -> Figure:
    """A figure without pyplot's state; ``height`` in inches."""
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG by rename, without the drawing library's version in it."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return path


def numbers(values: Iterable[float | None]) -> np.ndarray:
    """Floats, NaN for None; matplotlib does not draw NaN."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def error_bar(entry: dict[str, Any], lowest: float = -np.inf) -> np.ndarray:
    """(2, 1) distances of an estimate from its interval's ends, as matplotlib wants them.

    Values below ``lowest`` are raised to it. A percentile interval of few participants may leave
    its estimate out: that side is 0. Unknown sides are 0.
    """
    middle, low, high = numbers([entry["estimate"], entry["ci_low"], entry["ci_high"]])
    middle, low = max(middle, lowest), max(low, lowest)
    return np.nan_to_num(np.maximum([[middle - low], [high - middle]], 0))


def error_bars(entries: list[dict[str, Any]]) -> np.ndarray:
    """(2, n) distances of n estimates from their intervals' ends."""
    return np.hstack([np.zeros((2, 0)), *(error_bar(entry) for entry in entries)])
