"""A row a scan in the order of the Microbleed Anatomical Rating Scale (Gregoire 2009)."""

from __future__ import annotations

from typing import Any

from cmburden.export.tables import Exported
from cmburden.space.regions import REGIONS, UNKNOWN

_SIDES = ("left", "right", "unknown")
_LABELS = ("definite", "possible")
_OF_SCAN = ("scan_id", "participant_id", "session_id", "contrast", "status")


def form(scans: Exported, counts: Exported) -> tuple[list[str], list[list[Any]]]:
    """Header and rows: definite and possible microbleeds by region and side, and their sums.

    A scan without a result has missing counts. ``unknown``: side or region is not known; a scan of
    unknown left and right has all its counts there.
    """
    numbers = {
        (row["scan_id"], row["region"], row["hemisphere"], label): row[f"n_{label}"]
        for row in counts.rows
        for label in _LABELS
    }
    regions = [*(region.name for region in REGIONS), UNKNOWN.name]
    places = [(region, side) for region in regions for side in _SIDES]
    header = [
        *_OF_SCAN,
        *(column_name(label, region, side) for region, side in places for label in _LABELS),
        *(f"{label}_total" for label in _LABELS),
    ]
    rows = []
    for scan in scans.rows:
        read = scan["n_cmb"] is not None
        cells = [
            numbers.get((scan["scan_id"], region, side, label), 0) if read else None
            for region, side in places
            for label in _LABELS
        ]
        rows.append([*(scan[name] for name in _OF_SCAN), *cells, scan["n_cmb"], scan["n_possible"]])
    return header, rows


def column_name(label: str, region: str, side: str) -> str:
    """Name of a column of the form.

    >>> column_name("definite", "basal ganglia", "left")
    'definite_basal_ganglia_left'
    """
    words = "".join(letter if letter.isalnum() else " " for letter in region).split()
    return "_".join([label, *words, side]).replace("unknown_unknown", "unknown")
