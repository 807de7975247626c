"""Names of estimates of change over sessions."""

from __future__ import annotations

import dataclasses
from typing import Literal

from cmburden.summary.names import Measure


@dataclasses.dataclass(frozen=True)
class Sessions(Measure):
    """Number of sessions of participants with several, by status."""

    TEMPLATE = "sessions status={status}"
    status: str


@dataclasses.dataclass(frozen=True)
class SessionPairs(Measure):
    """Number of pairs of consecutive sessions, all or of a kind."""

    TEMPLATE = "session pairs[ {kind}]"
    kind: Literal["", "of another sequence, not compared", "without a time between"] = ""


@dataclasses.dataclass(frozen=True)
class PersonYears(Measure):
    """Sum of the times between compared sessions."""

    TEMPLATE = "person-years"


@dataclasses.dataclass(frozen=True)
class ChangedLesions(Measure):
    """Number of definite microbleeds with a change between two sessions, all or of a kind.

    >>> ChangedLesions("persisting", "found in one session only").name
    'lesions persisting, found in one session only'
    """

    TEMPLATE = "lesions {change}[, {kind}]"
    change: Literal["new", "persisting", "lost", "not comparable"]
    kind: Literal["", "found in one session only", "possible"] = ""


@dataclasses.dataclass(frozen=True)
class LesionRate(Measure):
    """New or lost lesions a person-year, by how the rate and its interval are made."""

    TEMPLATE = "{change} lesions per person-year[, {kind}]"
    change: Literal["new", "lost"]
    kind: Literal["", "clustered", "weighted by 1 - p_missed"] = ""


@dataclasses.dataclass(frozen=True)
class AriaHStyle(Measure):
    """Share of participants whose number of new lesions since baseline lies in a bin."""

    TEMPLATE = "aria-h-style new={label}"
    label: str
