"""Definite microbleeds in MNI152: smoothed over axial slices of the template, counted in cells."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cmburden.report import brain_picture
from cmburden.report.charts.chart import INK, MUTED, TEMPLATE, Chart, row_key
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, minus, number
from cmburden.summary.lesion_map import CELL_MM, EXTENT, SLABS
from cmburden.summary.measures import Participants
from cmburden.summary.strata import Stratum

_COLUMNS = 4
(_X0, _X1), (_Y0, _Y1) = EXTENT
_XS = list(range(_X0 + CELL_MM[0] // 2, _X1, CELL_MM[0]))
_YS = list(range(_Y0 + CELL_MM[1] // 2, _Y1, CELL_MM[1]))
#: From few lesions in a cell to many, as ``brain_picture`` colours them.
_COLOUR_SCALE = [[at, f"rgb{colour}"] for at, colour in brain_picture.COLOURS]
_PER = 100
_LETTER = {"showarrow": False, "font": {"size": 11}}


@dataclasses.dataclass(frozen=True)
class Cells:
    """Rows of `lesion_cells` of a contrast by the cell's centre, (x, y, z) mm of MNI152.

    ``people``: participants with a usable scan. ``most``: lesions a cell of 100 participants that
    have the last colour, the same for all contrasts.
    """

    contrast: str
    people: int
    most: float
    rows: dict[tuple[int, int, int], Row]


def select(tables: ReportTables) -> list[Cells]:
    """The cells of each contrast that has a definite microbleed with a place in MNI152."""
    usable = Participants("usable")
    found = {
        name: (tables.count(Stratum(contrast=name), usable), rows)
        for name in tables.contrasts()
        if (rows := tables.lesion_cells(name))
    }
    smooth = [_per(rows, people, z).max() for people, rows in found.values() for z in SLABS]
    return [Cells(name, people, max(smooth), rows) for name, (people, rows) in found.items()]


def _per(rows: dict[tuple[int, int, int], Row], people: int, z: int) -> np.ndarray:
    """Lesions a cell for each ``_PER`` of the ``people``, at each pixel of the slice at ``z``."""
    counts = {centre: row["n"] or 0 for centre, row in rows.items()}
    return _PER * brain_picture.density(counts, z) / max(people, 1)


def draw(cells: Cells) -> Chart:
    """The map of one contrast."""
    figure = make_subplots(
        -(-len(SLABS) // _COLUMNS),
        _COLUMNS,
        horizontal_spacing=0.01,
        vertical_spacing=0.09,
        subplot_titles=[minus(f"z = {z} mm") for z in SLABS],
    )
    for place, z in enumerate(SLABS):
        _add_slice(figure, place, z, cells)
    figure.add_trace(_colour_bar(cells.most), row=1, col=1)
    figure.update_layout(template=TEMPLATE, height=520, margin={"l": 4, "r": 4, "t": 40, "b": 10})
    figure.update_xaxes(range=[_X1, _X0], visible=False)
    figure.update_yaxes(range=[_Y0, _Y1], visible=False)
    for note in figure.layout.annotations:
        note.font = {"size": 11, "color": MUTED}
    for place in range(len(SLABS)):
        for letter, x in (("R", _X1 - 8), ("L", _X0 + 8)):
            at = {"row": place // _COLUMNS + 1, "col": place % _COLUMNS + 1}
            figure.add_annotation(x=x, y=-108, text=letter, **_LETTER, **at)
    ordered = sorted(cells.rows.items(), key=lambda pair: (-pair[1]["n"], pair[0]))
    return Chart(
        name=f"map-{cells.contrast}",
        alt="Map of definite microbleeds in MNI152 on seven axial slices, "
        f"{cells.contrast}; the regions by side in the table before say the same in words.",
        caption=f"{cells.contrast}: definite microbleeds for each {_PER} participants in cells of "
        "10 × 10 × 20 mm of MNI152, smoothed for the eye and cut to the brain; contrasts have one "
        "scale. The pointer, and the table, give the counts of cells. The person’s right is on the "
        "left. Who was scanned where, the map does not know.",
        figure=figure,
        columns=["x, y, z of the cell’s centre, mm", "Lesions"],
        rows=[[minus(", ".join(map(str, centre))), number(row)] for centre, row in ordered],
    )


def _add_slice(figure: go.Figure, place: int, z: int, cells: Cells) -> None:
    """Add the slice at ``z`` mm as panel ``place``, counted from 0.

    The picture shows the smoothed density; the counts of cells lie over it unseen, for the pointer.
    """
    at = {"row": place // _COLUMNS + 1, "col": place % _COLUMNS + 1}
    grid = [[cells.rows.get((x, y, z)) for x in _XS] for y in _YS]
    figure.add_heatmap(
        x=_XS,
        y=_YS,
        z=[[cell and cell["n"] for cell in line] for line in grid],
        customdata=[[cell and row_key(cell) for cell in line] for line in grid],
        opacity=0,
        hoverongaps=False,
        hovertemplate=f"%{{z}} around x %{{x}}, y %{{y}}, z {z} mm<extra></extra>",
        showscale=False,
        **at,
    )
    axis = "" if place == 0 else str(place + 1)
    figure.add_layout_image(
        source=brain_picture.slice_picture(z, _per(cells.rows, cells.people, z) / cells.most),
        xref=f"x{axis}",
        yref=f"y{axis}",
        x=_X1,
        y=_Y1,
        sizex=_X1 - _X0,
        sizey=_Y1 - _Y0,
        sizing="stretch",
        layer="below",
    )
    figure.update_yaxes(scaleanchor=f"x{axis}", **at)


def _colour_bar(most: float) -> go.Scatter:
    """A trace without points that has the scale of colours."""
    bar = {
        "title": {"text": f"A cell, of {_PER} participants", "side": "top"},
        "orientation": "h",
        "tickvals": [0, most],
        "ticktext": ["0", f"{most:.2g}"],
        "thickness": 10,
        "len": 0.22,
        "x": 0.88,
        "y": 0.12,
        "xanchor": "center",
        "tickfont": {"color": INK},
        "outlinewidth": 0,
    }
    scale: dict[str, Any] = {"color": [0], "cmin": 0, "cmax": most, "colorscale": _COLOUR_SCALE}
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={**scale, "showscale": True, "colorbar": bar},
        hoverinfo="skip",
        showlegend=False,
    )
