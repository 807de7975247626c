"""Scans that a model was adapted to (``adapted_to`` of its contract), and scans unlike them.

Adapted models were measured on scanners, contrasts and acquisitions of one cohort alone.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

#: Ranges of the entry, and of the contract's ``domain``: the column of each in `scans`.
RANGES = {
    "field_strength_t": "field_strength_t",
    "echo_time_s": "echo_time_s",
    "in_plane_mm": "voxel_x_mm",
    "slice_mm": "slice_mm",
}
#: Columns that name a scanner.
_SCANNER = ("manufacturer", "scanner_model")
#: Share of an end of a range within which a value counts as inside, as in ``summary.image_checks``.
_TOLERANCE = 0.05


def adapted_to(scans: pd.DataFrame) -> dict[str, Any]:
    """The entry of a contract: contrasts, scanners and ranges of ``scans``.

    The columns are those of `scans` with those of the manifest that name the scanner.
    """
    ranges = {}
    for key, column in RANGES.items():
        values = scans[column].astype("Float64").dropna()
        if len(values):
            ranges[key] = [round(float(values.min()), 4), round(float(values.max()), 4)]
    return {
        "contrast": sorted(set(scans["contrast"])),
        "scanners": sorted({scanner_of(row) for row in scans.to_dict("records")}),
        "cohorts": sorted(set(scans["cohort"])),
        "scans": len(scans),
        "participants": int(scans["participant_id"].nunique()),
        **ranges,
    }


def scanner_of(row: dict[str, Any]) -> str:
    """Maker, model and field strength of a scan, as far as they are known.

    >>> scanner_of({"manufacturer": "Siemens", "scanner_model": None, "field_strength_t": 3.0})
    'Siemens 3 T'
    """
    known = [str(row[name]) for name in _SCANNER if pd.notna(row[name])]
    if pd.notna(row["field_strength_t"]):
        known.append(f"{row['field_strength_t']:g} T")
    return " ".join(known) or "unknown scanner"


def warning(contract: dict[str, Any], scans: pd.DataFrame) -> str | None:
    """A sentence where ``scans`` (rows of the manifest) are unlike those of an adapted model.

    None where all are alike, and for a model that was not adapted.
    """
    entry = contract.get("adapted_to")
    if not isinstance(entry, dict) or not len(scans):
        return None
    unlike: Counter[str] = Counter()
    number = 0
    for row in scans.to_dict("records"):
        reasons = list(_reasons(row, entry))
        number += bool(reasons)
        unlike.update(reasons)
    if not number:
        return None
    named = "; ".join(f"{reason}: {count}" for reason, count in unlike.most_common(4))
    return (
        f"{number} of {len(scans)} scans are unlike those that {contract.get('id')} was adapted to "
        f"({named}); nobody knows how well it sees on them: run the shipped models there, or adapt "
        "to these scans too (docs/adapting.md)"
    )


def _reasons(row: dict[str, Any], entry: dict[str, Any]) -> list[str]:
    """In what a scan differs from those that a model was adapted to."""
    reasons = []
    if row["contrast"] not in (entry.get("contrast") or []):
        reasons.append(f"contrast {row['contrast']}")
    scanner = scanner_of(row)
    if scanner not in (entry.get("scanners") or []):
        reasons.append(f"scanner {scanner}")
    for key, words in (("echo_time_s", "echo time"), ("slice_mm", "slice thickness")):
        ends, value = entry.get(key), row.get(key)
        if ends and value is not None and pd.notna(value):
            low, high = ends[0] * (1 - _TOLERANCE), ends[1] * (1 + _TOLERANCE)
            if not low <= value <= high:
                reasons.append(words)
    return reasons
