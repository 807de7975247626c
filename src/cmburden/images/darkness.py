"""How dark an image is at a table's points, by each coordinate convention that the table may have.

A point is dark where a voxel at, or beside, the point in the point's own slice is darker than the
surroundings. Neighbouring slices take no part: with them, indices from 0 and from 1 would be alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes

from cmburden.core.errors import CMBurdenError
from cmburden.images.geometry import slice_axis

#: Signs of a point in mm that give scanner RAS mm.
_SIGNS = {"ras": (1.0, 1.0, 1.0), "lps": (-1.0, -1.0, 1.0), "las": (-1.0, 1.0, 1.0)}
#: Voxel conventions: (first index, rows flipped, slices reversed). Rows and slices are the second
#: and third axis of the array as the file stores it, which is the order of dcm2niix.
_VOXELS = {
    f"voxel{base}{'_flipped' * flipped}{'_reversed' * reverse}": (base, flipped, reverse)
    for flipped in (False, True)
    for reverse in (False, True)
    for base in (0, 1)
}
#: All candidates, in the order of the table of shares.
NAMES: tuple[str, ...] = (*_SIGNS, *_VOXELS)

#: Half the width of the places that are searched for a dark voxel, and of their surroundings, mm.
#: With voxels of 0.86 mm these are 3 x 3 and 17 x 17 voxels.
_NEAR_MM, _AROUND_MM = 1.0, 7.0
#: Least half widths in voxels, for coarse images.
_LEAST_NEAR, _LEAST_AROUND = 1, 2
#: A voxel is dark below this share of the median of its surroundings.
_DARK = 0.6
#: Surroundings below this share of the head's brightness are air: noise is dark anywhere.
_AIR = 0.3
#: Where more voxels than this share are exactly 0, the background was masked out.
_MASKED_OUT = 0.2
#: Voxel indices are kept within this; no image is so large.
_FAR = 1e6
#: Every n-th voxel along each axis tells the head's brightness.
_STEP = 4
#: Depths are kept below this, so that one bright voxel does not outweigh the others.
_BRIGHTEST = 1.5


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What n points show by each of the c candidates.

    ``dark`` bool (c, n); ``depth`` (c, n) the centre voxel over the median of its surroundings,
    1 outside of the head; ``index`` (c, n, 3) voxels; ``person`` (n,) str. Rows are ``names``.
    """

    dark: np.ndarray
    depth: np.ndarray
    index: np.ndarray
    person: np.ndarray
    names: tuple[str, ...] = NAMES

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        """The points of all ``parts``."""
        return cls(
            np.concatenate([part.dark for part in parts], 1),
            np.concatenate([part.depth for part in parts], 1),
            np.concatenate([part.index for part in parts], 1),
            np.concatenate([part.person for part in parts]),
            parts[0].names,
        )

    def beside(self, other: Seen) -> Seen:
        """The same points by the candidates of both."""
        return Seen(
            np.concatenate([self.dark, other.dark]),
            np.concatenate([self.depth, other.depth]),
            np.concatenate([self.index, other.index]),
            self.person,
            (*self.names, *other.names),
        )


def to_ras(points: np.ndarray, affine: np.ndarray, shape: Sequence[int], name: str) -> np.ndarray:
    """Scanner RAS mm (n, 3) of ``points`` (n, 3) in the convention ``name``.

    ``affine`` and ``shape`` are of the array as the file stores it, without reorientation.

    >>> affine = np.diag([2.0, 2, 3, 1])
    >>> to_ras([[1, 2, 3]], affine, (9, 9, 9), "lps").tolist()
    [[-1.0, -2.0, 3.0]]
    >>> to_ras([[1, 2, 3]], affine, (9, 9, 9), "voxel1_flipped").tolist()
    [[0.0, 14.0, 6.0]]
    """
    points = np.asarray(points, dtype=float).reshape(-1, 3)
    if name in _SIGNS:
        return points * _SIGNS[name]
    if name not in _VOXELS:
        raise CMBurdenError(f"coordinates {name!r} are unknown; choose from {', '.join(NAMES)}")
    base, *turned = _VOXELS[name]
    index = points - base
    for axis, is_turned in zip((1, 2), turned, strict=True):
        if is_turned:
            index[:, axis] = shape[axis] - 1 - index[:, axis]
    return apply_affine(affine, index)


def look(
    data: np.ndarray,
    affine: np.ndarray,
    points: np.ndarray,
    person: str,
    names: tuple[str, ...] = NAMES,
) -> Seen:
    """What ``points`` (n, 3) of a table show in the image ``data`` (x, y, z) as it is stored."""
    inverse = np.linalg.inv(affine)
    index = np.stack(
        [apply_affine(inverse, to_ras(points, affine, data.shape, name)) for name in names]
    )
    index = np.rint(np.clip(np.nan_to_num(index, nan=_FAR), -_FAR, _FAR)).astype(int)
    flat = index.reshape(-1, 3)
    level, masked = _brightness(data)
    axis = slice_axis(affine)
    sizes = voxel_sizes(affine)
    around = _patches(data, flat, axis, _reach(sizes, _AROUND_MM, _LEAST_AROUND), masked)
    near = _patches(data, flat, axis, _reach(sizes, _NEAR_MM, _LEAST_NEAR), masked)
    centre = near[:, near.shape[1] // 2]
    with np.errstate(all="ignore"):
        median = _nanmedian(around)
        in_head = np.isfinite(median) & (median > _AIR * level) & np.isfinite(centre)
        darkest = np.where(np.isfinite(near), near, np.inf).min(1)
        dark = in_head & (darkest < _DARK * median)
        depth = np.where(in_head, np.clip(centre / median, 0, _BRIGHTEST), 1.0)
    shape = index.shape[:2]
    people = np.full(shape[1], person, dtype=object)
    return Seen(dark.reshape(shape), depth.reshape(shape), index, people, names)


def _reach(sizes: np.ndarray, millimetres: float, least: int) -> np.ndarray:
    """Half widths in voxels along each axis."""
    return np.maximum(np.rint(millimetres / sizes), least).astype(int)


def _brightness(data: np.ndarray) -> tuple[float, bool]:
    """Brightness of the head, and whether the background was set to 0."""
    some = np.asarray(data[::_STEP, ::_STEP, ::_STEP], dtype=float)
    some = some[np.isfinite(some)]
    if not some.size:
        return np.inf, False
    bright = some[some >= some.mean()]
    return float(np.median(bright)), bool((some == 0).mean() > _MASKED_OUT)


def _patches(
    data: np.ndarray, index: np.ndarray, axis: int, reach: np.ndarray, masked: bool
) -> np.ndarray:
    """Voxels (n, k) about ``index`` (n, 3) in its slice across ``axis``; NaN outside the image."""
    steps = [np.arange(-r, r + 1) if a != axis else np.array([0]) for a, r in enumerate(reach)]
    offsets = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    at = index[:, None] + offsets
    inside = ((at >= 0) & (at < data.shape)).all(-1)
    at = np.clip(at, 0, np.array(data.shape) - 1)
    values = data[at[..., 0], at[..., 1], at[..., 2]].astype(float)
    if masked:
        inside &= values != 0
    return np.where(inside, values, np.nan)


def _nanmedian(values: np.ndarray) -> np.ndarray:
    """Median of each row's finite values; NaN for a row without. Faster than numpy's."""
    ordered = np.sort(np.where(np.isfinite(values), values, np.inf), 1)
    number = np.isfinite(ordered).sum(1)
    rows = np.arange(len(values))
    low, high = ordered[rows, np.maximum(number - 1, 0) // 2], ordered[rows, number // 2]
    return np.where(number > 0, (low + high) / 2, np.nan)
