"""2D views of a candidate: its slice, slices on either side, a thin minimum-intensity projection.

A microbleed is round in its slice and absent a few slices further; a vein continues, as the
projection and the other slices show. Calcium looks like a microbleed, but lies at typical places
and often on both sides, as a slice and a projection of half a head show. All views are channels of
one picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

# The networks were trained on views with these numbers.
VIEW_MM = 20.0
VIEW_PIXELS = 96
#: Half the thickness of the projection.
PROJECTION_MM = 5.0
#: Signal, in medians of the brain, that is drawn white. By eye.
WHITE = 1.8
#: Distance to the slices on either side; the next slice where slices are thicker.
BESIDE_MM = 1.6
#: Channels of a view; "near" and "far" are one and two steps of ``BESIDE_MM`` away.
CHANNELS = (
    "minimum projection",
    "slice",
    "mean of the next slices",
    "near below",
    "near above",
    "far below",
    "far above",
    "wide slice",
    "wide minimum projection",
)
#: The wide channels show the other side's pallidum and choroid plexus too.
WIDE_MM = 120.0
#: The channels of the same place with the slices in the opposite order.
OTHER_WAY = (0, 1, 2, 4, 3, 6, 5, 7, 8)
SHAPE = (VIEW_PIXELS, VIEW_PIXELS, len(CHANNELS))
_LARGEST = np.iinfo(np.uint8).max
#: Voxels beyond the outermost pixels that interpolation may need.
_EDGE = 2


def view(volume: np.ndarray, affine: np.ndarray, centre_mm: np.ndarray) -> np.ndarray:
    """``SHAPE`` uint8 around ``centre_mm``: the channels ``CHANNELS``, 0 where there is no slice.

    ``volume`` (x, y, z) has a median of 1 in the brain, and slices across the last axis.
    ``centre_mm`` (3,) and ``affine`` (4 x 4) are in scanner RAS mm. Rows of the picture run along
    x, columns along y.
    """
    spacing = voxel_sizes(affine)
    at = np.linalg.inv(affine)[:3, :3] @ (np.asarray(centre_mm) - affine[:3, 3])
    middle = int(np.clip(round(at[2]), 0, volume.shape[2] - 1))
    part, where = _window(volume, at, spacing, VIEW_MM)
    if 0 in part.shape:
        return np.zeros(SHAPE, np.uint8)
    channels = _narrow_channels(part, where, middle, float(spacing[2]))
    part, where = _window(volume, at, spacing, WIDE_MM)
    channels += _wide_channels(part, where, middle, spacing)
    return np.round(np.clip(np.stack(channels, -1) / WHITE, 0, 1) * _LARGEST).astype(np.uint8)


def _narrow_channels(
    part: np.ndarray, where: list[np.ndarray], middle: int, slice_mm: float
) -> list[np.ndarray]:
    """The first seven channels; ``where`` in ``part`` (x, y, z) the pixels lie."""
    slices = part.shape[2]
    through, beside = _steps(PROJECTION_MM, slice_mm), _steps(BESIDE_MM, slice_mm)
    planes = {
        k: _sampled(part[:, :, k], where) for k in _about(middle, max(through, 2 * beside), slices)
    }
    next_to = [planes[k] for k in (middle - 1, middle + 1) if k in planes] or [planes[middle]]
    nothing = np.zeros_like(planes[middle])
    return [
        np.min([planes[k] for k in _about(middle, through, slices)], 0),
        planes[middle],
        np.mean(next_to, 0),
        *(planes.get(middle + k * beside, nothing) for k in (-1, 1, -2, 2)),
    ]


def _wide_channels(
    part: np.ndarray, where: list[np.ndarray], middle: int, spacing: np.ndarray
) -> list[np.ndarray]:
    """The last two channels; ``where`` in ``part`` (x, y, z) the pixels lie.

    A pixel holds several voxels: of the slice their mean is shown, of the projection the least.
    """
    voxels = [_steps(WIDE_MM / VIEW_PIXELS, float(mm)) for mm in spacing[:2]]
    reach = _about(middle, _steps(PROJECTION_MM, float(spacing[2])), part.shape[2])
    least = np.min([part[:, :, k] for k in reach], 0)
    return [
        _sampled(ndimage.uniform_filter(part[:, :, middle], voxels), where),
        _sampled(ndimage.minimum_filter(least, voxels), where),
    ]


def _steps(distance_mm: float, spacing_mm: float) -> int:
    """Voxels nearest to a distance, at least one."""
    return max(1, round(distance_mm / spacing_mm))


def _about(middle: int, reach: int, slices: int) -> range:
    """Numbers of the slices within ``reach`` of the slice ``middle``."""
    return range(max(0, middle - reach), min(slices, middle + reach + 1))


def _window(
    volume: np.ndarray, at: np.ndarray, spacing: np.ndarray, width_mm: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The part of ``volume`` about voxel ``at`` that is ``width_mm`` wide, with all slices.

    Also the voxel indices in this part, along x and along y, of a view's pixels.
    """
    line = (np.arange(VIEW_PIXELS) - (VIEW_PIXELS - 1) / 2) * width_mm / VIEW_PIXELS
    grid = np.meshgrid(at[0] + line / spacing[0], at[1] + line / spacing[1], indexing="ij")
    low = [max(0, int(axis.min()) - _EDGE) for axis in grid]
    high = [int(max(axis.max(), 0)) + _EDGE + 1 for axis in grid]
    part = volume[low[0] : high[0], low[1] : high[1]]
    return part, [axis - start for axis, start in zip(grid, low, strict=True)]


def _sampled(plane: np.ndarray, where: list[np.ndarray]) -> np.ndarray:
    """``plane`` (x, y) at voxel indices ``where``, by linear interpolation; 0 outside."""
    return ndimage.map_coordinates(plane, where, order=1, mode="constant")


def stacked(views: Sequence[np.ndarray]) -> np.ndarray:
    """(n, *SHAPE) uint8 of n views; n may be 0."""
    return np.array(views, np.uint8).reshape(-1, *SHAPE)
