"""The receive field, a slow change of brightness over the brain: its estimate by N4."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmburden.images import geometry
from cmburden.images.volume import Volume
from cmburden.space.ants import ants_image, load_ants

#: Voxel size on which the field is estimated.
_SPACING_MM = 8.0
#: Distance of the spline's knots at N4's first level; each level halves the distance.
_KNOTS_MM = 180
#: Most iterations at each level, and the change of the field at which a level ends (by eye).
_ITERATIONS, _TOLERANCE = [30, 30, 20], 1e-4
#: N4 takes logarithms: voxels of 0 get this share of the largest intensity.
_LEAST_SHARE = 1e-6
#: The field is clipped at these percentiles of its values in the brain (by eye).
_PERCENTILES = (0.5, 99.5)
#: Least spread (standard deviation in the brain) of a field that is worth taking away: fields of
#: simulated scans have 0.07 to 0.13, those that N4 finds again in the corrected scans 0.02 to 0.04.
_LEAST_SPREAD = 0.05


def bias_field(volume: Volume, mask: np.ndarray) -> np.ndarray:
    """Multiplicative bias (x, y, z) by N4 (Tustison 2010) within the mask, 1 on average there.

    Estimated on voxels of about 8 mm around the brain, which resolve all that N4's splines (knots
    180 mm to 45 mm apart) can describe, and interpolated linearly. Beyond the outermost blocks
    their value is continued.
    """
    factors = [max(1, round(_SPACING_MM / size)) for size in volume.zooms]
    box = geometry.box(mask, factors)
    small, small_mask, affine = _block_means(volume, mask, box, factors)
    inside = small_mask > 0.5
    field = _n4(small, inside, affine)
    field = np.clip(field, *np.percentile(field[inside], _PERCENTILES)).astype(np.float32)
    field /= field[inside].mean()
    starts = [part.start for part in box]
    return _interpolated(field, factors, starts, volume.data.shape)


def helps(gain: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the field ``gain`` (x, y, z) is more than what N4 finds in a corrected brain."""
    return float(np.std(gain[mask])) > _LEAST_SPREAD


def _n4(data: np.ndarray, inside: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """N4's field (x, y, z) of ``data`` within the mask ``inside``."""
    image = ants_image(np.maximum(data, _LEAST_SHARE * data.max()), affine)
    return (
        load_ants()
        .n4_bias_field_correction(
            image,
            mask=ants_image(inside.astype(np.float32), affine),
            shrink_factor=1,
            convergence={"iters": _ITERATIONS, "tol": _TOLERANCE},
            spline_param=_KNOTS_MM,
            return_bias_field=True,
        )
        .numpy()
    )


def _interpolated(
    field: np.ndarray, factors: Sequence[int], starts: Sequence[int], shape: tuple[int, ...]
) -> np.ndarray:
    """The values ``field`` of blocks, by linear interpolation on a grid of ``shape``.

    A block has ``factors`` voxels, and the first begins at voxel ``starts``: the centre of block i
    lies at voxel start + factor * i + (factor - 1) / 2.
    """
    for axis, (factor, start, size) in enumerate(zip(factors, starts, shape, strict=True)):
        at = (np.arange(size) - start - (factor - 1) / 2) / factor
        field = geometry.sampled(field, axis, at)
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
