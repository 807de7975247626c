"""The receive field's slow change of brightness, and its removal."""

from __future__ import annotations

import numpy as np

from cmburden.images import geometry
from cmburden.images.volume import Volume
from cmburden.space.ants import ants_image, load_ants

_BIAS_SPACING_MM = 6.0


def bias_field(volume: Volume, mask: np.ndarray) -> np.ndarray:
    """Multiplicative bias (x, y, z) by N4 (Tustison 2010) within the mask, 1 on average there.

    Estimated on voxels of about 6 mm around the brain, which hold all that N4's splines (knots
    180 mm to 45 mm apart) can describe, and interpolated linearly. Further out the nearest value
    holds.
    """
    ants = load_ants()
    factors = [max(1, round(_BIAS_SPACING_MM / size)) for size in volume.zooms]
    box = geometry.box(mask, factors)
    small, small_mask, affine = _block_means(volume, mask, box, factors)
    inside = small_mask > 0.5
    image = ants_image(np.maximum(small, 1e-6 * small.max()), affine)
    field = ants.n4_bias_field_correction(
        image,
        mask=ants_image(inside.astype(np.float32), affine),
        shrink_factor=1,
        convergence={"iters": [30, 30, 20], "tol": 1e-4},
        spline_param=180,
        return_bias_field=True,
    ).numpy()
    field = np.clip(field, *np.percentile(field[inside], [0.5, 99.5])).astype(np.float32)
    field /= field[inside].mean()
    # Centre of block i lies at voxel start + factor * i + (factor - 1) / 2.
    for axis, (factor, size) in enumerate(zip(factors, volume.data.shape, strict=True)):
        at = (np.arange(size) - box[axis].start - (factor - 1) / 2) / factor
        at = np.clip(at, 0, field.shape[axis] - 1)
        low = np.minimum(at.astype(int), max(field.shape[axis] - 2, 0))
        weight = (at - low).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = -1
        high = np.minimum(low + 1, field.shape[axis] - 1)
        weight = weight.reshape(shape)
        field = np.take(field, low, axis) * (1 - weight) + np.take(field, high, axis) * weight
    return field


def _block_means(
    volume: Volume, mask: np.ndarray, box: tuple[slice, ...], factors: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of volume and mask over blocks of ``factors`` voxels in a box, and their affine.

    The last block of an axis is filled up with the box's outermost plane.
    """
    padding = [
        (0, -(part.stop - part.start) % factor) for part, factor in zip(box, factors, strict=True)
    ]
    data, inside = (
        geometry.block_means(np.pad(array[box].astype(np.float32), padding, mode="edge"), factors)
        for array in (volume.data, mask)
    )
    starts = [part.start for part in box]
    return data, inside, geometry.affine_of_blocks(volume.affine, factors, starts)
