"""From lesions to what an epidemiologist reports: bins, patterns, intervals, one scan a person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.core.text import natural

#: Rules of config ``aggregate.choose_scan``, applied one after another until one scan is left;
#: a tie after the last is broken by the order of config ``index.suffixes``, then by scan_id.
CHOICE_RULES = {
    "most_recent_session": "the latest session (by acq_time of sessions.tsv, else by its label)",
    "first_session": "the earliest session (by acq_time of sessions.tsv, else by its label)",
    "swi_first": "SWI rather than GRE",
    "gre_first": "GRE rather than SWI",
    "thinnest_slice": "the thinnest slices",
    "highest_field": "the highest field strength",
    "longest_echo": "the longest echo time",
}


def check_rules(rules: Sequence[str]) -> None:
    unknown = [rule for rule in rules if rule not in CHOICE_RULES]
    if unknown:
        raise CMBurdenError(
            f"config aggregate.choose_scan: {', '.join(map(repr, unknown))} unknown; "
            f"choose among {', '.join(CHOICE_RULES)}"
        )


def choose_scan(
    scans: list[dict[str, Any]], rules: Sequence[str], suffixes: Sequence[str] = ()
) -> tuple[dict[str, Any], str]:
    """The one scan that stands for a participant, and why.

    ``scans`` are usable scans of one participant (keys scan_id, session_id, suffix, contrast,
    slice_mm, field_strength_t, echo_time_s and, where known, acq_time as ISO text). A scan whose
    value for a rule is unknown loses against one whose value is known. ``suffixes``, the most
    wanted first, decide between scans that no rule tells apart.

    >>> scans = [{"scan_id": "b", "contrast": "GRE"}, {"scan_id": "a", "contrast": "SWI"}]
    >>> choose_scan(scans, ["swi_first"])[1]
    'swi_first'
    """
    check_rules(rules)
    left, decided = sorted(scans, key=lambda scan: scan["scan_id"]), []
    if len(left) == 1:
        return left[0], "only usable scan"
    for rule in rules:
        best = min(_rank(scan, rule, left) for scan in left)
        kept = [scan for scan in left if _rank(scan, rule, left) == best]
        if len(kept) < len(left):
            decided.append(rule)
        left = kept
        if len(left) == 1:
            return left[0], ", then ".join(decided)
    places = {suffix: place for place, suffix in enumerate(suffixes)}
    ranks = [places.get(_text(scan.get("suffix")), len(places)) for scan in left]
    kept = [scan for scan, rank in zip(left, ranks, strict=True) if rank == min(ranks)]
    if len(kept) < len(left):
        decided.append("suffix order")
    left = kept
    if len(left) == 1:
        return left[0], ", then ".join(decided)
    return left[0], ", then ".join([*decided, "first scan_id"])


def _rank(scan: dict[str, Any], rule: str, among: list[dict[str, Any]]) -> float:
    """Rank by one rule, smaller is better; infinite where unknown."""
    if rule in ("most_recent_session", "first_session"):
        by_time = all(_known(other.get("acq_time")) for other in among)

        def when(other):
            return other["acq_time"] if by_time else natural(_text(other.get("session_id")))

        place = sorted({when(other) for other in among}).index(when(scan))
        return -place if rule == "most_recent_session" else place
    if rule in ("swi_first", "gre_first"):
        return float(_text(scan.get("contrast")) != rule[:3].upper())
    column, sign = {
        "thinnest_slice": ("slice_mm", 1),
        "highest_field": ("field_strength_t", -1),
        "longest_echo": ("echo_time_s", -1),
    }[rule]
    value = scan.get(column)
    return sign * float(value) if _known(value) else math.inf


def _known(value: Any) -> bool:
    return value is not None and not pd.isna(value)


def _text(value: Any) -> str | None:
    return str(value) if _known(value) else None
