"""Error of a pilot's estimate, from a finished run whose jobs were timed.

Pilots and other scans are drawn from the run many times. No scan is run again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.stages import BUCKET_STAGES, SCAN_STAGES
from cmburden.core.tables import MANIFEST
from cmburden.run import pilot


def seconds(layout: Layout) -> pd.DataFrame:
    """A row per scan with a result of every stage: ``scan_id`` and seconds by stage.

    Stages of scans also have seconds of the processor (``cpu_preprocess``, ``cpu_register``). For
    stages of buckets the seconds are the scan's part of its bucket's job.
    """
    rows = []
    for scan_id in MANIFEST.read(layout.manifest)["scan_id"]:
        try:
            row = {"scan_id": scan_id}
            for stage in SCAN_STAGES:
                job = pilot.benchmark_file(layout.benchmark(stage, scan_id)).iloc[0]
                row |= {stage: job["s"], f"cpu_{stage}": job["cpu_time"]}
            for stage in BUCKET_STAGES:
                row[stage] = Outcome.read(layout.record(stage, scan_id)).seconds
        except FileNotFoundError:
            continue
        rows.append(row)
    return pd.DataFrame(rows).dropna()


def off(
    of_scans: pd.DataFrame, pilots: int, others: int, draws: int, seed: int = 0
) -> pd.DataFrame:
    """Relative error of the estimate, a row per draw, by stage and for ``all`` stages together.

    ``of_scans`` are the rows of :func:`seconds`. Each draw takes ``pilots`` scans for the estimate
    and ``others`` further ones for the reality. The estimate is that of ``pilot.estimate``: the
    mean of the piloted scans, in stages of buckets the median.

    Raises
    ------
    CMBurdenError
        When there are fewer scans than a draw needs.
    """
    if len(of_scans) < pilots + others:
        raise CMBurdenError(
            f"{len(of_scans)} timed scans are too few for {pilots} and {others} others"
        )
    rng = np.random.default_rng(seed)
    numeric = of_scans.drop(columns="scan_id")
    stages = [*SCAN_STAGES, *BUCKET_STAGES]
    rows = []
    for _ in range(draws):
        order = rng.permutation(len(numeric))
        piloted = numeric.iloc[order[:pilots]]
        real = numeric.iloc[order[pilots : pilots + others]].mean()
        in_scan = ~numeric.columns.isin(BUCKET_STAGES)
        estimate = piloted.mean().where(in_scan, piloted.median())
        row = (estimate / real - 1).to_dict()
        rows.append(row | {"all": estimate[stages].sum() / real[stages].sum() - 1})
    return pd.DataFrame(rows)


def markdown(of_scans: pd.DataFrame, errors: pd.DataFrame) -> str:
    """Mean seconds (:func:`seconds`) and the distribution of the errors (:func:`off`) by stage."""
    rows = []
    for name in errors.columns:
        low, middle, high = errors[name].quantile([0.025, 0.5, 0.975])
        mean = f"{of_scans[name].mean():.1f}" if name in of_scans else ""
        rows.append([name, mean, f"{middle:+.0%}", f"{low:+.0%} to {high:+.0%}"])
    return markdown_table(["", "mean, s", "off, median", "off, 95 % of draws"], rows)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.benchmarks.pilot_check OUTPUT_DIR`` of a finished run."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--pilot", type=int, default=20, help="scans of the pilot")
    parser.add_argument("--run", type=int, default=40, help="scans whose cost the pilot predicts")
    parser.add_argument("--draws", type=int, default=2000)
    args = parser.parse_args(arguments)
    of_scans = seconds(Layout(args.output_dir))
    errors = off(of_scans, args.pilot, args.run, args.draws)
    print(f"{len(of_scans)} scans; {args.pilot} of them foretell {args.run} others\n")
    print(markdown(of_scans, errors))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
