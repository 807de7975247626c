"""Geometry of a volume: the slice axis, boxes, block means, parts of a mask and their roundness.

Pure functions on arrays. An affine is 4 x 4, voxel index to scanner RAS mm; a mask is bool
(x, y, z). ``nibabel.affines`` has the rest: ``voxel_sizes``, ``apply_affine``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage
from skimage.transform import downscale_local_mean

#: Voxel sizes are compared to this many decimals of a millimetre: the rest is rounding in headers.
_SIZE_DECIMALS = 3
#: Area of voxel faces over that of the smooth surface: the mean of |x| + |y| + |z| over directions.
_FACES_OVER_SURFACE = 1.5
#: Flips in plane, as axes of an array (n, channel, x, y, slice). The set is closed under
#: composition: the mean of a network's output over the set is then invariant to mirroring.
MIRRORED = ((), (2,), (3,), (2, 3))


def slice_axis(affine: np.ndarray) -> int:
    """The axis across slices: the one with the largest voxel size, of equals the last (z).

    >>> slice_axis(np.diag([0.9, 4.0, 0.9, 1])), slice_axis(np.eye(4))
    (1, 2)
    """
    sizes = np.round(voxel_sizes(affine), _SIZE_DECIMALS)
    return int(2 - np.argmax(sizes[::-1]))


def slices_last(affine: np.ndarray) -> list[int]:
    """Order of the axes with the slice axis last; the two others keep their order.

    >>> slices_last(np.diag([1, 4, 1, 1])), slices_last(np.eye(4))
    ([0, 2, 1], [0, 1, 2])
    """
    axis = slice_axis(affine)
    return [other for other in range(3) if other != axis] + [axis]


def box(mask: np.ndarray, margin: float | Sequence[int] | np.ndarray = 0) -> tuple[slice, ...]:
    """The smallest box that holds ``mask``, wider by ``margin`` voxels at either end of each axis.

    ``margin``: one whole number, or one an axis; the caller divides a margin in mm by the voxel
    sizes and rounds. The box ends where the grid ends.

    Raises
    ------
    ValueError
        Where the mask is empty.

    >>> mask = np.zeros((9, 9, 9), bool)
    >>> mask[4, 5:7, 8] = True
    >>> box(mask, [0, 1, 2])
    (slice(4, 5, None), slice(4, 8, None), slice(6, 9, None))
    """
    inside = ndimage.find_objects(np.asarray(mask, dtype=np.int8))
    if not inside:
        raise ValueError("the mask is empty")
    margins = np.broadcast_to(np.asarray(margin, dtype=int), 3)
    return tuple(
        slice(max(0, part.start - int(by)), min(length, part.stop + int(by)))
        for part, by, length in zip(inside[0], margins, mask.shape, strict=True)
    )


def cropped(affine: np.ndarray, part: Sequence[slice]) -> np.ndarray:
    """Affine of the box ``part`` of a volume with ``affine``; only the slices' starts count.

    >>> cropped(np.diag([1.0, 2, 3, 1]), (slice(1, 4), slice(2, 4), slice(3, 4)))[:3, 3].tolist()
    [1.0, 4.0, 9.0]
    """
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ [side.start for side in part]
    return moved


def block_means(data: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Means of ``data`` over blocks of ``factors`` voxels; incomplete blocks are left out.

    >>> block_means(np.arange(16.0).reshape(4, 2, 2), (2, 2, 1)).tolist()
    [[[3.0, 4.0]], [[11.0, 12.0]]]
    """
    whole = tuple(
        slice(0, length // factor * factor)
        for length, factor in zip(data.shape, factors, strict=True)
    )
    return downscale_local_mean(data[whole], tuple(factors))


def steps_within(reach: np.ndarray) -> np.ndarray:
    """Steps (n, 3) from a voxel to all voxels within ``reach`` (3,) of it, both ways of each axis.

    >>> steps_within(np.array([0, 1, 0])).tolist()
    [[0, -1, 0], [0, 0, 0], [0, 1, 0]]
    """
    return np.indices(tuple(2 * reach + 1)).reshape(3, -1).T - reach


def sampled(data: np.ndarray, axis: int, at: np.ndarray) -> np.ndarray:
    """``data`` by linear interpolation at the places ``at`` (n,) of an ``axis``; edges go on.

    ``at`` is in voxels. Three calls are a trilinear interpolation on a grid along the axes.

    >>> sampled(np.array([[0.0, 10, 30]]), 1, np.array([0.5, 1.5, 7.0])).tolist()
    [[5.0, 20.0, 30.0]]
    """
    last = data.shape[axis] - 1
    at = np.clip(at, 0, last)
    low = np.minimum(at.astype(int), max(last - 1, 0))
    weight = (
        (at - low).astype(data.dtype).reshape([-1 if a == axis else 1 for a in range(data.ndim)])
    )
    high = np.take(data, np.minimum(low + 1, last), axis)
    return np.take(data, low, axis) * (1 - weight) + high * weight


def affine_of_blocks(
    affine: np.ndarray, factors: Sequence[int], start: Sequence[int] = (0, 0, 0)
) -> np.ndarray:
    """Affine of blocks of ``factors`` voxels; the first block begins at voxel ``start``.

    >>> blocks = affine_of_blocks(np.eye(4), (2, 2, 1))
    >>> blocks[:3, 3].tolist(), voxel_sizes(blocks).tolist()
    ([0.5, 0.5, 0.0], [2.0, 2.0, 1.0])
    """
    coarse = affine.copy()
    coarse[:3, 3] += affine[:3, :3] @ (np.asarray(start) + (np.asarray(factors) - 1) / 2)
    coarse[:3, :3] *= factors
    return coarse


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest part of ``mask`` that is connected by faces; of equals, the first.

    A mask without any voxel has an empty part.

    >>> largest_part(np.array([1, 0, 1, 1, 0, 1, 1]) > 0).astype(int).tolist()
    [0, 0, 1, 1, 0, 0, 0]
    """
    labels, parts = ndimage.label(mask)
    if parts == 0:
        return np.zeros(np.shape(mask), dtype=bool)
    return labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1


def sphericity(mask: np.ndarray, sizes: Sequence[float] | np.ndarray) -> float:
    """Surface of a ball with the mask's volume, over the mask's surface: about 1 for a ball.

    ``sizes`` (3,) are those of a voxel, mm. The mask's surface is the area of its voxel faces,
    divided by 1.5: voxel faces overestimate a smooth closed surface by that factor.

    >>> grid = np.indices((41, 41, 41)) - 20
    >>> round(sphericity((grid**2).sum(0) < 18**2, (1, 1, 1)), 1)
    1.0
    """
    sizes = np.asarray(sizes, dtype=float)
    padded = np.pad(mask, 1).astype(np.int8)
    faces = sum(
        np.abs(np.diff(padded, axis=axis)).sum() * sizes.prod() / sizes[axis] for axis in range(3)
    )
    volume = float(np.sum(mask) * sizes.prod())
    return float(_FACES_OVER_SURFACE * np.cbrt(36 * np.pi * volume**2) / faces)
