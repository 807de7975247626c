"""The report's charts, as Plotly figures made of rows of `summary`, each with its table.

Every point carries its row's stratum and measure in ``customdata``; a chart never holds a number
that is not in the table beside it. Colours are those of ``PALETTE``, which the page exchanges for
the reader's scheme.
"""

from __future__ import annotations

import dataclasses
import json
import textwrap
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.subplots import make_subplots

from cmburden.report import brain_picture
from cmburden.report.tables import number, of, of_measure, share
from cmburden.space.regions import REGIONS
from cmburden.summary import lesion_map

#: Colours on light paper, and what the page puts in their place on dark paper.
PALETTE = {
    "#1b1d1f": "#e7e8e6",  # ink
    "#5d6368": "#9aa1a8",  # muted
    "#d9d9d1": "#33383d",  # rule
    "#17527f": "#86b9e3",  # GRE
    "#b0501c": "#f0a06c",  # SWI
    "#fdfdfb": "#15171a",  # paper
}
INK, MUTED, RULE, PAPER = "#1b1d1f", "#5d6368", "#d9d9d1", "#fdfdfb"
COLOURS = {"GRE": "#17527f", "SWI": "#b0501c"}
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
_CLEAR = "rgba(0,0,0,0)"
MOST_COUNTS = 40


@dataclasses.dataclass(frozen=True)
class Chart:
    """A figure, what it shows in a sentence, and its table."""

    name: str
    alt: str
    caption: str
    figure: go.Figure
    columns: list[str]
    rows: list[list[Any]]

    def json(self) -> Markup:
        """For a script element: no ``<`` can end it."""
        text = json.dumps(self.figure.to_plotly_json(), sort_keys=True, separators=(",", ":"))
        return Markup(text.replace("<", "\\u003c"))

    @property
    def height(self) -> int:
        return self.figure.layout.height


def _key(row: dict[str, Any]) -> str:
    return f"{row['stratum']} | {row['measure']}"


def _finished(figure: go.Figure, height: int, **layout) -> go.Figure:
    figure.update_layout(
        template=None,
        height=height,
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
        paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR,
        hoverlabel={"bgcolor": PAPER, "bordercolor": MUTED, "font": {"color": INK}},
        dragmode=False,
        margin={"l": 10, "r": 14, "t": 34, "b": 44, "pad": 4},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"color": INK}},
    )
    axis = {
        "fixedrange": True, "gridcolor": RULE, "linecolor": MUTED, "tickcolor": MUTED,
        "zerolinecolor": MUTED, "automargin": True, "title": {"font": {"color": MUTED}},
    }  # fmt: skip
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure.update_layout(**layout)


def _errors(rows: list[dict[str, Any]], scale: float = 1.0) -> dict[str, Any]:
    """Distances from the estimates to the ends of their intervals."""
    ends = {"array": "ci_high", "arrayminus": "ci_low"}
    found = {
        name: [
            None if row[end] is None else abs(row[end] - row["estimate"]) * scale for row in rows
        ]
        for name, end in ends.items()
    }
    return {"type": "data", "symmetric": False, "thickness": 1.5, "width": 0} | found


def _hover(rows: list[dict[str, Any]], scale: float, unit: str, digits: int) -> list[str]:
    texts = []
    for row in rows:
        text = f"{row['estimate'] * scale:.{digits}f}{unit}"
        if row["ci_low"] is not None:
            text += f" ({row['ci_low'] * scale:.{digits}f}–{row['ci_high'] * scale:.{digits}f})"
        if row["denominator"] and row["n"] is not None:
            text += f", {row['n']}/{row['denominator']}"
        texts.append(text)
    return texts


def forest(
    lines: list[tuple[str, dict[str, dict[str, Any]]]],
    *,
    title: str,
    scale: float = 100.0,
    unit: str = " %",
    digits: int = 1,
    log: bool = False,
    colours: dict[str, str] = COLOURS,
) -> go.Figure:
    """Estimates with intervals, a line each; a line holds up to one row a series.

    ``lines``: name and rows of `summary` by series. A row without estimate is not drawn.
    """
    series = list(dict.fromkeys(name for _, rows in lines for name in rows))
    figure = go.Figure()
    for place, name in enumerate(series):
        shift = 0.36 * (place - (len(series) - 1) / 2) / max(1, len(series) - 1)
        own = [
            (at + shift, label, rows[name])
            for at, (label, rows) in enumerate(lines)
            if name in rows and rows[name]["estimate"] is not None
        ]
        if not own:
            continue
        rows = [row for _, _, row in own]
        figure.add_scatter(
            x=[row["estimate"] * scale for row in rows],
            y=[at for at, _, _ in own],
            error_x=_errors(rows, scale),
            customdata=[_key(row) for row in rows],
            text=[f"{label}<br>{text}" for (_, label, _), text
                  in zip(own, _hover(rows, scale, unit, digits), strict=True)],
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            mode="markers",
            name=name,
            marker={"color": colours.get(name, MUTED), "size": 8,
                    "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
        )  # fmt: skip
    _finished(figure, 24 * len(lines) * max(1, len(series) // 2) + 120, showlegend=len(series) > 1)
    figure.update_yaxes(
        tickvals=list(range(len(lines))),
        # Two lines of letters are as high as a row; the whole name is in the hover text.
        ticktext=[
            "<br>".join(textwrap.wrap(label, 24, max_lines=2, placeholder=" …"))
            for label, _ in lines
        ],
        range=[len(lines) - 0.4, -0.6],
        showgrid=False,
        zeroline=False,
    )
    if log:
        ends = [row[end] for _, rows in lines for row in rows.values()
                for end in ("ci_low", "ci_high", "estimate") if row[end]]  # fmt: skip
        ticks = _log_ticks(min(ends, default=1), max(ends, default=1))
        figure.update_xaxes(
            title_text=title, type="log", tickvals=ticks, ticktext=[f"{t:g}" for t in ticks]
        )
        figure.add_vline(x=1, line={"color": MUTED, "width": 1})
    else:
        figure.update_xaxes(title_text=title, rangemode="tozero")
    return figure


def _log_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: about 1, 1.5, 2, 3, 5, 7 while few decades are shown.

    >>> _log_ticks(0.6, 2.2), _log_ticks(0.01, 150)
    ([0.5, 0.7, 1, 1.5, 2, 3], [0.01, 0.1, 1, 10, 100, 1000])
    """
    low, high = max(low, 1e-6), min(high, 1e6)
    steps = (1, 1.5, 2, 3, 5, 7) if high / low < 12 else (1, 2, 5) if high / low < 200 else (1,)
    all_ticks = [float(f"{step * 10.0**decade:.3g}") for decade in range(-7, 8) for step in steps]
    first = max(t for t in all_ticks if t <= low)
    last = min(t for t in all_ticks if t >= high)
    return [int(t) if t.is_integer() else t for t in all_ticks if first <= t <= last]


def counts(tables, contrasts: list[tuple[str, str]]) -> Chart | None:
    """Participants by their number of definite microbleeds, from one on; None where none has."""
    figure, found = go.Figure(), {}
    for name, stratum in contrasts:
        rows = tables.starting(stratum, "participants count=")
        rows = {int(row["measure"].partition("=")[2]): row for row in rows}
        found[name] = rows
        shown = sorted(count for count in rows if 0 < count <= MOST_COUNTS)
        figure.add_bar(
            x=shown,
            y=[rows[count]["n"] for count in shown],
            customdata=[_key(rows[count]) for count in shown],
            hovertemplate="%{y} participants with %{x}<extra>%{fullData.name}</extra>",
            name=name,
            marker={"color": COLOURS[name]},
        )
    _finished(figure, 300, bargap=0.15, showlegend=len(contrasts) > 1)
    figure.update_xaxes(title_text="Definite microbleeds", tickformat="d")
    figure.update_yaxes(title_text="Participants", tickformat="d")
    levels = sorted({count for rows in found.values() for count in rows})
    if not any(levels):
        return None
    more = levels and levels[-1] > MOST_COUNTS
    return Chart(
        "counts",
        "Bars: participants by their number of definite microbleeds, from one on, by contrast.",
        "Participants with at least one definite microbleed, by their number of them; those with "
        f"none stand in the table{f', as do numbers above {MOST_COUNTS}' if more else ''}.",
        figure,
        ["Definite microbleeds", *[f"Participants, {name}" for name, _ in contrasts]],
        [
            [str(count)]
            + [number(found[name][count]) if count in found[name] else "–" for name, _ in contrasts]
            for count in levels
        ],
    )


def regions(tables, contrasts: list[tuple[str, str]]) -> Chart | None:
    """Definite microbleeds by MARS region, left and right of a common axis; None without any."""
    if not any(tables.count(stratum, "lesions definite") for _, stratum in contrasts):
        return None
    figure = make_subplots(
        1, len(contrasts), shared_yaxes=True, subplot_titles=[name for name, _ in contrasts]
    )
    names = [region.name.replace("deep and periventricular", "deep, periventr.")
             for region in REGIONS]  # fmt: skip
    table = [[name, region.group] for name, region in zip(names, REGIONS, strict=True)]
    for column, (name, stratum) in enumerate(contrasts, start=1):
        for side, sign in (("left", -1), ("right", 1)):
            rows = [
                tables.estimate(stratum, f"lesions region={region.name} hemisphere={side}")
                for region in REGIONS
            ]
            figure.add_bar(
                x=[sign * row["n"] for row in rows],
                y=names,
                customdata=[_key(row) for row in rows],
                text=[f"{row['n']} {side}" for row in rows],
                textposition="none",
                hovertemplate="%{y}: %{text}<extra></extra>",
                orientation="h",
                name=side,
                marker={"color": COLOURS[name], "opacity": 1 if side == "left" else 0.6},
                row=1,
                col=column,
            )
            for line, row in zip(table, rows, strict=True):
                line.append(number(row))
    _finished(figure, 420, barmode="relative", bargap=0.25, showlegend=False)
    most = max((max(map(abs, trace.x)) for trace in figure.data), default=1) or 1
    ticks = sorted({0, -most, most})
    figure.update_xaxes(tickvals=ticks, ticktext=[str(abs(tick)) for tick in ticks],
                        title_text="left | right", range=[-1.1 * most, 1.1 * most])  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return Chart(
        "regions",
        "Bars to the left and right: definite microbleeds by MARS region and side, by contrast.",
        "Definite microbleeds by MARS region: the person’s left to the left, right to the right.",
        figure,
        ["Region", "Group"] + [f"{name}, {side}" for name, _ in contrasts
                               for side in ("left", "right")],
        table,
    )  # fmt: skip


def brain_map(tables, name: str) -> Chart:
    """Definite microbleeds in cells of MNI152, over axial slices of the template."""
    rows = tables.lesion_cells(name)
    most = max((row["n"] for row in rows.values()), default=1)
    columns = 4
    lines = -(-len(lesion_map.SLABS) // columns)
    figure = make_subplots(
        lines, columns, horizontal_spacing=0.01, vertical_spacing=0.09,
        subplot_titles=[f"z = {z} mm".replace("-", "−") for z in lesion_map.SLABS],
    )  # fmt: skip
    (x0, x1), (y0, y1) = lesion_map.EXTENT
    step_x, step_y, _ = lesion_map.CELL_MM
    xs = list(range(x0 + step_x // 2, x1, step_x))
    ys = list(range(y0 + step_y // 2, y1, step_y))
    for place, z in enumerate(lesion_map.SLABS):
        line, column = place // columns + 1, place % columns + 1
        cells = [[rows.get((x, y, z)) for x in xs] for y in ys]
        figure.add_heatmap(
            x=xs,
            y=ys,
            z=[[cell and cell["n"] for cell in line_] for line_ in cells],
            customdata=[[cell and _key(cell) for cell in line_] for line_ in cells],
            zmin=0,
            zmax=most,
            colorscale=[[0, "rgba(255,214,102,0.55)"], [1, "rgba(196,30,58,0.95)"]],
            hoverongaps=False,
            hovertemplate=f"%{{z}} around x %{{x}}, y %{{y}}, z {z} mm<extra></extra>",
            showscale=place == 0,
            colorbar={"title": {"text": "Lesions a cell", "side": "top"}, "orientation": "h",
                      "tickvals": [1, most] if most > 1 else [1], "thickness": 10, "len": 0.22,
                      "x": 0.88, "y": 0.12, "xanchor": "center", "tickfont": {"color": INK},
                      "outlinewidth": 0},
            row=line,
            col=column,
        )  # fmt: skip
        axis = "" if place == 0 else str(place + 1)
        figure.add_layout_image(
            source=brain_picture.slice_picture(z), xref=f"x{axis}", yref=f"y{axis}", x=x0, y=y1,
            sizex=x1 - x0, sizey=y1 - y0, sizing="stretch", layer="below",
        )  # fmt: skip
        figure.update_yaxes(scaleanchor=f"x{axis}", row=line, col=column)
    _finished(figure, 520, margin={"l": 4, "r": 4, "t": 40, "b": 10})
    figure.update_xaxes(range=[x0, x1], visible=False)
    figure.update_yaxes(range=[y0, y1], visible=False)
    for note in figure.layout.annotations:
        note.font = {"size": 11, "color": MUTED}
    ordered = sorted(rows.items(), key=lambda pair: (-pair[1]["n"], pair[0]))
    return Chart(
        f"map-{name}",
        f"Map of definite microbleeds in MNI152 on seven axial slices, {name}; the regions by "
        "side in the table before say the same in words.",
        f"{name}: definite microbleeds in cells of 10 × 10 × 20 mm of MNI152, over the template. "
        "The person’s left is on the left.",
        figure,
        ["x, y, z of the cell’s centre, mm", "Lesions"],
        [
            [", ".join(str(part) for part in centre).replace("-", "−"), number(row)]
            for centre, row in ordered
        ],
    )


def by_age(tables, contrasts, bands: list[tuple[str, float]], sexes: list[str]) -> Chart | None:
    """Prevalence by age band, a line for each contrast and sex, with published ones beside."""
    figure, table = go.Figure(), []
    for name, _ in contrasts:
        for place, sex in enumerate(sexes or [None]):
            own = [] if sex is None else [f"sex={sex}"]
            rows = []
            for band, middle in bands:
                stratum = " & ".join([f"contrast={name}", f"age_band={band}", *own])
                row = tables.estimate(stratum, "presence definite")
                if row["denominator"]:
                    rows.append((middle, band, row))
            if not rows:
                continue
            title = name if sex is None else f"{name}, {sex}"
            only = [row for _, _, row in rows]
            figure.add_scatter(
                x=[middle + 0.5 * place for middle, _, _ in rows],
                y=[100 * row["estimate"] for row in only],
                error_y=_errors(only, 100),
                customdata=[_key(row) for row in only],
                text=[f"{band}: {text}" for (_, band, _), text
                      in zip(rows, _hover(only, 100, " %", 1), strict=True)],
                hovertemplate="%{text}<extra>%{fullData.name}</extra>",
                name=title,
                mode="lines+markers",
                line={"color": COLOURS[name], "width": 1.5,
                      "dash": ("solid", "dash", "dot")[place % 3]},
                marker={"size": 8, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
            )  # fmt: skip
            table += [[band, title, of(row), share(row)] for _, band, row in rows]
    if not figure.data:
        return None
    from cmburden.summary.published import ANCHORS

    drawn = [anchor for anchor in ANCHORS if anchor.at is not None]
    rows = [tables.estimate(f"published={anchor.study}", "presence") for anchor in drawn]
    if all(row["estimate"] is not None for row in rows):
        figure.add_scatter(
            x=[anchor.at for anchor in drawn],
            y=[100 * row["estimate"] for row in rows],
            customdata=[_key(row) for row in rows],
            text=[f"{one.study}, {one.contrast}: {100 * one.share:.1f} %" for one in drawn],
            hovertemplate="%{text}<extra>published</extra>",
            name="published",
            mode="markers",
            marker={"color": MUTED, "size": 9, "symbol": "star-open"},
        )  # fmt: skip
    _finished(figure, 380)
    figure.update_xaxes(title_text="Age, years")
    figure.update_yaxes(title_text="With a definite microbleed, %", rangemode="tozero")
    return Chart(
        "by-age",
        "Lines: prevalence of definite microbleeds by age band, contrast and sex, with 95 % "
        "intervals; stars: published prevalences.",
        "Participants with at least one definite microbleed, with Wilson’s 95 % interval, not "
        "corrected for detector error. Stars: published figures at their mean age, from the table "
        "below.",
        figure,
        ["Age band", "Contrast, sex", "With microbleed/usable", "Share, %"],
        table,
    )


def thresholds(tables, contrasts, definite: float | None) -> Chart | None:
    """Prevalence were the threshold of definite lesions another one."""
    figure, table = go.Figure(), []
    for name, _ in contrasts:
        only = tables.curve("prevalence", contrast=name)
        if not only:
            continue
        figure.add_scatter(
            x=[row["x"] for row in only],
            y=[100 * row["estimate"] for row in only],
            error_y=_errors(only, 100),
            customdata=[_key(row) for row in only],
            text=_hover(only, 100, " %", 1),
            hovertemplate="at %{x}: %{text}<extra>%{fullData.name}</extra>",
            name=name,
            mode="lines+markers",
            line={"color": COLOURS[name], "width": 1.5},
            marker={"size": 6, "symbol": _SYMBOLS[len(figure.data)]},
        )
        table += [[name, of_measure(f"{row['x']:g}"), of(row), share(row)] for row in only]
    if not figure.data:
        return None
    _finished(figure, 320, showlegend=len(contrasts) > 1)
    if definite is not None:
        figure.add_vline(x=definite, line={"color": MUTED, "width": 1, "dash": "dash"})
    figure.update_xaxes(title_text="Threshold of the calibrated probability")
    figure.update_yaxes(title_text="Apparent prevalence, %", rangemode="tozero")
    return Chart(
        "thresholds",
        "Lines: apparent prevalence against the threshold of the probability, by contrast.",
        "Apparent prevalence were the threshold of a definite microbleed another one; the dashed "
        "line is the threshold in use.",
        figure,
        ["Contrast", "Threshold", "With microbleed/usable", "Share, %"],
        table,
    )


def froc(tables, model: str, labels: tuple[str, ...] = ("definite", "possible")) -> Chart | None:
    """Sensitivity against false positives a scan on the validation set, operating points marked."""
    stratum = f"model={model}"
    curve = tables.curve("froc", model=model)
    figure, table = go.Figure(), []
    if curve:
        figure.add_scatter(
            x=[row["x"] for row in curve],
            y=[row["estimate"] for row in curve],
            customdata=[_key(row) for row in curve],
            hovertemplate="%{y:.2f} at %{x:.2f} false positives a scan<extra>curve</extra>",
            name="curve",
            mode="lines",
            line={"color": MUTED, "width": 2},
        )
        table += [
            ["curve", of_measure(f"{row['x']:g}"), number(row, "estimate", 2)] for row in curve
        ]
    place = 0
    for label in labels:
        for contrast in ("", "_GRE", "_SWI"):
            pair = [
                tables.estimate(stratum, f"metrics {what}_{label}{contrast}")
                for what in ("fp_per_scan", "sensitivity")
            ]
            if any(row["estimate"] is None for row in pair):
                continue
            name = f"{label} {contrast.strip('_')}".strip()
            figure.add_scatter(
                x=[pair[0]["estimate"]],
                y=[pair[1]["estimate"]],
                customdata=[f"{_key(pair[0])} || {_key(pair[1])}"],
                hovertemplate="%{y:.2f} at %{x:.2f} false positives a scan"
                "<extra>%{fullData.name}</extra>",
                name=name,
                mode="markers",
                marker={"size": 11, "symbol": _SYMBOLS[place % len(_SYMBOLS)],
                        "color": COLOURS[contrast.strip("_") or "GRE"]},
            )  # fmt: skip
            place += 1
            table.append([name, number(pair[0], "estimate", 2), number(pair[1], "estimate", 2)])
    if not figure.data:
        return None
    _finished(figure, 340)
    figure.update_xaxes(title_text="False positives a scan", rangemode="tozero")
    figure.update_yaxes(title_text="Sensitivity for microbleeds", range=[0, 1.02])
    return Chart(
        "froc",
        "Sensitivity against false positives a scan on the model’s validation set, with the "
        "operating points of definite and possible marked.",
        "On the model’s own validation set, not on your scans."
        + ("" if curve else " The contract holds the operating points alone, no curve."),
        figure,
        ["Point", "False positives a scan", "Sensitivity"],
        table,
    )
