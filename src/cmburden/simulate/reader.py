"""What a reader has before him: the image itself, with noise, faults and whatever lies beside.

Sources are graded without these when they are drawn (``sources.grade``); a microbleed that they
have made grey, or that brain does not surround, is faint as well.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cmburden.simulate.sources import VOID, Source

#: A ring about the spot, from its visible edge outwards, mm: what it is compared with.
_GAP_MM, _RING_MM = 0.8, 3.5
#: Least share of the ring that is brain (Greenberg 2009: surrounded at least half by it).
SURROUNDED = 0.5
#: Signal of the ring: this quantile of its brain, so that fluid on one side is no contrast.
_QUANTILE = 0.25


def looked_at(source: Source, image: np.ndarray, brain: np.ndarray, affine: np.ndarray) -> Source:
    """``source``, or where it is a microbleed and the image does not show one, a 'faint' one."""
    if source.kind != "microbleed":
        return source
    loss, surrounded = in_image(image, brain, affine, source.centre, source.visible_mm)
    if loss >= VOID and surrounded >= SURROUNDED:
        return source
    return dataclasses.replace(source, kind="faint")


def in_image(
    image: np.ndarray,
    brain: np.ndarray,
    affine: np.ndarray,
    centre_mm: np.ndarray,
    radius_mm: float,
) -> tuple[float, float]:
    """Share of the signal around that a spot's darkest voxel lacks, and share of the ring about it
    that is brain, in the slice where it is darkest against its ring.

    ``image`` and ``brain`` (x, y, slice); slices up to ``radius_mm`` from the centre, and always
    the nearest, are looked at. (0, 0) outside the image.
    """
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    at = np.linalg.inv(affine)[:3, :3] @ (np.asarray(centre_mm) - affine[:3, 3])
    reach = radius_mm + _RING_MM
    low = np.maximum(np.floor(at[:2] - reach / voxel[:2]).astype(int), 0)
    high = np.minimum(np.ceil(at[:2] + reach / voxel[:2]).astype(int) + 1, image.shape[:2])
    if (low >= high).any():
        return 0.0, 0.0
    x, y = ((np.arange(a, b) - c) * v for a, b, c, v in zip(low, high, at, voxel, strict=False))
    distance = np.hypot(x[:, None], y[None])
    core = distance <= max(radius_mm, 0.75 * float(voxel[:2].max()))
    ring = (distance > radius_mm + _GAP_MM) & (distance <= reach)
    far = max(radius_mm, float(voxel[2]) / 2)
    first, last = (at[2] + np.array([-far, far]) / voxel[2]).round(6)
    best = 0.0, 0.0
    for k in range(max(0, int(np.ceil(first))), min(image.shape[2] - 1, int(np.floor(last))) + 1):
        part = image[low[0] : high[0], low[1] : high[1], k]
        inside = ring & brain[low[0] : high[0], low[1] : high[1], k]
        if not inside.any() or not core.any():
            continue
        around = float(np.quantile(part[inside], _QUANTILE))
        loss = 1 - float(part[core].min()) / max(around, 1e-6)
        best = max(best, (loss, float(inside.sum() / ring.sum())))
    return best
