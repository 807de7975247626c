"""Charts of the page as SVG, drawn from the same figures without a browser or network.

The page draws its figures in the browser. Here matplotlib draws the same traces, axes and colours,
so that a figure holds the numbers that the page shows. Text stays text.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.ticker import NullFormatter

from cmburden.core.files import whole_file
from cmburden.report.charts.chart import INK, MUTED, RULE, Chart

#: Width of a figure in inches, that of a page of print; pixels of the screen an inch.
_WIDTH, _DPI = 7.2, 100
_MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "cross": "P",
    "x": "X",
    "star-open": "*",
}
_LINES = {"solid": "-", "dash": "--", "dot": ":"}
_STYLE: Any = {
    "svg.fonttype": "none",
    # Names within the file are made of this word: equal figures have equal bytes.
    "svg.hashsalt": "cmburden",
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
#: Sizes of Plotly's markers are their width in pixels.
_POINTS_A_PIXEL = 0.72


def charts_of(contents: Iterable[Any]) -> Iterator[Chart]:
    """All charts in the contents of sections, in the order of the page."""
    for content in contents:
        if isinstance(content, Chart):
            yield content
        elif dataclasses.is_dataclass(content):
            yield from charts_of(getattr(content, one.name) for one in dataclasses.fields(content))
        elif isinstance(content, (list, tuple)):
            yield from charts_of(content)
        elif isinstance(content, dict):
            yield from charts_of(content.values())


def write(path: Path, chart: Chart) -> Path:
    """Draw ``chart`` as SVG; returns the path."""
    spec = chart.figure.to_plotly_json()
    layout, traces = spec["layout"], list(spec["data"])
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, chart.height / _DPI), layout="constrained")
        all_axes = _axes(figure, layout, traces)
        for trace in traces:
            _trace(all_axes[_place(trace)], trace, layout)
        for place, axes in all_axes.items():
            _finish(axes, layout, place, len(all_axes))
        _legend(figure, all_axes, layout)
        with whole_file(path, durable=False) as temporary:
            figure.savefig(
                temporary,
                format="svg",
                metadata={"Date": None, "Title": chart.alt, "Description": _text(chart.caption)},
            )
    return path


def _place(trace: dict[str, Any]) -> str:
    """Number of the trace's panel, empty for the first."""
    return str(trace.get("xaxis") or "x")[1:]


def _axes(figure: Figure, layout: dict[str, Any], traces: list[dict[str, Any]]) -> dict[str, Axes]:
    """Panels by number. Their places are the domains of the figure's axes."""
    places = list(dict.fromkeys(_place(trace) for trace in traces)) or [""]
    columns = sorted({_domain(layout, "x", place) for place in places})
    rows = sorted({_domain(layout, "y", place) for place in places}, reverse=True)
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    panels = {
        place: grid[rows.index(_domain(layout, "y", place))][
            columns.index(_domain(layout, "x", place))
        ]
        for place in places
    }
    for axes in grid.ravel():
        if not any(axes is panel for panel in panels.values()):
            axes.set_axis_off()
    return panels


def _axis(layout: dict[str, Any], letter: str, place: str) -> dict[str, Any]:
    return dict(layout.get(f"{letter}axis{place}") or {})


def _domain(layout: dict[str, Any], letter: str, place: str) -> tuple[float, ...]:
    axis = _axis(layout, letter, place)
    return tuple(round(float(end), 3) for end in axis.get("domain") or (0.0, 1.0))


def _numbers(values: Any) -> np.ndarray:
    return np.array([np.nan if value is None else float(value) for value in values])


def _trace(axes: Axes, trace: dict[str, Any], layout: dict[str, Any]) -> None:
    kind = trace["type"]
    if kind == "scatter" and (trace.get("marker") or {}).get("showscale"):
        _colour_bar(axes, trace["marker"])
    elif kind == "scatter":
        _scatter(axes, trace)
    elif kind == "bar":
        _bars(axes, trace, layout)
    elif kind == "heatmap":
        _cells(axes, trace, layout)
    else:
        raise ValueError(f"figures: no drawing of a trace of type {kind!r}")


def _scatter(axes: Axes, trace: dict[str, Any]) -> None:
    x, y = _numbers(trace["x"]), _numbers(trace["y"])
    marker, line = trace.get("marker") or {}, trace.get("line") or {}
    mode = trace.get("mode") or "lines+markers"
    colour = line.get("color") or marker.get("color") or INK
    hollow = str(marker.get("symbol", "")).endswith("-open")
    axes.errorbar(
        x,
        y,
        xerr=_bars_of_error(trace.get("error_x")),
        yerr=_bars_of_error(trace.get("error_y")),
        color=colour,
        elinewidth=1.2,
        linestyle=_LINES.get(line.get("dash", "solid"), "-") if "lines" in mode else "none",
        linewidth=line.get("width", 1.5) * _POINTS_A_PIXEL,
        marker=_MARKERS.get(marker.get("symbol", "circle"), "o") if "markers" in mode else "",
        markersize=marker.get("size", 6) * _POINTS_A_PIXEL,
        markerfacecolor="none" if hollow else colour,
        label=trace.get("name") or "_",
    )


def _bars_of_error(error: dict[str, Any] | None) -> np.ndarray | None:
    if not error:
        return None
    ends = [_numbers(error[name]) for name in ("arrayminus", "array")]
    return np.nan_to_num(np.vstack(ends))


def _bars(axes: Axes, trace: dict[str, Any], layout: dict[str, Any]) -> None:
    marker = trace.get("marker") or {}
    look = {
        "color": marker.get("color", INK),
        "alpha": marker.get("opacity", 1.0),
        "label": trace.get("name") or "_",
    }
    thick = 1 - float(layout.get("bargap") or 0.2)
    if trace.get("orientation") == "h":
        axes.barh(list(trace["y"]), _numbers(trace["x"]), height=thick, **look)
        return
    others = [bar for bar in axes.containers if getattr(bar, "patches", None)]
    # Bars of a second series stand beside those of the first.
    shift = thick / 2 * len(others)
    axes.bar(_numbers(trace["x"]) + shift, _numbers(trace["y"]), width=thick / 2, **look)


def _cells(axes: Axes, trace: dict[str, Any], layout: dict[str, Any]) -> None:
    """The picture below a panel of cells: it shows them, smoothed, over the template."""
    for image in layout.get("images") or ():
        if image.get("xref") == f"x{_place(trace)}":
            picture = base64.b64decode(image["source"].partition(",")[2])
            pixels = imread(io.BytesIO(picture), format="png")
            (first, last), top = _axis(layout, "x", _place(trace))["range"], image["y"]
            # An axis may run to the left: the person's right is on the left.
            right = image["x"] + image["sizex"] * np.sign(last - first)
            extent = (image["x"], right, top - image["sizey"], top)
            axes.imshow(pixels, extent=extent, aspect="auto", zorder=0)


def _colour_bar(axes: Axes, marker: dict[str, Any]) -> None:
    """The scale of colours of all panels, below them."""
    colours = [(at, _rgb(text)) for at, text in marker["colorscale"]]
    scale = ScalarMappable(
        Normalize(marker["cmin"], marker["cmax"]),
        LinearSegmentedColormap.from_list("cells", colours),
    )
    spec, figure = marker["colorbar"], axes.figure
    bar = figure.colorbar(scale, ax=figure.axes, location="bottom", shrink=0.3)
    bar.set_ticks(list(spec["tickvals"]), labels=[_text(one) for one in spec["ticktext"]])
    bar.set_label(_text(spec["title"]["text"]))


def _rgb(text: str) -> tuple[float, ...]:
    """Colour of ``rgb(r, g, b)``, as matplotlib has it.

    >>> _rgb("rgb(255, 0, 51)")
    (1.0, 0.0, 0.2)
    """
    return tuple(float(part) / 255 for part in re.findall(r"[\d.]+", text))


def _finish(axes: Axes, layout: dict[str, Any], place: str, panels: int) -> None:
    """Scales, ticks and titles of a panel, and lines across it."""
    for letter in "xy":
        _finish_axis(axes, letter, _axis(layout, letter, place))
    for shape in layout.get("shapes") or ():
        if shape["type"] == "line" and shape["x0"] == shape["x1"]:
            line = shape.get("line") or {}
            dash = _LINES.get(line.get("dash", "solid"), "-")
            axes.axvline(shape["x0"], color=line.get("color", MUTED), linewidth=0.8, linestyle=dash)
    titles = [note for note in layout.get("annotations") or () if note.get("showarrow") is False]
    number = int(place or 1) - 1
    if panels > 1 and number < len(titles):
        axes.set_title(_text(titles[number]["text"]), fontsize=9)


def _finish_axis(axes: Axes, letter: str, spec: dict[str, Any]) -> None:
    """Scale, ticks, title and ends of one axis."""
    axis = axes.xaxis if letter == "x" else axes.yaxis
    if spec.get("visible") is False:
        axes.set_axis_off()
    if spec.get("type") == "log":
        (axes.set_xscale if letter == "x" else axes.set_yscale)("log")
        axis.set_minor_formatter(NullFormatter())
    title = spec.get("title") or {}
    axis.set_label_text(_text(title.get("text", "") if isinstance(title, dict) else title))
    if (ticks := spec.get("tickvals")) is not None:
        labels = spec.get("ticktext")
        axis.set_ticks(list(ticks), None if labels is None else [_text(one) for one in labels])
    if spec.get("showgrid") is False:
        axis.grid(False)
    _limits(axes, letter, spec)


def _limits(axes: Axes, letter: str, spec: dict[str, Any]) -> None:
    limits = axes.set_xlim if letter == "x" else axes.set_ylim
    if spec.get("range") is not None and spec.get("type") != "log":
        limits(*spec["range"])
    if spec.get("autorange") == "reversed":
        (axes.xaxis if letter == "x" else axes.yaxis).set_inverted(True)
    if spec.get("rangemode") == "tozero":
        limits(0, None)


def _legend(figure: Figure, all_axes: dict[str, Axes], layout: dict[str, Any]) -> None:
    if layout.get("showlegend") is False:
        return
    handles, labels = next(iter(all_axes.values())).get_legend_handles_labels()
    if labels:
        figure.legend(
            handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, fontsize=9
        )


def _text(text: Any) -> str:
    """A label without tags, its breaks as line ends."""
    return re.sub(r"<[^>]+>", "", re.sub(r"<br ?/?>", "\n", str(text or "")))
