"""How near a pilot of some scans comes to what others cost: drawn again and again from a finished
run, whose jobs were timed. Nothing is run again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from cmburden.core.errors import CMBurdenError, told
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import BUCKET_STAGES, SCAN_STAGES, Layout
from cmburden.core.scan import Outcome
from cmburden.core.tables import MANIFEST


def seconds(layout: Layout) -> pd.DataFrame:
    """A row a scan that went the whole way: seconds of its jobs by stage, and of the processor
    (``cpu_preprocess``, ``cpu_register``). Of buckets' jobs only the part of each scan."""
    rows = []
    for scan_id in MANIFEST.read(layout.manifest)["scan_id"]:
        try:
            row = {"scan_id": scan_id}
            for stage in SCAN_STAGES:
                path = layout.benchmark(stage, scan_id)
                job = pd.read_csv(path, sep="\t", na_values=["-", "NA"]).iloc[0]
                row |= {stage: job["s"], f"cpu_{stage}": job["cpu_time"]}
            for stage in BUCKET_STAGES:
                row[stage] = Outcome.read(layout.record(stage, scan_id)).seconds
        except FileNotFoundError:
            continue
        rows.append(row)
    return pd.DataFrame(rows).dropna()


def off(of_scans: pd.DataFrame, pilot: int, run: int, draws: int, seed: int = 0) -> pd.DataFrame:
    """Estimate over reality less one, a row a draw, for each column and ``all`` stages together.

    As ``pilot.estimate`` has it: scans cost the mean of those piloted, in buckets the median.
    """
    if len(of_scans) < pilot + run:
        raise CMBurdenError(f"{len(of_scans)} timed scans are too few for {pilot} and {run} others")
    rng = np.random.default_rng(seed)
    numeric = of_scans.drop(columns="scan_id")
    rows = []
    for _ in range(draws):
        order = rng.permutation(len(numeric))
        piloted, others = numeric.iloc[order[:pilot]], numeric.iloc[order[pilot : pilot + run]]
        estimate = piloted.mean().where(
            ~numeric.columns.isin(BUCKET_STAGES), piloted.median()
        )  # fmt: skip
        real = others.mean()
        stages = [*SCAN_STAGES, *BUCKET_STAGES]
        row = (estimate / real - 1).to_dict()
        rows.append(row | {"all": estimate[stages].sum() / real[stages].sum() - 1})
    return pd.DataFrame(rows)


def markdown(of_scans: pd.DataFrame, found: pd.DataFrame) -> str:
    """The estimate's error by stage in Markdown: tables of :func:`seconds` and :func:`off`."""
    rows = []
    for name in found.columns:
        low, middle, high = found[name].quantile([0.025, 0.5, 0.975])
        mean = f"{of_scans[name].mean():.1f}" if name in of_scans else ""
        rows.append([name, mean, f"{middle:+.0%}", f"{low:+.0%} to {high:+.0%}"])
    return markdown_table(["", "mean, s", "off, median", "off, 95 % of draws"], rows)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.benchmarks.pilot_check OUTPUT_DIR`` of a finished run."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--pilot", type=int, default=20, help="scans of the pilot")
    parser.add_argument("--run", type=int, default=40, help="scans of the run that it foretells")
    parser.add_argument("--draws", type=int, default=2000)
    args = parser.parse_args(arguments)
    of_scans = seconds(Layout(args.output_dir))
    found = off(of_scans, args.pilot, args.run, args.draws)
    print(f"{len(of_scans)} scans; {args.pilot} of them foretell {args.run} others\n")
    print(markdown(of_scans, found))
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
