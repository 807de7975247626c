"""The one scan that stands for a participant, by the rules of config ``aggregate.choose_scan``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.follow.sessions import ordered, parse_time

_IN_TIME = "by acq_time of sessions.tsv, else by age, else by its label"
#: Rules of config ``aggregate.choose_scan``, applied one after another until one scan is left;
#: a tie after the last is broken by the order of config ``index.suffixes``, then by scan_id.
CHOICE_RULES = {
    "most_recent_session": f"the latest session ({_IN_TIME})",
    "first_session": f"the earliest session ({_IN_TIME})",
    "swi_first": "SWI rather than GRE",
    "gre_first": "GRE rather than SWI",
    "thinnest_slice": "the thinnest slices",
    "highest_field": "the highest field strength",
    "longest_echo": "the longest echo time",
}


#: How `participants` names the tie-break by config ``index.suffixes``.
_SUFFIX_ORDER = "suffix order"


def check_rules(rules: Sequence[str]) -> None:
    """Raise CMBurdenError where a rule of config ``aggregate.choose_scan`` does not exist."""
    unknown = [rule for rule in rules if rule not in CHOICE_RULES]
    if unknown:
        raise CMBurdenError(
            f"config aggregate.choose_scan: {', '.join(map(repr, unknown))} unknown; "
            f"choose among {', '.join(CHOICE_RULES)}"
        )


def choose_scan(
    scans: list[dict[str, Any]], rules: Sequence[str], suffixes: Sequence[str] = ()
) -> tuple[dict[str, Any], str]:
    """The one scan that stands for a participant, and the rules that decided.

    ``scans`` are usable scans of one participant (keys scan_id, session_id, suffix, contrast,
    slice_mm, field_strength_t, echo_time_s, acq_time as ISO text, and age; values may be missing).
    A scan without a value loses against one with a value. Sessions are ordered as those of
    `longitudinal` are, by ``follow.sessions.ordered``: an acq_time that is no ISO date orders
    nothing. ``suffixes``, the most wanted first, decide between scans that no rule tells apart.

    >>> scans = [{"scan_id": "b", "contrast": "GRE"}, {"scan_id": "a", "contrast": "SWI"}]
    >>> choose_scan(scans, ["swi_first"])[1]
    'swi_first'
    """
    check_rules(rules)
    left, decided = sorted(scans, key=lambda scan: scan["scan_id"]), []
    if len(left) == 1:
        return left[0], "only usable scan"
    places: dict[str | None, int] = {suffix: place for place, suffix in enumerate(suffixes)}
    for name in (*rules, _SUFFIX_ORDER):
        if name == _SUFFIX_ORDER:
            ranks = [float(places.get(_text(scan.get("suffix")), len(places))) for scan in left]
        else:
            ranks = [_rank(scan, name, left) for scan in left]
        first = [scan for scan, rank in zip(left, ranks, strict=True) if rank == min(ranks)]
        if len(first) < len(left):
            decided.append(name)
        left = first
        if len(left) == 1:
            return left[0], ", then ".join(decided)
    return left[0], ", then ".join([*decided, "first scan_id"])


def _rank(scan: dict[str, Any], rule: str, among: list[dict[str, Any]]) -> float:
    """Rank by one rule, smaller is better; infinite without a value."""
    if rule in ("most_recent_session", "first_session"):
        place = _place_in_time(scan, among)
        return -place if rule == "most_recent_session" else place
    if rule in ("swi_first", "gre_first"):
        return float(_text(scan.get("contrast")) != rule[:3].upper())
    column, sign = {
        "thinnest_slice": ("slice_mm", 1),
        "highest_field": ("field_strength_t", -1),
        "longest_echo": ("echo_time_s", -1),
    }[rule]
    value = scan.get(column)
    return sign * float(value) if value is not None and _known(value) else math.inf


def _place_in_time(scan: dict[str, Any], among: list[dict[str, Any]]) -> int:
    """Place of the scan's session, by time where all have one, else by age, else by label."""
    times: dict[str | None, datetime | None] = {}
    ages: dict[str | None, float | None] = {}
    for other in among:
        session, age = _text(other.get("session_id")), other.get("age")
        times[session] = parse_time(other.get("acq_time"))
        ages[session] = float(age) if age is not None and _known(age) else None
    order, _ = ordered(times, times, ages)
    return order.index(_text(scan.get("session_id")))


def _known(value: Any) -> bool:
    return value is not None and not pd.isna(value)


def _text(value: Any) -> str | None:
    return str(value) if _known(value) else None
