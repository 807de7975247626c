"""Section: review by readers: confirmed lesions, agreement of readers, and disputed lesions.

Beside `summary` the section reads `reviewed`.
"""

from __future__ import annotations

import dataclasses
import json

import pandas as pd

from cmburden.core.paths import Layout
from cmburden.core.schema import as_records
from cmburden.core.tables import REVIEWED
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row
from cmburden.summary.measures import Review as ReviewMeasure
from cmburden.summary.measures import ReviewAgreement, ReviewKind
from cmburden.summary.strata import EVERYBODY, Stratum

#: Measures of a contrast: words, and whether the measure is a share.
_FIGURES: dict[ReviewKind, tuple[str, bool]] = {
    "ppv": ("Of definite lesions, microbleeds (PPV)", True),
    "ppv possible": ("Of possible lesions, microbleeds", True),
    "sensitivity": ("Scans with a microbleed called so (sensitivity)", True),
    "specificity": ("Scans without one called so (specificity)", True),
    "lesion sensitivity": ("Microbleeds that the software calls definite", True),
    "false positives per scan": ("Definite lesions a scan that are none", False),
    "presence": ("Scans with a microbleed after review", True),
}
#: Columns of the table of agreement, with their titles.
AGREEMENT = {
    "kappa presence": "Presence, kappa",
    "weighted kappa bins": "Count bins, weighted kappa",
    "icc count": "Count, ICC(2,1)",
}
_SOFTWARE = "software"
#: Most rows of the table of disputed lesions; all stand in `reviewed`.
_MOST_ROWS = 200


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measure in words, with the row of `summary`."""

    words: str
    share: bool
    row: Row


@dataclasses.dataclass(frozen=True)
class OfContrast:
    """What the readers found of the scans of a contrast."""

    name: str
    rows: list[Figure]


@dataclasses.dataclass(frozen=True)
class ReaderPair:
    """Two readers, or a reader and the software: rows of `summary` by statistic."""

    names: tuple[str, str]
    statistics: dict[str, Row]

    @property
    def label(self) -> str:
        return " / ".join(self.names)


@dataclasses.dataclass(frozen=True)
class Disputed:
    """A lesion on which the readers are even, in words."""

    participant: str
    scan_id: str
    place: str
    region: str
    label: str
    votes: str


@dataclasses.dataclass(frozen=True)
class ReviewSection:
    """Content of _review.html.j2; ``disputed_left`` disputed lesions are not in the table.

    ``problems``: sentences about readers' files that cannot be used.
    """

    problems: list[str]
    readers: list[str]
    settled: Row
    in_dispute: Row
    added: Row
    scans: Row
    contrasts: list[OfContrast]
    agreement: list[ReaderPair]
    agreement_titles: dict[str, str]
    disputed: list[Disputed]
    disputed_left: int


def select(tables: ReportTables, layout: Layout) -> ReviewSection | None:
    """None if nobody reviewed the cohort; reads ``layout.review_problems``, which a run writes."""
    path = layout.review_problems
    problems = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    scans = tables.estimate(EVERYBODY, ReviewMeasure("scans reviewed"))
    if not scans["denominator"] and not problems:
        return None
    places = REVIEWED.read(layout.table("reviewed"))
    disputed = _disputed(places)
    return ReviewSection(
        problems=problems,
        readers=sorted({name for votes in places["votes"] for name in json.loads(votes)}),
        settled=tables.estimate(EVERYBODY, ReviewMeasure("lesions settled")),
        in_dispute=tables.estimate(EVERYBODY, ReviewMeasure("lesions disputed")),
        added=tables.estimate(EVERYBODY, ReviewMeasure("lesions added")),
        scans=scans,
        contrasts=[OfContrast(name, _figures(tables, name)) for name in tables.contrasts()],
        agreement=select_agreement(tables),
        agreement_titles=AGREEMENT,
        disputed=disputed[:_MOST_ROWS],
        disputed_left=max(0, len(disputed) - _MOST_ROWS),
    )


def _figures(tables: ReportTables, contrast: str) -> list[Figure]:
    figures = [
        Figure(words, share, tables.estimate(Stratum(contrast=contrast), ReviewMeasure(kind)))
        for kind, (words, share) in _FIGURES.items()
    ]
    return [figure for figure in figures if figure.row["denominator"]]


def select_agreement(tables: ReportTables) -> list[ReaderPair]:
    """The pairs that `summary` has an agreement of; the pairs with the software come last."""
    pairs: dict[tuple[str, str], ReaderPair] = {}
    for measure, row in tables.of(ReviewAgreement, EVERYBODY):
        names = (measure.first, measure.second)
        pairs.setdefault(names, ReaderPair(names, {})).statistics[measure.statistic] = row
    return sorted(pairs.values(), key=lambda pair: (pair.names[1] == _SOFTWARE, pair.label))


def _disputed(places: pd.DataFrame) -> list[Disputed]:
    """Rows of `reviewed` that are disputed."""
    return [
        Disputed(
            participant=row["participant_id"],
            scan_id=row["scan_id"],
            place=", ".join(f"{row[axis]:.0f}" for axis in ("x_mm", "y_mm", "z_mm")),
            region=f"{row['hemisphere'] or ''} {row['region'] or ''}".strip(),
            label=row["label"] or "not seen",
            votes="; ".join(f"{name}: {vote}" for name, vote in json.loads(row["votes"]).items()),
        )
        for row in as_records(places[places["settled"] == "disputed"])
    ]
