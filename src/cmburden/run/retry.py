"""`cmburden retry`: forgets failed scans, so that the next run repeats them."""

from __future__ import annotations

from collections.abc import Collection

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.stages import BUCKET_STAGES, LONGITUDINAL, RECORDED_STAGES, SCAN_STAGES
from cmburden.run import status
from cmburden.run.participants import only_run


def retry(layout: Layout, scan_ids: Collection[str] = ()) -> int:
    """Forget ``scan_ids``, or all failed scans if no id is given; returns the exit code."""
    status.expected(layout)
    with only_run(layout):
        forgotten = sorted(_checked(layout, scan_ids) or _failed(layout))
        for scan_id in forgotten:
            for stage in RECORDED_STAGES:
                layout.record(stage, scan_id).unlink(missing_ok=True)
            print(f"{scan_id}: will run again")
        if forgotten:
            _forget_cohort(layout)
    return 0


def _checked(layout: Layout, scan_ids: Collection[str]) -> set[str]:
    """``scan_ids`` if each has a record; CMBurdenError otherwise."""
    unknown = sorted(
        scan_id
        for scan_id in scan_ids
        if not any(layout.record(stage, scan_id).exists() for stage in SCAN_STAGES)
    )
    if unknown:
        raise CMBurdenError(f"scans {unknown} have no record in {layout.root}; see cmburden status")
    return set(scan_ids)


def _failed(layout: Layout) -> set[str]:
    return {
        outcome.scan_id
        for stage in RECORDED_STAGES
        for outcome, _ in status.outcomes(layout, stage)
        if outcome.status == "failed"
    }


def _forget_cohort(layout: Layout) -> None:
    """Remove shards, tables and report.

    Snakemake does not make a missing intermediate file again while the last file exists. The
    networks' results for the other scans are cached.
    """
    for stage in (*BUCKET_STAGES, LONGITUDINAL.name):
        for shard in layout.bucket(stage, 0).parent.glob("bucket-*.parquet"):
            shard.unlink()
    for path in (*map(layout.table, COHORT_TABLES), layout.report, layout.checked):
        path.unlink(missing_ok=True)
