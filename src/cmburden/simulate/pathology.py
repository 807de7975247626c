"""Changes of tissue other than iron: white matter lesions, lacunes, perivascular spaces, infarcts.

All are a share of each voxel that has the signal of fluid (or of oedematous white matter) instead.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cmburden.simulate import anatomy as an
from cmburden.simulate.sources import Findings, ball_share

#: Lesions of white matter against it: longer T2*, more water.
_BRIGHTER = (1.05, 1.35)


def tissue_factor(
    labels: np.ndarray, to_ventricle: np.ndarray, affine: np.ndarray, fluid: float,
    findings: Findings, rng: np.random.Generator,
) -> np.ndarray | None:  # fmt: skip
    """Factor of the signal (x, y, z), None where nothing is to change.

    ``fluid`` is the signal of CSF against white matter's at this acquisition.
    """
    if not (findings.white_matter or findings.lacunes or findings.perivascular
            or findings.infarcts):  # fmt: skip
        return None
    factor = np.ones(labels.shape, np.float32)
    white = np.isin(labels, an.WHITE)
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    if findings.white_matter and white.any():
        # Near the ventricles first; further out only where the random field is high.
        near = np.exp(-to_ventricle.astype(np.float32) / 8)
        blobs = _smooth_noise(labels.shape, voxel, 5.0, rng) + 2.2 * near
        edge = np.quantile(blobs[white], 1 - 0.08 * findings.white_matter)
        share = np.clip((blobs - edge) / 0.3 + 0.5, 0, 1) * white
        factor *= 1 + share * (rng.uniform(*_BRIGHTER) - 1)
    deep = white | np.isin(labels, an.BASAL_GANGLIA + an.THALAMUS)
    flat = np.flatnonzero(deep)
    if not len(flat):
        return factor

    def anywhere(among: np.ndarray) -> np.ndarray:
        index = np.array(np.unravel_index(rng.choice(among), labels.shape), float)
        return affine[:3, :3] @ (index + rng.uniform(-0.5, 0.5, 3)) + affine[:3, 3]

    def put(centre, radius, value) -> None:
        box, share = ball_share(affine, labels.shape, centre, radius)
        factor[box] *= 1 + share * (value - 1)

    for _ in range(findings.lacunes):
        centre, radius = anywhere(flat), rng.uniform(1.5, 5.0)
        for _ in range(3):
            put(centre + rng.normal(0, radius / 3, 3), radius * rng.uniform(0.6, 1.0), fluid)
    for _ in range(findings.perivascular):
        at, radius = anywhere(flat), rng.uniform(0.3, 0.9)
        heading = rng.normal(size=3) * np.array([1, 1, 0.6])
        heading /= np.linalg.norm(heading)
        for _ in range(int(rng.integers(3, 12))):
            # Neighbouring balls overlap: each takes a part of the way to fluid.
            put(at, radius, 1 + 0.7 * (fluid - 1))
            at = at + heading * radius * 1.3
    cortex = np.flatnonzero(np.isin(labels, an.CORTEX))
    for _ in range(findings.infarcts if len(cortex) else 0):
        centre, radius = anywhere(cortex), rng.uniform(5.0, 14.0)
        for _ in range(6):
            put(centre + rng.normal(0, radius / 2, 3), radius * rng.uniform(0.3, 0.8),
                1 + rng.uniform(0.5, 1) * (fluid - 1))  # fmt: skip
    return factor


def _smooth_noise(shape, voxel, width_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of unit variance, smooth over ``width_mm``."""
    coarse = [max(3, int(np.ceil(n * v / width_mm)) + 2) for n, v in zip(shape, voxel, strict=True)]
    noise = ndimage.gaussian_filter(rng.normal(size=coarse), 0.7)
    noise /= noise.std()
    zoom = np.array(shape) / np.array(coarse)
    return ndimage.zoom(noise, zoom, order=1, grid_mode=True, mode="nearest").astype(np.float32)
