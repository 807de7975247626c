"""From the decisions of all readers to one verdict a lesion, and one reading a scan and reader.

Decisions are tied to places, not to candidate numbers: after a run with other weights a lesion
that was judged is found again within 3 mm, one that the software no longer sees still counts as
the readers', and a rejected one that is gone is gone.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cmburden.burden import lesion_numbers
from cmburden.matching import HIT_MM, hungarian
from cmburden.paths import Layout
from cmburden.review.store import CONSENSUS
from cmburden.tables import CANDIDATES, LABELS, as_records

MICROBLEED = "microbleed"
#: Votes without a class: rejected as nothing in particular; not marked in a free-hand reading.
NOT_ONE, NOT_MARKED = "not a microbleed", "not marked"
#: A decision this near to where it was shown is on that very candidate.
_SAME_MM = 0.5


def candidates_of(layout: Layout, scan_ids: set[str]) -> pd.DataFrame:
    """All candidates of these scans, with the ``lesion_id`` of those that are lesions."""
    wanted = pa.array(sorted(scan_ids), pa.string())
    return read_candidates(layout, pc.field("scan_id").isin(wanted))


def read_candidates(layout: Layout, which: pc.Expression) -> pd.DataFrame:
    """Candidates of the run, with the ``lesion_id`` of those that are lesions.

    ``which`` is not to leave out lesions of a scan whose others it takes: they are numbered.
    """
    table = pq.read_table(
        layout.candidates, columns=CANDIDATES.names, filters=which, partitioning=None
    )
    found = CANDIDATES.frame(table.to_pandas())
    kept = found[found["label"].isin(LABELS)]
    return found.assign(lesion_id=lesion_numbers(kept).reindex(found.index))


@dataclasses.dataclass
class Place:
    """A candidate, or a place that readers marked, with what each reader holds it for."""

    at: np.ndarray  # scanner RAS mm, shape (3,)
    radius_mm: float = np.nan
    candidate: dict[str, Any] | None = None
    where: dict[str, Any] = dataclasses.field(default_factory=dict)
    votes: dict[str, str] = dataclasses.field(default_factory=dict)
    marked: set[str] = dataclasses.field(default_factory=set)  # free-hand, by these readers
    moved: dict[str, Any] = dataclasses.field(default_factory=dict)  # where a reader put it

    def vote(self, reader: str, decision: dict[str, Any]) -> None:
        """Enter the vote; the first reader who moved the lesion says where it lies."""
        self.votes[reader] = _vote_of(decision)
        shown, held = _at(decision, "shown_"), _at(decision, "")
        if self.votes[reader] == MICROBLEED and not np.allclose(shown, held, atol=0.05):
            names = ("x_mm", "y_mm", "z_mm", "region", "group", "hemisphere")
            self.moved = self.moved or {name: decision[name] for name in names}

    @property
    def kept(self) -> bool:
        return self.candidate is not None and self.candidate["label"] in LABELS

    def verdict(self) -> tuple[str, bool | None, str | None]:
        """How it was settled, whether it is a microbleed, and its class where readers agree."""
        if CONSENSUS in self.votes:
            vote = self.votes[CONSENSUS]
            return "consensus", vote == MICROBLEED, _class((vote,))
        votes = list(self.votes.values())
        if not votes:
            return "open", None, None
        yes = sum(vote == MICROBLEED for vote in votes)
        if 2 * yes == len(votes):
            return "disputed", None, None
        won = 2 * yes > len(votes)
        how = "one reader" if len(votes) == 1 else "agreed"
        if yes not in (0, len(votes)):
            how = "majority"
        return how, won, _class([vote for vote in votes if (vote == MICROBLEED) == won])


def _class(votes) -> str | None:
    named = {vote for vote in votes if vote not in (NOT_ONE, NOT_MARKED)}
    return named.pop() if len(named) == 1 else None


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """``places``: rows of `reviewed`. ``readings``: scan_id, reader, n_cmb, free_hand, judged, for
    each reader (consensus apart) and scan that the reader judged wholly. ``counts``: columns of
    `scans` by scan_id. ``outdated``: scans of which another version was reviewed."""

    places: pd.DataFrame
    readings: pd.DataFrame
    counts: pd.DataFrame
    outdated: list[str]


def settle(reviews: pd.DataFrame, candidates: pd.DataFrame, scans: pd.DataFrame) -> Verdicts:
    """Verdicts of ``reviews`` (rows of the contract) on the run's candidates.

    ``candidates`` are all candidates of the reviewed scans, with ``lesion_id`` (null for rejected
    ones); ``scans`` rows with status ok count, others have no results to be compared with.
    """
    rows, readings, counts, outdated = [], [], [], []
    decisions, found = _by_scan(reviews), _by_scan(candidates)
    for scan in scans[scans["status"] == "ok"].sort_values("scan_id").to_dict("records"):
        scan_id = scan["scan_id"]
        own = [d for d in decisions.get(scan_id, []) if d["content_key"] == scan["content_key"]]
        if len(own) < len(decisions.get(scan_id, [])):
            outdated.append(scan_id)
        if not own:
            continue
        places = places_of(found.get(scan_id, []), own)
        rows += [_row(scan, number, place) for number, place in enumerate(places, start=1)]
        done = list(_readings(scan_id, places, own))
        readings += done
        counts.append(_counts(scan_id, places, done))
    return Verdicts(
        pd.DataFrame(rows),
        pd.DataFrame(readings, columns=["scan_id", "reader", "n_cmb", "free_hand", "judged"]),
        pd.DataFrame(counts, columns=["scan_id", *_COUNTED]),
        outdated,
    )


def _by_scan(table: pd.DataFrame) -> dict[str, list[dict]]:
    """Rows by scan_id, with None for null."""
    found = defaultdict(list)
    for row in as_records(table):
        found[row["scan_id"]].append(row)
    return found


def places_of(candidates: list[dict], decisions: list[dict]) -> list[Place]:
    """Places of one scan with all votes: candidates first, then what only readers saw."""
    places = [
        Place(
            np.array([c["x_mm"], c["y_mm"], c["z_mm"]], float),
            np.nan if c["diameter_mm"] is None else c["diameter_mm"] / 2,
            c,
            {name: c[name] for name in ("region", "group", "hemisphere")},
        )
        for c in sorted(candidates, key=lambda c: c["candidate_id"])
    ]
    by_reader = defaultdict(list)
    for decision in decisions:
        by_reader[decision["reader"]].append(decision)
    order = sorted(by_reader, key=lambda reader: (reader == CONSENSUS, reader))
    left = {reader: _vote(reader, by_reader[reader], places) for reader in order}
    for reader, rejected in left.items():
        # Rejections of what is no candidate any more count where another reader holds it for one.
        _pair(reader, rejected, places, "shown_")
    places = [place for place in places if place.kept or place.votes or place.marked]
    for reader in order:
        if reader != CONSENSUS and any(d["decision"] == "read" for d in by_reader[reader]):
            for place in places:
                place.votes.setdefault(reader, NOT_MARKED)
    return places


def _vote(reader: str, own: list[dict], places: list[Place]) -> list[dict]:
    """Enter a reader's votes, new places included; return the rejections that found no place."""
    judged = [d for d in own if d["mode"] == "review" and d["decision"] in ("accept", "reject")]
    moved = []
    for decision in judged:
        at = _at(decision, "shown_")
        near = [p for p in places if reader not in p.votes and np.linalg.norm(p.at - at) < _SAME_MM]
        if near:
            nearest = min(near, key=lambda place: float(np.linalg.norm(place.at - at)))
            nearest.vote(reader, decision)
        else:
            moved.append(decision)
    left = _pair(reader, moved, places, "shown_")
    added = [d for d in own if d["mode"] == "review" and d["decision"] == "add"]
    # A lesion judged in a former run and again in this one is one lesion.
    voted = [place.at for place in places if reader in place.votes]
    added += [
        d
        for d in left
        if d["decision"] == "accept"
        and all(np.linalg.norm(_at(d, "shown_") - at) > HIT_MM for at in voted)
    ]
    for decision in _pair(reader, added, places, ""):
        places.append(_new(decision, reader))
    marks = [d for d in own if d["mode"] == "free-hand" and d["decision"] == "add"]
    pairs = _pairs(marks, places, "")
    for place in pairs.values():
        place.marked.add(reader)
        place.votes.setdefault(reader, MICROBLEED)
    for decision in _without(marks, pairs):
        places.append(_new(decision, reader))
        places[-1].marked.add(reader)
    return [d for d in left if d["decision"] == "reject"]


def _pair(reader: str, decisions: list[dict], places: list[Place], prefix: str) -> list[dict]:
    """Vote at the places that the decisions match, of those without the reader's vote."""
    pairs = _pairs(decisions, [place for place in places if reader not in place.votes], prefix)
    for index, place in pairs.items():
        place.vote(reader, decisions[index])
    return _without(decisions, pairs)


def _without(decisions: list[dict], pairs: dict[int, Place]) -> list[dict]:
    return [decision for index, decision in enumerate(decisions) if index not in pairs]


def _pairs(decisions: list[dict], places: list[Place], prefix: str) -> dict[int, Place]:
    """Index of a decision to the place that it is of."""
    if not decisions or not places:
        return {}
    pairs = hungarian(
        np.array([_at(d, prefix) for d in decisions]),
        np.array([place.at for place in places]),
        np.array([place.radius_mm for place in places]),
    )
    return {i: places[j] for i, j in pairs}


def _at(decision: dict, prefix: str) -> np.ndarray:
    names = [f"{prefix}{axis}_mm" for axis in "xyz"]
    if prefix and decision[names[0]] is None:
        names = ["x_mm", "y_mm", "z_mm"]
    return np.array([decision[name] for name in names], float)


def _vote_of(decision: dict) -> str:
    if decision["decision"] in ("accept", "add"):
        return MICROBLEED
    return decision["class"] or NOT_ONE


def _new(decision: dict, reader: str) -> Place:
    where = {name: decision[name] for name in ("region", "group", "hemisphere")}
    return Place(_at(decision, ""), where=where, votes={reader: MICROBLEED})


# --- rows ---

_COUNTED = ("n_readers", "n_reviewed", "n_review_open", "n_cmb_reviewed")


def _row(scan: dict, number: int, place: Place) -> dict[str, Any]:
    how, is_one, name = place.verdict()
    candidate = place.candidate or {}
    readers = {reader: vote for reader, vote in place.votes.items() if reader != CONSENSUS}
    return {
        "scan_id": scan["scan_id"],
        "participant_id": scan["participant_id"],
        "contrast": scan["contrast"],
        "place_id": number,
        **{
            key: candidate.get(key)
            for key in ("candidate_id", "lesion_id", "label", "probability", "diameter_mm")
        },
        **dict(zip(("x_mm", "y_mm", "z_mm"), (float(v) for v in place.at), strict=True)),
        **place.where,
        **place.moved,
        "n_votes": len(readers),
        "votes": json.dumps(place.votes, sort_keys=True),
        "free_hand": bool(place.marked),
        "settled": how,
        "microbleed": is_one,
        "reviewed_class": name,
    }


def _readings(scan_id: str, places: list[Place], decisions: list[dict]):
    """One row a reader who judged all that the software holds for one, or read free-hand."""
    kept = [place for place in places if place.kept]
    for reader in sorted({d["reader"] for d in decisions} - {CONSENSUS}):
        read = any(d["reader"] == reader and d["decision"] == "read" for d in decisions)
        judged = bool(kept) and all(
            place.votes.get(reader, NOT_MARKED) != NOT_MARKED for place in kept
        )
        if read or judged:
            yield {
                "scan_id": scan_id,
                "reader": reader,
                "n_cmb": sum(place.votes.get(reader) == MICROBLEED for place in places),
                "free_hand": read,
                "judged": judged,
            }


def _counts(scan_id: str, places: list[Place], readings: list[dict]) -> dict[str, Any]:
    verdicts = [(place.kept, *place.verdict()[:2]) for place in places]
    opened = sum(is_one is None for _, _, is_one in verdicts)
    seen = any(kept for kept, _, _ in verdicts) or any(r["free_hand"] for r in readings)
    return {
        "scan_id": scan_id,
        "n_readers": len(readings),
        "n_reviewed": sum(kept and is_one is not None for kept, _, is_one in verdicts),
        "n_review_open": opened,
        "n_cmb_reviewed": None
        if opened or not seen
        else sum(bool(is_one) for _, _, is_one in verdicts),
    }
