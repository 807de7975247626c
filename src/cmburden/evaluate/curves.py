"""What a score is worth at every threshold: FROC, calibration, and what each stage adds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cmburden.core.keys import seed_of
from cmburden.evaluate.cases import STAGES, Cases
from cmburden.evaluate.measures import estimates, lesion, ratio
from cmburden.stats import agreement

FROC_POINTS = (0.1, 0.25, 0.3, 0.5, 1.0, 2.0)
#: False positives per scan at which the curve of the figures is drawn.
FROC_GRID = tuple(
    sorted({*FROC_POINTS, *(float(f"{point:.4g}") for point in np.geomspace(0.05, 20, 50))})
)
BINS = 10
#: Candidates below are clear negatives: most of all candidates, and a kind judge of calibration.
CLEAR_NEGATIVE = 0.02
#: Sensitivity that YOLO may cost where its own effect is given.
ALLOWED_LOSS = 0.02
_COMBINED = {False: "geometric mean of p_cnn and p_yolo", True: "logistic in p_cnn and p_yolo"}

Curve = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def curve_of(cases: Cases, stage: str) -> Curve:
    """Function of how often each participant is in the sample, (people,).

    It gives false positives per scan, sensitivity and threshold, (thresholds,) each, by falling
    score. Sensitivity is NaN where the sample holds no microbleed.
    """
    rows = cases.candidates
    order = np.argsort(-rows[stage].to_numpy(dtype=float), kind="stable")
    owner = rows["person"].to_numpy(dtype=int)[order]
    hit = rows[f"hit_{stage}"].to_numpy(dtype=bool)[order]
    score = rows[stage].to_numpy(dtype=float)[order]
    # Equal scores pass a threshold together.
    last = np.append(score[1:] != score[:-1], True) if len(score) else np.zeros(0, bool)
    people, real = (cases.scans[name].to_numpy() for name in ("person", "n_true"))
    thresholds = score[last]

    def curve(weight):
        w = weight[owner]
        scans, total = weight[people].sum(), (weight[people] * real).sum()
        fp = np.cumsum(w * ~hit)[last] / scans
        tp = np.cumsum(w * hit)[last] / total if total else np.full(len(thresholds), math.nan)
        return fp, tp, thresholds

    return curve


def sensitivity_at(fp: np.ndarray, tp: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Sensitivity at the lowest threshold with at most that many false positives per scan.

    >>> sensitivity_at(np.array([0, 0.5, 1]), np.array([0.2, 0.2, 0.6]), np.array([0.7, 1, 9]))
    array([0.2, 0.6, 0.6])
    """
    passed = np.searchsorted(fp, points, side="right")
    # No candidate, no sensitivity; but unknown where there is no microbleed.
    start = math.nan if len(tp) and math.isnan(tp[0]) else 0.0
    return np.append(start, tp)[passed]


def froc(cases: Cases, name: str) -> dict[str, dict[str, Any]]:
    """Of each stage ``points`` (estimates at FROC_POINTS) and ``curve`` (lists over FROC_GRID)."""
    where = np.array([*FROC_POINTS, *FROC_GRID])
    labels = [*(f"{point:g}" for point in FROC_POINTS), *range(len(FROC_GRID))]
    result = {}
    for stage in STAGES:
        curve = curve_of(cases, stage)

        def statistics(weight, curve=curve):
            fp, tp, _ = curve(weight)
            return dict(zip(labels, sensitivity_at(fp, tp, where).tolist(), strict=True))

        # Of all scans the seed is that of the releases before there were strata.
        seed = f"froc {stage}" if name == "all" else f"froc {stage} {name}"
        found = estimates(cases, seed, statistics)
        drawn = [found.pop(number) for number in range(len(FROC_GRID))]
        result[stage] = {
            "points": found,
            "curve": {"fp_per_scan": list(FROC_GRID)}
            | {
                key: [round(float(entry[value]), 4) for entry in drawn]
                for key, value in (
                    ("sensitivity", "estimate"), ("ci_low", "ci_low"), ("ci_high", "ci_high"),
                )
            },
        }  # fmt: skip
    return result


def calibration(cases: Cases, name: str) -> dict[str, dict[str, Any]]:
    """Reliability of the final probability over all candidates and without the clear negatives.

    Bins of equal width, each with its upper edge; expected calibration error: mean over candidates
    of the distance between a bin's mean probability and its share of true ones (Naeini et al.,
    AAAI 2015). ``predicted_over_true``: sum of the probabilities over the number of true ones.
    ``by_chance``: mean and 95th percentile of that error were every probability right.
    """
    rows = cases.candidates
    result = {}
    for subset, lowest in (("all", 0.0), (f"from_{CLEAR_NEGATIVE:g}", CLEAR_NEGATIVE)):
        own = rows[rows["final"] >= lowest]
        owner, p = own["person"].to_numpy(dtype=int), own["final"].to_numpy(dtype=float)
        true = own["hit_final"].to_numpy(dtype=bool)
        edges = np.linspace(0, 1, BINS + 1)
        bins = agreement.calibration_bins(p, BINS)

        def statistics(weight, owner=owner, p=p, true=true, bins=bins, lowest=lowest):
            w = weight[owner]
            number, said, right = (
                np.bincount(bins, weights=values, minlength=BINS) for values in (w, w * p, w * true)
            )
            shares = {f"{b}": ratio(right[b], number[b]) for b in range(BINS)}
            return shares | {
                "expected_calibration_error": agreement.expected_calibration_error(
                    p, true, lowest, BINS, w
                ),
                "predicted_over_true": ratio(said.sum(), right.sum()),
            }

        found = estimates(cases, f"calibration {subset} {name}", statistics)
        shares = [found.pop(f"{b}") for b in range(BINS)]
        chance = agreement.calibration_error_by_chance(
            p, seed_of("by chance", subset, name), lowest, BINS
        )
        result[subset] = found | {
            "candidates": len(own),
            "true_candidates": int(true.sum()),
            "by_chance": dict(zip(("mean", "p95"), chance, strict=True)),
            "bins": [
                {
                    "from": round(float(edges[b]), 3),
                    "to": round(float(edges[b + 1]), 3),
                    "candidates": int((bins == b).sum()),
                    "mean_probability": float(p[bins == b].mean()) if (bins == b).any() else None,
                    "share_true": shares[b],
                }
                for b in range(BINS)
            ],
        }
    return result


def ablation(cases: Cases) -> dict[str, Any]:
    """Each stage at its own threshold and at the sensitivity of the whole; YOLO's own effect."""
    words = {
        "cnn": "3D CNN alone (p_cnn)",
        "cnn_yolo": f"3D CNN and YOLO ({_COMBINED[cases.combination is not None]})",
        "final": "with place and shape (calibrated probability)",
    }
    everybody = np.zeros(cases.people, int)
    everybody[np.unique(cases.scans["person"])] = 1
    whole = lesion(cases, "all")
    target = whole["sensitivity"]["estimate"]
    curves = {stage: curve_of(cases, stage) for stage in STAGES}
    effect = _with_intervals(cases, curves)
    result: dict[str, Any] = {"target_sensitivity": target}
    for stage in STAGES:
        fp, tp, score = curves[stage](everybody)
        entry = {
            "score": words[stage],
            "matched": _reaching(fp, tp, score, target),
            "matched_fp_per_scan": effect.pop(f"matched {stage}"),
            "all_candidates": _at(fp, tp, score, -1.0),
        }
        if stage == "final":
            entry["own"] = {
                "threshold": "definite",
                "sensitivity": target,
                "fp_per_scan": whole["fp_per_scan"]["estimate"],
            }
        elif stage == "cnn" and cases.detector_threshold is not None:
            entry["own"] = _at(fp, tp, score, cases.detector_threshold)
        result[stage] = entry
    result["yolo_effect"] = effect | {
        "allowed_loss": ALLOWED_LOSS,
        "cnn_threshold": _reaching(*curves["cnn"](everybody), target)["threshold"],
        "cnn_yolo_threshold": _reaching(*curves["cnn_yolo"](everybody), target - ALLOWED_LOSS)[
            "threshold"
        ],
    }
    return result


def _with_intervals(cases: Cases, curves: dict[str, Curve]) -> dict[str, dict[str, float]]:
    """False positives of each stage at the whole's sensitivity, and YOLO's own effect.

    In every draw the whole's sensitivity and all thresholds are found anew.
    """
    person, tp, real = (cases.scans[name].to_numpy() for name in ("person", "tp", "n_true"))

    def statistics(weight):
        w = weight[person]
        target = ratio((w * tp).sum(), (w * real).sum())
        drawn = {stage: curve(weight) for stage, curve in curves.items()}
        at = {stage: _reaching(*drawn[stage], target) for stage in curves}
        before, after = at["cnn"], _reaching(*drawn["cnn_yolo"], target - ALLOWED_LOSS)
        matched = {f"matched {stage}": _or_nan(at[stage]["fp_per_scan"]) for stage in curves}
        effect = {
            f"{name}_{key}": _or_nan(entry[key])
            for name, entry in (("cnn", before), ("cnn_yolo", after))
            for key in ("sensitivity", "fp_per_scan")
        }
        less = ratio(effect["cnn_yolo_fp_per_scan"], effect["cnn_fp_per_scan"])
        return matched | effect | {"fp_ratio": less}

    return estimates(cases, "ablation", statistics)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _reaching(fp, tp, score, target: float) -> dict[str, float | None]:
    """The point with the fewest false positives whose sensitivity is at least ``target``."""
    reached = np.flatnonzero(tp >= target - 1e-12) if np.isfinite(target) else np.zeros(0, int)
    if not len(reached):
        return {"threshold": None, "sensitivity": None, "fp_per_scan": None}
    first = reached[0]
    return {
        "threshold": float(score[first]),
        "sensitivity": float(tp[first]),
        "fp_per_scan": float(fp[first]),
    }


def _at(fp, tp, score, threshold: float) -> dict[str, float | None]:
    """Sensitivity and false positives per scan of the predictions at or above ``threshold``."""
    passed = np.flatnonzero(score >= threshold)
    place = passed[-1] if len(passed) else None
    return {
        "threshold": threshold if threshold >= 0 else None,
        "sensitivity": 0.0 if place is None else float(tp[place]),
        "fp_per_scan": 0.0 if place is None else float(fp[place]),
    }
