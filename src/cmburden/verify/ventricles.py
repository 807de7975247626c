"""The ventricles of a scan: fluid that touches the place of the template's ventricles.

Old brains' ventricles are up to eight times as large as the template's, and a registration that is
fast enough for thousands of scans follows them only in part. Calcium of the choroid plexus lies in
the ventricles, microbleeds do not: the wall matters to a millimetre or two, not to ten. Where the
ventricles are small, or neither brighter nor darker than the brain, the template's place is used.
"""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np
from scipy import ndimage

from cmburden.images import geometry
from cmburden.space import template
from cmburden.space.transform import Transform, coarse_brain
from cmburden.verify.place import ventricle_distance

#: Fluid counts up to this distance from the template's ventricles.
REACH_MM = 12.0
#: Fluid is told from grey and white matter where it is brighter, or darker, than both by this
#: share of the brain's median signal. SWI often shows no such difference.
LEAST_GAP = 0.12
#: Thinner fluid is a sulcus. A dark hole in bright fluid up to this size is in the ventricle.
_THIN_MM, _HOLE_MM = 4.0, 8.0
#: Fluid that shares less with the template's ventricles is not of the ventricles, mm^3.
_LEAST_SHARED_MM3 = 200.0
#: Voxels of the coarse brain above this share of the median belong to the brain: zero is outside,
#: and its border is blurred. By eye.
_INSIDE = 0.05
#: The template's ventricles begin at this distance from their voxels: half a voxel of the map.
_IN_TEMPLATE_MM = 0.5
#: Tissue is measured farther from the template's ventricles than this, in voxels of which more than
#: this share is grey, or white, matter, and in no fewer than so many voxels. By eye.
_AWAY_MM, _PURE, _LEAST_VOXELS = 6.0, 0.85, 100
#: Grid of the template's tissues.
_TISSUE_MM = 2.0
#: Distance of all voxels to an empty mask: far.
_FAR_MM = 1e3


@dataclasses.dataclass(frozen=True)
class Ventricles:
    """The ventricles' ``mask`` (bool, x, y, z) on a 2 mm grid, and its ``affine`` to scanner mm."""

    mask: np.ndarray
    affine: np.ndarray

    def distance(self, points_mm: np.ndarray) -> np.ndarray:
        """Distance (n,) in mm of scanner RAS points (n, 3) to the ventricles."""
        distance = _distance(self.mask, self.affine)
        at = nib.affines.apply_affine(np.linalg.inv(self.affine), points_mm).reshape(-1, 3)
        return ndimage.map_coordinates(distance, at.T, order=1, mode="nearest")


def find(
    volume: np.ndarray, mask: np.ndarray, affine: np.ndarray, transform: Transform
) -> Ventricles | None:
    """The ventricles of a scan; None where its fluid does not differ enough from its tissue.

    ``volume`` (x, y, z) bias-corrected, ``mask`` (bool) its brain, ``affine`` to scanner RAS mm,
    ``transform`` from there to MNI152.
    """
    coarse, to_ras = coarse_brain(volume, mask, affine)
    inside = coarse > _INSIDE
    at_mni = transform(nib.affines.apply_affine(to_ras, np.argwhere(inside)))
    from_template = np.full(coarse.shape, np.inf)
    from_template[inside] = ventricle_distance(at_mni)
    level = ndimage.median_filter(coarse, 3)
    core = inside & (from_template <= _IN_TEMPLATE_MM)
    tissue = _tissue_levels(level[inside], from_template[inside], at_mni)
    if tissue is None or not core.any():
        return None
    fluid = _fluid(level, core, tissue)
    if fluid is None:
        return None
    fluid &= inside & (from_template < REACH_MM)
    # Distances are taken about the fluid alone: nothing farther away than these steps counts.
    steps = np.ceil((_HOLE_MM + _THIN_MM) / nib.affines.voxel_sizes(to_ras))
    part = geometry.box(fluid, steps) if fluid.any() else (slice(None),) * 3
    mask_of_ventricles = np.zeros_like(fluid)
    mask_of_ventricles[part] = _touching(fluid[part], core[part], to_ras)
    return Ventricles(mask_of_ventricles, to_ras) if mask_of_ventricles.any() else None


def _fluid(level: np.ndarray, core: np.ndarray, tissue: list[float]) -> np.ndarray | None:
    """Voxels nearer to the level of fluid than to that of tissue; None without enough difference.

    ``level`` (x, y, z) is the smoothed signal, ``core`` (bool) the place of the template's
    ventricles, ``tissue`` the levels of grey and white matter. Fluid's level is the median of the
    half of ``core`` that differs most from tissue.
    """
    in_core = level[core]
    middle = np.median(in_core)
    sign = 1 if middle > max(tissue) else -1
    nearest = max(tissue) if sign > 0 else min(tissue)
    fluid_level = float(np.median(in_core[sign * (in_core - middle) >= 0]))
    if sign * (fluid_level - nearest) < LEAST_GAP:
        return None
    return sign * (level - (fluid_level + nearest) / 2) > 0


def _touching(fluid: np.ndarray, core: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The parts of ``fluid`` that share enough with ``core``, their thin horns and their holes."""
    wide = _grown(_shrunk(fluid, affine, _THIN_MM / 2), affine, _THIN_MM / 2)
    parts, count = ndimage.label(wide & fluid)
    shared_mm3 = np.bincount(parts[core], minlength=count + 1) * abs(np.linalg.det(affine[:3, :3]))
    touching = (shared_mm3 > _LEAST_SHARED_MM3)[parts] & (parts > 0)
    if not touching.any():
        return touching
    # Horns are thin where they end: fluid that touches the rest belongs to the ventricles as well.
    touching = fluid & _grown(touching, affine, _THIN_MM)
    closed = _shrunk(_grown(touching, affine, _HOLE_MM / 2), affine, _HOLE_MM / 2)
    return touching | closed


def _distance(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Distance of every voxel to the nearest of ``mask``, mm; ``_FAR_MM`` of an empty mask."""
    if not mask.any():
        return np.full(mask.shape, _FAR_MM)
    return ndimage.distance_transform_edt(~mask, nib.affines.voxel_sizes(affine))


def _grown(mask: np.ndarray, affine: np.ndarray, by_mm: float) -> np.ndarray:
    """``mask`` with its border moved outwards."""
    return _distance(mask, affine) <= by_mm


def _shrunk(mask: np.ndarray, affine: np.ndarray, by_mm: float) -> np.ndarray:
    """``mask`` with its border moved inwards."""
    return _distance(~mask, affine) > by_mm


def _tissue_levels(
    level: np.ndarray, from_template: np.ndarray, at_mni: np.ndarray
) -> list[float] | None:
    """Median signal of grey and of white matter away from the ventricles; None for too little.

    ``level`` (n,) is the signal of n voxels, ``from_template`` (n,) their distance to the
    template's ventricles in mm, ``at_mni`` (n, 3) their place in MNI152.
    """
    grey_and_white = template.tissues_at(at_mni, _TISSUE_MM)[:, :2]
    away = from_template > _AWAY_MM
    levels = []
    for share in grey_and_white.T:
        pure = level[(share > _PURE) & away]
        if len(pure) < _LEAST_VOXELS:
            return None
        levels.append(float(np.median(pure)))
    return levels
