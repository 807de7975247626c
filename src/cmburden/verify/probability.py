"""One calibrated probability from both networks' scores, shape and place: a logistic model.

The coefficients stand in the verifier's model.json, open to inspection. No hard rule removes a
candidate. A contract may have a term of the phase, a log likelihood ratio beside the model: it is 0
where the phase is missing, so that results without phase are those of the model alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cmburden.verify.features import FEATURES
from cmburden.verify.place import PALLIDUM, PINEAL, at_site, mirrored, near_ventricle

#: Distances from the brain's edge and from the ventricles are cut at these, mm.
EDGE_MM, VENTRICLE_MM = 6.0, 20.0
#: Probabilities are clipped to this and to 1 minus this before their logit.
_LEAST_P = 1e-4
#: Diameters (mm) and length ratios are at least these before their logarithm. Extents have a voxel
#: at least; these bound what a voxel may be.
_LEAST_DIAMETER_MM, _LEAST_ELONGATION, _LEAST_THROUGH_PLANE = 0.3, 1.0, 0.2


def logit(p: ArrayLike) -> np.ndarray:
    """Log odds of ``p``, clipped.

    >>> logit([0.5, 1.0]).round(2).tolist()
    [0.0, 9.21]
    """
    clipped = np.clip(np.asarray(p, dtype=float), _LEAST_P, 1 - _LEAST_P)
    return np.log(clipped / (1 - clipped))


def design(candidates: pd.DataFrame, contrast: str | pd.Series) -> np.ndarray:
    """(n, features) of candidates (columns of ``tables.CANDIDATES``); ``contrast`` GRE or SWI."""

    def column(name: str) -> np.ndarray:
        return candidates[name].to_numpy(dtype=float, na_value=np.nan)

    around = column("surroundings")
    size = np.log(np.maximum(column("diameter_mm"), _LEAST_DIAMETER_MM))
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
            np.log(np.maximum(column("elongation"), _LEAST_ELONGATION)),
            np.log(np.maximum(column("through_plane"), _LEAST_THROUGH_PLANE)),
            column("sphericity"),
            # Choroid plexus and vessels lie in fluid, which is bright or dark by the acquisition.
            # A microbleed is surrounded by brain (Greenberg 2009).
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
            # The weight of a network's score differs between the contrasts.
            swi * cnn,
            swi * yolo,
        ],
        axis=1,
    )


def network_logits(p_cnn: ArrayLike, p_yolo: ArrayLike) -> np.ndarray:
    """(n, 2): features of the contract's ``cnn_yolo_model``, the model of both networks alone."""
    return np.stack([logit(p_cnn), logit(p_yolo)], axis=1)


def dipole_correlation(candidates: pd.DataFrame) -> np.ndarray:
    """(n,) the phase's measure of candidates (columns of ``tables.CANDIDATES``); NaN without."""
    return candidates["dipole_correlation"].to_numpy(dtype=float, na_value=np.nan)


def phase_term(term: dict[str, float], correlation: np.ndarray) -> np.ndarray:
    """Log likelihood ratio (n,) of a microbleed by the phase; 0 where ``correlation`` is NaN.

    >>> phase_term({"coefficient": 4.0, "intercept": -1.0}, np.array([0.5, np.nan])).tolist()
    [1.0, 0.0]
    """
    return np.where(
        np.isfinite(correlation), term["intercept"] + term["coefficient"] * correlation, 0.0
    )


def logistic(
    matrix: np.ndarray, model: dict[str, Any], beside: np.ndarray | float = 0.0
) -> np.ndarray:
    """Probability (n,) of ``model`` = {coefficient, intercept} at ``matrix`` (n, features).

    ``beside`` (n,) are log odds that are added.
    """
    score = matrix @ np.array(model["coefficient"]) + model["intercept"] + beside
    return 1 / (1 + np.exp(-score))


def probability(
    model: dict[str, Any], matrix: np.ndarray, correlation: np.ndarray | None = None
) -> np.ndarray:
    """Probability (n,) of ``model`` = {features, mean, scale, coefficient, intercept}.

    ``correlation`` (n,) is :func:`dipole_correlation`, for models with the key ``phase``.
    """
    if tuple(model["features"]) != FEATURES:
        raise ValueError("the probability model has other features than this version computes")
    scaled = (matrix - np.array(model["mean"])) / np.array(model["scale"])
    term = model.get("phase")
    if term is None or correlation is None:
        return logistic(scaled, model)
    return logistic(scaled, model, phase_term(term, correlation))
