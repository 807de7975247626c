"""Decisions of readers on places of a scan: what a decision says, and the verdict on a place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.tables import CONSENSUS, LABELS

#: Votes for a microbleed: a definite one, and one that the reader holds for possible.
MICROBLEED, POSSIBLE = "microbleed", "possible microbleed"
_YES = (MICROBLEED, POSSIBLE)
#: Votes without a class: a rejection that names no mimic; no mark in a free-hand reading.
NOT_ONE, NOT_MARKED = "not a microbleed", "not marked"
#: mm. Beyond this a reader has moved the lesion. Stored points are rounded to 0.001 mm.
MOVED_MM = 0.05

Point = tuple[float, float, float]


def definite(places: pd.DataFrame) -> pd.Series:
    """True for each row of `reviewed` that the readers hold for a definite microbleed, bool."""
    return places["microbleed"].eq(True) & places["reviewed_class"].ne(POSSIBLE).fillna(True)


@dataclasses.dataclass(frozen=True)
class Position:
    """A point in scanner RAS mm, and the region around it."""

    at: Point
    region: str | None
    group: str | None
    hemisphere: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Position:
        """The position of a row of `candidates` or `reviews`."""
        return cls(point_of(row, ""), row["region"], row["group"], row["hemisphere"])

    def columns(self) -> dict[str, Any]:
        names = ("x_mm", "y_mm", "z_mm", "region", "group", "hemisphere")
        return dict(zip(names, (*self.at, self.region, self.group, self.hemisphere), strict=True))


@dataclasses.dataclass(frozen=True)
class Decision:
    """A reader's decision. ``shown``: where the candidate was shown. ``held``: where the reader
    holds the lesion, which is elsewhere if the reader moved it. A mark is shown where it is held.
    ``corrected``: the region of ``held`` is the reader's and not the atlas's.
    """

    reader: str
    mode: str  # tables.MODES
    action: str  # accept | reject | add
    vote: str
    shown: Point
    held: Position
    corrected: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Decision:
        """The decision of a row of `reviews`."""
        action = row["decision"]
        vote = row["class"] or NOT_ONE
        if action != "reject":
            vote = POSSIBLE if row.get("certainty") == "possible" else MICROBLEED
        shown = point_of(row, "" if row["shown_x_mm"] is None else "shown_")
        corrected = row.get("region_from") == "reader"
        return cls(row["reader"], row["mode"], action, vote, shown, Position.of(row), corrected)


def point_of(row: Mapping[str, Any], prefix: str) -> Point:
    """The point of a row of `candidates` or `reviews`; ``prefix``: of its columns."""
    x, y, z = (float(row[f"{prefix}{axis}_mm"]) for axis in "xyz")
    return x, y, z


@dataclasses.dataclass(frozen=True)
class Verdict:
    """``settled``: how the verdict came about (tables.SETTLED). ``microbleed``: the verdict, None
    if open or disputed; a possible microbleed is one. ``reviewed_class``: the class, if the readers
    agree on one; of a microbleed whether it is definite."""

    settled: str
    microbleed: bool | None
    reviewed_class: str | None


@dataclasses.dataclass(frozen=True)
class Place:
    """A candidate, or a place that readers marked, with each reader's vote.

    Decisions are matched to ``position``; ``moved`` is where the first reader who moved the lesion,
    or corrected its region, put it. ``radius_mm`` is NaN if unknown. ``marked_by`` marked it
    without detections shown.
    """

    position: Position
    radius_mm: float = float("nan")
    candidate: Mapping[str, Any] | None = None
    votes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    marked_by: frozenset[str] = frozenset()
    moved: Position | None = None

    @classmethod
    def of_candidate(cls, row: Mapping[str, Any]) -> Place:
        diameter = row["diameter_mm"]
        radius = float("nan") if diameter is None else diameter / 2
        return cls(Position.of(row), radius, row)

    @property
    def is_lesion(self) -> bool:
        """True if the software calls the place a definite or a possible microbleed."""
        return self.candidate is not None and self.candidate["label"] in LABELS

    def with_vote(self, decision: Decision) -> Place:
        votes = {**self.votes, decision.reader: decision.vote}
        is_moved = decision.vote in _YES and (
            decision.corrected or not np.allclose(decision.shown, decision.held.at, atol=MOVED_MM)
        )
        moved = self.moved or (decision.held if is_moved else None)
        return dataclasses.replace(self, votes=votes, moved=moved)

    def with_mark(self, reader: str, vote: str = MICROBLEED) -> Place:
        """The place with the reader's free-hand mark, which is a vote if the reader has none."""
        votes = {reader: vote, **self.votes}
        return dataclasses.replace(self, votes=votes, marked_by=self.marked_by | {reader})

    def with_reading(self, reader: str) -> Place:
        """The place after the reader read the whole scan free-hand."""
        return dataclasses.replace(self, votes={reader: NOT_MARKED, **self.votes})

    def verdict(self) -> Verdict:
        """The consensus if there is one, else the readers' majority."""
        if CONSENSUS in self.votes:
            vote = self.votes[CONSENSUS]
            return Verdict("consensus", vote in _YES, _class_of([vote]))
        votes = list(self.votes.values())
        if not votes:
            return Verdict("open", None, None)
        n_yes = sum(vote in _YES for vote in votes)
        if 2 * n_yes == len(votes):
            return Verdict("disputed", None, None)
        is_one = 2 * n_yes > len(votes)
        if n_yes not in (0, len(votes)):
            settled = "majority"
        else:
            settled = "one reader" if len(votes) == 1 else "agreed"
        majority = [vote for vote in votes if (vote in _YES) == is_one]
        return Verdict(settled, is_one, _class_of(majority))


def _class_of(votes: Iterable[str]) -> str | None:
    """The one class that the votes name; None if they name none or several.

    Votes for a microbleed name a definite one where more of them do than name a possible one.

    >>> _class_of(["vessel", "not a microbleed"]), _class_of(["vessel", "border"])
    ('vessel', None)
    >>> _class_of(["microbleed", "possible microbleed"])
    'possible microbleed'
    """
    votes = list(votes)
    if set(votes) <= set(_YES) and votes:
        return MICROBLEED if 2 * votes.count(MICROBLEED) > len(votes) else POSSIBLE
    classes = set(votes) - {NOT_ONE, NOT_MARKED}
    return classes.pop() if len(classes) == 1 else None
