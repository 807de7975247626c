"""Changes of tissue other than iron: white matter lesions, lacunes, perivascular spaces, infarcts.

Each change is a share of a voxel that has the signal of fluid (or of oedematous white matter)
instead. Numbers and sizes are this project's choice, by eye.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import nibabel as nib
import numpy as np
from scipy import ndimage

from cmburden.simulate import anatomy as an
from cmburden.simulate.sources import Findings, ball_share
from cmburden.simulate.volumes import stretched

#: Signal of white matter lesions against white matter: longer T2*, more water.
_BRIGHTER = (1.05, 1.35)
#: White matter lesions: distance from the ventricles over which they become rarer, mm, and how much
#: more likely they are at the ventricles, in standard deviations of the random field.
_VENTRICLE_RANGE_MM, _VENTRICLE_WEIGHT = 8, 2.2
#: Width of the random field's structures, mm; share of white matter for ``white_matter`` = 1; width
#: of a lesion's edge in standard deviations of the field.
_LESION_MM, _LESION_SHARE, _LESION_EDGE = 5.0, 0.08, 0.3
#: A lacune: radius in mm, number of balls, radius of each as a share of the lacune's.
_LACUNE_MM, _LACUNE_BALLS, _LACUNE_BALL = (1.5, 5.0), 3, (0.6, 1.0)
#: A perivascular space: radius in mm, number of balls, their distance in radii.
_SPACE_MM, _SPACE_BALLS, _SPACE_STEP = (0.3, 0.9), (3, 12), 1.3
#: Perivascular spaces run rather in the plane: weight of each axis of the heading. Their balls
#: overlap: each takes this part of the way to fluid.
_SPACE_HEADING, _SPACE_FLUID = (1.0, 1.0, 0.6), 0.7
#: A cortical infarct: radius in mm, number of balls, radius of each as a share of the infarct's,
#: and the part of the way to fluid.
_INFARCT_MM, _INFARCT_BALLS, _INFARCT_BALL = (5.0, 14.0), 6, (0.3, 0.8)
_INFARCT_FLUID = (0.5, 1.0)
#: Smoothing of the coarse random field, in its voxels.
_FIELD_SMOOTHING = 0.7


def tissue_factor(
    anatomy: an.GridAnatomy, fluid: float, findings: Findings, rng: np.random.Generator
) -> np.ndarray | None:
    """Factor (x, y, z) float32 of the signal; None where no change is asked for.

    ``anatomy`` is that of the scan's grid; ``fluid`` is the signal of CSF against white matter's at
    this acquisition. Order of draws: white matter lesions, lacunes, perivascular spaces, infarcts.
    """
    wanted = (findings.white_matter, findings.lacunes, findings.perivascular, findings.infarcts)
    if not any(wanted):
        return None
    changes = _Changes(anatomy, np.ones(anatomy.labels.shape, np.float32), fluid, rng)
    white = an.is_any(anatomy.labels, an.WHITE)
    if findings.white_matter and white.any():
        changes.white_matter_lesions(white, findings.white_matter)
    deep = np.flatnonzero(white | an.is_any(anatomy.labels, an.BASAL_GANGLIA + an.THALAMUS))
    if not len(deep):
        return changes.factor
    for _ in range(findings.lacunes):
        changes.lacune(deep)
    for _ in range(findings.perivascular):
        changes.perivascular_space(deep)
    cortex = np.flatnonzero(an.is_any(anatomy.labels, an.CORTEX))
    for _ in range(findings.infarcts if len(cortex) else 0):
        changes.infarct(cortex)
    return changes.factor


@dataclasses.dataclass(frozen=True, eq=False)
class _Changes:
    """Changes of one scan, which are multiplied into ``factor`` (x, y, z)."""

    anatomy: an.GridAnatomy
    factor: np.ndarray
    fluid: float
    rng: np.random.Generator

    def white_matter_lesions(self, white: np.ndarray, amount: float) -> None:
        """Lesions near the ventricles first; further out only where a random field is high."""
        voxel = nib.affines.voxel_sizes(self.anatomy.affine)
        near = np.exp(-self.anatomy.to_ventricle.astype(np.float32) / _VENTRICLE_RANGE_MM)
        noise = _smooth_noise(white.shape, voxel, _LESION_MM, self.rng)
        blobs = noise + _VENTRICLE_WEIGHT * near
        edge = np.quantile(blobs[white], 1 - _LESION_SHARE * amount)
        share = np.clip((blobs - edge) / _LESION_EDGE + 0.5, 0, 1) * white
        self.factor[:] *= 1 + share * (self.rng.uniform(*_BRIGHTER) - 1)

    def lacune(self, flat: np.ndarray) -> None:
        """Fluid in a few overlapping balls, somewhere in the voxels ``flat``."""
        centre = self.anatomy.draw_point(flat, self.rng)
        radius = self.rng.uniform(*_LACUNE_MM)
        for _ in range(_LACUNE_BALLS):
            offset = self.rng.normal(0, radius / 3, 3)
            self._ball(centre + offset, radius * self.rng.uniform(*_LACUNE_BALL), self.fluid)

    def perivascular_space(self, flat: np.ndarray) -> None:
        """Fluid in a row of balls, from somewhere in the voxels ``flat``."""
        at = self.anatomy.draw_point(flat, self.rng)
        radius = self.rng.uniform(*_SPACE_MM)
        heading = self.rng.normal(size=3) * np.array(_SPACE_HEADING)
        heading /= np.linalg.norm(heading)
        for _ in range(int(self.rng.integers(*_SPACE_BALLS))):
            self._ball(at, radius, 1 + _SPACE_FLUID * (self.fluid - 1))
            at = at + heading * radius * _SPACE_STEP

    def infarct(self, flat: np.ndarray) -> None:
        """Partly fluid in overlapping balls, somewhere in the voxels ``flat``."""
        centre = self.anatomy.draw_point(flat, self.rng)
        radius = self.rng.uniform(*_INFARCT_MM)
        for _ in range(_INFARCT_BALLS):
            offset = self.rng.normal(0, radius / 2, 3)
            ball = radius * self.rng.uniform(*_INFARCT_BALL)
            value = 1 + self.rng.uniform(*_INFARCT_FLUID) * (self.fluid - 1)
            self._ball(centre + offset, ball, value)

    def _ball(self, centre_mm: np.ndarray, radius_mm: float, value: float) -> None:
        box, share = ball_share(
            self.anatomy.affine, self.anatomy.labels.shape, centre_mm, radius_mm
        )
        self.factor[box] *= 1 + share * (value - 1)


def _smooth_noise(
    shape: Sequence[int], voxel_mm: np.ndarray, width_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise (``shape``) float32 of unit variance, smooth over ``width_mm``."""
    coarse = [
        max(3, int(np.ceil(n * v / width_mm)) + 2) for n, v in zip(shape, voxel_mm, strict=True)
    ]
    noise = ndimage.gaussian_filter(rng.normal(size=coarse), _FIELD_SMOOTHING)
    noise /= noise.std()
    return stretched(noise, shape, order=1).astype(np.float32)
