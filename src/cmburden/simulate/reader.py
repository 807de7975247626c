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


def looked_at(
    source: Source, image: np.ndarray, bare: np.ndarray, brain: np.ndarray, affine: np.ndarray
) -> Source:
    """``source``, or where it is a microbleed and the image does not show one, a 'faint' one.

    ``bare`` is the image as it would be without bleeds.
    """
    if source.kind != "microbleed":
        return source
    loss, surrounded = in_image(image, bare, brain, affine, source.centre, source.visible_mm)
    if loss >= VOID and surrounded >= SURROUNDED:
        return source
    return dataclasses.replace(source, kind="faint")


def in_image(
    image: np.ndarray,
    bare: np.ndarray,
    brain: np.ndarray,
    affine: np.ndarray,
    centre_mm: np.ndarray,
    radius_mm: float,
) -> tuple[float, float]:
    """Share of the signal that a spot's darkest voxel lacks, against what is around it and against
    the same voxel without the bleed, whichever is less; and share of the ring about it that is
    brain: in the slice where it is darkest.

    ``image``, ``bare`` (the same without bleeds) and ``brain`` (x, y, slice); slices up to
    ``radius_mm`` from the centre, and always the nearest, are looked at. A voxel that is a void
    without the bleed too (bone at the brain's edge, a vein) is not the spot's. (0, 0) outside
    the image, and where nothing else is left.
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
        here = np.s_[low[0] : high[0], low[1] : high[1], k]
        inside = ring & brain[here]
        if not inside.any():
            continue
        around = max(float(np.quantile(image[here][inside], _QUANTILE)), 1e-6)
        spot = core & (bare[here] > (1 - VOID) * around)
        if not spot.any():
            continue
        usual = np.minimum(bare[here][spot], around)
        loss = 1 - float((image[here][spot] / usual).min())
        best = max(best, (loss, float(inside.sum() / ring.sum())))
    return best
