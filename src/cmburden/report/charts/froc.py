"""Free-response ROC curve of the detector on its validation set, with the operating points."""

from __future__ import annotations

import dataclasses

import plotly.graph_objects as go

from cmburden.report.charts.chart import COLOURS, MUTED, SYMBOLS, TEMPLATE, Chart, row_key
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, coordinate, number
from cmburden.summary.measures import ContractNumber
from cmburden.summary.strata import Stratum

_LABELS = ("definite", "possible")
#: Endings of the keys of a contract's metrics: over all scans, or over those of one contrast.
_CONTRASTS = {"": None, "_GRE": "GRE", "_SWI": "SWI"}
_HOVER = "%{y:.2f} at %{x:.2f} false positives a scan"


@dataclasses.dataclass(frozen=True)
class MarkedPoint:
    """Rows of `summary` of one threshold: false positives a scan, and sensitivity."""

    name: str
    colour: str
    false_positives: Row
    sensitivity: Row


@dataclasses.dataclass(frozen=True)
class FrocRows:
    """``curve``: rows of `curves` by rising number of false positives; may be empty."""

    curve: list[Row]
    points: list[MarkedPoint]


def select(tables: ReportTables, model: str) -> FrocRows:
    """Curve and operating points of the contract of ``model``, as far as the contract has them."""
    stratum = Stratum(model=model)
    points = []
    for label in _LABELS:
        for ending, contrast in _CONTRASTS.items():
            false_positives, sensitivity = (
                tables.estimate(stratum, ContractNumber("metrics", f"{metric}_{label}{ending}"))
                for metric in ("fp_per_scan", "sensitivity")
            )
            if false_positives["estimate"] is None or sensitivity["estimate"] is None:
                continue
            name = label if contrast is None else f"{label} {contrast}"
            colour = COLOURS[contrast or "GRE"]
            points.append(MarkedPoint(name, colour, false_positives, sensitivity))
    return FrocRows(tables.curve("froc", model=model), points)


def draw(froc: FrocRows) -> Chart | None:
    """The chart; None where there is neither a curve nor a point."""
    if not froc.curve and not froc.points:
        return None
    figure = go.Figure()
    if froc.curve:
        _add_curve(figure, froc.curve)
    for place, point in enumerate(froc.points):
        _add_point(figure, point, SYMBOLS[place % len(SYMBOLS)])
    figure.update_layout(template=TEMPLATE, height=340)
    figure.update_xaxes(title_text="False positives a scan", rangemode="tozero")
    figure.update_yaxes(title_text="Sensitivity for microbleeds", range=[0, 1.02])
    no_curve = "" if froc.curve else " The contract holds the operating points alone, no curve."
    return Chart(
        name="froc",
        alt="Sensitivity against false positives a scan on the model’s validation set, with the "
        "operating points of definite and possible marked.",
        caption=f"On the model’s own validation set, not on your scans.{no_curve}",
        figure=figure,
        columns=["Point", "False positives a scan", "Sensitivity"],
        rows=[["curve", coordinate(row), number(row, "estimate", 2)] for row in froc.curve]
        + [
            [
                point.name,
                number(point.false_positives, "estimate", 2),
                number(point.sensitivity, "estimate", 2),
            ]
            for point in froc.points
        ],
    )


def _add_curve(figure: go.Figure, curve: list[Row]) -> None:
    figure.add_scatter(
        x=[row["x"] for row in curve],
        y=[row["estimate"] for row in curve],
        customdata=[row_key(row) for row in curve],
        hovertemplate=f"{_HOVER}<extra>curve</extra>",
        name="curve",
        mode="lines",
        line={"color": MUTED, "width": 2},
    )


def _add_point(figure: go.Figure, point: MarkedPoint, symbol: str) -> None:
    figure.add_scatter(
        x=[point.false_positives["estimate"]],
        y=[point.sensitivity["estimate"]],
        customdata=[f"{row_key(point.false_positives)} || {row_key(point.sensitivity)}"],
        hovertemplate=f"{_HOVER}<extra>%{{fullData.name}}</extra>",
        name=point.name,
        mode="markers",
        marker={"size": 11, "symbol": symbol, "color": point.colour},
    )
