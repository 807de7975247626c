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
    kind: Literal["", "clustered", "weighted by 1 - p_missed", "confirmed by readers"] = ""


@dataclasses.dataclass(frozen=True)
class AriaHStyle(Measure):
    """Share of participants whose number of new lesions since baseline lies in a bin."""

    TEMPLATE = "aria-h-style new={label}"
    label: str


@dataclasses.dataclass(frozen=True)
class GroupRate(Measure):
    """New lesions of a MARS group a person-year."""

    TEMPLATE = "new lesions per person-year group={group}"
    group: str


@dataclasses.dataclass(frozen=True)
class RateAtFalseNew(Measure):
    """New lesions a person-year, were so many lesions a pair of sessions called new that are not.

    >>> RateAtFalseNew("0.05").name
    'new lesions per person-year at 0.05 false new lesions a pair'
    """

    TEMPLATE = "new lesions per person-year at {false_new} false new lesions a pair"
    false_new: str


@dataclasses.dataclass(frozen=True)
class ConfirmedNew(Measure):
    """Share of the new lesions with a verdict that the readers hold for microbleeds."""

    TEMPLATE = "new lesions confirmed by readers"


@dataclasses.dataclass(frozen=True)
class CumulativeIncidence(Measure):
    """Share of participants with a new lesion within so many years of the first session."""

    TEMPLATE = "cumulative incidence at {years} years"
    years: str


@dataclasses.dataclass(frozen=True)
class IncidenceRatio(Measure):
    """Ratio of the rate of new lesions, by a covariate's term."""

    TEMPLATE = "rate ratio new lesions: {term}"
    term: str


@dataclasses.dataclass(frozen=True)
class Attended(Measure):
    """Number of participants with scans of so many sessions or more."""

    TEMPLATE = "participants with sessions>={number}"
    number: str


@dataclasses.dataclass(frozen=True)
class NotCompared(Measure):
    """Number of participants with several sessions that no pair compares, by reason."""

    TEMPLATE = "participants not compared reason={reason}"
    reason: str
