"""2D views of a candidate: its slice, slices on either side, a thin minimum-intensity projection.

A microbleed is round in its slice and gone a few slices on; a vein goes on, which the projection
and the other slices show. All are the channels of one small picture.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

VIEW_MM = 24.0
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
)  # fmt: skip
#: The channels of the same place with the slices in the other order.
OTHER_WAY = (0, 1, 2, 4, 3, 6, 5)
SHAPE = (VIEW_PIXELS, VIEW_PIXELS, len(CHANNELS))
#: ``haemorrhage``: a bleed that is no microbleed (macrohaemorrhage, cavernoma).
CLASSES = ("microbleed", "vessel", "calcification", "border", "haemorrhage")


def view(volume: np.ndarray, affine: np.ndarray, centre_mm: np.ndarray) -> np.ndarray:
    """``SHAPE`` uint8 around ``centre_mm``: the channels ``CHANNELS``, 0 where there is no slice.

    ``volume`` (x, y, z) has median 1 in the brain, its slices lie across the last axis. Rows of
    the picture run along x, columns along y.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    at = np.linalg.inv(affine)[:3, :3] @ (np.asarray(centre_mm) - affine[:3, 3])
    step = VIEW_MM / VIEW_PIXELS
    line = (np.arange(VIEW_PIXELS) - (VIEW_PIXELS - 1) / 2) * step
    span, on = (max(1, round(mm / float(spacing[2]))) for mm in (PROJECTION_MM, BESIDE_MM))
    middle = int(np.clip(round(at[2]), 0, volume.shape[2] - 1))
    reach = max(span, 2 * on)
    slices = range(max(0, middle - reach), min(volume.shape[2], middle + reach + 1))
    grid = np.meshgrid(at[0] + line / spacing[0], at[1] + line / spacing[1], indexing="ij")
    low = [max(0, int(g.min()) - 2) for g in grid]
    cut = volume[low[0] : int(max(grid[0].max(), 0)) + 3, low[1] : int(max(grid[1].max(), 0)) + 3]
    where = [g - o for g, o in zip(grid, low, strict=True)]
    if 0 in cut.shape:
        return np.zeros(SHAPE, np.uint8)
    seen = {
        k: ndimage.map_coordinates(cut[:, :, k], where, order=1, mode="constant") for k in slices
    }
    thin = [seen[k] for k in slices if abs(k - middle) <= span]
    next_to = [seen[k] for k in (middle - 1, middle + 1) if k in seen] or [seen[middle]]
    nothing = np.zeros_like(seen[middle])
    beside = [seen.get(middle + k * on, nothing) for k in (-1, 1, -2, 2)]
    stack = np.stack([np.min(thin, 0), seen[middle], np.mean(next_to, 0), *beside], -1)
    return np.round(np.clip(stack / WHITE, 0, 1) * 255).astype(np.uint8)


def stacked(views: list[np.ndarray]) -> np.ndarray:
    """(n, *SHAPE) uint8 of n views, also of none."""
    return np.array(views, np.uint8).reshape(-1, *SHAPE)
