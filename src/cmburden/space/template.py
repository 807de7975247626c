"""The MNI152 template: ICBM 2009a nonlinear symmetric, brain only, 1 mm, from nilearn's wheel.

Fonov et al., NeuroImage 2011;54:313 and 2009;47:S102. Grid 197 x 233 x 189, canonical RAS.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np

from cmburden.images.geometry import affine_of_blocks, block_means

_NAME = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"


def read(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Template image (float32) and its affine; ``part``: 't1', 'gm' or 'wm' (all 0 to 255)."""
    folder = Path(find_spec("nilearn").origin).parent / "datasets" / "data"
    image = nib.load(folder / _NAME.format(part))
    return np.asarray(image.dataobj, dtype=np.float32), image.affine


@functools.cache
def brain(spacing: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """T1-weighted brain at a whole number of mm, white matter at about 1, and its affine."""
    data, affine = read("t1")
    factors = [round(spacing)] * 3
    return block_means(data / 200.0, factors), affine_of_blocks(affine, factors)


@functools.cache
def tissues(spacing: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Grey matter, white matter and the rest of the brain (x, y, z, 3), 0 to 1, and the affine."""
    inside, affine = read("t1")
    inside = (inside > 0).astype(np.float32)
    grey, white = (read(part)[0] / 255.0 * inside for part in ("gm", "wm"))
    factors = [round(spacing)] * 3
    parts = [
        block_means(part, factors) for part in (grey, white, np.clip(inside - grey - white, 0, 1))
    ]
    return np.stack(parts, axis=-1), affine_of_blocks(affine, factors)


def tissues_at(points_mm: np.ndarray, spacing: float) -> np.ndarray:
    """:func:`tissues` (n, 3) at MNI152 points (n, 3) in mm, by linear interpolation; 0 outside."""
    from scipy import ndimage

    volume, affine = tissues(spacing)
    at = nib.affines.apply_affine(np.linalg.inv(affine), points_mm)
    return np.stack(
        [ndimage.map_coordinates(part, at.T, order=1) for part in np.moveaxis(volume, -1, 0)],
        axis=-1,
    )


@functools.cache
def mask() -> tuple[np.ndarray, np.ndarray]:
    """Brain mask at 1 mm without holes, and its affine."""
    from scipy import ndimage

    data, affine = read("t1")
    return ndimage.binary_fill_holes(data > 0), affine
