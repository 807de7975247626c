"""Measures of a score at every threshold: FROC, calibration, and the effect of each stage."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cmburden.core.keys import seed_of
from cmburden.evaluate import shares
from cmburden.evaluate.cases import STAGES, Cases
from cmburden.evaluate.measures import Estimate, estimates, lesion, ratio
from cmburden.stats import agreement

FROC_POINTS = (0.1, 0.25, 0.3, 0.5, 1.0, 2.0)
#: False positives per scan at which the curve of the figures is drawn.
FROC_GRID = tuple(
    sorted({*FROC_POINTS, *(float(f"{point:.4g}") for point in np.geomspace(0.05, 20, 50))})
)
#: Bins of equal width of the calibration.
BINS = 10
#: Candidates below this probability are clear negatives. They dominate in number and would make
#: calibration look better than it is, so they are left out.
CLEAR_NEGATIVE = 0.02
#: Sensitivity that YOLO may cost where its own effect is given.
ALLOWED_LOSS = 0.02
_COMBINED = {False: "geometric mean of p_cnn and p_yolo", True: "logistic in p_cnn and p_yolo"}
#: A sensitivity reaches its target within rounding of its ratio of counts.
_ROUNDING = 1e-12

#: Which part of the candidates a calibration is over, and the least probability in it.
_SUBSETS = (("all", 0.0), (f"from_{CLEAR_NEGATIVE:g}", CLEAR_NEGATIVE))


# --- FROC ---


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """A threshold of a score, with the sensitivity and false positives per scan at it.

    All None where no threshold reaches the sensitivity that was asked for.
    """

    threshold: float | None = None
    sensitivity: float | None = None
    fp_per_scan: float | None = None


@dataclasses.dataclass(frozen=True)
class Froc:
    """A FROC curve by falling threshold, three arrays of shape (thresholds,).

    Sensitivity is NaN where the sample holds no microbleed.
    """

    fp_per_scan: np.ndarray
    sensitivity: np.ndarray
    threshold: np.ndarray

    def reaching(self, sensitivity: float) -> OperatingPoint:
        """The point with the fewest false positives that has at least this sensitivity."""
        if not math.isfinite(sensitivity):
            return OperatingPoint()
        reached = np.flatnonzero(self.sensitivity >= sensitivity - _ROUNDING)
        return self._point(reached[0]) if len(reached) else OperatingPoint()

    def at_threshold(self, threshold: float) -> OperatingPoint:
        """Sensitivity and false positives of the candidates with at least this score."""
        passed = np.flatnonzero(self.threshold >= threshold)
        point = self._point(passed[-1]) if len(passed) else OperatingPoint(0.0, 0.0, 0.0)
        return dataclasses.replace(point, threshold=threshold)

    def end(self) -> OperatingPoint:
        """Sensitivity and false positives of all candidates, without a threshold."""
        return dataclasses.replace(self.at_threshold(-math.inf), threshold=None)

    def _point(self, number: int) -> OperatingPoint:
        return OperatingPoint(
            threshold=float(self.threshold[number]),
            sensitivity=float(self.sensitivity[number]),
            fp_per_scan=float(self.fp_per_scan[number]),
        )


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Candidates by falling score: the order in which a FROC curve lets them in.

    ``order`` (n,) are their rows. ``score`` and ``hit`` (n,) are in that order. ``last`` (n,)
    marks the last of each run of equal scores, since equal scores pass a threshold together.
    """

    order: np.ndarray
    score: np.ndarray
    hit: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, score: np.ndarray, hit: np.ndarray) -> Ranking:
        """``score`` (n,); ``hit`` (n,) bool: whether the candidate adds a microbleed."""
        order = np.argsort(-score, kind="stable")
        falling = score[order]
        last = np.append(falling[1:] != falling[:-1], True) if len(score) else np.zeros(0, bool)
        return cls(order, falling, hit[order], last)

    def froc(self, scans: float, microbleeds: float, weight: np.ndarray | None = None) -> Froc:
        """The curve over ``scans`` scans with ``microbleeds`` microbleeds.

        ``weight`` (n,) says how often each candidate counts, in the order of the ranking.

        >>> curve = Ranking.of(np.array([0.9, 0.5, 0.5]), np.array([True, True, False])).froc(2, 4)
        >>> curve.fp_per_scan.tolist(), curve.sensitivity.tolist(), curve.threshold.tolist()
        ([0.0, 0.5], [0.25, 0.5], [0.9, 0.5])
        """
        w = np.ones(len(self.hit), int) if weight is None else weight
        threshold = self.score[self.last]
        sensitivity = np.full(len(threshold), math.nan)
        if microbleeds:
            sensitivity = np.cumsum(w * self.hit)[self.last] / microbleeds
        return Froc(np.cumsum(w * ~self.hit)[self.last] / scans, sensitivity, threshold)


#: A FROC curve of a sample, given as an array (people,): how often each participant is in it.
Curve = Callable[[np.ndarray], Froc]


def curve_of(cases: Cases, stage: str) -> Curve:
    """The FROC curve of a stage's score as a function of the sample of participants."""
    rows = cases.candidates
    ranking = Ranking.of(
        rows[stage].to_numpy(dtype=float), rows[f"hit_{stage}"].to_numpy(dtype=bool)
    )
    owner = rows["person"].to_numpy(dtype=int)[ranking.order]
    people, real = (cases.scans[name].to_numpy() for name in ("person", "n_true"))

    def curve(sample: np.ndarray) -> Froc:
        return ranking.froc(sample[people].sum(), (sample[people] * real).sum(), sample[owner])

    return curve


def sensitivity_at(
    fp_per_scan: np.ndarray, sensitivity: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Sensitivity at the lowest threshold with at most that many false positives per scan.

    ``fp_per_scan`` and ``sensitivity`` are those of a :class:`Froc`; ``points`` (m,) are false
    positives per scan. Returns (m,).

    >>> fp_per_scan, sensitivity = np.array([0, 0.5, 1]), np.array([0.2, 0.2, 0.6])
    >>> sensitivity_at(fp_per_scan, sensitivity, np.array([0.7, 1, 9])).tolist()
    [0.2, 0.6, 0.6]
    """
    passed = np.searchsorted(fp_per_scan, points, side="right")
    # Above every threshold sensitivity is 0, but unknown where there is no microbleed.
    start = math.nan if len(sensitivity) and math.isnan(sensitivity[0]) else 0.0
    return np.append(start, sensitivity)[passed]


def froc(cases: Cases, name: str) -> dict[str, dict[str, Any]]:
    """Of each stage ``points`` (estimates at FROC_POINTS) and ``curve`` (lists over FROC_GRID)."""
    return {stage: _froc_of_stage(cases, name, stage) for stage in STAGES}


def _froc_of_stage(cases: Cases, name: str, stage: str) -> dict[str, Any]:
    where = np.array([*FROC_POINTS, *FROC_GRID])
    points = [f"{point:g}" for point in FROC_POINTS]
    grid = [f"grid {number}" for number in range(len(FROC_GRID))]
    curve = curve_of(cases, stage)

    def statistics(sample: np.ndarray) -> dict[str, float]:
        drawn = curve(sample)
        values = sensitivity_at(drawn.fp_per_scan, drawn.sensitivity, where).tolist()
        return dict(zip((*points, *grid), values, strict=True))

    # Over all scans the seed is the one of the releases before there were strata.
    seed = f"froc {stage}" if name == "all" else f"froc {stage} {name}"
    drawn = estimates(cases, seed, statistics)
    whole = curve(_everybody(cases))
    for name_of_point, point in zip((*points, *grid), where, strict=True):
        passed = int(np.searchsorted(whole.fp_per_scan, point, side="right"))
        threshold = float(whole.threshold[passed - 1]) if passed else math.inf
        ends = _sensitivity_ends(cases, stage, threshold)
        drawn[name_of_point] = shares.wider(drawn[name_of_point], ends)
    columns = {"sensitivity": "estimate", "ci_low": "ci_low", "ci_high": "ci_high"}
    return {
        "points": {point: drawn[point] for point in points},
        "curve": {"fp_per_scan": list(FROC_GRID)}
        | {
            column: [round(float(drawn[point][key]), 4) for point in grid]
            for column, key in columns.items()
        },
    }


def _everybody(cases: Cases) -> np.ndarray:
    """The sample (people,) with every participant once."""
    sample = np.zeros(cases.people, int)
    sample[np.unique(cases.scans["person"])] = 1
    return sample


def _sensitivity_ends(cases: Cases, stage: str, threshold: float) -> shares.Ends:
    """Interval of the sensitivity at a fixed threshold of a stage's score."""
    rows, scans = cases.candidates, cases.scans
    passed = rows[stage].to_numpy(dtype=float) >= threshold
    hits = rows[f"hit_{stage}"].to_numpy(dtype=bool) & passed
    by_person = np.bincount(rows["person"].to_numpy(dtype=int)[hits], minlength=cases.people)
    person = scans["person"].to_numpy(dtype=int)
    real = np.bincount(person, scans["n_true"], minlength=cases.people).astype(int)
    return shares.of_counts(by_person, real, np.arange(cases.people))


# --- calibration ---


def calibration(cases: Cases, name: str) -> dict[str, dict[str, Any]]:
    """Reliability of the final probability over all candidates and without the clear negatives.

    Bins of equal width, each with its upper edge; expected calibration error: mean over candidates
    of the distance between a bin's mean probability and its share of true ones (Naeini et al.,
    AAAI 2015). ``predicted_over_true``: sum of the probabilities over the number of true ones.
    ``by_chance``: mean and 95th percentile of that error were every probability right.
    """
    return {subset: _reliability(cases, name, subset, lowest) for subset, lowest in _SUBSETS}


def _reliability(cases: Cases, name: str, subset: str, lowest: float) -> dict[str, Any]:
    rows = cases.candidates[cases.candidates["final"] >= lowest]
    owner, p = rows["person"].to_numpy(dtype=int), rows["final"].to_numpy(dtype=float)
    true = rows["hit_final"].to_numpy(dtype=bool)
    bins = agreement.calibration_bins(p, BINS)

    def statistics(sample: np.ndarray) -> dict[str, float]:
        w = sample[owner]
        return {
            "expected_calibration_error": agreement.expected_calibration_error(
                p, true, lowest, BINS, w
            ),
            "predicted_over_true": ratio((w * p).sum(), (w * true).sum()),
        }

    drawn = estimates(cases, f"calibration {subset} {name}", statistics)
    seed = seed_of("by chance", subset, name)
    chance = agreement.calibration_error_by_chance(p, seed, lowest, BINS)
    return {
        "expected_calibration_error": drawn["expected_calibration_error"],
        "predicted_over_true": drawn["predicted_over_true"],
        "candidates": len(rows),
        "true_candidates": int(true.sum()),
        "by_chance": dict(zip(("mean", "p95"), chance, strict=True)),
        "bins": [_bin(b, p[bins == b], true[bins == b], owner[bins == b]) for b in range(BINS)],
    }


def _bin(number: int, p: np.ndarray, true: np.ndarray, owner: np.ndarray) -> dict[str, Any]:
    """One bin of the reliability, with its edges; ``p``, ``true`` and ``owner`` (n,) are the
    probabilities in it, whether they are right, and the participants."""
    edges = np.linspace(0, 1, BINS + 1)
    return {
        "from": round(float(edges[number]), 3),
        "to": round(float(edges[number + 1]), 3),
        "candidates": len(p),
        "mean_probability": float(p.mean()) if len(p) else None,
        "share_true": shares.estimate(true, np.ones(len(true)), owner),
    }


# --- stages ---


def ablation(cases: Cases) -> dict[str, Any]:
    """Each stage at its own threshold and at the sensitivity of the whole; YOLO's own effect."""
    words = {
        "cnn": "3D CNN alone (p_cnn)",
        "cnn_yolo": f"3D CNN and YOLO ({_COMBINED[cases.combination is not None]})",
        "final": "with place and shape (calibrated probability)",
    }
    everybody = _everybody(cases)
    whole = lesion(cases, "all")
    target = whole["sensitivity"]["estimate"]
    curves = {stage: curve_of(cases, stage) for stage in STAGES}
    matched, effect = _with_intervals(cases, curves)
    result: dict[str, Any] = {"target_sensitivity": target}
    for stage in STAGES:
        curve = curves[stage](everybody)
        result[stage] = {
            "score": words[stage],
            "matched": dataclasses.asdict(curve.reaching(target)),
            "matched_fp_per_scan": matched[stage],
            "all_candidates": dataclasses.asdict(curve.end()),
        }
        if stage == "cnn" and cases.detector_threshold is not None:
            at_threshold = curve.at_threshold(cases.detector_threshold)
            result[stage]["own"] = dataclasses.asdict(at_threshold)
    result["final"]["own"] = {
        "threshold": "definite",
        "sensitivity": target,
        "fp_per_scan": whole["fp_per_scan"]["estimate"],
    }
    thresholds = {
        "cnn": curves["cnn"](everybody).reaching(target).threshold,
        "cnn_yolo": curves["cnn_yolo"](everybody).reaching(target - ALLOWED_LOSS).threshold,
    }
    for stage, threshold in thresholds.items():
        if threshold is not None:
            ends = _sensitivity_ends(cases, stage, threshold)
            effect[f"{stage}_sensitivity"] = shares.wider(effect[f"{stage}_sensitivity"], ends)
    result["yolo_effect"] = effect | {
        "allowed_loss": ALLOWED_LOSS,
        **{f"{stage}_threshold": threshold for stage, threshold in thresholds.items()},
    }
    return result


def _with_intervals(
    cases: Cases, curves: dict[str, Curve]
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """False positives of each stage at the whole's sensitivity, by stage; YOLO's own effect.

    Every draw computes the whole's sensitivity and all thresholds again.
    """
    person, tp, real = (cases.scans[name].to_numpy() for name in ("person", "tp", "n_true"))
    measures = ("sensitivity", "fp_per_scan")

    def statistics(sample: np.ndarray) -> dict[str, float]:
        w = sample[person]
        target = ratio((w * tp).sum(), (w * real).sum())
        drawn = {stage: curve(sample) for stage, curve in curves.items()}
        before = drawn["cnn"].reaching(target)
        after = drawn["cnn_yolo"].reaching(target - ALLOWED_LOSS)
        effect = {
            f"{name}_{measure}": _or_nan(getattr(point, measure))
            for name, point in (("cnn", before), ("cnn_yolo", after))
            for measure in measures
        }
        effect["fp_ratio"] = ratio(effect["cnn_yolo_fp_per_scan"], effect["cnn_fp_per_scan"])
        matched = {
            f"matched {stage}": _or_nan(curve.reaching(target).fp_per_scan)
            for stage, curve in drawn.items()
        }
        return matched | effect

    drawn = estimates(cases, "ablation", statistics)
    matched = {stage: drawn.pop(f"matched {stage}") for stage in curves}
    return matched, drawn


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
