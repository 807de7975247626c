"""2D views of a candidate: its slice, slices on either side, a thin minimum-intensity projection.

A microbleed is round in its slice and gone a few slices on; a vein goes on, which the projection
and the other slices show. Calcium looks like a microbleed, but lies where calcium does and often on
both sides, which a slice and a projection of half a head show. All are channels of one picture.
"""

from __future__ import annotations

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

VIEW_MM = 20.0
VIEW_PIXELS = 96
#: Half the thickness of the projection.
PROJECTION_MM = 5.0
WHITE = 1.8
#: The slices on either side are this far on, or the next where slices are thicker.
BESIDE_MM = 1.6
#: Channels of a view; "near" and "far" are one and two steps of ``BESIDE_MM`` on.
CHANNELS = (
    "minimum projection", "slice", "mean of the next slices",
    "near below", "near above", "far below", "far above",
    "wide slice", "wide minimum projection",
)  # fmt: skip
#: The wide channels show the other side's pallidum and choroid plexus too.
WIDE_MM = 120.0
#: The channels of the same place with the slices in the other order.
OTHER_WAY = (0, 1, 2, 4, 3, 6, 5, 7, 8)
SHAPE = (VIEW_PIXELS, VIEW_PIXELS, len(CHANNELS))


def view(volume: np.ndarray, affine: np.ndarray, centre_mm: np.ndarray) -> np.ndarray:
    """``SHAPE`` uint8 around ``centre_mm``: the channels ``CHANNELS``, 0 where there is no slice.

    ``volume`` (x, y, z) has median 1 in the brain, its slices lie across the last axis. Rows of
    the picture run along x, columns along y.
    """
    spacing = voxel_sizes(affine)
    at = np.linalg.inv(affine)[:3, :3] @ (np.asarray(centre_mm) - affine[:3, 3])
    span, on = (max(1, round(mm / float(spacing[2]))) for mm in (PROJECTION_MM, BESIDE_MM))
    middle = int(np.clip(round(at[2]), 0, volume.shape[2] - 1))

    def slices(reach: int) -> range:
        return range(max(0, middle - reach), min(volume.shape[2], middle + reach + 1))

    cut, where = _window(volume, at, spacing, VIEW_MM)
    wide, wide_where = _window(volume, at, spacing, WIDE_MM)
    if 0 in cut.shape:
        return np.zeros(SHAPE, np.uint8)
    seen = {k: _sampled(cut[:, :, k], where) for k in slices(max(span, 2 * on))}
    next_to = [seen[k] for k in (middle - 1, middle + 1) if k in seen] or [seen[middle]]
    nothing = np.zeros_like(seen[middle])
    # A pixel of the wide channels has several of the scan's: the mean of a slice, the least of
    # a projection.
    size = [max(1, round(WIDE_MM / VIEW_PIXELS / float(mm))) for mm in spacing[:2]]
    least = np.min([wide[:, :, k] for k in slices(span)], 0)
    stack = [
        np.min([seen[k] for k in slices(span)], 0),
        seen[middle],
        np.mean(next_to, 0),
        *(seen.get(middle + k * on, nothing) for k in (-1, 1, -2, 2)),
        _sampled(ndimage.uniform_filter(wide[:, :, middle], size), wide_where),
        _sampled(ndimage.minimum_filter(least, size), wide_where),
    ]
    return np.round(np.clip(np.stack(stack, -1) / WHITE, 0, 1) * 255).astype(np.uint8)


def _window(volume: np.ndarray, at: np.ndarray, spacing: np.ndarray, width_mm: float):
    """All slices of the part of ``volume`` about voxel ``at`` that is ``width_mm`` wide, and where
    in it the pixels of a view lie."""
    line = (np.arange(VIEW_PIXELS) - (VIEW_PIXELS - 1) / 2) * width_mm / VIEW_PIXELS
    grid = np.meshgrid(at[0] + line / spacing[0], at[1] + line / spacing[1], indexing="ij")
    low = [max(0, int(g.min()) - 2) for g in grid]
    cut = volume[low[0] : int(max(grid[0].max(), 0)) + 3, low[1] : int(max(grid[1].max(), 0)) + 3]
    return cut, [g - o for g, o in zip(grid, low, strict=True)]


def _sampled(plane: np.ndarray, where: list[np.ndarray]) -> np.ndarray:
    return ndimage.map_coordinates(plane, where, order=1, mode="constant")


def stacked(views: list[np.ndarray]) -> np.ndarray:
    """(n, *SHAPE) uint8 of n views, also of none."""
    return np.array(views, np.uint8).reshape(-1, *SHAPE)
