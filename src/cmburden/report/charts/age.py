"""Prevalence by age band, contrast and sex, with false-positive floors, beside published ones."""

from __future__ import annotations

import dataclasses

import plotly.graph_objects as go

from cmburden.report.charts.chart import (
    COLOURS,
    MUTED,
    PERCENT,
    SYMBOLS,
    TEMPLATE,
    Chart,
    error_bars,
    hover_text,
    row_key,
)
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, of, share
from cmburden.summary.measures import DetectorRate, Presence
from cmburden.summary.published import ANCHORS, Anchor
from cmburden.summary.strata import Stratum

_DASHES = ("solid", "dash", "longdash")
#: Years between the points of two sexes in one age band, so that their intervals stand apart.
_SHIFT_YEARS = 0.9
#: Least number of participants of a point that a line may lead to. By eye.
_LEAST_JOINED = 5
#: Age in the middle of a band, the band, and the row of `summary`.
Point = tuple[float, str, Row]


@dataclasses.dataclass(frozen=True)
class Floor:
    """Share of scans of a contrast without a microbleed in which one is called, of `summary`."""

    contrast: str
    row: Row


@dataclasses.dataclass(frozen=True)
class AgeLine:
    """Prevalence of a contrast, and of the sex at ``place`` of all sexes if there are any."""

    contrast: str
    sex: str | None
    place: int
    points: list[Point]

    @property
    def title(self) -> str:
        return self.contrast if self.sex is None else f"{self.contrast}, {self.sex}"


def select(tables: ReportTables, bands: list[tuple[str, float]], sexes: list[str]) -> list[AgeLine]:
    """The lines that have a participant; ``bands`` with the age in their middle."""
    lines = []
    for name in tables.contrasts():
        for place, sex in enumerate(sexes or [None]):
            points = _points(tables, bands, name, sex)
            if points:
                lines.append(AgeLine(name, sex, place, points))
    return lines


def _points(
    tables: ReportTables, bands: list[tuple[str, float]], contrast: str, sex: str | None
) -> list[Point]:
    by_sex = {} if sex is None else {"sex": sex}
    points = []
    for band, middle in bands:
        stratum = Stratum(contrast=contrast, age_band=band, **by_sex)
        row = tables.estimate(stratum, Presence("definite"))
        if row["denominator"]:
            points.append((middle, band, row))
    return points


def select_published(tables: ReportTables) -> list[tuple[Anchor, Row]]:
    """Published prevalences with a mean age, each with its row of `summary`."""
    return [
        (anchor, tables.estimate(Stratum(published=anchor.study), Presence()))
        for anchor in ANCHORS
        if anchor.at is not None
    ]


def select_floors(tables: ReportTables) -> list[Floor]:
    """The false-positive floor of each contrast that has one."""
    measure = DetectorRate("false-positive floor")
    rows = {name: tables.estimate(Stratum(contrast=name), measure) for name in tables.contrasts()}
    return [Floor(name, row) for name, row in rows.items() if row["estimate"] is not None]


def draw(
    lines: list[AgeLine], published: list[tuple[Anchor, Row]], floors: list[Floor]
) -> Chart | None:
    """The chart; None without a line.

    Published prevalences are drawn only where every contrast has its floor: readers have none.
    """
    if not lines:
        return None
    figure = go.Figure()
    for place, line in enumerate(lines):
        _add(figure, line, _SHIFT_YEARS * (place - (len(lines) - 1) / 2))
    contrasts = {line.contrast for line in lines}
    floors = [floor for floor in floors if floor.contrast in contrasts]
    compared = {floor.contrast for floor in floors} == contrasts
    ages = [middle for line in lines for middle, _, _ in line.points]
    for floor in floors:
        _add_floor(figure, floor, (min(ages), max(ages)))
    if compared:
        _add_published(figure, published)
    figure.update_layout(template=TEMPLATE, height=380)
    figure.update_xaxes(title_text="Age, years")
    figure.update_yaxes(title_text="With a definite microbleed, %", rangemode="tozero")
    return Chart(
        name="by-age",
        alt="Lines: prevalence of definite microbleeds as detected by age band, contrast and sex, "
        "with 95 % intervals; dotted: false-positive floors.",
        caption="Participants with at least one definite microbleed called, with Wilson’s 95 % "
        f"interval, not corrected for detector error. Open points: fewer than {_LEAST_JOINED} "
        "participants, which no line joins. " + _about(compared),
        figure=figure,
        columns=["Age band", "Contrast, sex", "With microbleed/usable", "Share, %"],
        rows=[
            *(
                [band, line.title, of(row), share(row)]
                for line in lines
                for _, band, row in line.points
            ),
            *(
                ["all", f"{floor.contrast}, false-positive floor", of(floor.row), share(floor.row)]
                for floor in floors
            ),
        ],
    )


def _about(compared: bool) -> str:
    """What is drawn beside the lines."""
    if compared:
        return (
            "Dotted lines: the false-positive floor, the share of scans without a microbleed in "
            "which one is called. Stars: published figures of readers at their mean age, from the "
            "table below; readers have no such floor."
        )
    return (
        "The false-positive floor of a contrast is not known, so that published figures of readers "
        "are not drawn beside."
    )


def _add_floor(figure: go.Figure, floor: Floor, ages: tuple[float, float]) -> None:
    figure.add_scatter(
        x=list(ages),
        y=[PERCENT.of(floor.row)] * 2,
        customdata=[row_key(floor.row)] * 2,
        text=[hover_text(floor.row, PERCENT)] * 2,
        hovertemplate="%{text}<extra>%{fullData.name}</extra>",
        name=f"{floor.contrast}, floor",
        mode="lines",
        line={"color": COLOURS[floor.contrast], "width": 1, "dash": "dot"},
    )


def _add(figure: go.Figure, line: AgeLine, shift: float) -> None:
    """``shift``: years by which the line's points stand apart from those of other lines."""
    for joined in (True, False):
        points = [
            point for point in line.points if (point[-1]["denominator"] >= _LEAST_JOINED) == joined
        ]
        if points:
            figure.add_trace(_points_of(line, points, shift, joined))


def _points_of(line: AgeLine, points: list[Point], shift: float, joined: bool) -> go.Scatter:
    rows = [row for _, _, row in points]
    return go.Scatter(
        x=[middle + shift for middle, _, _ in points],
        y=[PERCENT.of(row) for row in rows],
        error_y=error_bars(rows, PERCENT),
        customdata=[row_key(row) for row in rows],
        text=[f"{band}: {hover_text(row, PERCENT)}" for _, band, row in points],
        hovertemplate="%{text}<extra>%{fullData.name}</extra>",
        name=line.title if joined else f"{line.title}, under {_LEAST_JOINED}",
        mode="lines+markers" if joined else "markers",
        line={
            "color": COLOURS[line.contrast],
            "width": 1.5,
            "dash": _DASHES[line.place % len(_DASHES)],
        },
        marker={
            "color": COLOURS[line.contrast],
            "size": 8,
            "symbol": SYMBOLS[line.place % len(SYMBOLS)] + ("" if joined else "-open"),
        },
    )


def _add_published(figure: go.Figure, published: list[tuple[Anchor, Row]]) -> None:
    figure.add_scatter(
        x=[anchor.at for anchor, _ in published],
        y=[PERCENT.of(row) for _, row in published],
        customdata=[row_key(row) for _, row in published],
        text=[
            f"{anchor.study}, {anchor.contrast}: {PERCENT.text(anchor.share)}{PERCENT.unit}"
            for anchor, _ in published
        ],
        hovertemplate="%{text}<extra>published</extra>",
        name="published",
        mode="markers",
        marker={"color": MUTED, "size": 9, "symbol": "star-open"},
    )
