"""`cmburden retry`: forget failed scans, so that they run again."""

from __future__ import annotations

import argparse

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import BUCKET_STAGES, COHORT_TABLES, SCAN_STAGES, Layout
from cmburden.run.participants import _alone


def _retry(args: argparse.Namespace) -> int:
    from cmburden.run import status as progress

    layout = Layout(args.output_dir)
    progress.expected(layout)
    with _alone(layout):
        return _forget(layout, set(args.scan))


def _forget(layout: Layout, wanted: set[str]) -> int:
    """Remove the records of failed scans (or of those named) and all that was made from them.

    Snakemake makes nothing again for a missing intermediate file while the last one exists, so
    shards, tables and report go too; what the networks said of other scans is cached.
    """
    from cmburden.run import status as progress

    failed = {
        outcome.scan_id
        for stage in (*SCAN_STAGES, *BUCKET_STAGES)
        for outcome, _ in progress.outcomes(layout, stage)
        if outcome.status == "failed"
    }
    unknown = sorted(
        s for s in wanted if not any(layout.record(stage, s).exists() for stage in SCAN_STAGES)
    )
    if unknown:
        raise CMBurdenError(f"scans {unknown} have no record in {layout.root}; see cmburden status")
    for scan_id in sorted(wanted or failed):
        for stage in (*SCAN_STAGES, *BUCKET_STAGES):
            layout.record(stage, scan_id).unlink(missing_ok=True)
        print(f"{scan_id}: will run again")
    if wanted or failed:
        for stage in (*BUCKET_STAGES, "longitudinal"):
            for shard in layout.bucket(stage, 0).parent.glob("bucket-*.parquet"):
                shard.unlink()
        for path in (*map(layout.table, COHORT_TABLES), layout.report, layout.checked):
            path.unlink(missing_ok=True)
    return 0
