"""Participants by their number of definite microbleeds."""

from __future__ import annotations

import dataclasses

import plotly.graph_objects as go

from cmburden.report.charts.chart import COLOURS, TEMPLATE, Chart, row_key
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, number
from cmburden.summary.measures import ParticipantsByCount
from cmburden.summary.strata import Stratum

#: Most microbleeds of a bar; participants with more stand in the table alone.
MOST_COUNTS = 40


@dataclasses.dataclass(frozen=True)
class Tally:
    """Rows of `summary` of a contrast by number of microbleeds."""

    contrast: str
    rows: dict[int, Row]


def select(tables: ReportTables) -> list[Tally]:
    """A tally a contrast; none where no participant has a definite microbleed."""
    tallies = [_tally(tables, name) for name in tables.contrasts()]
    return tallies if any(any(tally.rows) for tally in tallies) else []


def _tally(tables: ReportTables, contrast: str) -> Tally:
    rows = tables.of(ParticipantsByCount, Stratum(contrast=contrast))
    return Tally(contrast, {measure.count: row for measure, row in rows})


def draw(tallies: list[Tally]) -> Chart | None:
    """Bars from one microbleed on; None for no tally."""
    if not tallies:
        return None
    figure = go.Figure()
    for tally in tallies:
        drawn = sorted(count for count in tally.rows if 0 < count <= MOST_COUNTS)
        figure.add_bar(
            x=drawn,
            y=[tally.rows[count]["n"] for count in drawn],
            customdata=[row_key(tally.rows[count]) for count in drawn],
            hovertemplate="%{y} participants with %{x}<extra>%{fullData.name}</extra>",
            name=tally.contrast,
            marker={"color": COLOURS[tally.contrast]},
        )
    figure.update_layout(template=TEMPLATE, height=300, bargap=0.15, showlegend=len(tallies) > 1)
    figure.update_xaxes(title_text="Definite microbleeds", tickformat="d")
    most = _most(tallies)
    figure.update_yaxes(title_text="Participants", tickformat="d", dtick=integer_step(most))
    levels = sorted({count for tally in tallies for count in tally.rows})
    more = f", as do numbers above {MOST_COUNTS}" if levels[-1] > MOST_COUNTS else ""
    return Chart(
        name="counts",
        alt="Bars: participants by their number of definite microbleeds, from one on, by contrast.",
        caption="Participants with at least one definite microbleed, by their number of them; "
        f"participants without microbleeds are in the table below{more}.",
        figure=figure,
        columns=["Definite microbleeds", *[f"Participants, {tally.contrast}" for tally in tallies]],
        rows=[[str(count), *[_cell(tally, count) for tally in tallies]] for count in levels],
    )


def _most(tallies: list[Tally]) -> int:
    """The highest bar."""
    rows = (row for tally in tallies for count, row in tally.rows.items() if count)
    return max((row["n"] or 0 for row in rows), default=0)


def integer_step(most: int, ticks: int = 6) -> int:
    """Distance of the ticks of an axis of counts: 1, 2 or 5 times a power of ten.

    >>> integer_step(2), integer_step(37), integer_step(1234)
    (1, 10, 500)
    """
    sizes = (step * 10**power for power in range(12) for step in (1, 2, 5))
    return next(size for size in sizes if size * ticks >= most)


def _cell(tally: Tally, count: int) -> str:
    return number(tally.rows[count]) if count in tally.rows else "–"
