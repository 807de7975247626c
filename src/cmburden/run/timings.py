"""Cost of a run: seconds a scan from the benchmark files, and bytes a scan from the folder."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.stages import BUCKET_STAGES, SCAN_STAGES
from cmburden.run import options, pilot


def by_stage(layout: Layout) -> pd.DataFrame:
    """A row per stage: ``stage``, ``timed``, ``seconds``, ``share``, ``max_rss_mb``.

    ``timed`` is the number of scans that were timed in preprocess and register, else of jobs.
    ``seconds`` are wall time per scan: their sum, divided by the number of scans. The first scan of
    a batch has the start of the job. ``share`` is the stage's share of the sum over stages.

    Only scans with a result of every stage count. A job has the threads that its rule gives. Jobs
    run side by side, so that a cohort takes less than the sum.

    Raises
    ------
    CMBurdenError
        If no scan has a result of every stage.
    """
    records = sorted(layout.record("verify", "x").parent.glob("*.json"))
    scans = [path.stem for path in records if Outcome.read(path).ok]
    if not scans:
        raise CMBurdenError(f"{layout.root}: no scan has gone the whole way here yet")
    rows = []
    for stage in SCAN_STAGES:
        paths = [path for scan in scans if (path := layout.benchmark(stage, scan)).exists()]
        rows.append(_row(stage, paths, len(paths)))
    for stage in (*BUCKET_STAGES, "longitudinal", "aggregate", "report"):
        paths = sorted(layout.benchmark(stage).parent.glob("*.tsv"))
        rows.append(_row(stage, paths, len(scans)))
    table = pd.DataFrame([row for row in rows if row])
    return table.assign(share=table["seconds"] / table["seconds"].sum())


def _row(stage: str, paths: list[Path], scans: int) -> dict[str, str | float] | None:
    """The row of a stage with the benchmark files ``paths`` of ``scans`` scans."""
    jobs = pilot.benchmarks(paths)
    if jobs is None:
        return None
    return {
        "stage": stage,
        "timed": len(jobs),
        "seconds": float(jobs["s"].sum() / scans),
        "max_rss_mb": float(jobs["max_rss"].max()),
    }


def markdown(table: pd.DataFrame) -> str:
    """The rows of :func:`by_stage` and their sum."""
    rows = [
        [
            row.stage,
            row.timed,
            f"{row.seconds:.1f}",
            f"{row.share:.0%}",
            f"{row.max_rss_mb:.0f}",
        ]
        for row in table.itertuples()
    ]
    rows.append(["all", "", f"{table['seconds'].sum():.1f}", "", ""])
    return markdown_table(
        ["stage", "scans or jobs", "seconds a scan", "share", "peak memory, MB"], rows
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``cmburden timings``."""
    options.add_output_dir(parser)


def main(args: argparse.Namespace) -> int:
    """``cmburden timings OUTPUT_DIR``."""
    layout = Layout(args.output_dir)
    print(markdown(by_stage(layout)))
    scans = len(list(layout.record("preprocess", "x").parent.glob("*.json")))
    print(f"\n{scans} scans\n\n{pilot.disk_markdown(pilot.disk(layout, scans), scans)}")
    return 0
