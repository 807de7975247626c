"""Definite microbleeds in cells of MNI152, over axial slices of the template."""

from __future__ import annotations

import dataclasses
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cmburden.report import brain_picture
from cmburden.report.charts.chart import INK, MUTED, TEMPLATE, Chart, row_key
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, minus, number
from cmburden.summary.lesion_map import CELL_MM, EXTENT, SLABS

_COLUMNS = 4
(_X0, _X1), (_Y0, _Y1) = EXTENT
_XS = list(range(_X0 + CELL_MM[0] // 2, _X1, CELL_MM[0]))
_YS = list(range(_Y0 + CELL_MM[1] // 2, _Y1, CELL_MM[1]))
#: From few lesions in a cell to many.
_COLOUR_SCALE = [[0, "rgba(255,214,102,0.55)"], [1, "rgba(196,30,58,0.95)"]]


@dataclasses.dataclass(frozen=True)
class Cells:
    """Rows of `lesion_cells` of a contrast by the cell's centre, (x, y, z) mm of MNI152."""

    contrast: str
    rows: dict[tuple[int, int, int], Row]


def select(tables: ReportTables) -> list[Cells]:
    """The cells of each contrast that has a definite microbleed with a place in MNI152."""
    return [Cells(name, rows) for name in tables.contrasts() if (rows := tables.lesion_cells(name))]


def draw(cells: Cells) -> Chart:
    """The map of one contrast."""
    figure = make_subplots(
        -(-len(SLABS) // _COLUMNS),
        _COLUMNS,
        horizontal_spacing=0.01,
        vertical_spacing=0.09,
        subplot_titles=[minus(f"z = {z} mm") for z in SLABS],
    )
    most = max(row["n"] for row in cells.rows.values())
    for place, z in enumerate(SLABS):
        _add_slice(figure, place, z, cells, most)
    figure.update_layout(template=TEMPLATE, height=520, margin={"l": 4, "r": 4, "t": 40, "b": 10})
    figure.update_xaxes(range=[_X0, _X1], visible=False)
    figure.update_yaxes(range=[_Y0, _Y1], visible=False)
    for note in figure.layout.annotations:
        note.font = {"size": 11, "color": MUTED}
    ordered = sorted(cells.rows.items(), key=lambda pair: (-pair[1]["n"], pair[0]))
    return Chart(
        name=f"map-{cells.contrast}",
        alt="Map of definite microbleeds in MNI152 on seven axial slices, "
        f"{cells.contrast}; the regions by side in the table before say the same in words.",
        caption=f"{cells.contrast}: definite microbleeds in cells of 10 × 10 × 20 mm of MNI152, "
        "over the template. The person’s left is on the left.",
        figure=figure,
        columns=["x, y, z of the cell’s centre, mm", "Lesions"],
        rows=[[minus(", ".join(map(str, centre))), number(row)] for centre, row in ordered],
    )


def _add_slice(figure: go.Figure, place: int, z: int, cells: Cells, most: int) -> None:
    """Add the slice at ``z`` mm as panel ``place``, counted from 0; ``most`` has the last colour.

    The scale of colours stands beside the first panel.
    """
    at = {"row": place // _COLUMNS + 1, "col": place % _COLUMNS + 1}
    grid = [[cells.rows.get((x, y, z)) for x in _XS] for y in _YS]
    figure.add_heatmap(
        x=_XS,
        y=_YS,
        z=[[cell and cell["n"] for cell in line] for line in grid],
        customdata=[[cell and row_key(cell) for cell in line] for line in grid],
        zmin=0,
        zmax=most,
        colorscale=_COLOUR_SCALE,
        hoverongaps=False,
        hovertemplate=f"%{{z}} around x %{{x}}, y %{{y}}, z {z} mm<extra></extra>",
        showscale=place == 0,
        colorbar=_colour_bar(most),
        **at,
    )
    axis = "" if place == 0 else str(place + 1)
    figure.add_layout_image(
        source=brain_picture.slice_picture(z),
        xref=f"x{axis}",
        yref=f"y{axis}",
        x=_X0,
        y=_Y1,
        sizex=_X1 - _X0,
        sizey=_Y1 - _Y0,
        sizing="stretch",
        layer="below",
    )
    figure.update_yaxes(scaleanchor=f"x{axis}", **at)


def _colour_bar(most: int) -> dict[str, Any]:
    return {
        "title": {"text": "Lesions a cell", "side": "top"},
        "orientation": "h",
        "tickvals": [1, most] if most > 1 else [1],
        "thickness": 10,
        "len": 0.22,
        "x": 0.88,
        "y": 0.12,
        "xanchor": "center",
        "tickfont": {"color": INK},
        "outlinewidth": 0,
    }
