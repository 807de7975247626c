"""Whether the brain mask cuts off a part of one side, told by the skull.

Bone has no signal. Going outward from the mask, the skull comes within a few mm; where the mask
cuts brain off, the brain goes on first. Both sides are compared, since the fluid about a shrunken
brain lies on both. Mirror asymmetry of the mask itself does not tell a cut: heads are not
symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

#: Below this multiple of the brain's median a voxel counts as bone (magnitudes: 0.04 to 0.26).
_BONE = 0.4
#: Farthest from the mask that bone is looked for, mm.
_REACH_MM = 14.0
#: Distance between the voxels that are looked at: along the way outward, and between two ways, mm.
_STEP_MM = (1.0, 2.0, 2.0)
#: Side of the patch over which the distance is averaged, mm, and its least filled share.
_PATCH_MM, _FILLED = 20.0, 0.5
#: Steepest surface, in mm outward for each mm along, on which right and left are the way outward.
_STEEPEST = 0.7
#: Difference of the sides from which a scan is warned of, mm. Of 93 simulated sound scans 5 had 3.5
#: and more, one had 5.8 and one 7.7: a hole in its mask that had not been seen before. A mask that
#: lacks 5 mm of a temporal convexity (4.1 to 5.7) is thus shown by the measure, not by a warning.
WARNED_MM = 6.0


def gap_mm(volume: np.ndarray, mask: np.ndarray, zooms: tuple[float, float, float]) -> float:
    """How much farther from the mask the skull lies on one side than at the other's mirror place.

    The largest difference of patches of 20 mm, mm. ``volume`` (x, y, z) has a median of 1 in the
    brain ``mask`` (bool), both in canonical RAS; ``zooms`` are their voxel sizes in mm. The mirror
    place is the one of the same row of voxels on the other side.
    """
    steps = [max(1, round(step / size)) for step, size in zip(_STEP_MM, zooms, strict=True)]
    coarse = tuple(slice(None, None, step) for step in steps)
    sizes = [step * size for step, size in zip(steps, zooms, strict=True)]
    signal, inside = volume[coarse], mask[coarse]
    right = _distances(signal, inside, sizes)
    left = _distances(signal[::-1], inside[::-1], sizes)
    apart = np.abs(right - left)
    return round(float(np.nanmax(apart)), 2) if np.isfinite(apart).any() else 0.0


def warning(gap: float) -> str | None:
    """The remark on a scan with a difference of the sides ``gap`` (mm) that is large."""
    if gap < WARNED_MM:
        return None
    return (
        "The skull lies farther from the brain mask on one side than on the other: the mask may "
        "cut off a part of the brain, where no microbleed is searched; look at its outline."
    )


def _distances(signal: np.ndarray, inside: np.ndarray, sizes: Sequence[float]) -> np.ndarray:
    """Mean distance from mask to bone (y, z) at the high end of the first axis, mm; NaN beside.

    What lies outside of the field of view counts as bone: nothing is known of it.
    """
    count = len(inside)
    rows = inside.any(axis=0)
    last = count - 1 - np.argmax(inside[::-1], axis=0)
    outward = last + np.arange(1, int(np.ceil(_REACH_MM / sizes[0])) + 1)[:, None, None]
    values = np.take_along_axis(signal, np.clip(outward, 0, count - 1), axis=0)
    is_bone = (values < _BONE) | (outward >= count)
    first = np.where(is_bone.any(axis=0), np.argmax(is_bone, axis=0) + 1, len(outward)) * sizes[0]
    slopes = np.gradient(np.where(rows, last * sizes[0], np.nan), *sizes[1:])
    level = rows & (np.hypot(*slopes) < _STEEPEST)
    patch = [max(1, round(_PATCH_MM / size)) for size in sizes[1:]]
    filled = ndimage.uniform_filter(level.astype(np.float64), patch)
    total = ndimage.uniform_filter(np.where(level, first, 0.0), patch)
    return np.where(filled >= _FILLED, total / np.maximum(filled, _FILLED), np.nan)
