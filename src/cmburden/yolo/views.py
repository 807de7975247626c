"""2D views of a candidate: its slice, its neighbours and a thin minimum-intensity projection.

A microbleed is round in its slice and gone a few slices on; a vein goes on, which the projection
and the neighbours show. The three are the colour channels of one small picture.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

VIEW_MM = 24.0
VIEW_PIXELS = 96
#: Half the thickness of the projection.
PROJECTION_MM = 5.0
WHITE = 1.8
#: ``haemorrhage``: a bleed that is no microbleed (macrohaemorrhage, cavernoma).
CLASSES = ("microbleed", "vessel", "calcification", "border", "haemorrhage")


def view(volume: np.ndarray, affine: np.ndarray, centre_mm: np.ndarray) -> np.ndarray:
    """(96, 96, 3) uint8 around ``centre_mm``: channels projection, slice, neighbours.

    ``volume`` (x, y, z) has median 1 in the brain, its slices lie across the last axis. Rows of
    the picture run along x, columns along y.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    at = np.linalg.inv(affine)[:3, :3] @ (np.asarray(centre_mm) - affine[:3, 3])
    step = VIEW_MM / VIEW_PIXELS
    line = (np.arange(VIEW_PIXELS) - (VIEW_PIXELS - 1) / 2) * step
    span = max(1, round(PROJECTION_MM / float(spacing[2])))
    middle = int(np.clip(round(at[2]), 0, volume.shape[2] - 1))
    slices = range(max(0, middle - span), min(volume.shape[2], middle + span + 1))
    grid = np.meshgrid(at[0] + line / spacing[0], at[1] + line / spacing[1], indexing="ij")
    low = [max(0, int(g.min()) - 2) for g in grid]
    cut = volume[low[0] : int(max(grid[0].max(), 0)) + 3, low[1] : int(max(grid[1].max(), 0)) + 3]
    where = [g - o for g, o in zip(grid, low, strict=True)]
    if 0 in cut.shape:
        return np.zeros((VIEW_PIXELS, VIEW_PIXELS, 3), np.uint8)
    seen = {
        k: ndimage.map_coordinates(cut[:, :, k], where, order=1, mode="constant") for k in slices
    }
    beside = [seen[k] for k in (middle - 1, middle + 1) if k in seen] or [seen[middle]]
    stack = np.stack([np.min(list(seen.values()), 0), seen[middle], np.mean(beside, 0)], -1)
    return np.round(np.clip(stack / WHITE, 0, 1) * 255).astype(np.uint8)
