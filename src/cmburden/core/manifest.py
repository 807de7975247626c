"""Reads the manifest: each row becomes a :class:`~cmburden.core.scan.Scan`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cmburden.core.scan import Scan


def read_scans(manifest: Path, bids_dir: Path) -> list[Scan]:
    """Read the manifest's scans, in ascending order of ``scan_id``."""
    bids_dir = Path(bids_dir).absolute()
    rows = pq.read_table(manifest, partitioning=None).to_pylist()
    return [scan_of(row, bids_dir) for row in rows]


def scan_of(row: Mapping[str, Any], bids_dir: Path) -> Scan:
    """The scan of a manifest's ``row``, with None for missing values."""
    return Scan(
        scan_id=row["scan_id"],
        cohort=row["cohort"],
        participant_id=row["participant_id"],
        session_id=row["session_id"],
        suffix=row["suffix"],
        contrast=row["contrast"],
        path=bids_dir / row["path"],
        entities=tuple((k, v) for k, v in json.loads(row["entities"])),
        t1w_path=bids_dir / row["t1w_path"] if row["t1w_path"] else None,
        phase_path=bids_dir / row["phase_path"] if row["phase_path"] else None,
        echo_time_s=row["echo_time_s"],
        field_strength_t=row["field_strength_t"],
        skull_stripped=row.get("skull_stripped") is True,
        content_key=row["content_key"],
        phase_key=row.get("phase_key") or "",
    )
