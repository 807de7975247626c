"""Simulated scans as a download and as BIDS: the same truth, and the same figures.

``python -m cmburden.studies.download_figures DOWNLOAD ONBOARDED FIGURES`` compares the onboarding
of DOWNLOAD (``studies.pretend_download``) and its evaluation with the evaluation of the same scans
as BIDS, FIGURES (``cmburden evaluate`` with DOWNLOAD/read.tsv). It fails where a place of the truth
is off by more than ``MOST_APART_MM``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.markdown import table

#: The readers' table has tenths of a millimetre.
MOST_APART_MM = 0.1
_PLACE = ["x_mm", "y_mm", "z_mm"]
#: The measures of Hassanzadeh et al. (2025), over all candidates.
_MEASURES = ("sensitivity", "precision", "f1", "balanced_accuracy", "auc")


def apart_mm(truth: Path, expected: Path) -> tuple[int, float]:
    """Scans, and the largest distance of a lesion of ``truth`` from that of ``expected``, mm.

    Raises
    ------
    CMBurdenError
        Where the scans or their lesions' kinds are others, or one is further than the limit.
    """
    order = ["scan_id", "kind", *_PLACE]
    one, other = (
        pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)[order]
        .sort_values(order)
        .reset_index(drop=True)
        for path in (truth, expected)
    )
    if not one[["scan_id", "kind"]].equals(other[["scan_id", "kind"]]):
        raise CMBurdenError(f"{truth}: its scans or lesions are not those of {expected}.")
    difference = one[_PLACE].to_numpy(float) - other[_PLACE].to_numpy(float)
    most = float(np.nanmax(np.linalg.norm(difference, axis=1), initial=0.0))
    if most > MOST_APART_MM:
        raise CMBurdenError(f"{truth}: a lesion is {most:.2f} mm from its place in {expected}.")
    return one["scan_id"].nunique(), most


def rows(onboarded: dict[str, Any], bids: dict[str, Any]) -> list[list[object]]:
    """A row a measure: its name, its value from the download and from BIDS."""
    values = [
        (name, *(one["candidate"]["all"][name] for one in (onboarded, bids))) for name in _MEASURES
    ]
    values += [
        (f"{name} by lesion", *(one["lesion"]["all"][name] for one in (onboarded, bids)))
        for name in ("sensitivity", "precision", "fp_per_scan")
    ]
    return [[name, *(f"{one['estimate']:.3f}" for one in pair)] for name, *pair in values]


def counts(figures: dict[str, Any]) -> pd.Series:
    """Numbers of definite microbleeds of the scans, in the order of their names."""
    scans = sorted(figures["per_scan"], key=lambda scan: scan["scan_id"])
    return pd.Series([scan["n_pred"] for scan in scans])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.download_figures")
    for name in ("download", "onboarded", "figures"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    scans, most = apart_mm(args.onboarded / "truth.tsv", args.download / "expected.tsv")
    onboarded, bids = (
        json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        for folder in (args.onboarded / "evaluation", args.figures)
    )
    print(table(["measure", "from the download", "from BIDS"], rows(onboarded, bids)))
    other = int((counts(onboarded) != counts(bids)).sum())
    print(f"\n{scans} scans that were read; largest distance of the truth {most:.3f} mm;")
    print(f"{other} scans with another number of definite microbleeds.")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
