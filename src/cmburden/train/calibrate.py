"""The probability and its thresholds, fitted on whole scans that went through the pipeline.

The scans' people and seeds are those that no network was trained on; masks, bias correction and
registration are the pipeline's own, so that the probability holds for what users get.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from cmburden.core.errors import CMBurdenError, told
from cmburden.core.files import write_json
from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.core.tables import CANDIDATES, SCANS
from cmburden.evaluate.cases import placed, read_truth
from cmburden.evaluate.curves import Ranking, sensitivity_at
from cmburden.stats.agreement import expected_calibration_error
from cmburden.stats.matching import hungarian, only_near
from cmburden.summary.correction import presence_counts
from cmburden.verify.probability import FEATURES, design, network_logits

#: Operating points: definite at this many false positives a scan, possible at that.
FALSE_POSITIVES = {"definite": 0.25, "possible": 1.5}
#: The least that a label may mean, whatever the budget of false positives.
LEAST = {"definite": 0.3, "possible": 0.05}
#: A place where few candidates lie varies little: divided by its own deviation it would escape the
#: penalty on coefficients, and one pineal gland more or less would erase what lies there.
LEAST_SCALE = 0.15
#: Nine of ten scans with microbleeds have no more (957 of five published sets). A scan of more
#: counts as if it had so many: else the few densest decide what a probability is worth elsewhere.
DENSE = 11
_DRAWS = 1000
_FOLDS = 5


def load_run(derivatives: list[Path], truth: list[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates with ``is_microbleed`` and ``person``, and scans with their ``microbleeds``.

    ``derivatives`` are output folders of ``cmburden run``, ``truth`` their truth tables. Scans
    that were not read and candidates at faint microbleeds take no part.
    """
    rows, scans = [], []
    for number, (folder, table) in enumerate(zip(derivatives, truth, strict=True)):
        layout, known = Layout(folder), read_truth(table)
        real = known[known["kind"] == "microbleed"]
        cohorts = known.drop_duplicates("scan_id").set_index("scan_id")["cohort"]
        read = SCANS.read(layout.table("scans"))
        read = read[(read["status"] == "ok") & read["scan_id"].isin(cohorts.index)]
        found = CANDIDATES.read(layout.candidates)
        for scan in read.itertuples():
            own = found[found["scan_id"] == scan.scan_id].copy()
            lesions = real[real["scan_id"] == scan.scan_id]
            own["is_microbleed"] = False
            points = own[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
            real_ones = placed(lesions)
            pairs = hungarian(points, *real_ones)
            own.iloc[[i for i, _ in pairs], own.columns.get_loc("is_microbleed")] = True
            faint = known[(known["kind"] == "faint") & (known["scan_id"] == scan.scan_id)]
            own = own[~only_near(points, placed(faint), real_ones)]
            # Two runs may hold scans of one name.
            own["scan_id"] = f"{number}/{scan.scan_id}"
            about = {
                "person": f"{number}/{scan.participant_id}",
                "sequence": scan.contrast,
                "cohort": cohorts[scan.scan_id],
            }
            rows.append(own.assign(**about))
            scans.append(about | {"microbleeds": len(lesions)})
    if not rows or not sum(scan["microbleeds"] for scan in scans):
        raise CMBurdenError(
            "no scan that was read has a microbleed in the truth table: nothing to calibrate on"
        )
    return pd.concat(rows, ignore_index=True), pd.DataFrame(scans)


def fit(candidates: pd.DataFrame, scans: pd.DataFrame, operating: tuple[str, ...] = ()) -> dict:
    """Logistic model, thresholds and what they give, out of fold over people.

    The model is fitted on all scans; thresholds are chosen, and figures given, on the cohorts
    ``operating`` (none: all), since a few scans worse than any that a cohort would keep would
    else decide for all. Scans of more than ``DENSE`` microbleeds weigh less in model and
    calibration error. Sensitivity counts microbleeds without a candidate as missed. Returns the
    keys ``probability_model``, ``cnn_yolo_model``, ``thresholds`` and ``metrics`` of the
    verifier's contract; intervals are 95 %, by bootstrap over people.
    """
    matrix = design(candidates, candidates["sequence"])
    truth = candidates["is_microbleed"].to_numpy(dtype=bool)
    people = candidates["person"].to_numpy()
    weight = scan_weights(candidates)
    mean, scale = matrix.mean(0), np.maximum(matrix.std(0), LEAST_SCALE)
    scaled = (matrix - mean) / scale
    model = LogisticRegression(C=1.0, max_iter=5000)
    p = cross_val_predict(
        model, scaled, truth, groups=people, cv=GroupKFold(_FOLDS), method="predict_proba",
        params={"sample_weight": weight},
    )[:, 1]  # fmt: skip
    model.fit(scaled, truth, sample_weight=weight)
    both = LogisticRegression(C=10.0, max_iter=5000).fit(
        network_logits(candidates["p_cnn"], candidates["p_yolo"]), truth
    )
    if operating:
        chosen = candidates["cohort"].isin(operating).to_numpy()
        candidates, scans = candidates[chosen], scans[scans["cohort"].isin(operating)]
        p, truth, people, weight = (v[chosen] for v in (p, truth, people, weight))
    number, microbleeds = len(scans), int(scans["microbleeds"].sum())
    thresholds = {
        name: _threshold(p[~truth], int(allowed * number), LEAST[name])
        for name, allowed in FALSE_POSITIVES.items()
    }
    metrics = {
        "scans": number,
        "scans_without_microbleeds": int((scans["microbleeds"] == 0).sum()),
        "microbleeds": microbleeds,
        "candidates_per_scan": round(len(p) / number, 2),
        "sensitivity_of_candidates": round(float(truth.sum() / microbleeds), 4),
        "expected_calibration_error": _calibration_error(p, truth, weight),
    }
    for contrast in sorted(set(candidates["sequence"])):
        own = (candidates["sequence"] == contrast).to_numpy()
        metrics[f"expected_calibration_error_{contrast}"] = _calibration_error(
            p[own], truth[own], weight[own]
        )
    for name, threshold in thresholds.items():
        metrics |= _at(name, p >= threshold, truth, people, scans)
        key = "presence" if name == "definite" else f"presence_{name}"
        metrics[key] = presence(people[p >= threshold], scans)
        for contrast, own in scans.groupby("sequence"):
            wrong = (p >= threshold) & ~truth & (candidates["sequence"] == contrast).to_numpy()
            metrics[f"fp_per_scan_{name}_{contrast}"] = round(float(wrong.sum() / len(own)), 4)
    metrics["froc"] = froc(p, truth, number, microbleeds)
    return {
        "probability_model": {
            "features": list(FEATURES),
            "mean": [round(float(v), 6) for v in mean],
            "scale": [round(float(v), 6) for v in scale],
            "coefficient": [round(float(v), 6) for v in model.coef_[0]],
            "intercept": round(float(model.intercept_[0]), 6),
        },
        "cnn_yolo_model": {
            "coefficient": [round(float(v), 6) for v in both.coef_[0]],
            "intercept": round(float(both.intercept_[0]), 6),
        },
        "thresholds": thresholds,
        "metrics": metrics,
    }


def _threshold(wrong: np.ndarray, allowed: int, least: float) -> float:
    """The lowest threshold with at most ``allowed`` of the scores ``wrong`` at or above it."""
    falling = np.sort(wrong)[::-1]
    threshold = float(falling[allowed]) + 1e-4 if allowed < len(falling) else least
    return round(max(threshold, least), 4)


def presence(called: np.ndarray, scans: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Of each contrast how many scans with microbleeds are called positive, and how many without
    are not: what a prevalence is corrected by. ``called`` names the persons of called candidates.
    """
    positive, found = scans["microbleeds"] > 0, scans["person"].isin(set(called))
    counts = {}
    for contrast in sorted(set(scans["sequence"])):
        own = scans["sequence"] == contrast
        counts[contrast] = presence_counts(found[own], positive[own])
    return counts


#: False positives a scan at which the contract gives the sensitivity.
FROC_GRID = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)


def froc(p: np.ndarray, truth: np.ndarray, scans: int, microbleeds: int) -> list[list[float]]:
    """[false positives a scan, sensitivity] at ``FROC_GRID``, of probabilities out of fold."""
    curve = Ranking.of(p, truth).froc(scans, microbleeds)
    sensitivity = sensitivity_at(curve.fp_per_scan, curve.sensitivity, np.array(FROC_GRID))
    return [[fp, round(float(value), 4)] for fp, value in zip(FROC_GRID, sensitivity, strict=True)]


def scan_weights(candidates: pd.DataFrame) -> np.ndarray:
    """(n,) of each candidate: 1, or below where its scan has more than ``DENSE`` true ones."""
    own = candidates.groupby("scan_id")["is_microbleed"].transform("sum").to_numpy(dtype=float)
    return np.minimum(1.0, DENSE / np.maximum(own, 1.0))


def _calibration_error(p: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float | None:
    """Rounded as a contract has it; None where no candidate is above the clear negatives."""
    error = expected_calibration_error(p, truth, weight=weight)
    return None if math.isnan(error) else round(error, 4)


def _at(name: str, called, truth, people, scans: pd.DataFrame) -> dict:
    """Sensitivity and false positives a scan of the candidates ``called``, with intervals."""
    table = scans.groupby("person").agg(n=("microbleeds", "size"), real=("microbleeds", "sum"))
    for column, which in (("tp", called & truth), ("fp", called & ~truth)):
        table[column] = pd.Series(which).groupby(people).sum().reindex(table.index).fillna(0)
    counts = table.to_numpy(dtype=float)
    rng = np.random.default_rng(seed_of("calibrate", name))
    draws = counts[rng.integers(len(counts), size=(_DRAWS, len(counts)))].sum(1)
    whole = counts.sum(0)
    found = {}
    for measure, top, below in (("sensitivity", 2, 1), ("fp_per_scan", 3, 0)):
        low, high = np.percentile(draws[:, top] / np.maximum(draws[:, below], 1), [2.5, 97.5])
        found[f"{measure}_{name}"] = round(float(whole[top] / whole[below]), 4)
        found[f"{measure}_{name}_interval"] = [round(float(low), 4), round(float(high), 4)]
    return found


def main(arguments: list[str] | None = None) -> int:
    """``cmburden train calibrate OUT.json --run DERIVATIVES TRUTH.tsv [--run ...]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", type=Path, nargs=2, action="append", required=True,
                        metavar=("DERIVATIVES", "TRUTH"),
                        help="output folder of cmburden run, and its truth table")  # fmt: skip
    parser.add_argument("--operating", nargs="*", default=[], metavar="COHORT",
                        help="cohorts on which thresholds are chosen (default: all)")  # fmt: skip
    args = parser.parse_args(arguments)
    candidates, scans = load_run([run[0] for run in args.run], [run[1] for run in args.run])
    unknown = sorted(set(args.operating) - set(scans["cohort"]))
    if unknown:
        raise CMBurdenError(
            f"--operating {', '.join(unknown)}: no scan that was read is of that cohort"
        )
    fitted = fit(candidates, scans, tuple(args.operating))
    write_json(args.out, fitted)
    print(json.dumps(fitted, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
