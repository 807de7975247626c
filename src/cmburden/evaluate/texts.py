"""Texts that the pages of an evaluation share: numbers with intervals, and what was read."""

from __future__ import annotations

from typing import Any

from cmburden.core.truth_origin import READERS


def estimate_text(entry: Any) -> str:
    """An estimate with its interval, or a plain number.

    >>> estimate_text({"estimate": 0.5, "ci_low": 0.25, "ci_high": 0.75}), estimate_text(3)
    ('0.500 (0.250-0.750)', '3')
    """
    if not isinstance(entry, dict):
        return str(entry)
    text = number(entry["estimate"])
    if entry["estimate"] is None or entry["ci_low"] is None:
        return text
    return f"{text} ({number(entry['ci_low'])}-{number(entry['ci_high'])})"


def number(value: Any) -> str:
    """A number of the result, '-' where it is not known."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def scans_read(result: dict[str, Any]) -> str:
    """How many scans and microbleeds an evaluation is of, and which scans are left out."""
    scans = result["scans"]
    unread = ", ".join(f"{row['scan_id']} ({row['status']})" for row in scans["not_read"])
    by_readers = result.get("truth", {}).get("origin") == READERS
    without = (
        "Scans of the run that no reader read, left out (they are no negatives)"
        if by_readers
        else "Scans without truth, left out"
    )
    return (
        f"{scans['in_truth']} scans in the truth table, {scans['read']} of them read "
        f"({scans['participants']} participants, {scans['with_microbleeds']} scans with "
        f"{scans['microbleeds']} microbleeds). Not read: {len(scans['not_read'])}"
        + (f" with {scans['microbleeds_not_read']} microbleeds: {unread}." if unread else ".")
        + f" {without}: {scans['without_truth']}."
    )
