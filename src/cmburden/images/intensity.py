"""The meaning of an image's values: magnitude or phase, fill values, offsets, inversion.

A magnitude is 0 in air and positive in tissue. Files break this in known ways: a padding value far
from the signal, a constant that was added (an intercept, a z-score), an inversion, or phase under
the name of a magnitude. What has one exact remedy is mended and said; the rest is refused. The
limits were set on simulated scans of ADNI-, AIBL-, MAS- and OATS-like acquisitions and on the real
scans of three people (docs/inputs.md).
"""

from __future__ import annotations

from typing import cast

import numpy as np

from cmburden.core.errors import ScanError

#: Percentiles of the intensities that stand for the two ends of their range.
_ENDS_PERCENTILES = (0.1, 99.9)
#: A value of more than this share of the voxels is the value that a mask was filled with.
_FILL_SHARE = 0.05
#: Fewest voxels besides the fill from which something can be said.
_FEWEST_VOXELS = 100

# Phase.
#: Largest ratio between the positive and the negative end of signed phase (by eye).
_MOST_ASYMMETRY = 1.25
#: Least share of voxels of either sign in signed phase (by eye).
_LEAST_SIGN_SHARE = 0.2
#: Difference between neighbours that is a wrap, as a share of the range.
_WRAP = 0.8
#: Least share of wraps in unsigned phase: it has 4 % in noise, magnitudes at hand have at most
#: 0.04 %.
_LEAST_WRAP_SHARE = 0.005
#: Share of the range that counts as one of its ends, and the least share of voxels there.
_END, _LEAST_END_SHARE = 0.25, 0.1
#: Share of the range in which air lies, and the share of voxels there from which an image has air:
#: magnitudes of heads have 0.45 to 0.62, phase and images inside a mask at most 0.15.
_AIR_RANGE, _LEAST_AIR_SHARE = 0.15, 0.35
#: Share of negative voxels from which an image without air is no magnitude: phase has 0.20 to 0.66.
_MOST_NEGATIVE = 0.1
#: Inside a blank background, the 1st percentile over the median: filtered phase has 0.93, unwrapped
#: phase with an offset 0.74, a magnitude 0.16 to 0.27, since vessels and the brain's edge are dark,
#: and up to 0.72 inside a mask that was eroded by 6 mm.
_LEAST_DEPTH = 0.8
#: Share of the voxels that a blank background has at least.
_BLANK_SHARE = 0.3
#: Squared difference of neighbours over twice the variance, for each mm2 of a voxel's side (at most
#: so many), below which an image without air is smooth: unwrapped phase has 0.003 to 0.004, heads
#: without air from 0.041, brains from 0.067.
_LEAST_ROUGHNESS, _MOST_MM2 = 0.02, 2.0

# Fill values and offsets.
#: Share of the voxels of the grid's faces that a fill value has at least (by eye).
_FACE_SHARE = 0.3
#: Distance of a fill value from the darkest signal, as a share of the signal's range (by eye).
_FILL_DISTANCE = 0.05
#: Offset of air, over the signal of the head, from which an offset is taken away: below 0 no
#: magnitude has any, above 0 the darkest 0.1 % of noise are near 0 (by eye).
_LEAST_OFFSETS = (-0.05, 0.2)

#: Signal of the eight corners over that of the middle, from which air is bright: heads have 0.05, a
#: crop within a brain 1.0, an inverted head 2.1.
_BRIGHT_AIR = 1.5
#: A corner is this part of each axis.
_CORNER = 8


def as_magnitude(
    data: np.ndarray, sizes: tuple[float, float, float]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """A magnitude image with air at 0, and a sentence for each thing that was mended.

    Parameters
    ----------
    data : float32 array (x, y, z)
        Finite and not constant.
    sizes : (3,)
        Voxel sizes, mm.

    Raises
    ------
    ScanError
        is_phase; polarity (excluded) where air is brighter than the head.
    """
    notes: list[str] = []
    fill = _fill(data)
    if looks_like_phase(data, sizes, fill):
        raise ScanError(
            "is_phase",
            "Its values are those of phase (of both signs, wrapping, or without a dark background),"
            " or standardised inside a mask.",
        )
    signal = data[~fill]
    low, span = _range(signal)
    if fill.any():
        values = ", ".join(f"{value:g}" for value in np.unique(data[fill]))
        notes.append(f"Its fill value {values} ({np.mean(fill):.0%} of the voxels) was read as 0.")
        data = np.where(fill, np.float32(low), data)
    blank, visible = _without_blank(signal)
    offset = _offset(visible, low, span)
    if offset:
        notes.append(f"Its values had an offset of {offset:g}, which was taken away.")
        shifted = np.maximum(data - np.float32(offset), 0)
        # A blank background of 0 beside an offset signal stays 0.
        data = np.where(data == 0, np.float32(0), shifted) if blank == 0 else shifted
    elif fill.any():
        data = np.where(fill, np.float32(0), data)
    _check_air(data, fill)
    return cast(np.ndarray, np.ascontiguousarray(data, dtype=np.float32)), tuple(notes)


def looks_like_phase(
    data: np.ndarray,
    sizes: tuple[float, float, float] = (1.0, 1.0, 1.0),
    fill: np.ndarray | None = None,
) -> bool:
    """True where the values of ``data`` (x, y, z) are those of a phase image.

    Wrapped phase jumps over its range, with both ends of the range filled. Signed phase goes as far
    below 0 as above. Filtered or unwrapped phase inside a blank background has none of the dark
    voxels of a magnitude, or is smooth. A magnitude of a head has its air at the lower end.

    ``sizes`` are those of a voxel, mm; ``fill`` (x, y, z) bool marks voxels to leave out.
    """
    known = np.zeros(data.shape, dtype=bool) if fill is None else fill
    everything = data[::2, ::2, ::2][~known[::2, ::2, ::2]]
    blank, values = _without_blank(everything) if everything.size else (None, everything)
    if values.size < _FEWEST_VOXELS or values.min() == values.max():
        return False
    inside = ~known if blank is None else ~known & (data != blank)
    low, high = _ends(values)
    if _wraps(data, inside, values, low, high):
        return True
    if np.mean(values < low + _AIR_RANGE * (high - low)) > _LEAST_AIR_SHARE:
        return False
    if _is_signed(values, low, high) or np.mean(values < 0) > _MOST_NEGATIVE:
        return True
    if inside.all():
        return False
    depth = float(np.percentile(values, 1)) / float(np.median(values))
    blank_share = 1 - float(np.mean(inside))
    if blank_share >= _BLANK_SHARE and depth > _LEAST_DEPTH:
        return True
    return _is_smooth(data, inside, sizes)


def _fill(data: np.ndarray) -> np.ndarray:
    """Voxels (x, y, z) bool that hold a fill value: constant at the grid's faces, far from air."""
    faces = [np.take(data, end, axis=axis).ravel() for axis in range(3) for end in (0, -1)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    often = counts >= _FACE_SHARE * counts.sum()
    fill = np.zeros(data.shape, dtype=bool)
    for value in values[often][np.argsort(-counts[often], kind="stable")]:
        marked = fill | (data == value)
        signal = data[~marked]
        if signal.size < _FEWEST_VOXELS:
            break
        low, span = _range(signal)
        # 0 below the signal is what masks leave: no remedy is needed.
        if not value == 0 <= low and abs(value - low) > _FILL_DISTANCE * span:
            fill = marked
    return fill


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Lower and upper end of ``values``, without the rarest at either end."""
    low, high = (float(value) for value in np.percentile(values, _ENDS_PERCENTILES))
    return low, high


def _range(values: np.ndarray) -> tuple[float, float]:
    """Lower end of ``values`` and the distance of the upper end from it."""
    low, high = _ends(values)
    return low, high - low


def _offset(values: np.ndarray, low: float, span: float) -> float:
    """The value of air, where it is clearly not 0; else 0.

    ``values`` are the voxels without fill values and blank background, ``low`` and ``span`` the
    range of those without fill values.
    """
    low = float(np.percentile(values, _ENDS_PERCENTILES[0])) if values.size else low
    in_head = values > low + _AIR_RANGE * span
    if np.count_nonzero(in_head) < _FEWEST_VOXELS:
        return 0.0
    level = float(np.median(values[in_head])) - low
    has_air = np.mean(~in_head) > _LEAST_AIR_SHARE
    below, above = _LEAST_OFFSETS
    return low if low < below * level or (has_air and low > above * level) else 0.0


def _without_blank(sample: np.ndarray) -> tuple[float | None, np.ndarray]:
    """The value of a blank background, None without one, and the values of all other voxels."""
    values, counts = np.unique(sample, return_counts=True)
    if counts.max() > _FILL_SHARE * counts.sum():
        blank = float(values[np.argmax(counts)])
        return blank, sample[sample != blank]
    return None, sample.ravel()


def _is_signed(values: np.ndarray, low: float, high: float) -> bool:
    """Whether ``values`` from ``low`` to ``high`` lie about 0."""
    if not low < 0 < high:
        return False
    symmetric = 1 / _MOST_ASYMMETRY < -low / high < _MOST_ASYMMETRY
    return symmetric and bool(_LEAST_SIGN_SHARE < np.mean(values < 0) < 1 - _LEAST_SIGN_SHARE)


def _wraps(
    data: np.ndarray, inside: np.ndarray, values: np.ndarray, low: float, high: float
) -> bool:
    """Whether neighbours ``inside`` jump over the range and ``values`` fill both of its ends."""
    span = high - low
    lowest, highest = np.mean(values < low + _END * span), np.mean(values > high - _END * span)
    if min(lowest, highest) <= _LEAST_END_SHARE:
        return False
    jumps = sum(float(np.mean(np.abs(steps) > _WRAP * span)) for steps in _steps(data, inside))
    return jumps > _LEAST_WRAP_SHARE


def _steps(data: np.ndarray, inside: np.ndarray) -> list[np.ndarray]:
    """Differences of neighbours that are both ``inside``, along each of the first two axes."""
    steps = []
    for axis in (0, 1):
        first, second = (
            np.take(inside, range(start, start + inside.shape[axis] - 1), axis=axis)
            for start in (0, 1)
        )
        along = np.diff(data, axis=axis)[first & second]
        steps.append(along if along.size else np.zeros(1, data.dtype))
    return steps


def _is_smooth(data: np.ndarray, inside: np.ndarray, sizes: tuple[float, float, float]) -> bool:
    """Whether neighbours ``inside`` differ hardly, along both axes in plane."""
    spread = 2 * float(np.var(data[inside])) if inside.any() else 0.0
    if spread == 0:
        return False
    rough = [
        float(np.mean(steps**2)) / spread / min(size**2, _MOST_MM2)
        for steps, size in zip(_steps(data, inside), sizes[:2], strict=True)
    ]
    return max(rough) < _LEAST_ROUGHNESS


def _check_air(data: np.ndarray, fill: np.ndarray) -> None:
    """Raise ScanError (excluded) where the corners of the grid are brighter than its middle."""
    parts = [max(2, length // _CORNER) for length in data.shape]
    corners = []
    for ends in np.ndindex(2, 2, 2):
        part = tuple(
            slice(-n, None) if end else slice(n) for n, end in zip(parts, ends, strict=True)
        )
        corners.append(data[part][~fill[part]])
    air = np.concatenate(corners)
    middle = data[tuple(slice(length // 4, length - length // 4) for length in data.shape)]
    if air.size < _FEWEST_VOXELS or np.median(air) <= _BRIGHT_AIR * np.median(middle):
        return
    raise ScanError(
        "polarity", "Its air is brighter than its head: the image is inverted.", excluded=True
    )
