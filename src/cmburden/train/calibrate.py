"""The probability and its thresholds, fitted on whole scans that went through the pipeline.

No network was trained on the people and seeds of these scans. Masks, bias correction and
registration are the pipeline's, so that the probability holds for results of the pipeline.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import write_json
from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.core.tables import CANDIDATES, SCANS
from cmburden.evaluate.cases import placed, read_truth
from cmburden.evaluate.curves import Ranking, sensitivity_at
from cmburden.stats.agreement import expected_calibration_error
from cmburden.stats.matching import hungarian, only_near
from cmburden.summary.correction import presence_counts
from cmburden.train.phase_term import PhaseFit, fit_phase
from cmburden.verify.probability import FEATURES, design, dipole_correlation, network_logits

#: Operating points: most false positives a scan at the thresholds of definite and of possible.
FALSE_POSITIVES = {"definite": 0.25, "possible": 1.5}
#: The least threshold, whatever the budget of false positives.
LEAST = {"definite": 0.3, "possible": 0.05}
#: A threshold lies this far above the strongest false positive that it must exclude, so that
#: rounding to four decimals does not include that one.
MARGIN = 1e-4
#: Least standard deviation that a feature is divided by. The feature of a place with few candidates
#: varies little. Divided by its own deviation, such a feature would escape the penalty on
#: coefficients, and a single pineal gland could suppress all candidates of that place.
LEAST_SCALE = 0.15
#: Nine of ten scans with microbleeds have no more (957 microbleeds of five published sets). A scan
#: with more counts as if it had this many: otherwise the few densest scans decide the probability
#: everywhere.
DENSE = 11
#: Inverse penalty on the coefficients: of the probability, and of the two networks' logits alone.
PENALTY, NETWORKS_PENALTY = 1.0, 10.0
#: False positives a scan at which the contract gives the sensitivity.
FROC_GRID = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
_DRAWS = 1000
_INTERVAL_PERCENT = (2.5, 97.5)
_FOLDS = 5
_ITERATIONS = 5000


@dataclasses.dataclass(frozen=True)
class Fitted:
    """Both logistic models, and the probabilities (n,) of the candidates out of fold over people.

    ``mean`` and ``scale`` (one a feature) are those by which features are standardised. ``phase``
    is the term of the phase, None where too few candidates have phase.
    """

    mean: np.ndarray
    scale: np.ndarray
    model: LogisticRegression
    networks: LogisticRegression
    p: np.ndarray
    phase: PhaseFit | None = None


@dataclasses.dataclass(frozen=True)
class Sample:
    """Candidates that thresholds are chosen and figures given on, and their scans.

    Attributes
    ----------
    p : (n,) float
        Probability out of fold.
    truth : (n,) bool
        Whether the candidate is a microbleed.
    weight : (n,) float
        :func:`scan_weights`.
    person, contrast : (n,) str
        Whose scan the candidate is in, and of which contrast.
    scans : pandas.DataFrame
        A row a scan: ``person``, ``sequence``, ``microbleeds``.
    """

    p: np.ndarray
    truth: np.ndarray
    weight: np.ndarray
    person: np.ndarray
    contrast: np.ndarray
    scans: pd.DataFrame

    @property
    def microbleeds(self) -> int:
        """Microbleeds of the scans, with or without a candidate."""
        return int(self.scans["microbleeds"].sum())


def load_run(derivatives: list[Path], truth: list[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates with ``is_microbleed`` and ``person``, and scans with their ``microbleeds``.

    ``derivatives`` are output folders of ``cmburden run``, ``truth`` their truth tables. Scans
    that were not read and candidates at faint microbleeds take no part. Raises CMBurdenError
    where no scan has a microbleed.
    """
    rows: list[pd.DataFrame] = []
    scans: list[dict[str, Any]] = []
    for number, (folder, table) in enumerate(zip(derivatives, truth, strict=True)):
        sources = read_truth(table)
        cohorts = sources.drop_duplicates("scan_id").set_index("scan_id")["cohort"]
        layout = Layout(folder)
        read = SCANS.read(layout.table("scans"))
        read = read[(read["status"] == "ok") & read["scan_id"].isin(cohorts.index)]
        candidates = CANDIDATES.read(layout.candidates)
        for scan in read.itertuples():
            # Two runs may have scans and people of one name.
            about = {
                "person": f"{number}/{scan.participant_id}",
                "sequence": scan.contrast,
                "cohort": cohorts[scan.scan_id],
            }
            lesions = sources[sources["scan_id"] == scan.scan_id]
            one = _with_truth(candidates[candidates["scan_id"] == scan.scan_id], lesions)
            rows.append(one.assign(scan_id=f"{number}/{scan.scan_id}", **about))
            scans.append(about | {"microbleeds": int((lesions["kind"] == "microbleed").sum())})
    if not any(scan["microbleeds"] for scan in scans):
        raise CMBurdenError(
            "no scan that was read has a microbleed in the truth table: nothing to calibrate on"
        )
    return pd.concat(rows, ignore_index=True), pd.DataFrame(scans)


def _with_truth(candidates: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """The candidates of a scan with ``is_microbleed``, without those at faint lesions only."""
    points = candidates[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    true = placed(lesions[lesions["kind"] == "microbleed"])
    faint = placed(lesions[lesions["kind"] == "faint"])
    is_microbleed = np.zeros(len(candidates), bool)
    is_microbleed[[point for point, _ in hungarian(points, *true)]] = True
    return candidates.assign(is_microbleed=is_microbleed)[~only_near(points, faint, true)]


def fit(
    candidates: pd.DataFrame, scans: pd.DataFrame, operating: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Logistic model, thresholds and figures, out of fold over people.

    The model is fitted on all scans. Thresholds are chosen, and figures given, on the cohorts
    ``operating`` (none: all): otherwise a few scans worse than any that a cohort would keep
    would decide for all. Returns keys of the verifier's contract (:func:`as_contract`).
    """
    fitted = fit_models(candidates)
    weight = scan_weights(candidates)
    chosen = np.ones(len(candidates), bool)
    if operating:
        chosen = candidates["cohort"].isin(operating).to_numpy()
        scans = scans[scans["cohort"].isin(operating)]
    sample = Sample(
        p=fitted.p[chosen],
        truth=candidates["is_microbleed"].to_numpy(dtype=bool)[chosen],
        weight=weight[chosen],
        person=candidates["person"].to_numpy()[chosen],
        contrast=candidates["sequence"].to_numpy()[chosen],
        scans=scans,
    )
    thresholds = choose_thresholds(sample)
    return as_contract(fitted, thresholds, measure(sample, thresholds))


def fit_models(candidates: pd.DataFrame) -> Fitted:
    """Both logistic models on all candidates; scans of more than ``DENSE`` weigh less.

    The term of the phase is fitted beside the probability out of fold, which stays as it is: scans
    without phase have the same results with and without the term.
    """
    truth = candidates["is_microbleed"].to_numpy(dtype=bool)
    weight = scan_weights(candidates)
    matrix = design(candidates, candidates["sequence"])
    mean, scale = matrix.mean(0), np.maximum(matrix.std(0), LEAST_SCALE)
    scaled = (matrix - mean) / scale
    model = LogisticRegression(C=PENALTY, max_iter=_ITERATIONS)
    p = cross_val_predict(
        model,
        scaled,
        truth,
        groups=candidates["person"].to_numpy(),
        cv=GroupKFold(_FOLDS),
        method="predict_proba",
        params={"sample_weight": weight},
    )
    model.fit(scaled, truth, sample_weight=weight)
    networks = LogisticRegression(C=NETWORKS_PENALTY, max_iter=_ITERATIONS)
    networks.fit(network_logits(candidates["p_cnn"], candidates["p_yolo"]), truth)
    phase = fit_phase(
        p[:, 1],
        dipole_correlation(candidates),
        truth,
        weight,
        candidates["person"].to_numpy(),
    )
    return Fitted(mean, scale, model, networks, p[:, 1] if phase is None else phase.p, phase)


def scan_weights(candidates: pd.DataFrame) -> np.ndarray:
    """(n,) of each candidate: 1, or below where its scan has more than ``DENSE`` true ones."""
    true = candidates.groupby("scan_id")["is_microbleed"].transform("sum").to_numpy(dtype=float)
    return np.minimum(1.0, DENSE / np.maximum(true, 1.0))


def choose_thresholds(sample: Sample) -> dict[str, float]:
    """The lowest threshold of each operating point within its budget of false positives."""
    wrong = sample.p[~sample.truth]
    return {
        name: threshold(wrong, int(allowed * len(sample.scans)), LEAST[name])
        for name, allowed in FALSE_POSITIVES.items()
    }


def threshold(wrong: np.ndarray, allowed: int, least: float) -> float:
    """The lowest threshold with at most ``allowed`` of the scores ``wrong`` at or above it."""
    falling = np.sort(wrong)[::-1]
    threshold = float(falling[allowed]) + MARGIN if allowed < len(falling) else least
    return round(max(threshold, least), 4)


def measure(sample: Sample, thresholds: dict[str, float]) -> dict[str, Any]:
    """The ``metrics`` of the contract.

    Sensitivity counts microbleeds without a candidate as missed; intervals are 95 %, by bootstrap
    over people.
    """
    number, microbleeds = len(sample.scans), sample.microbleeds
    metrics: dict[str, Any] = {
        "scans": number,
        "scans_without_microbleeds": int((sample.scans["microbleeds"] == 0).sum()),
        "microbleeds": microbleeds,
        "candidates_per_scan": round(len(sample.p) / number, 2),
        "sensitivity_of_candidates": round(float(sample.truth.sum() / microbleeds), 4),
        "expected_calibration_error": _calibration_error(sample.p, sample.truth, sample.weight),
    }
    for contrast in sorted(set(sample.contrast)):
        of_it = sample.contrast == contrast
        metrics[f"expected_calibration_error_{contrast}"] = _calibration_error(
            sample.p[of_it], sample.truth[of_it], sample.weight[of_it]
        )
    for name, threshold in thresholds.items():
        metrics |= _at_threshold(name, sample, threshold)
    metrics["froc"] = froc(sample.p, sample.truth, number, microbleeds)
    return metrics


def _calibration_error(p: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float | None:
    """Rounded for the contract; None where no candidate is above the clear negatives."""
    error = expected_calibration_error(p, truth, weight=weight)
    return None if math.isnan(error) else round(error, 4)


def _at_threshold(name: str, sample: Sample, threshold: float) -> dict[str, Any]:
    """Figures at the operating point ``name``."""
    called = sample.p >= threshold
    figures = _with_intervals(name, sample, called)
    key = "presence" if name == "definite" else f"presence_{name}"
    figures[key] = presence(sample.person[called], sample.scans)
    for contrast, scans in sample.scans.groupby("sequence"):
        wrong = called & ~sample.truth & (sample.contrast == contrast)
        figures[f"fp_per_scan_{name}_{contrast}"] = round(float(wrong.sum() / len(scans)), 4)
    return figures


def _with_intervals(name: str, sample: Sample, called: np.ndarray) -> dict[str, Any]:
    """Sensitivity and false positives a scan of the candidates ``called`` (n,) bool."""
    scans = sample.scans.groupby("person")
    table = scans.agg(scans=("microbleeds", "size"), microbleeds=("microbleeds", "sum"))
    for column, which in (("hits", sample.truth), ("false", ~sample.truth)):
        counts = pd.Series(called & which).groupby(sample.person).sum()
        table[column] = counts.reindex(table.index).fillna(0)
    people = table.to_numpy(dtype=float)
    rng = np.random.default_rng(seed_of("calibrate", name))
    draws = people[rng.integers(len(people), size=(_DRAWS, len(people)))].sum(1)
    total = people.sum(0)
    scan, microbleed, hit, false = range(4)
    figures: dict[str, Any] = {}
    for key, top, below in (("sensitivity", hit, microbleed), ("fp_per_scan", false, scan)):
        ratios = draws[:, top] / np.maximum(draws[:, below], 1)
        low, high = np.percentile(ratios, _INTERVAL_PERCENT)
        figures[f"{key}_{name}"] = round(float(total[top] / total[below]), 4)
        figures[f"{key}_{name}_interval"] = [round(float(low), 4), round(float(high), 4)]
    return figures


def presence(called: np.ndarray, scans: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Scans with and without microbleeds, and how many of each are called so, by contrast.

    A prevalence is corrected by these counts. ``called`` names the persons of called candidates.
    """
    positive, is_called = scans["microbleeds"] > 0, scans["person"].isin(set(called))
    counts = {}
    for contrast in sorted(set(scans["sequence"])):
        of_it = scans["sequence"] == contrast
        counts[contrast] = presence_counts(is_called[of_it], positive[of_it])
    return counts


def froc(p: np.ndarray, truth: np.ndarray, scans: int, microbleeds: int) -> list[list[float]]:
    """[false positives a scan, sensitivity] at ``FROC_GRID``, of probabilities out of fold."""
    curve = Ranking.of(p, truth).froc(scans, microbleeds)
    sensitivity = sensitivity_at(curve.fp_per_scan, curve.sensitivity, np.array(FROC_GRID))
    return [[fp, round(float(value), 4)] for fp, value in zip(FROC_GRID, sensitivity, strict=True)]


def as_contract(
    fitted: Fitted, thresholds: dict[str, float], metrics: dict[str, Any]
) -> dict[str, Any]:
    """The contract's keys: probability_model, cnn_yolo_model, thresholds and metrics."""
    term = {} if fitted.phase is None else {"phase": fitted.phase.term}
    return {
        "probability_model": {
            "features": list(FEATURES),
            "mean": _rounded(fitted.mean),
            "scale": _rounded(fitted.scale),
            **_coefficients(fitted.model),
            **term,
        },
        "cnn_yolo_model": _coefficients(fitted.networks),
        "thresholds": thresholds,
        "metrics": metrics,
    }


def _coefficients(model: LogisticRegression) -> dict[str, Any]:
    return {
        "coefficient": _rounded(model.coef_[0]),
        "intercept": round(float(model.intercept_[0]), 6),
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values]


def parser() -> argparse.ArgumentParser:
    """The step's arguments."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--run",
        type=Path,
        nargs=2,
        action="append",
        required=True,
        metavar=("DERIVATIVES", "TRUTH"),
        help="output folder of cmburden run, and its truth table",
    )
    parser.add_argument(
        "--operating",
        nargs="*",
        default=[],
        metavar="COHORT",
        help="cohorts on which thresholds are chosen (default: all)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """``cmburden train calibrate OUT.json --run DERIVATIVES TRUTH.tsv [--run ...]``."""
    args = parser().parse_args(arguments)
    candidates, scans = load_run([run[0] for run in args.run], [run[1] for run in args.run])
    unknown = sorted(set(args.operating) - set(scans["cohort"]))
    if unknown:
        raise CMBurdenError(
            f"--operating {', '.join(unknown)}: no scan that was read is of that cohort"
        )
    contract = fit(candidates, scans, tuple(args.operating))
    write_json(args.out, contract)
    print(json.dumps(contract, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
