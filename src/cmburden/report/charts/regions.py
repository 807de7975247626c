"""Definite microbleeds by region of the Microbleed Anatomical Rating Scale (MARS) and side."""

from __future__ import annotations

import dataclasses

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cmburden.report.charts.chart import COLOURS, TEMPLATE, Chart, row_key
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, number
from cmburden.space.regions import REGIONS
from cmburden.summary.measures import Lesions, LesionsInRegion
from cmburden.summary.strata import Stratum

#: Sides in the order of the axis, right first as on every picture of the head, with the
#: sign and the opacity of their bars.
_SIDES = (("right", -1, 1.0), ("left", 1, 0.6))
_NAMES = [region.name.replace("deep and periventricular", "deep, periventr.") for region in REGIONS]


@dataclasses.dataclass(frozen=True)
class Sides:
    """Rows of `summary` of a contrast by side, in the order of ``REGIONS``."""

    contrast: str
    rows: dict[str, list[Row]]


def select(tables: ReportTables) -> list[Sides]:
    """The rows of each contrast; none where no contrast has a definite microbleed."""
    strata = {name: Stratum(contrast=name) for name in tables.contrasts()}
    if not any(tables.count(stratum, Lesions("definite")) for stratum in strata.values()):
        return []
    return [
        Sides(
            name,
            {
                side: [
                    tables.estimate(stratum, LesionsInRegion(region.name, side))
                    for region in REGIONS
                ]
                for side, _, _ in _SIDES
            },
        )
        for name, stratum in strata.items()
    ]


def draw(contrasts: list[Sides]) -> Chart | None:
    """Bars to both sides of an axis, a panel a contrast; None without any."""
    if not contrasts:
        return None
    figure = make_subplots(
        1, len(contrasts), shared_yaxes=True, subplot_titles=[one.contrast for one in contrasts]
    )
    for column, one in enumerate(contrasts, start=1):
        for side, sign, opacity in _SIDES:
            figure.add_trace(_bars(one, side, sign, opacity), row=1, col=column)
    figure.update_layout(
        template=TEMPLATE, height=420, barmode="relative", bargap=0.25, showlegend=False
    )
    most = max(row["n"] or 0 for one, side in _columns(contrasts) for row in one.rows[side]) or 1
    ticks = sorted({0, -most, most})
    figure.update_xaxes(
        tickvals=ticks,
        ticktext=[str(abs(tick)) for tick in ticks],
        title_text="right | left",
        range=[-1.1 * most, 1.1 * most],
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return Chart(
        name="regions",
        alt="Bars to both sides: definite microbleeds by MARS region and side, by contrast.",
        caption="Definite microbleeds by MARS region: the person’s right on the left, as on every "
        "picture of this report.",
        figure=figure,
        columns=[
            "Region",
            "Group",
            *[f"{one.contrast}, {side}" for one, side in _columns(contrasts)],
        ],
        rows=[
            [name, region.group, *[number(one.rows[side][at]) for one, side in _columns(contrasts)]]
            for at, (name, region) in enumerate(zip(_NAMES, REGIONS, strict=True))
        ],
    )


def _columns(contrasts: list[Sides]) -> list[tuple[Sides, str]]:
    """The table's columns of numbers, in order."""
    return [(one, side) for one in contrasts for side, _, _ in _SIDES]


def _bars(one: Sides, side: str, sign: int, opacity: float) -> go.Bar:
    rows = one.rows[side]
    return go.Bar(
        x=[row["n"] and sign * row["n"] for row in rows],
        y=_NAMES,
        customdata=[row_key(row) for row in rows],
        text=[f"{'suppressed' if row['n'] is None else row['n']} {side}" for row in rows],
        textposition="none",
        hovertemplate="%{y}: %{text}<extra></extra>",
        orientation="h",
        name=side,
        marker={"color": COLOURS[one.contrast], "opacity": opacity},
    )
