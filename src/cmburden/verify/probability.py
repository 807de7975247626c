"""One calibrated probability from both scores, shape and place: a logistic model, inspectable.

Its coefficients stand in the verifier's model.json; nothing is erased by a hard rule.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cmburden.verify.place import PALLIDUM, PINEAL, at_site, mirrored, near_ventricle

FEATURES = (
    "logit_p_cnn",
    "logit_p_yolo",
    "logit_p_mimic",
    "log_diameter",
    "log_diameter_squared",
    "contrast",
    "log_elongation",
    "log_through_plane",
    "sphericity",
    "bright_surroundings",
    "dark_surroundings",
    "tubularity",
    "edge",
    "ventricle",
    "near_ventricle",
    "pallidum",
    "pineal",
    "mirrored_calcium",
    "deep",
    "infratentorial",
    "swi",
    "swi_logit_p_cnn",
    "swi_logit_p_yolo",
)
#: Distances beyond these, mm, all mean the same: far from it.
EDGE_MM, VENTRICLE_MM = 6.0, 20.0


def logit(p) -> np.ndarray:
    p = np.clip(np.asarray(p, dtype=float), 1e-4, 1 - 1e-4)
    return np.log(p / (1 - p))


def design(candidates: pd.DataFrame, contrast: str | pd.Series) -> np.ndarray:
    """(n, features) of candidates (columns of ``tables.CANDIDATES``); ``contrast`` GRE or SWI."""

    def column(name: str) -> np.ndarray:
        return candidates[name].to_numpy(dtype=float, na_value=np.nan)

    around = column("surroundings")
    size = np.log(np.maximum(column("diameter_mm"), 0.3))
    swi = np.broadcast_to(np.asarray(contrast) == "SWI", len(candidates)).astype(float)
    cnn, yolo = logit(column("p_cnn")), logit(column("p_yolo"))
    group = candidates["group"].fillna("unknown").to_numpy(dtype=str)
    place = np.stack([column(f"mni_{axis}") for axis in "xyz"], 1)
    choroid, pallidum = near_ventricle(column("ventricle_mm")), at_site(place, PALLIDUM)
    scans = candidates["scan_id"].to_numpy(dtype=str)
    return np.stack(
        [
            cnn,
            yolo,
            logit(column("p_mimic")),
            size,
            size**2,
            column("contrast"),
            np.log(np.maximum(column("elongation"), 1.0)),
            np.log(np.maximum(column("through_plane"), 0.2)),
            column("sphericity"),
            # In fluid, which is either by the acquisition, lie choroid plexus and vessels: a
            # microbleed is surrounded by brain (Greenberg 2009).
            np.clip(around - 1, 0, 1),
            np.clip(1 - around, 0, 1),
            column("tubularity"),
            np.minimum(column("edge_mm"), EDGE_MM),
            np.minimum(column("ventricle_mm"), VENTRICLE_MM),
            choroid,
            pallidum,
            at_site(place, PINEAL),
            np.maximum(choroid, pallidum) * mirrored(place, column("p_cnn"), scans),
            (group == "deep").astype(float),
            (group == "infratentorial").astype(float),
            swi,
            # What a network's score is worth differs between the contrasts.
            swi * cnn,
            swi * yolo,
        ],
        axis=1,
    )


def network_logits(p_cnn, p_yolo) -> np.ndarray:
    """(n, 2): what the model of both networks alone (``cnn_yolo_model``) is in."""
    return np.stack([logit(p_cnn), logit(p_yolo)], axis=1)


def logistic(matrix: np.ndarray, model: dict) -> np.ndarray:
    """(n,) of ``model`` = {coefficient, intercept} at ``matrix`` (n, features)."""
    return 1 / (1 + np.exp(-(matrix @ np.array(model["coefficient"]) + model["intercept"])))


def probability(model: dict, matrix: np.ndarray) -> np.ndarray:
    """Probability (n,) of ``model`` = {features, mean, scale, coefficient, intercept}."""
    if tuple(model["features"]) != FEATURES:
        raise ValueError("the probability model has other features than this version computes")
    scaled = (matrix - np.array(model["mean"])) / np.array(model["scale"])
    return logistic(scaled, model)
