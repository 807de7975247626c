"""A scan's own ventricles: what is as bright, or as dark, as fluid at the template's ventricles.

Old brains' ventricles are up to eight times as large as the template's, and a registration that is
fast enough for thousands of scans follows them only in part. Calcium of the choroid plexus lies in
them, microbleeds do not: so their wall matters to a millimetre or two, not to ten. Where they are
small, or no brighter and no darker than the brain, the template's place stands.
"""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np
from scipy import ndimage

from cmburden.space import template
from cmburden.space.transform import Transform, coarse_brain
from cmburden.verify.place import ventricle_distance

#: So far from the template's ventricles fluid is still taken for theirs.
REACH_MM = 12.0
#: Fluid is told from grey and white matter where it is brighter, or darker, than both by this
#: share of the brain's median signal. SWI often shows no such difference.
LEAST_GAP = 0.12
#: What is thinner is a sulcus; what is dark in bright fluid up to this size is in the ventricle.
_THIN_MM, _HOLE_MM = 4.0, 8.0
#: Fluid that shares less with the template's ventricles is not theirs, mm^3.
_LEAST_SHARED_MM3 = 200.0


@dataclasses.dataclass(frozen=True)
class Ventricles:
    """``mask`` (bool, x, y, z) on a grid of 2 mm with ``affine`` to scanner RAS mm."""

    mask: np.ndarray
    affine: np.ndarray

    def distance(self, points_mm: np.ndarray) -> np.ndarray:
        """Distance (n,) in mm of scanner RAS points (n, 3) to the nearest of their voxels."""
        far = _distance(self.mask, self.affine)
        at = nib.affines.apply_affine(np.linalg.inv(self.affine), points_mm).reshape(-1, 3)
        return ndimage.map_coordinates(far, at.T, order=1, mode="nearest")


def find(
    volume: np.ndarray, mask: np.ndarray, affine: np.ndarray, transform: Transform
) -> Ventricles | None:
    """The ventricles of a scan; None where its fluid does not differ enough from its tissue.

    ``volume`` (x, y, z) bias-corrected, ``mask`` (bool) its brain, ``affine`` to scanner RAS mm,
    ``transform`` from there to MNI152.
    """
    coarse, to_ras = coarse_brain(volume, mask, affine)
    inside = coarse > 0.05
    at_mni = transform(nib.affines.apply_affine(to_ras, np.argwhere(inside)))
    from_template = np.full(coarse.shape, np.inf)
    from_template[inside] = ventricle_distance(at_mni)
    level = ndimage.median_filter(coarse, 3)
    core = inside & (from_template <= 0.5)
    tissue = _tissue_levels(level, inside, from_template, at_mni)
    if tissue is None or not core.any():
        return None
    in_core = level[core]
    middle = np.median(in_core)
    sign = 1 if middle > max(tissue) else -1
    nearest = max(tissue) if sign > 0 else min(tissue)
    fluid_level = float(np.median(in_core[sign * (in_core - middle) >= 0]))
    if sign * (fluid_level - nearest) < LEAST_GAP:
        return None
    fluid = inside & (from_template < REACH_MM)
    fluid &= sign * (level - (fluid_level + nearest) / 2) > 0
    wide = _grown(_shrunk(fluid, to_ras, _THIN_MM / 2), to_ras, _THIN_MM / 2)
    parts, count = ndimage.label(wide & fluid)
    shared = np.bincount(parts[core], minlength=count + 1) * abs(np.linalg.det(to_ras[:3, :3]))
    own = (shared > _LEAST_SHARED_MM3)[parts] & (parts > 0)
    if not own.any():
        return None
    # Horns are thin where they end: what fluid touches the rest is theirs as well.
    own = fluid & _grown(own, to_ras, _THIN_MM)
    closed = _shrunk(_grown(own, to_ras, _HOLE_MM / 2), to_ras, _HOLE_MM / 2)
    return Ventricles(own | closed, to_ras)


def _distance(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Distance of every voxel to the nearest of ``mask``, mm; far where there is none."""
    if not mask.any():
        return np.full(mask.shape, 1e3)
    return ndimage.distance_transform_edt(~mask, nib.affines.voxel_sizes(affine))


def _grown(mask: np.ndarray, affine: np.ndarray, by_mm: float) -> np.ndarray:
    return _distance(mask, affine) <= by_mm


def _shrunk(mask: np.ndarray, affine: np.ndarray, by_mm: float) -> np.ndarray:
    return _distance(~mask, affine) > by_mm


def _tissue_levels(level, inside, from_template, at_mni) -> list[float] | None:
    """Median signal of grey and of white matter away from the ventricles; None for too little."""
    grey_and_white = template.tissues_at(at_mni, 2.0)[:, :2]
    away = from_template[inside] > 6
    found = []
    for share in grey_and_white.T:
        some = level[inside][(share > 0.85) & away]
        if len(some) < 100:
            return None
        found.append(float(np.median(some)))
    return found
