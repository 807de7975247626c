"""A run of a part of the cohort: labels, or a filter file other than that of the tables.

A part processes its scans and leaves the cohort's tables and report alone, if there are any. The
shards of its buckets keep the rows of scans that were processed before.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.core import table_set
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.tables import MANIFEST
from cmburden.run.plan import Plan
from cmburden.run.processed import finished


def is_part(layout: Layout, config: dict[str, Any]) -> bool:
    """Whether ``config`` asks for a part of the cohort, and the tables are of more or of others."""
    asked = table_set.selection_of(config)
    if asked is None or not table_set.exists(layout):
        return False
    mark = table_set.read(layout)
    return mark is None or mark.selection != asked


class PartLayout(Layout):
    """``Layout`` whose manifest is that of the part: the tables' manifest stays as it is."""

    @property
    def manifest(self) -> Path:
        return self.part

    @property
    def rejected(self) -> Path:
        return self.part_rejected


def index(bids: Path, layout: Layout, config: dict[str, Any]) -> list[Scan]:
    """Index the scans that ``config`` asks for, and remember those beside them; return the former.

    The manifest of the tables stays as it is at the level ``part``.
    """
    from cmburden.index import stage

    if table_set.selection_of(config) is None:
        scans = stage.run(bids, layout, config)
        for path in (layout.part, layout.part_rejected, layout.beside):
            path.unlink(missing_ok=True)  # the manifest has their scans
        return scans
    known = _rows((layout.part, layout.beside, layout.manifest))
    part = config["analysis_level"] == "part"
    scans = stage.run(bids, PartLayout(layout.root) if part else layout, config)
    asked = {scan.scan_id for scan in scans}
    others = known[~known["scan_id"].isin(asked)]
    MANIFEST.write(layout.beside, others)
    level = "part" if part else "participant"  # a plan of the group level has no others
    kept = finished(Plan(config | {"analysis_level": level}), others["scan_id"])
    MANIFEST.write(layout.beside, others[others["scan_id"].isin(kept)])
    return scans


def _rows(paths: Iterable[Path]) -> pd.DataFrame:
    """Rows of the manifests ``paths``, one a scan: that of the first that has the scan."""
    frames = [MANIFEST.read(path) for path in paths if path.exists()]
    if not frames:
        return MANIFEST.frame([])
    return pd.concat(frames).drop_duplicates("scan_id").reset_index(drop=True)
