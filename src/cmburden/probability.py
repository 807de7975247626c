"""One calibrated probability from both scores, shape and place: a logistic model, inspectable.

Its coefficients stand in the verifier's model.json; nothing is erased by a hard rule.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

FEATURES = (
    "logit_p_cnn",
    "logit_p_yolo",
    "log_diameter",
    "contrast",
    "log_elongation",
    "tubularity",
    "edge",
    "swi",
)


def _logit(p) -> np.ndarray:
    p = np.clip(np.asarray(p, dtype=float), 1e-4, 1 - 1e-4)
    return np.log(p / (1 - p))


def design(candidates: pd.DataFrame, contrast: str | pd.Series) -> np.ndarray:
    """(n, features) of candidates (columns of ``tables.CANDIDATES``); ``contrast`` GRE or SWI."""
    column = {name: candidates[name].to_numpy(dtype=float) for name in (
        "p_cnn", "p_yolo", "diameter_mm", "contrast", "elongation", "tubularity", "edge_mm",
    )}  # fmt: skip
    swi = np.broadcast_to(np.asarray(contrast) == "SWI", len(candidates)).astype(float)
    return np.stack(
        [
            _logit(column["p_cnn"]),
            _logit(column["p_yolo"]),
            np.log(np.maximum(column["diameter_mm"], 0.3)),
            column["contrast"],
            np.log(np.maximum(column["elongation"], 1.0)),
            column["tubularity"],
            np.minimum(column["edge_mm"], 6.0),
            swi,
        ],
        axis=1,
    )


def probability(model: dict, matrix: np.ndarray) -> np.ndarray:
    """Probability (n,) of ``model`` = {features, mean, scale, coefficient, intercept}."""
    if tuple(model["features"]) != FEATURES:
        raise ValueError("the probability model has other features than this version computes")
    scaled = (matrix - np.array(model["mean"])) / np.array(model["scale"])
    return 1 / (1 + np.exp(-(scaled @ np.array(model["coefficient"]) + model["intercept"])))
