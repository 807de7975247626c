"""Scans whose files are damaged: marked where the damage is noticed, made anew by the next run.

A stage cannot make the file of an earlier stage. It fails the scan as ``damaged`` and leaves a
mark. The next run removes the scan's records and what was made from them, so that the scan is
planned from its first stage on. The networks' results of the other scans are in the cache.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from cmburden.core.errors import sentence
from cmburden.core.files import read_json
from cmburden.core.keys import bucket_of
from cmburden.core.paths import Layout
from cmburden.core.stages import BUCKET_STAGES, LONGITUDINAL, RECORDED_STAGES, SCAN_STAGES

_LOG = logging.getLogger(__name__)


def mark(layout: Layout, scan_id: str) -> None:
    """Have the next run make the scan anew."""
    try:
        layout.remake.mkdir(parents=True, exist_ok=True)
        (layout.remake / scan_id).touch()
    except OSError as error:
        if sentence(error) is not None:
            raise
        _LOG.warning("%s: cannot be marked to be made anew (%s)", scan_id, error.strerror)


def marked(layout: Layout) -> list[str]:
    """Ids of the scans that the next run makes anew."""
    return sorted(p.name for p in layout.remake.iterdir()) if layout.remake.is_dir() else []


def forget_batches(layout: Layout, scan_ids: Collection[str]) -> None:
    """Remove the marks of batches that hold one of the scans: also those of another setting."""
    if not scan_ids:
        return
    for stage in SCAN_STAGES:
        for path in layout.batch(stage, "x").parent.glob("batch-*.json"):
            held = read_json(path)
            if not isinstance(held, dict) or not held.keys().isdisjoint(scan_ids):
                path.unlink(missing_ok=True)


def forget_marked(layout: Layout, buckets: int) -> list[str]:
    """Remove the records of the marked scans and what depends on them; return the scans' ids.

    ``buckets`` is the number of buckets of the configuration.
    """
    scan_ids = marked(layout)
    forget_batches(layout, scan_ids)
    for scan_id in scan_ids:
        for stage in RECORDED_STAGES:
            layout.record(stage, scan_id).unlink(missing_ok=True)
        for stage in BUCKET_STAGES:
            layout.bucket(stage, bucket_of(scan_id, buckets)).unlink(missing_ok=True)
        person = bucket_of(scan_id.split("_")[0], buckets)
        for path in (layout.bucket(LONGITUDINAL.name, person), layout.followed(person)):
            path.unlink(missing_ok=True)
    if scan_ids:
        # Snakemake does not make a missing file again while the last file of the chain exists.
        for path in (layout.aggregated, layout.checked):
            path.unlink(missing_ok=True)
    for scan_id in scan_ids:
        (layout.remake / scan_id).unlink()
    return scan_ids
