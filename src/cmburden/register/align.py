"""Registers a scan to the template with ANTs, through a T1w if there is one, and rates the fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.images import brain, geometry, stripped
from cmburden.images.volume import Volume, load_volume
from cmburden.space import ants, atlas, template
from cmburden.space.transform import (
    FIELD_SPACING_MM,
    REGISTRATION_MM,
    Transform,
    block_grid,
    brain_image,
    compact,
)

#: Overlap (Dice) of the two brain masks below which a T1w is not of the scan's head (by eye).
_LEAST_T1W_OVERLAP = 0.85
#: Least and most volume of a T1w's brain mask, ml (by eye). A T1w's mask is of an entire brain.
_T1W_BRAIN_ML = (500, 2500)
#: How much of the surroundings of the brain the measure of alignment takes in (by eye).
_SURROUNDINGS_MM = 12.0


def to_template(
    data: np.ndarray, mask: np.ndarray, affine: np.ndarray, nonlinear: bool
) -> Transform:
    """Transform from a brain to MNI152: an affine and, if ``nonlinear``, SyN, both at 2 mm.

    ``data`` and brain ``mask`` (bool) are (x, y, z), ``affine`` is voxel index to RAS mm.
    """
    fixed = brain_image(data, mask, affine)
    moving = ants.ants_image(*template.brain(REGISTRATION_MM))
    return Transform(*(ants.syn if nonlinear else ants.affine)(fixed, moving))


def through_t1w(
    data: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    t1w_path: Path,
    settings: dict[str, Any],
) -> Transform:
    """Transform from a scan to MNI152 through the session's T1w: rigid, then :func:`to_template`.

    ``data`` and brain ``mask`` (bool) are (x, y, z), ``affine`` is voxel index to RAS mm.

    Raises
    ------
    ScanError
        Where the T1w cannot be used: it is unreadable, has no brain, or is of another head.
    """
    t1w = load_volume(t1w_path)
    t1w_mask = stripped.brain_of(t1w.data, t1w.zooms)
    if t1w_mask is None:
        t1w_mask = brain.brain_mask(t1w.data, int(settings.get("threads", 1)))
    _check_t1w(t1w, t1w_mask)
    fixed = brain_image(data, mask, affine)
    moving = brain_image(t1w.data, t1w_mask, t1w.affine)
    to_t1w = Transform(*ants.rigid(fixed, moving))
    _check_overlap(mask, affine, t1w_mask, t1w.affine, to_t1w)
    from_t1w = to_template(t1w.data, t1w_mask, t1w.affine, settings["nonlinear"])
    return compact(to_t1w, from_t1w, mask, affine)


def _check_t1w(t1w: Volume, mask: np.ndarray) -> None:
    """Raise ScanError where the brain mask of a T1w has not the volume of a brain."""
    volume = float(mask.sum() * np.prod(t1w.zooms)) / 1000
    least, most = _T1W_BRAIN_ML
    if not least <= volume <= most:
        raise ScanError("brain_mask", f"Its brain mask has {volume:.0f} ml.")


def _check_overlap(
    mask: np.ndarray,
    affine: np.ndarray,
    t1w_mask: np.ndarray,
    t1w_affine: np.ndarray,
    to_t1w: Transform,
) -> None:
    """Raise ScanError where, after the rigid step, the two brain masks are not of one head."""
    voxels = block_grid(mask.shape, affine, FIELD_SPACING_MM)
    inside = mask[tuple(np.round(voxels).astype(int).T)]
    at = apply_affine(np.linalg.inv(t1w_affine), to_t1w(apply_affine(affine, voxels)))
    in_t1w = ndimage.map_coordinates(t1w_mask.astype(np.float32), at.T, order=1) > 0.5
    overlap = 2 * np.sum(in_t1w & inside) / max(np.sum(in_t1w) + np.sum(inside), 1)
    if overlap < _LEAST_T1W_OVERLAP:
        raise ScanError("registration", f"Its brain overlaps with the scan's by {overlap:.2f}.")


def alignment(
    data: np.ndarray, mask: np.ndarray, affine: np.ndarray, transform: Transform
) -> float:
    """Correlation, 0 to 1, of the masked scan with the template's tissues at the same places.

    Points lie every 4 mm or so, also outside the brain: misalignment shows mostly at the brain's
    outline (:func:`cmburden.space.template.fit`).

    ``data`` and brain ``mask`` (bool) are (x, y, z), ``affine`` is voxel index to RAS mm.
    """
    sizes = voxel_sizes(affine)
    voxels = _near(mask, sizes, block_grid(mask.shape, affine, FIELD_SPACING_MM))
    # An even number of voxels shifts the scan by half of one. The QC column would change with it.
    smooth = ndimage.uniform_filter(
        np.where(mask, data, 0).astype(np.float32),
        [max(1, round(FIELD_SPACING_MM / size)) for size in sizes],
    )[tuple(voxels.astype(int).T)]
    return template.fit(smooth, transform(apply_affine(affine, voxels)), REGISTRATION_MM)


def _near(mask: np.ndarray, sizes: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Those of ``voxels`` (n, 3) that lie in the mask's box or within ``_SURROUNDINGS_MM`` of it.

    ``sizes`` (3,) are those of a voxel, mm.
    """
    box = geometry.box(mask)
    margin = _SURROUNDINGS_MM / sizes
    low = [part.start for part in box] - margin
    high = [part.stop for part in box] + margin
    return voxels[np.all((voxels >= low) & (voxels < high), axis=1)]


def regions_in_scan(mask: np.ndarray, affine: np.ndarray, transform: Transform) -> np.ndarray:
    """MARS labels (x, y, z) int16 of the voxels of a brain mask, each of the nearest atlas voxel.

    ``mask`` (x, y, z) is bool, ``affine`` is voxel index to RAS mm.
    """
    labels, to_mni = atlas.load()
    regions = np.zeros(mask.shape, dtype=np.int16)
    points = transform(apply_affine(affine, np.argwhere(mask)))
    voxels = np.round(apply_affine(np.linalg.inv(to_mni), points)).astype(int)
    voxels = np.clip(voxels, 0, np.array(labels.shape) - 1)
    regions[mask] = labels[tuple(voxels.T)]
    return regions
