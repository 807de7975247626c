"""Where time and disk went: seconds and bytes a scan, from a run's benchmark files and folder."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import BUCKET_STAGES, SCAN_STAGES, Layout
from cmburden.core.scan import Outcome
from cmburden.run import pilot


def by_stage(layout: Layout) -> pd.DataFrame:
    """A row a stage: ``stage``, ``jobs``, ``seconds`` a scan (median of scan jobs; buckets and
    cohort jobs divided by the scans that they worked on), ``share`` of the whole, ``max_rss_mb``.

    Only scans that went the whole way count. Wall seconds of the jobs, each with the threads that
    its rule gives it; jobs run side by side, so a cohort takes less than the sum.
    """
    read = [
        p.stem
        for p in sorted(layout.record("verify", "x").parent.glob("*.json"))
        if Outcome.read(p).ok
    ]
    if not read:
        raise CMBurdenError(f"{layout.root}: no scan has gone the whole way here yet")
    rows = []
    for stage in SCAN_STAGES:
        paths = [p for s in read if (p := layout.benchmark(stage, s)).exists()]
        rows.append(_row(stage, paths, None))
    for stage in (*BUCKET_STAGES, "longitudinal", "aggregate", "report"):
        paths = sorted(layout.benchmark(stage).parent.glob("*.tsv"))
        rows.append(_row(stage, paths, len(read)))
    table = pd.DataFrame([row for row in rows if row])
    return table.assign(share=table["seconds"] / table["seconds"].sum())


def _row(stage: str, paths: list[Path], scans: int | None) -> dict | None:
    if not paths:
        return None
    jobs = pd.concat([pd.read_csv(p, sep="\t", na_values=["-", "NA"]) for p in paths])
    seconds = jobs["s"].sum() / scans if scans else jobs["s"].median()
    return {
        "stage": stage, "jobs": len(jobs), "seconds": float(seconds),
        "max_rss_mb": float(jobs["max_rss"].max()),
    }  # fmt: skip


def markdown(table: pd.DataFrame) -> str:
    """Table ``by_stage`` in Markdown, with a last row of all stages."""
    rows = [
        [
            row.stage,
            row.jobs,
            f"{row.seconds:.1f}",
            f"{row.share:.0%}",
            f"{row.max_rss_mb:.0f}",
        ]
        for row in table.itertuples()
    ]
    rows.append(["all", "", f"{table['seconds'].sum():.1f}", "", ""])
    return markdown_table(["stage", "jobs", "seconds a scan", "share", "peak memory, MB"], rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output_dir", type=Path)


def main(args: argparse.Namespace) -> int:
    layout = Layout(args.output_dir)
    print(markdown(by_stage(layout)))
    scans = len(list(layout.record("preprocess", "x").parent.glob("*.json")))
    print(f"\n{scans} scans\n\n{pilot.disk_markdown(pilot.disk(layout, scans), scans)}")
    return 0
