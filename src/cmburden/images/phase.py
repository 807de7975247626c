"""Phase images: values to radians, whatever the scale in which they are stored.

Scanners and converters store phase in radians, in 4096 or 8192 steps, in thousandths of a radian,
or in steps of their own. Wrapped phase tells its scale itself: a turn is the whole range of its
values. Of filtered phase that is nowhere wrapped the scale is told by the ends of the range only.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from cmburden.core.errors import ScanError
from cmburden.images.volume import load_volume

#: Largest difference of the affines of phase and magnitude in an element. Unmeasured.
SAME_GRID_MM = 1e-2
#: Scales as scanners and converters store phase: lowest value, and values of a turn.
_SCALES = (
    (-np.pi, 2 * np.pi),
    (0.0, 2 * np.pi),
    (-4096.0, 8192.0),
    (0.0, 4096.0),
    (-2048.0, 4096.0),
    (-1000 * np.pi, 2000 * np.pi),
    (-180.0, 360.0),
    (0.0, 360.0),
    (0.0, 256.0),
    (-32768.0, 65536.0),
    (0.0, 65536.0),
)
#: Share of a turn by which the values' ends may miss those of a scale (integer steps, rounding).
_NEAR_END = 0.006
#: A jump between neighbours of more than this share of the range is a wrap (by eye).
_JUMP = 0.75
#: Wrapped phase: least share of neighbours in plane with a wrap, and least share of the values in
#: each outer twentieth of the range; even phase has 0.05 there. By eye.
_LEAST_WRAPS, _END, _LEAST_AT_END = 5e-4, 0.05, 2e-3
#: Filtered phase that is nowhere wrapped, inside a mask: the least end that radians reach (phase in
#: turns or in half turns ends at 0.5 and 1), and how near the middle of 12 bits the median lies.
_LEAST_RADIANS, _MIDDLE, _NEAR_MIDDLE = 1.2, 2048, 100
#: A value of so many voxels is no phase: the blank around a masked brain. By eye.
_BLANK_SHARE = 0.2
#: Fewest voxels with phase: less says nothing. By choice.
_FEWEST_VOXELS = 1000


class PhaseNotUsed(Exception):
    """Why phase is not used, in a sentence. No fault of the scan."""


@dataclasses.dataclass(frozen=True, eq=False)
class Phase:
    """Phase of a scan on its canonical grid.

    ``radians`` (x, y, z) float32, -pi to pi, of the scanner's own sign; 0 where ``known``
    (x, y, z) bool is False: there the image is blank.
    """

    radians: np.ndarray
    known: np.ndarray


def read_phase(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> Phase:
    """The phase image ``path`` of a scan of ``shape`` (3,) with ``affine`` (4, 4), in radians.

    Raises
    ------
    PhaseNotUsed
        Where it cannot be read, has another grid, or is of no known scale.
    """
    try:
        image = load_volume(path, phase_allowed=True)
    except ScanError as error:
        raise PhaseNotUsed(f"Its phase image was not used: {error}") from error
    if image.data.shape != shape or not np.allclose(image.affine, affine, atol=SAME_GRID_MM):
        raise PhaseNotUsed("Its phase image was not used: its grid is not the scan's.")
    return in_radians(image.data)


def in_radians(values: np.ndarray) -> Phase:
    """Phase of the stored ``values`` (x, y, z).

    Raises PhaseNotUsed where their scale is not known.
    """
    known = _known(values)
    inside = values[known]
    if inside.size < _FEWEST_VOXELS or inside.min() == inside.max():
        raise PhaseNotUsed("Its phase image was not used: it is blank.")
    low, turn = _scale(values, known, inside)
    turns = (values.astype(np.float64) - low) / turn
    radians = ((turns % 1.0) - 0.5) * (2 * np.pi)
    return Phase(np.where(known, radians, 0).astype(np.float32), known)


def _known(values: np.ndarray) -> np.ndarray:
    """Voxels (x, y, z) bool that hold phase, without a blank background of one value."""
    ends = [np.take(values, end, axis).ravel() for axis in range(3) for end in (0, -1)]
    faces, counts = np.unique(np.concatenate(ends), return_counts=True)
    commonest = faces[counts.argmax()]
    blank = values == commonest
    return ~blank if blank.mean() >= _BLANK_SHARE else np.ones(values.shape, bool)


def _scale(values: np.ndarray, known: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """Lowest value and values of a turn; ``inside`` (n,) are the ``values`` that are ``known``."""
    low, high = float(inside.min()), float(inside.max())
    for start, turn in _SCALES:
        near = _NEAR_END * turn
        # A whole range of integers ends a step below the turn.
        if abs(low - start) <= near and abs(high - (start + turn)) <= near:
            return start, turn
    if _is_wrapped(values, known, inside):
        return low, (high - low) * (1 + _step_share(inside))
    if -np.pi < low < 0 < high < np.pi and max(-low, high) > _LEAST_RADIANS:
        return -np.pi, 2 * np.pi
    if low >= 0 and abs(float(np.median(inside)) - _MIDDLE) < _NEAR_MIDDLE and high < 2 * _MIDDLE:
        return 0.0, 2.0 * _MIDDLE
    raise PhaseNotUsed(
        f"Its phase image was not used: its values from {low:g} to {high:g} are of no known scale."
    )


def _is_wrapped(values: np.ndarray, known: np.ndarray, inside: np.ndarray) -> bool:
    """Whether values jump over their whole range and fill both ends of it."""
    low, high = float(inside.min()), float(inside.max())
    span = high - low
    at_ends = (np.mean(inside < low + _END * span), np.mean(inside > high - _END * span))
    if min(at_ends) < _LEAST_AT_END:
        return False
    wraps = pairs = 0
    for axis in np.argsort(values.shape)[1:]:
        both = np.moveaxis(known, axis, 0)
        both = both[1:] & both[:-1]
        jumps = np.abs(np.diff(np.moveaxis(values, axis, 0), axis=0))[both]
        wraps += int((jumps > _JUMP * span).sum())
        pairs += jumps.size
    return wraps >= _LEAST_WRAPS * max(pairs, 1)


def _step_share(inside: np.ndarray) -> float:
    """A step of stored integers as a share of their range: a turn is a step more than the range."""
    different = np.unique(inside[:: max(1, inside.size // 100_000)])
    return 1 / (len(different) - 1) if 1 < len(different) <= 300 else 0.0
