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
from cmburden.summary.counted import Counts
from cmburden.summary.measures import (
    AgreementKind,
    AverageCount,
    Participants,
    PatternShare,
    Presence,
    ReviewAgreement,
    ReviewKind,
)
from cmburden.summary.measures import Review as ReviewMeasure
from cmburden.summary.names import Measure
from cmburden.summary.strata import EVERYBODY, Stratum

#: Measures of a contrast: words, and whether the measure is a share.
_FIGURES: dict[ReviewKind, tuple[str, bool]] = {
    "ppv": ("Of definite lesions, microbleeds (PPV)", True),
    "ppv possible": ("Of possible lesions, microbleeds", True),
    "sensitivity": ("Scans with a microbleed called so (sensitivity)", True),
    "specificity": ("Scans without one called so (specificity)", True),
    "lesion sensitivity": ("Microbleeds that the software calls definite", True),
    "false positives per scan": ("Definite lesions a scan that are none", False),
    "presence settled": ("Participants with a microbleed, of those settled", True),
    "presence sample": ("Participants with a microbleed, of those read free-hand", True),
    "presence": ("Participants with a microbleed, by double sampling", True),
}
#: Tables of agreement by heading: columns with their titles.
AGREEMENT: dict[str, dict[AgreementKind, str]] = {
    "Presence": {
        "kappa presence": "Kappa",
        "pabak presence": "PABAK",
        "positive agreement": "Positive agreement",
        "negative agreement": "Negative agreement",
    },
    "Count": {
        "icc count": "ICC(2,1)",
        "weighted kappa bins": "Bins, weighted kappa",
        "ratio of counts": "Ratio of count + 1",
        "lower limit of ratio": "Lower limit",
        "upper limit of ratio": "Upper limit",
    },
    "Pattern and lesions": {
        "kappa pattern": "Pattern, kappa",
        "kappa lobar": "Lobar, kappa",
        "kappa deep": "Deep, kappa",
        "kappa infratentorial": "Infratentorial, kappa",
        "lesion agreement": "Lesions, F1",
    },
}
#: Words of the kinds of counts.
COUNTS_WORDS: dict[Counts, str] = {
    "reviewed": "Readers",
    "combined": "Software and readers",
    "automatic": "Software",
}
#: What the table of counts beside each other shows, and whether it is a share.
_COMPARED: dict[Measure, tuple[str, bool]] = {
    Presence("definite"): ("With a microbleed", True),
    AverageCount("mean"): ("Mean count", False),
    PatternShare("strictly lobar"): ("Strictly lobar", True),
    PatternShare("strictly deep/infratentorial"): ("Strictly deep or infratentorial", True),
    PatternShare("mixed"): ("Mixed", True),
}
_SOFTWARE = "software"
_SENTENCES: dict[Counts, str] = {
    "automatic": "All other counts in this report are the software’s own (report.counts).",
    "reviewed": "Burden, pattern, regions and models of this report are of the readers’ counts "
    "(report.counts): participants whose count is not settled are not usable for them.",
    "combined": "The burden in this report is that of the software, corrected by the part that "
    "was read free-hand (report.counts).",
}
#: Most rows of the table of disputed lesions; all stand in `reviewed`.
_MOST_ROWS = 200


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measure in words, with the row of `summary`."""

    words: str
    share: bool
    row: Row


@dataclasses.dataclass(frozen=True)
class Compared:
    """An estimate by each kind of count, rows of `summary` in the order of the kinds."""

    words: str
    share: bool
    cells: list[Row]


@dataclasses.dataclass(frozen=True)
class OfContrast:
    """What the readers found of the scans of a contrast; ``compared`` with the software."""

    name: str
    rows: list[Figure]
    compared: list[Compared]


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

    ``problems``: sentences about readers' files that cannot be used. ``counts``: the kinds of count
    that there are, in words; ``of_report``: the sentence that says which the report is of.
    """

    problems: list[str]
    readers: list[str]
    settled: Row
    in_dispute: Row
    added: Row
    scans: Row
    contrasts: list[OfContrast]
    agreement: list[ReaderPair]
    agreement_titles: dict[str, dict[AgreementKind, str]]
    counts: list[str]
    of_report: str
    participants: Row
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
        contrasts=[
            OfContrast(name, _figures(tables, name), _compared(tables, name))
            for name in contrasts_of(tables)
        ],
        agreement=select_agreement(tables),
        agreement_titles=AGREEMENT,
        counts=[COUNTS_WORDS[kind] for kind in _kinds(tables)],
        of_report=_SENTENCES[tables.counts],
        participants=tables.estimate(EVERYBODY, ReviewMeasure("participants settled")),
        disputed=disputed[:_MOST_ROWS],
        disputed_left=max(0, len(disputed) - _MOST_ROWS),
    )


def contrasts_of(tables: ReportTables) -> list[str]:
    """Contrasts of which a participant has a usable scan, settled or not."""
    of_software = Participants("usable")
    return [
        name
        for name in ("GRE", "SWI")
        if tables.count(tables.stratum_of("automatic", name), of_software)
    ]


def _kinds(tables: ReportTables) -> list[Counts]:
    """The kinds of count that the cohort has, the readers' first."""
    return [
        kind
        for kind in COUNTS_WORDS
        if any(
            tables.count(tables.stratum_of(kind, name), Participants())
            for name in contrasts_of(tables)
        )
    ]


def _compared(tables: ReportTables, contrast: str) -> list[Compared]:
    """Nothing where there is one kind of count only."""
    kinds = _kinds(tables)
    if len(kinds) == 1:
        return []
    strata = [tables.stratum_of(kind, contrast) for kind in kinds]
    return [
        Compared(words, is_share, [tables.estimate(stratum, measure) for stratum in strata])
        for measure, (words, is_share) in _COMPARED.items()
    ]


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
