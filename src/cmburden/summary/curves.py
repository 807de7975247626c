"""Points of the report's charts that are no estimates of `summary`: curves and the lesion map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from cmburden.stats.intervals import wilson
from cmburden.summary import lesion_map, thresholds
from cmburden.summary.contracts import OF_CONTRACT, model_contracts
from cmburden.summary.rows import WILSON

#: Thresholds of the calibrated probability that the curve of prevalence is drawn at.
_STEP = 0.05
_STEPS = 19


def curves(
    lesions: pd.DataFrame, participants: pd.DataFrame, config: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Rows of `curves`: prevalence by threshold for each contrast, and the contracts' FROC."""
    yield from _prevalences(lesions, participants, thresholds.in_use(config))
    for _, model, contract in model_contracts(config):
        for false_positives, sensitivity in (contract.get("metrics") or {}).get("froc") or []:
            yield {
                "curve": "froc",
                "model": model,
                "x": float(false_positives),
                "estimate": float(sensitivity),
                "method": f"sensitivity; {OF_CONTRACT}",
            }


def _prevalences(
    lesions: pd.DataFrame, participants: pd.DataFrame, in_use: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """Apparent prevalence were the threshold of definite lesions another one."""
    # Lesions below the threshold of possible ones are not in the table.
    steps = (round(step * _STEP, 2) for step in range(1, _STEPS + 1))
    tried = {step for step in steps if step >= in_use.get("possible", 1)} | set(in_use.values())
    for contrast, people, small in _by_contrast(lesions, participants):
        highest = small.groupby("scan_id")["probability"].max()
        for threshold in sorted(tried):
            positive, total = int((highest >= threshold).sum()), len(people)
            low, high = wilson(positive, total)
            yield {
                "curve": "prevalence",
                "contrast": contrast,
                "x": threshold,
                "estimate": positive / total,
                "ci_low": low,
                "ci_high": high,
                "n": positive,
                "denominator": total,
                "method": WILSON,
            }


def lesion_cells(lesions: pd.DataFrame, participants: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of `lesion_cells`: definite microbleeds of each contrast by their cell of MNI152."""
    for contrast, _, small in _by_contrast(lesions, participants):
        definite = small[small["label"] == "definite"]
        for (x, y, z), number in lesion_map.cells(definite).items():
            yield {
                "contrast": contrast,
                "mni_x": x,
                "mni_y": y,
                "mni_z": z,
                "n": number,
                "denominator": len(definite),
            }


def _by_contrast(
    lesions: pd.DataFrame, participants: pd.DataFrame
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Contrast, usable participants, and the lesions of their scans without macrohaemorrhages."""
    small = lesions[~lesions["macrohaemorrhage"]]
    usable = participants[participants["scan_id"].notna()]
    for contrast, people in usable.groupby("contrast", sort=True):
        yield str(contrast), people, small[small["scan_id"].isin(people["scan_id"])]
