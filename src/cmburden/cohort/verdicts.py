"""From the decisions of all readers to one verdict a lesion, and one reading a scan and reader.

A decision belongs to a place in the scan, not to a candidate's number: after a run with other
weights a candidate has another number and lies a little elsewhere. Decisions are therefore matched
to places, at first the run's candidates. The readers follow in the order of their names, consensus
last. A reader has one vote at a place, and each decision is used once:

1. *Same place.* An accepted or rejected candidate that was shown within 0.5 mm of a place is a vote
   at that place.
2. *Nearest moved place.* The accepted and rejected candidates that are left are matched one to one
   to the places without the reader's vote, within 3 mm or the place's radius (``matching``).
3. *Additions.* Marks made beside the detections are matched in the same way, together with the
   accepted candidates that are left. An accepted candidate is left out if the reader voted within
   3 mm: the lesion was judged in this run and in a former one. Without a match, a mark or an
   accepted candidate is a new place.
4. *Free-hand marks.* Marks made without detections shown are matched to all places. A place with
   the reader's vote keeps this vote and is noted as marked. A mark without a match is a new place.

When all readers have voted:
5. *Former rejections.* Rejected candidates that step 2 left are matched to the places without the
   reader's vote: another reader may have added the lesion. A rejection without a match is dropped.
6. Rejected candidates of the run that have no vote are dropped.
7. A reader who read the scan free-hand votes "not marked" at all places without the reader's vote.

Every step takes places and returns new ones. The result does not depend on the order of the rows.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cmburden.cohort.places import (
    MICROBLEED,
    NOT_MARKED,
    Decision,
    Place,
    Point,
)
from cmburden.core.keys import lesion_numbers
from cmburden.core.paths import Layout
from cmburden.core.rows import grouped
from cmburden.core.tables import CANDIDATES, CONSENSUS, LABELS, REVIEWS
from cmburden.stats.matching import HIT_MM, hungarian

#: mm. A candidate that was shown nearer than this to a place is that place. Unmeasured.
SAME_MM = 0.5


def candidates_of(layout: Layout, scan_ids: set[str]) -> pd.DataFrame:
    """All candidates of these scans, with the ``lesion_id`` of those that are lesions."""
    wanted = pa.array(sorted(scan_ids), pa.string())
    return read_candidates(layout, pc.field("scan_id").isin(wanted))


def read_candidates(layout: Layout, which: pc.Expression) -> pd.DataFrame:
    """Candidates of the run, with the ``lesion_id`` of those that are lesions.

    A ``lesion_id`` is a rank among the lesions of the scan. So ``which`` must select all lesions of
    a scan or none.
    """
    table = pq.read_table(
        layout.candidates, columns=CANDIDATES.names, filters=which, partitioning=None
    )
    candidates = CANDIDATES.frame(table.to_pandas())
    lesions = candidates[candidates["label"].isin(LABELS)]
    return candidates.assign(lesion_id=lesion_numbers(lesions).reindex(candidates.index))


# --- the steps ---

Places = tuple[Place, ...]
#: Order of decisions: that of `reviews`, then the columns that its key leaves open.
_ORDER = (*REVIEWS.key, "shown_z_mm", "x_mm", "y_mm", "z_mm", "decision", "class")


def places_of(
    candidates: Sequence[Mapping[str, Any]], decisions: Sequence[Mapping[str, Any]]
) -> Places:
    """Places of one scan with all votes: candidates by number, then those that only readers saw.

    ``candidates`` are rows of `candidates`, ``decisions`` rows of `reviews`, both of one scan.
    """
    by_number = sorted(candidates, key=lambda row: row["candidate_id"])
    places: Places = tuple(map(Place.of_candidate, by_number))
    rejections: dict[str, list[Decision]] = {}
    for reader, of_reader in _by_reader(decisions):
        places, left = _with_votes_of(reader, of_reader, places)
        rejections[reader] = [decision for decision in left if decision.action == "reject"]
    for reader, former in rejections.items():
        places, _ = voted_at_nearest(reader, former, [d.shown for d in former], places)
    places = tuple(place for place in places if place.is_lesion or place.votes)
    for reader in sorted(free_hand_readers(decisions)):
        places = tuple(place.with_reading(reader) for place in places)
    return places


def _by_reader(decisions: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Decision]]]:
    """Readers by name, consensus last, each with the decisions that are votes, in table order."""
    by_reader: dict[str, list[Decision]] = defaultdict(list)
    # Null comes last and is not compared.
    for row in sorted(decisions, key=lambda d: [(d[n] is None, d[n] or 0) for n in _ORDER]):
        if row["decision"] in ("accept", "reject", "add"):
            by_reader[row["reader"]].append(Decision.of(row))
    return sorted(by_reader.items(), key=lambda item: (item[0] == CONSENSUS, item[0]))


def _with_votes_of(
    reader: str, decisions: list[Decision], places: Places
) -> tuple[Places, list[Decision]]:
    """Places with a reader's votes (steps 1 to 4), and the judged candidates without a place."""
    marks = [decision for decision in decisions if decision.action == "add"]
    judged = [decision for decision in decisions if decision.action != "add"]
    places, left = voted_at_same_place(reader, judged, places)
    places, left = voted_at_nearest(reader, left, [d.shown for d in left], places)
    added = [mark for mark in marks if mark.mode == "review"]
    places = with_additions(reader, added + _former_lesions(reader, left, places), places)
    return with_marks(reader, [mark for mark in marks if mark.mode == "free-hand"], places), left


def _former_lesions(reader: str, left: list[Decision], places: Places) -> list[Decision]:
    """Accepted candidates without a place, if the reader has no vote near them."""
    votes = [place.position.at for place in places if reader in place.votes]
    accepted = [decision for decision in left if decision.action == "accept"]
    return [d for d in accepted if all(_distance_mm(d.shown, at) > HIT_MM for at in votes)]


def voted_at_same_place(
    reader: str, decisions: list[Decision], places: Places
) -> tuple[Places, list[Decision]]:
    """Step 1: places with the votes of decisions that were shown there, and the other decisions."""
    result, left = list(places), []
    for decision in decisions:
        distances = [
            (_distance_mm(place.position.at, decision.shown), index)
            for index, place in enumerate(result)
            if reader not in place.votes
        ]
        distance, index = min(distances, default=(SAME_MM, -1))
        if distance < SAME_MM:
            result[index] = result[index].with_vote(decision)
        else:
            left.append(decision)
    return tuple(result), left


def voted_at_nearest(
    reader: str, decisions: list[Decision], points: list[Point], places: Places
) -> tuple[Places, list[Decision]]:
    """Steps 2, 3, 5: places with the votes of matched decisions, and the decisions left.

    ``points``: where each of the ``decisions`` is matched.
    """
    result, left = list(places), []
    free = [index for index, place in enumerate(places) if reader not in place.votes]
    match = _matches(points, [places[index] for index in free])
    for number, decision in enumerate(decisions):
        if number in match:
            index = free[match[number]]
            result[index] = result[index].with_vote(decision)
        else:
            left.append(decision)
    return tuple(result), left


def with_additions(reader: str, decisions: list[Decision], places: Places) -> Places:
    """Step 3: places with the lesions that a reader added beside the detections."""
    points = [decision.held.at for decision in decisions]
    places, left = voted_at_nearest(reader, decisions, points, places)
    return places + tuple(Place(d.held, votes={reader: d.vote}) for d in left)


def with_marks(reader: str, marks: list[Decision], places: Places) -> Places:
    """Step 4: places with the lesions that a reader marked without detections shown."""
    result = list(places)
    match = _matches([mark.held.at for mark in marks], places)
    for number, mark in enumerate(marks):
        if number in match:
            result[match[number]] = result[match[number]].with_mark(reader, mark.vote)
        else:
            result.append(Place(mark.held).with_mark(reader, mark.vote))
    return tuple(result)


def free_hand_readers(decisions: Iterable[Mapping[str, Any]]) -> set[str]:
    """Readers who read the scan of these rows of `reviews` free-hand, to the end."""
    return {row["reader"] for row in decisions if row["decision"] == "read"} - {CONSENSUS}


def _matches(points: Sequence[Point], places: Sequence[Place]) -> dict[int, int]:
    """Index of a point to the index of the place it is matched to, one to one."""
    if not points or not places:
        return {}
    pairs = hungarian(
        np.array(points),
        np.array([place.position.at for place in places]),
        np.array([place.radius_mm for place in places]),
    )
    return dict(pairs)


def _distance_mm(one: Point, other: Point) -> float:
    return float(np.linalg.norm(np.subtract(one, other)))


# --- all scans ---

_COUNTS = ("scan_id", "n_readers", "n_reviewed", "n_review_open", "n_cmb_reviewed")
_READINGS = ("scan_id", "reader", "n_cmb", "free_hand", "judged")


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """What the readers of a cohort decided.

    ``places``: rows of `reviewed`. ``readings``: a row for each reader (consensus apart) and scan
    that the reader judged completely, with scan_id, reader, n_cmb, free_hand, judged. ``counts``:
    the columns of `scans` that come from the review, by scan_id. ``outdated``: scans that changed
    after they were reviewed.
    """

    places: pd.DataFrame
    readings: pd.DataFrame
    counts: pd.DataFrame
    outdated: list[str]


def settle(reviews: pd.DataFrame, candidates: pd.DataFrame, scans: pd.DataFrame) -> Verdicts:
    """Verdicts of ``reviews`` (rows of the contract) on the run's candidates.

    ``candidates`` are all candidates of the reviewed scans, with ``lesion_id`` (null for rejected
    ones). Only the ``scans`` with status ok count: the others have no results to compare with.
    """
    rows: list[dict[str, Any]] = []
    readings: list[dict[str, Any]] = []
    counts: list[dict[str, Any]] = []
    outdated: list[str] = []
    decisions_of, candidates_in = grouped(reviews, "scan_id"), grouped(candidates, "scan_id")
    for scan in scans[scans["status"] == "ok"].sort_values("scan_id").to_dict("records"):
        scan_id = scan["scan_id"]
        every = decisions_of.get(scan_id, [])
        decisions = [row for row in every if row["content_key"] == scan["content_key"]]
        if len(decisions) < len(every):
            outdated.append(scan_id)
        if not decisions:
            continue
        places = places_of(candidates_in.get(scan_id, []), decisions)
        rows += [_row(scan, number, place) for number, place in enumerate(places, start=1)]
        of_scan = list(_readings(scan_id, places, decisions))
        readings += of_scan
        counts.append(_counts(scan_id, places, of_scan))
    return Verdicts(
        pd.DataFrame(rows),
        pd.DataFrame(readings, columns=list(_READINGS)),
        pd.DataFrame(counts, columns=list(_COUNTS)),
        outdated,
    )


def _row(scan: Mapping[str, Any], number: int, place: Place) -> dict[str, Any]:
    """A row of `reviewed`."""
    candidate = place.candidate or {}
    of_candidate = ("candidate_id", "lesion_id", "label", "probability", "diameter_mm")
    return {
        "scan_id": scan["scan_id"],
        "participant_id": scan["participant_id"],
        "contrast": scan["contrast"],
        "place_id": number,
        **{name: candidate.get(name) for name in of_candidate},
        **(place.moved or place.position).columns(),
        "n_votes": len(set(place.votes) - {CONSENSUS}),
        "votes": json.dumps(dict(place.votes), sort_keys=True),
        "free_hand": bool(place.marked_by),
        **dataclasses.asdict(place.verdict()),
    }


def _readings(
    scan_id: str, places: Places, decisions: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """A row for each reader who judged all lesions of the software, or read the scan free-hand."""
    lesions = [place for place in places if place.is_lesion]
    free_hand = free_hand_readers(decisions)
    for reader in sorted({row["reader"] for row in decisions} - {CONSENSUS}):
        votes = [place.votes.get(reader, NOT_MARKED) for place in lesions]
        judged = bool(votes) and NOT_MARKED not in votes
        if judged or reader in free_hand:
            yield {
                "scan_id": scan_id,
                "reader": reader,
                "n_cmb": sum(place.votes.get(reader) == MICROBLEED for place in places),
                "free_hand": reader in free_hand,
                "judged": judged,
            }


def _counts(scan_id: str, places: Places, readings: list[dict[str, Any]]) -> dict[str, Any]:
    """The columns of `scans`; n_cmb_reviewed is None while a place is open, or if nobody looked."""
    verdicts = [place.verdict().microbleed for place in places]
    of_lesions = [place.verdict().microbleed for place in places if place.is_lesion]
    is_read = bool(of_lesions) or any(reading["free_hand"] for reading in readings)
    n_open = verdicts.count(None)
    n_definite = sum(place.verdict().reviewed_class == MICROBLEED for place in places)
    return {
        "scan_id": scan_id,
        "n_readers": len(readings),
        "n_reviewed": len(of_lesions) - of_lesions.count(None),
        "n_review_open": n_open,
        "n_cmb_reviewed": None if n_open or not is_read else n_definite,
    }
