"""Figures of the test bed: ``python -m cmburden.studies.bed.figures DERIVATIVES TRUTH``.

A row a domain: sensitivity, false positives, calibration, and how many vessels are called
microbleeds. Vessels of which no voxel has lost as much signal as a reader needs to call a void are
left out (``sources.VOID``).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.spatial import cKDTree

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.evaluate import cases as evaluation
from cmburden.evaluate.cases import Cases
from cmburden.evaluate.curves import calibration, froc
from cmburden.evaluate.measures import lesion
from cmburden.simulate.sources import VOID
from cmburden.stats.intervals import wilson
from cmburden.studies.bed.domains import DOMAINS, TUNED

#: A lesion within this distance of a vessel's centreline, mm, beyond its radius, is the vessel.
_AT_VESSEL_MM = 2.0
#: A microbleed within this distance of a visible vessel lies beside the vessel, mm.
_BESIDE_MM = 6.0
_PLACE = ["x_mm", "y_mm", "z_mm"]
#: False positives a scan at which sensitivity is compared.
POINT = "0.5"
HEAD = (
    "domain",
    "half",
    "scans, microbleeds",
    "sensitivity, definite",
    "false positives a scan",
    f"sensitivity at {POINT} a scan",
    "calibration error",
    "whole vessels called",
    "short stretches called",
    "sensitivity beside vessels",
)


@dataclasses.dataclass(frozen=True)
class Called:
    """``called`` of ``number`` vessels (or microbleeds)."""

    called: int
    number: int

    def __str__(self) -> str:
        if not self.number:
            return "-"
        low, high = wilson(self.called, self.number)
        return f"{self.called} of {self.number} ({100 * low:.0f}-{100 * high:.0f} %)"


def vessels_of(bids: Path, scan_ids: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Visible vessels of each scan, a row a point; scans without a table are absent."""
    tables = {}
    for scan_id in scan_ids:
        path = bids / "sourcedata" / "truth" / f"{scan_id}_vessels.tsv"
        if path.exists() and path.stat().st_size > 1:
            rows = pd.read_csv(path, sep="\t")
            tables[scan_id] = rows[rows["loss"] >= VOID]
    return tables


def called(cases: Cases, vessels: dict[str, pd.DataFrame], kind: str) -> Called:
    """Vessels of a kind at which a false positive is called definite."""
    wrong = cases.candidates[cases.candidates["decided"] & ~cases.candidates["right"]]
    number = hit = 0
    for scan_id in cases.scans["scan_id"]:
        rows = vessels.get(scan_id)
        if rows is None:
            continue
        places = wrong.loc[wrong["scan_id"] == scan_id, _PLACE].to_numpy(dtype=float)
        for _, points in rows[rows["kind"] == kind].groupby("vessel"):
            number += 1
            if len(places):
                distance, _ = cKDTree(points[_PLACE].to_numpy(dtype=float)).query(places)
                reach = float(points["radius_mm"].iloc[0]) + _AT_VESSEL_MM
                hit += bool((distance <= reach).any())
    return Called(hit, number)


def beside(cases: Cases, vessels: dict[str, pd.DataFrame]) -> Called:
    """Microbleeds beside a visible vessel that are found."""
    number = hit = 0
    for scan_id, real in cases.real.groupby("scan_id"):
        rows = vessels.get(str(scan_id))
        if rows is None or rows.empty:
            continue
        distance, _ = cKDTree(rows[_PLACE].to_numpy(dtype=float)).query(
            real[_PLACE].to_numpy(dtype=float)
        )
        near = distance <= _BESIDE_MM
        number += int(near.sum())
        hit += int(real["found"].to_numpy(dtype=bool)[near].sum())
    return Called(hit, number)


def row(cases: Cases, name: str, vessels: dict[str, pd.DataFrame]) -> list[str]:
    """Cells of one domain, in the order of ``HEAD``."""
    measured = lesion(cases, name)
    at_point = froc(cases, name)["final"]["points"][POINT]
    error = calibration(cases, name)["from_0.02"]["expected_calibration_error"]
    half = "tuned" if name in TUNED else "unseen" if name in DOMAINS else ""
    return [
        name,
        half,
        f"{len(cases.scans)}, {len(cases.real)}",
        _text(measured["sensitivity"]),
        _text(measured["fp_per_scan"]),
        _text(at_point),
        _text(error),
        str(called(cases, vessels, "whole")),
        str(called(cases, vessels, "short")),
        str(beside(cases, vessels)),
    ]


def _text(entry: dict[str, Any]) -> str:
    """An estimate with its interval."""
    if entry["estimate"] is None:
        return "-"
    text = f"{entry['estimate']:.2f}"
    if entry.get("ci_low") is not None:
        text += f" ({entry['ci_low']:.2f}-{entry['ci_high']:.2f})"
    return text


def figures(derivatives: Path, truth_path: Path) -> str:
    """The table of all domains of a run, in Markdown."""
    layout = Layout(derivatives)
    cases = evaluation.gather(layout, evaluation.read_truth(truth_path))
    bids = truth_path.parent / "bids"
    if not bids.is_dir():
        raise CMBurdenError(f"{bids}: the dataset of the test bed lies beside its truth; move it")
    vessels = vessels_of(bids, cases.scans["scan_id"])
    rows = [row(cases.only("cohort", name), name, vessels) for name in cases.levels("cohort")]
    return markdown_table(HEAD, sorted(rows, key=lambda cells: (cells[1] != "tuned", cells[0])))


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.bed.figures DERIVATIVES TRUTH``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("derivatives", type=Path)
    parser.add_argument("truth", type=Path)
    args = parser.parse_args(arguments)
    print(figures(args.derivatives, args.truth))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
