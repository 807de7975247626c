"""What a reader has before him: the image itself, with noise, faults and whatever lies beside.

Sources are graded without these when they are drawn (``sources.grade``); a microbleed that they
have made grey, or that tissue one can see does not surround, is faint as well.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cmburden.simulate.sources import VOID, Source

#: A ring about the spot, from its visible edge outwards, mm: what it is compared with.
_GAP_MM, _RING_MM = 0.8, 3.5
#: Least share of the ring that is tissue (Greenberg 2009: at least half surrounded by parenchyma).
SURROUNDED = 0.5
#: The median of the tissue this near, mm in the slice, is what tissue looks like there: a voxel
#: that is a void against it is none that a reader could tell from bone or air.
_NEAR_MM = 10.0
#: Signal of the ring: this quantile of its tissue, so that fluid in its edge is no contrast.
_QUANTILE = 0.25


def looked_at(
    source: Source, image: np.ndarray, bare: np.ndarray, parenchyma: np.ndarray, affine: np.ndarray
) -> Source:
    """``source``, or where it is a microbleed and the image does not show one, a 'faint' one.

    ``bare`` is the image as it would be without bleeds.
    """
    if source.kind != "microbleed":
        return source
    loss, surrounded = in_image(image, bare, parenchyma, affine, source.centre, source.visible_mm)
    if loss >= VOID and surrounded >= SURROUNDED:
        return source
    return dataclasses.replace(source, kind="faint")


def in_image(
    image: np.ndarray,
    bare: np.ndarray,
    parenchyma: np.ndarray,
    affine: np.ndarray,
    centre_mm: np.ndarray,
    radius_mm: float,
) -> tuple[float, float]:
    """Share of the signal that a spot's darkest voxel lacks, against what is around it and against
    the same voxel without the bleed, whichever is less; and share of the ring about it that is
    tissue one can see: in the slice where it is darkest.

    ``image``, ``bare`` (the same without bleeds) and ``parenchyma`` (x, y, slice); slices up to
    ``radius_mm`` from the centre, and always the nearest, are looked at. A voxel that is a void
    without the bleed too (bone at the brain's edge, a vein) is neither the spot's nor tissue.
    (0, 0) outside the image, and where nothing else is left.
    """
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    at = np.linalg.inv(affine)[:3, :3] @ (np.asarray(centre_mm) - affine[:3, 3])
    reach = radius_mm + _RING_MM
    wide = max(reach, _NEAR_MM)
    low = np.maximum(np.floor(at[:2] - wide / voxel[:2]).astype(int), 0)
    high = np.minimum(np.ceil(at[:2] + wide / voxel[:2]).astype(int) + 1, image.shape[:2])
    if (low >= high).any():
        return 0.0, 0.0
    x, y = ((np.arange(a, b) - c) * v for a, b, c, v in zip(low, high, at, voxel, strict=False))
    distance = np.hypot(x[:, None], y[None])
    core = distance <= max(radius_mm, 0.75 * float(voxel[:2].max()))
    ring = (distance > radius_mm + _GAP_MM) & (distance <= reach)
    near = distance <= wide
    far = max(radius_mm, float(voxel[2]) / 2)
    first, last = (at[2] + np.array([-far, far]) / voxel[2]).round(6)
    best = 0.0, 0.0
    for k in range(max(0, int(np.ceil(first))), min(image.shape[2] - 1, int(np.floor(last))) + 1):
        here = np.s_[low[0] : high[0], low[1] : high[1], k]
        usual = bare[here][near & parenchyma[here]]
        inside = ring & parenchyma[here]
        if usual.size:
            inside &= bare[here] > (1 - VOID) * np.median(usual)
        if not inside.any():
            continue
        around = max(float(np.quantile(image[here][inside], _QUANTILE)), 1e-6)
        spot = core & (bare[here] > (1 - VOID) * around)
        if not spot.any():
            continue
        without = np.minimum(bare[here][spot], around)
        loss = 1 - float((image[here][spot] / without).min())
        best = max(best, (loss, float(inside.sum() / ring.sum())))
    return best
