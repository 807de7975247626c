"""Changes of lesions between sessions: new, lost, persisting or not comparable.

The rows of `tracks` say in which sessions a lesion was found; the table has no dates. This module
orders each participant's sessions by date and classifies each lesion in each pair of sessions. A
lesion counts as present in a session in three cases: it was found there; it was found both before
and after; or the score at its place says that the detector missed the lesion.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.rows import grouped
from cmburden.core.schema import as_records
from cmburden.follow import sessions
from cmburden.summary.bins import bin_labels, binned

Record = Mapping[str, Any]
#: Columns of `scans` that say whether two scans have the same sequence.
_SEQUENCE = ("contrast", "field_strength_t", "echo_time_s", "slice_mm", "voxel_x_mm")

#: Why a lesion is held to be present in a session in which it was not found.
BETWEEN, SCORE = "between", "score"
#: (found in the first session, found in the second session, why it is held to be present in the
#: session without it, whether its place is in view there) -> (change, why). The last two are None
#: if it was found in both sessions.
CALLS: dict[tuple[bool, bool, str | None, bool | None], tuple[str, str]] = {
    (True, True, None, None): ("persisting", "found in both"),
    (True, False, BETWEEN, True): ("persisting", "found before and after"),
    (True, False, BETWEEN, False): ("persisting", "found before and after"),
    (True, False, SCORE, True): ("persisting", "score"),
    (True, False, SCORE, False): ("persisting", "score"),
    (True, False, None, True): ("lost", "not found"),
    (True, False, None, False): ("not comparable", "not in view"),
    (False, True, BETWEEN, True): ("persisting", "found before and after"),
    (False, True, BETWEEN, False): ("persisting", "found before and after"),
    (False, True, SCORE, True): ("persisting", "score"),
    (False, True, SCORE, False): ("persisting", "score"),
    (False, True, None, True): ("new", "not found"),
    (False, True, None, False): ("not comparable", "not in view"),
}


@dataclasses.dataclass(frozen=True)
class Change:
    """A row of `changes` (``tables.CHANGES`` describes the columns)."""

    participant_id: str
    scan_id_1: str
    scan_id_2: str
    session_id_1: str | None
    session_id_2: str | None
    track_id: int
    change: str
    why: str
    comparable: bool
    label: str
    macrohaemorrhage: bool
    lesion_id_1: int | None
    lesion_id_2: int | None
    probability_1: float | None
    probability_2: float | None
    candidate_probability: float | None
    candidate_mm: float | None
    p_missed: float | None
    confirmed: bool | None
    distance_mm: float | None
    x_mm_1: float
    y_mm_1: float
    z_mm_1: float
    x_mm_2: float
    y_mm_2: float
    z_mm_2: float
    region: str
    group: str
    hemisphere: str


@dataclasses.dataclass(frozen=True)
class Counts:
    """Numbers of changed microbleeds in a pair of sessions, as columns of `pairs`."""

    n_new: int
    n_persisting: int
    n_found_once: int
    n_lost: int
    n_not_comparable: int
    n_new_possible: int
    expected_new: float

    @classmethod
    def of(cls, changes: Sequence[Change]) -> Counts:
        """Counts of ``changes`` without macrohaemorrhages; of definite ones unless the name says
        possible."""
        small = [change for change in changes if not change.macrohaemorrhage]
        definite = [change for change in small if change.label == "definite"]
        number = Counter(change.change for change in definite)
        return cls(
            n_new=number["new"],
            n_persisting=number["persisting"],
            n_found_once=number["persisting"] - sum(c.why == "found in both" for c in definite),
            n_lost=number["lost"],
            n_not_comparable=number["not comparable"],
            n_new_possible=sum(c.change == "new" and c.label == "possible" for c in small),
            expected_new=_expected_new(definite),
        )


@dataclasses.dataclass(frozen=True)
class Pair:
    """A row of `pairs` (``tables.PAIRS`` describes the columns)."""

    participant_id: str
    scan_id_1: str
    scan_id_2: str
    session_id_1: str | None
    session_id_2: str | None
    consecutive: bool
    since_baseline: bool
    last: bool
    order_from: str
    years: float | None
    years_from: str | None
    contrast: str | None
    comparable: bool
    difference: str | None
    not_known: str | None
    n_new: int
    n_persisting: int
    n_found_once: int
    n_lost: int
    n_not_comparable: int
    n_new_possible: int
    expected_new: float
    aria_h_style: str | None


@dataclasses.dataclass(frozen=True)
class LesionPresence:
    """A lesion in a session: its row of `tracks`, and why it is held to be present if not found."""

    row: Record
    held: str | None = None  # BETWEEN | SCORE

    @property
    def found(self) -> bool:
        return bool(self.row["found"])


@dataclasses.dataclass(frozen=True)
class Times:
    """Time and age at each session of a participant, as far as sessions.tsv has them."""

    times: dict[str | None, datetime | None] = dataclasses.field(default_factory=dict)
    ages: dict[str | None, float | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Course:
    """A participant's sessions in order.

    ``scans``: the row of `scans` that stands for each session. ``lesions``: each lesion with its
    presence in each session.
    """

    participant_id: str
    sessions: list[str | None]
    order_from: str
    when: Times
    scans: list[dict[str, Any]]
    lesions: list[list[LesionPresence]]


def of_cohort(
    tracks: pd.DataFrame,
    followed: pd.DataFrame,
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    phenotypes: pd.DataFrame,
    settings: dict[str, Any],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of `pairs` and of `changes`.

    ``tracks`` and ``followed`` as ``followed.gather`` gives them, ``scans`` and ``lesions`` the
    cohort's tables, ``phenotypes`` the rows of sessions.tsv (acq_time, age), ``settings``
    longitudinal.*.
    """
    large = lesions.loc[lesions["macrohaemorrhage"].astype(bool)]
    large_lesions = set(zip(large["scan_id"], large["lesion_id"], strict=True))
    pairs: list[Pair] = []
    changes: list[Change] = []
    for course in _courses(tracks, followed, scans, phenotypes, settings["missed_from"]):
        for i, j in combinations(range(len(course.sessions)), 2):
            if j == i + 1 or i == 0:
                pair, of_pair = _compared(course, i, j, large_lesions, settings)
                pairs.append(pair)
                changes += of_pair
    return [dataclasses.asdict(pair) for pair in pairs], [dataclasses.asdict(c) for c in changes]


def with_verdicts(changes: list[dict[str, Any]], places: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of `changes` with the readers' verdicts; ``places``: rows of `reviewed`.

    A lesion that both sessions show has no row of its own: nothing of it is called new or lost.
    """
    places = places.reindex(columns=["scan_id", "lesion_id", "microbleed"])  # of no review: empty
    settled = places[places["microbleed"].notna() & places["lesion_id"].notna()]
    keys = zip(settled["scan_id"], settled["lesion_id"].astype(int), strict=True)
    verdicts = dict(zip(keys, settled["microbleed"].astype(bool), strict=True))

    def verdict(row: dict[str, Any]) -> bool | None:
        one, other = ((row[f"scan_id_{k}"], row[f"lesion_id_{k}"]) for k in (1, 2))
        if one[1] is not None and other[1] is not None:
            return None
        return verdicts.get(one if other[1] is None else other)

    return [row | {"confirmed": verdict(row)} for row in changes]


def _courses(
    tracks: pd.DataFrame,
    followed: pd.DataFrame,
    scans: pd.DataFrame,
    phenotypes: pd.DataFrame,
    missed_from: float,
) -> Iterator[Course]:
    """Participants with several sessions that were followed, by name."""
    when = _times(phenotypes)
    read = scans[scans["status"] == "ok"]
    scan_of = {row["scan_id"]: row for row in as_records(read[["scan_id", *_SEQUENCE]])}
    tracks_of = grouped(tracks, "participant_id")
    usable = followed[followed["status"] == "followed"]
    for participant, visits in sorted(grouped(usable, "participant_id").items()):
        scan_ids = {v["session_id"]: v["scan_id"] for v in visits if v["scan_id"] in scan_of}
        if len(scan_ids) < 2:
            continue
        times = when.get(participant, Times())
        order, order_from = sessions.ordered(scan_ids, times.times, times.ages)
        in_order = [scan_ids[session] for session in order]
        yield Course(
            participant_id=participant,
            sessions=order,
            order_from=order_from,
            when=times,
            scans=[scan_of[scan_id] for scan_id in in_order],
            lesions=presences(tracks_of.get(participant, []), in_order, missed_from),
        )


def _times(phenotypes: pd.DataFrame) -> dict[str, Times]:
    """Times of each participant's sessions."""
    by_participant: dict[str, Times] = {}
    names = ["participant_id", "session_id", "acq_time", "age"]
    for row in as_records(phenotypes.reindex(columns=names)):
        of_participant = by_participant.setdefault(row["participant_id"], Times())
        age = None if row["age"] is None else float(row["age"])
        of_participant.times[row["session_id"]] = sessions.parse_time(row["acq_time"])
        of_participant.ages[row["session_id"]] = age
    return by_participant


def presences(
    tracks: Sequence[Record], scan_ids: Sequence[str], missed_from: float
) -> list[list[LesionPresence]]:
    """Each lesion, by track number, with its presence in each of ``scan_ids``, which are in order.

    ``tracks``: rows of `tracks` of one participant. A lesion that is not found is held to be
    present from a score (p_there) of ``missed_from`` on. Tracks are left out that have no row in
    one of the scans (they are of a run over other sessions), or that are found in none of them.
    """
    by_track: dict[int, dict[str, Record]] = {}
    for row in tracks:
        by_track.setdefault(row["track_id"], {})[row["scan_id"]] = row
    complete = [rows for _, rows in sorted(by_track.items()) if set(scan_ids) <= set(rows)]
    in_order = [[rows[scan_id] for scan_id in scan_ids] for rows in complete]
    return [
        _presence_in_each(rows, missed_from)
        for rows in in_order
        if any(row["found"] for row in rows)
    ]


def _presence_in_each(rows: list[Record], missed_from: float) -> list[LesionPresence]:
    """A lesion in each session; it is found in one at least."""
    found_at = [k for k, row in enumerate(rows) if row["found"]]

    def held(k: int) -> str | None:
        if rows[k]["found"]:
            return None
        if found_at[0] < k < found_at[-1]:
            return BETWEEN
        return SCORE if rows[k]["p_there"] >= missed_from else None

    return [LesionPresence(row, held(k)) for k, row in enumerate(rows)]


def _compared(
    course: Course,
    i: int,
    j: int,
    large_lesions: set[tuple[str, int]],
    settings: dict[str, Any],
) -> tuple[Pair, list[Change]]:
    """Sessions ``i`` and ``j`` of a participant, i < j, and the lesions found in one of the two.

    ``large_lesions``: (scan_id, lesion_id) of macrohaemorrhages.
    """
    differ, unknown = sessions.differences(course.scans[i], course.scans[j], settings["tolerance"])
    both = course.sessions[i], course.sessions[j]
    years, years_from = sessions.years_between(*both, course.when.times, course.when.ages)
    changes = [
        _change(lesion[i], lesion[j], large_lesions, comparable=not differ)
        for lesion in course.lesions
        if lesion[i].found or lesion[j].found
    ]
    counts = Counts.of(changes)
    since_baseline = i == 0
    has_category = since_baseline and not differ
    pair = Pair(
        participant_id=course.participant_id,
        scan_id_1=course.scans[i]["scan_id"],
        scan_id_2=course.scans[j]["scan_id"],
        session_id_1=both[0],
        session_id_2=both[1],
        consecutive=j == i + 1,
        since_baseline=since_baseline,
        last=j == len(course.sessions) - 1,
        order_from=course.order_from,
        years=years,
        years_from=years_from,
        contrast=_contrast(course.scans[i], course.scans[j]),
        comparable=not differ,
        difference="; ".join(differ) or None,
        not_known=", ".join(unknown) or None,
        **dataclasses.asdict(counts),
        aria_h_style=_category(counts.n_new, settings["bins"]) if has_category else None,
    )
    return pair, changes


def _contrast(one: Record, other: Record) -> str | None:
    """Contrast of both scans."""
    return one["contrast"] if one["contrast"] == other["contrast"] else None


def call(first: LesionPresence, second: LesionPresence) -> tuple[str, str]:
    """Change of a lesion from one session to a later one, and why. It is found in one at least."""
    if first.found and second.found:
        return CALLS[True, True, None, None]
    missing = second if first.found else first
    return CALLS[first.found, second.found, missing.held, bool(missing.row["in_view"])]


def _change(
    first: LesionPresence,
    second: LesionPresence,
    large_lesions: set[tuple[str, int]],
    *,
    comparable: bool,
) -> Change:
    change, why = call(first, second)
    one, other = first.row, second.row
    detections = [presence.row for presence in (first, second) if presence.found]
    in_both = len(detections) == 2
    missing: Record = {} if in_both else (other if first.found else one)
    return Change(
        participant_id=one["participant_id"],
        scan_id_1=one["scan_id"],
        scan_id_2=other["scan_id"],
        session_id_1=one["session_id"],
        session_id_2=other["session_id"],
        track_id=one["track_id"],
        change=change,
        why=why,
        comparable=comparable,
        label="definite" if any(r["label"] == "definite" for r in detections) else "possible",
        macrohaemorrhage=any((r["scan_id"], r["lesion_id"]) in large_lesions for r in detections),
        lesion_id_1=one["lesion_id"],
        lesion_id_2=other["lesion_id"],
        probability_1=one["probability"],
        probability_2=other["probability"],
        candidate_probability=missing.get("candidate_probability"),
        candidate_mm=missing.get("candidate_mm"),
        p_missed=missing.get("p_there"),
        confirmed=None,
        distance_mm=_distance_mm(one, other) if in_both else None,
        x_mm_1=one["x_mm"],
        y_mm_1=one["y_mm"],
        z_mm_1=one["z_mm"],
        x_mm_2=other["x_mm"],
        y_mm_2=other["y_mm"],
        z_mm_2=other["z_mm"],
        region=one["region"],
        group=one["group"],
        hemisphere=one["hemisphere"],
    )


def _distance_mm(one: Record, other: Record) -> float:
    """Distance of a lesion's two centres in the mid-space, to 0.001 mm."""
    middles = [np.array([row[f"middle_{axis}_mm"] for axis in "xyz"]) for row in (one, other)]
    return round(float(np.linalg.norm(middles[1] - middles[0])), 3)


def _expected_new(definite: list[Change]) -> float:
    """Sum of 1 - p_missed over lesions that were found in the later session only, to 0.0001.

    Lesions that were found before the earlier session are not new and do not count.
    """
    later_only = [
        change
        for change in definite
        if change.lesion_id_1 is None
        and change.change in ("new", "persisting")
        and change.why != "found before and after"
    ]
    return round(
        sum(1 - change.p_missed for change in later_only if change.p_missed is not None), 4
    )


def _category(n_new: int, bins: list[int]) -> str:
    """The ARIA-H-style category of a number of new lesions."""
    return str(binned(pd.Series([n_new]), bins, bin_labels(bins))[0])
