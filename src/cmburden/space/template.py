"""The MNI152 template: ICBM 2009a nonlinear symmetric, brain only, 1 mm, from nilearn's wheel.

Fonov et al., NeuroImage 2011;54:313 and 2009;47:S102. Grid 197 x 233 x 189, canonical RAS.
"""

from __future__ import annotations

import functools

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from cmburden.core.resources import folder_of
from cmburden.images.geometry import affine_of_blocks, block_means
from cmburden.images.volume import open_image
from cmburden.space import atlas
from cmburden.space.regions import INFRATENTORIAL, without_side

#: Files in nilearn's wheel. Their reading takes no import of nilearn, which would take a second.
_NAME = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
#: Intensity of white matter in the T1-weighted template (by eye), and of a share of 1 in the maps
#: of grey and white matter.
_WHITE_MATTER, _WHOLE_SHARE = 200.0, 255.0


def read(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Template image (float32) and its affine; ``part``: 't1', 'gm' or 'wm' (all 0 to 255)."""
    image = open_image(folder_of("nilearn") / "datasets" / "data" / _NAME.format(part))
    return np.asarray(image.dataobj, dtype=np.float32), image.affine


@functools.cache
def brain(spacing: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """T1-weighted brain at a whole number of mm, white matter at about 1, and its affine."""
    data, affine = read("t1")
    factors = [round(spacing)] * 3
    return block_means(data / _WHITE_MATTER, factors), affine_of_blocks(affine, factors)


@functools.cache
def tissues(spacing: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Shares of grey matter, white matter and the rest of the brain, and the affine.

    The shares (x, y, z, 3) are from 0 to 1. ``spacing`` is a whole number of mm.
    """
    t1w, affine = read("t1")
    inside = (t1w > 0).astype(np.float32)
    grey, white = (read(part)[0] / _WHOLE_SHARE * inside for part in ("gm", "wm"))
    factors = [round(spacing)] * 3
    parts = [
        block_means(part, factors) for part in (grey, white, np.clip(inside - grey - white, 0, 1))
    ]
    return np.stack(parts, axis=-1), affine_of_blocks(affine, factors)


def tissues_at(points_mm: np.ndarray, spacing: float) -> np.ndarray:
    """:func:`tissues` (n, 3) at MNI152 points (n, 3) in mm, by linear interpolation; 0 outside."""
    volume, affine = tissues(spacing)
    at = apply_affine(np.linalg.inv(affine), points_mm)
    return np.stack(
        [ndimage.map_coordinates(part, at.T, order=1) for part in np.moveaxis(volume, -1, 0)],
        axis=-1,
    )


def fit(values: np.ndarray, points_mm: np.ndarray, spacing: float) -> float:
    """Correlation, 0 to 1, of ``values`` (n,) with the template's tissues at MNI152 points (n, 3).

    The tissues (grey matter, white matter, the rest of the brain, outside) are weighted by least
    squares so that they fit the values best: the measure thus holds for any contrast.
    """
    shares = tissues_at(points_mm, spacing)
    columns = np.column_stack([shares, np.ones(len(shares))])
    weights, *_ = np.linalg.lstsq(columns, values, rcond=None)
    fitted = columns @ weights
    if np.std(fitted) == 0:
        return 0.0
    return float(np.corrcoef(fitted, values)[0, 1])


@functools.cache
def mask() -> tuple[np.ndarray, np.ndarray]:
    """Brain mask at 1 mm without holes, and its affine."""
    data, affine = read("t1")
    return ndimage.binary_fill_holes(data > 0), affine


def grey_and_white(spacing: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of grey and of white matter (x, y, z), as nilearn resamples them, and the affine.

    Unlike :func:`tissues`, the grid is nilearn's, and the shares are not cut to the brain.
    ``spacing`` is a whole number of mm.
    """
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    grey = load_mni152_gm_template(resolution=spacing)
    white = load_mni152_wm_template(resolution=spacing)
    return np.asarray(grey.dataobj), np.asarray(white.dataobj), grey.affine


def deep_fluid(
    brain_mask: np.ndarray, fluid: np.ndarray, affine: np.ndarray, depth_mm: float
) -> np.ndarray:
    """Mask (x, y, z) of the fluid deep in the template's brain, mostly ventricles.

    Parameters
    ----------
    brain_mask, fluid : bool arrays (x, y, z)
        Brain without holes, and where there is neither grey nor white matter.
    affine : array (4, 4)
        Voxel index to MNI152 mm.
    depth_mm : float
        Least distance from the outside of the brain. Brainstem and cerebellum are left out, as the
        cisterns about them are as deep.
    """
    above = ~np.isin(without_side(atlas.regions_on(fluid.shape, affine)), INFRATENTORIAL)
    depth = ndimage.distance_transform_edt(brain_mask, voxel_sizes(affine))
    return brain_mask & fluid & above & (depth > depth_mm)
