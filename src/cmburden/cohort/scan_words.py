"""What readers say of a scan as a whole: that it cannot be judged, and superficial siderosis."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cmburden.core.errors import with_advice
from cmburden.core.rows import grouped
from cmburden.core.tables import CONSENSUS, SIDEROSES

_REASON = "reader"
_OF_SIDEROSIS = ("siderosis", "siderosis_place", "siderosis_foci")


def stated(scans: pd.DataFrame, reviews: pd.DataFrame) -> pd.DataFrame:
    """`scans` with the readers' words: a scan that they hold for unusable is excluded.

    ``scans`` without counts, ``reviews`` of first readings. The consensus decides, else the
    majority of the readers; a tie excludes nothing. Of siderosis the gravest word stands. Words on
    another content than that of the scan are left out.
    """
    words = grouped(reviews[reviews["mode"] == "scan"], "scan_id")
    rows = []
    for scan in scans.to_dict("records"):
        of_scan = [
            word
            for word in words.get(scan["scan_id"], [])
            if word["content_key"] == scan["content_key"]
        ]
        rows.append(scan | _stated(of_scan) if scan["status"] == "ok" and of_scan else scan)
    return pd.DataFrame(rows, columns=list(scans.columns))


def _stated(words: list[dict[str, Any]]) -> dict[str, Any]:
    """Columns of `scans` that the ``words`` of readers on one scan change."""
    changed: dict[str, Any] = {}
    said = _that_count(words, "quality")
    against = [word for word in said if word["quality"] == "unusable"]
    if 2 * len(against) > len(said):
        message = f"{_named(against)} could not judge the scan."
        changed |= {"status": "excluded", "reason": _REASON, "stage": None, "log": None}
        changed["message"] = with_advice(_REASON, message)
    if seen := _that_count(words, "siderosis"):
        gravest = max(
            seen,
            key=lambda word: (SIDEROSES.index(word["siderosis"]), word["siderosis_foci"] or 0),
        )
        changed |= {name: gravest[name] for name in _OF_SIDEROSIS}
    return changed


def _that_count(words: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """The words that say something of ``column``: the consensus's if it does, else all."""
    said = [word for word in words if word[column]]
    return [word for word in said if word["reader"] == CONSENSUS] or said


def _named(words: list[dict[str, Any]]) -> str:
    """The readers, each with the reason that they gave."""
    return "; ".join(
        word["reader"] + (f" ({word['quality_reason']})" if word["quality_reason"] else "")
        for word in sorted(words, key=lambda word: word["reader"])
    )
