"""The probability and its thresholds, fitted on mined candidates that no network was trained on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from cmburden.probability import FEATURES, design
from cmburden.records import write_json
from cmburden.yolo.model import build, class_scores

#: Operating points: definite at this many false positives a scan, possible at that.
FALSE_POSITIVES = {"definite": 1.0, "possible": 4.0}


def load_mined(folder: Path, verifier: Path) -> tuple[pd.DataFrame, int, int]:
    """Candidates with ``p_yolo`` and ``is_microbleed``; number of slabs and of microbleeds."""
    network = build(verifier)
    frames, total = [], 0
    paths = sorted(Path(folder).glob("mined-*.npz"))
    for number, path in enumerate(paths):
        content = np.load(path, allow_pickle=False)
        names = ("p_cnn", "diameter_mm", "elongation", "contrast", "tubularity", "edge_mm")
        frame = pd.DataFrame({name: content[name].astype(float) for name in names})
        frame["p_yolo"] = class_scores(network, content["views"], torch.device("cpu"))[:, 0]
        frame["is_microbleed"] = content["class"] == 0
        frame["sequence"] = np.where(content["is_swi"], "SWI", "GRE")
        frame["slab"] = number
        total += int(content["n_microbleeds"])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True), len(paths), total


def fit(candidates: pd.DataFrame, scans: int, microbleeds: int) -> dict:
    """Logistic model, thresholds and what they give; out-of-fold over slabs.

    Sensitivity counts microbleeds without a candidate as missed. Returns the keys
    ``probability_model``, ``thresholds`` and ``metrics`` of the verifier's contract.
    """
    matrix = design(candidates, candidates["sequence"])
    truth = candidates["is_microbleed"].to_numpy()
    mean, scale = matrix.mean(0), np.maximum(matrix.std(0), 1e-6)
    model = LogisticRegression(C=1.0, max_iter=1000)
    scaled = (matrix - mean) / scale
    groups = candidates["slab"].to_numpy()
    p = cross_val_predict(
        model, scaled, truth, groups=groups, cv=GroupKFold(5), method="predict_proba"
    )[:, 1]
    model.fit(scaled, truth)
    thresholds, metrics = {}, {"scans": scans, "microbleeds": microbleeds}
    for name, allowed in FALSE_POSITIVES.items():
        wrong = np.sort(p[~truth])[::-1]
        most = int(allowed * scans)
        threshold = float(wrong[most]) + 1e-4 if most < len(wrong) else 0.01
        # A definite lesion is more likely than not, whatever the budget of false positives.
        threshold = round(max(threshold, 0.5 if name == "definite" else 0.02), 4)
        thresholds[name] = threshold
        metrics[f"sensitivity_{name}"] = round(
            float((p[truth] >= threshold).sum() / microbleeds), 4
        )
        metrics[f"fp_per_scan_{name}"] = round(float((p[~truth] >= threshold).sum() / scans), 4)
    bins = np.minimum((p * 10).astype(int), 9)
    error = sum(
        abs(p[bins == b].mean() - truth[bins == b].mean()) * (bins == b).sum()
        for b in range(10)
        if (bins == b).any()
    )
    metrics["expected_calibration_error"] = round(float(error / len(p)), 4)
    metrics["candidates_per_scan"] = round(len(p) / scans, 2)
    return {
        "probability_model": {
            "features": list(FEATURES),
            "mean": [round(float(v), 6) for v in mean],
            "scale": [round(float(v), 6) for v in scale],
            "coefficient": [round(float(v), 6) for v in model.coef_[0]],
            "intercept": round(float(model.intercept_[0]), 6),
        },
        "thresholds": thresholds,
        "metrics": metrics,
    }


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.train.calibrate MINED VERIFIER OUT.json``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("mined", type=Path)
    parser.add_argument("verifier", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(arguments)
    fitted = fit(*load_mined(args.mined, args.verifier))
    write_json(args.out, fitted)
    print(json.dumps(fitted, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
