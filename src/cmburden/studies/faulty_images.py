"""Makers of faulty images from a sound one: what conversions, scanners and people do to scans.

Each maker takes the voxels of a sound head (x, y, z) in canonical RAS and gives the voxels of the
fault. The header stays as it is, so that a turned image contradicts it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import ndimage

#: Kinds of faults, in the order of the table in docs/inputs.md.
Kind = Literal["orientation", "values", "slices", "acquisition"]


@dataclasses.dataclass(frozen=True)
class Head:
    """A sound scan: ``data`` and brain ``mask`` (x, y, z), voxel ``sizes`` (3,) mm, a seed."""

    data: np.ndarray
    mask: np.ndarray
    sizes: tuple[float, float, float]
    seed: int

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @property
    def air(self) -> np.ndarray:
        """Voxels outside the head, without holes."""
        level = 0.15 * np.median(self.data[self.mask])
        head = ndimage.binary_closing(ndimage.gaussian_filter(self.data, 1) > level, iterations=2)
        return ~ndimage.binary_fill_holes(head)


@dataclasses.dataclass(frozen=True)
class Turned:
    """Voxels and the order of the axes that they have now."""

    data: np.ndarray
    order: tuple[int, int, int] = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault: what should become of the scan, and the function that makes it.

    ``due``: 'refused' (excluded or failed), 'warned' (read with a sentence, or refused), or
    'unseen' for what no image shows.
    """

    kind: Kind
    name: str
    due: Literal["refused", "warned", "unseen"]
    make: Callable[[Head], Turned]


def _turn(order: tuple[int, int, int], flips: tuple[int, ...]) -> Callable[[Head], Turned]:
    def make(head: Head) -> Turned:
        return Turned(np.flip(head.data.transpose(order), flips), order)

    return make


def _values(change: Callable[[Head], np.ndarray]) -> Callable[[Head], Turned]:
    return lambda head: Turned(change(head))


def _framed(value: float) -> Callable[[Head], np.ndarray]:
    """A frame of a constant ``value`` in plane, as regridding leaves."""
    return lambda head: np.pad(head.data, ((20, 20), (20, 20), (0, 0)), constant_values=value)


def _filtered(head: Head) -> np.ndarray:
    """High-pass filtered phase inside the brain, radians, 0 outside."""
    fine, coarse = (ndimage.gaussian_filter(head.data, sigma) for sigma in (1, 4))
    phase = fine - coarse
    return np.where(head.mask, phase / phase[head.mask].std() * 0.12, 0)


def _unwrapped(head: Head) -> np.ndarray:
    """A smooth phase over several cycles, radians, with noise."""
    x, y, z = np.indices(head.data.shape)
    smooth = 3.0 * np.sin(x / 23) + 2.5 * np.cos(y / 31) + z / 12
    return smooth + head.rng.normal(0, 0.15, head.data.shape)


def _wrapped(head: Head) -> np.ndarray:
    noise = head.rng.uniform(-np.pi, np.pi, head.data.shape)
    return np.angle(np.exp(1j * np.where(head.air, noise, _unwrapped(head))))


def _standardised(head: Head) -> np.ndarray:
    return (head.data - head.data.mean()) / head.data.std()


def _middle(head: Head) -> tuple[int, int]:
    """The slice axis, and a slice in the middle of the brain."""
    axis = int(2 - np.argmax(np.round(head.sizes, 3)[::-1]))
    others = tuple(other for other in range(3) if other != axis)
    planes = np.flatnonzero(head.mask.any(others))
    return axis, int(planes[len(planes) // 2])


def _blank(count: int) -> Callable[[Head], np.ndarray]:
    def change(head: Head) -> np.ndarray:
        axis, at = _middle(head)
        data = head.data.copy()
        np.moveaxis(data, axis, 0)[at : at + count] = 0
        return data

    return change


def _ordered(order: Callable[[int, int], list[int]]) -> Callable[[Head], np.ndarray]:
    """Slices in the order that ``order(count, middle)`` gives."""

    def change(head: Head) -> np.ndarray:
        axis, at = _middle(head)
        return np.take(head.data, order(head.data.shape[axis], at), axis=axis)

    return change


def _swapped(count: int, at: int) -> list[int]:
    order = list(range(count))
    order[at], order[at + 1] = at + 1, at
    return order


def _without(count: int, at: int) -> list[int]:
    """A gap of four slices."""
    return [plane for plane in range(count) if not at <= plane < at + 4]


def _brightness(factor: Callable[[int, int], np.ndarray]) -> Callable[[Head], np.ndarray]:
    def change(head: Head) -> np.ndarray:
        axis, at = _middle(head)
        shape = [1, 1, 1]
        shape[axis] = head.data.shape[axis]
        return head.data * factor(head.data.shape[axis], at).reshape(shape)

    return change


def _one_brighter(count: int, at: int) -> np.ndarray:
    factors = np.ones(count)
    factors[at] = 1.3
    return factors


def _ghosts(head: Head) -> np.ndarray:
    return head.data + 0.1 * np.roll(head.data, head.data.shape[1] // 3, 1)


def _moved(head: Head) -> np.ndarray:
    """A head that shifts by 6 mm and turns during a third of the lines of k-space."""
    k = np.fft.fft2(head.data, axes=(0, 1))
    shifted = ndimage.rotate(head.data, 4.0, axes=(0, 1), reshape=False, order=1)
    shifted = ndimage.shift(shifted, (0, 6 / head.sizes[1], 0), order=1)
    other = np.fft.fft2(shifted, axes=(0, 1))
    lines = np.abs(np.fft.fftfreq(head.data.shape[1]))
    moved = (lines > 0.02) & (lines < 0.18)
    k = np.where(moved[None, :, None], other, k)
    return np.abs(np.fft.ifft2(k, axes=(0, 1)))


def _metal(head: Head) -> np.ndarray:
    """A signal void of 25 mm about a place at the right of the brain."""
    box = np.argwhere(head.mask)
    centre = box[np.argmax(box[:, 0])].astype(float)
    centre[0] -= 15 / head.sizes[0]
    offsets = (np.indices(head.data.shape).T - centre) * head.sizes
    inside = (np.linalg.norm(offsets, axis=-1) < 25).T
    return np.where(inside, head.data * 0.03, head.data)


def _half(head: Head) -> np.ndarray:
    """The upper half of the brain blank, as after a wrong crop."""
    top = np.flatnonzero(head.mask.any((0, 1)))
    data = head.data.copy()
    data[:, :, int(np.median(top)) :] = 0
    return data


#: Every fault, by kind.
FAULTS = (
    Fault("orientation", "90 degrees in plane", "refused", _turn((1, 0, 2), (0,))),
    Fault("orientation", "90 degrees in plane, other way", "refused", _turn((1, 0, 2), (1,))),
    Fault("orientation", "in plane exchanged", "refused", _turn((1, 0, 2), ())),
    Fault("orientation", "180 degrees in plane", "refused", _turn((0, 1, 2), (0, 1))),
    Fault("orientation", "front to back", "refused", _turn((0, 1, 2), (1,))),
    Fault("orientation", "upside down", "refused", _turn((0, 1, 2), (2,))),
    Fault("orientation", "upside down, front to back", "refused", _turn((0, 1, 2), (1, 2))),
    Fault("orientation", "sagittal order", "refused", _turn((1, 2, 0), ())),
    Fault("orientation", "coronal order", "refused", _turn((0, 2, 1), ())),
    Fault("orientation", "left and right exchanged", "unseen", _turn((0, 1, 2), (0,))),
    Fault("values", "air -2000", "warned", _values(lambda h: np.where(h.air, -2000, h.data))),
    Fault("values", "frame of -32768", "warned", _values(_framed(-32768))),
    Fault("values", "frame of 4095", "warned", _values(_framed(4095))),
    Fault("values", "offset -1024", "warned", _values(lambda h: h.data - 1024)),
    Fault("values", "offset +1000", "warned", _values(lambda h: h.data + 1000)),
    Fault("values", "z-score of the image", "warned", _values(_standardised)),
    Fault(
        "values",
        "z-score inside the brain",
        "refused",
        _values(
            lambda h: np.where(h.mask, (h.data - h.data[h.mask].mean()) / h.data[h.mask].std(), 0)
        ),
    ),
    Fault("values", "inverted", "refused", _values(lambda h: h.data.max() - h.data)),
    Fault(
        "values",
        "inverted, air 0",
        "refused",
        _values(lambda h: np.where(h.air, 0, h.data.max() - h.data)),
    ),
    Fault("values", "filtered phase, air 0", "refused", _values(_filtered)),
    Fault(
        "values",
        "filtered phase 0 to 4095, air 0",
        "refused",
        _values(lambda h: np.where(h.mask, (_filtered(h) + np.pi) / (2 * np.pi) * 4095, 0)),
    ),
    Fault(
        "values",
        "unwrapped phase, air 0",
        "refused",
        _values(lambda h: np.where(h.mask, _unwrapped(h) + 20, 0)),
    ),
    Fault("values", "wrapped phase", "refused", _values(_wrapped)),
    Fault("slices", "one blank slice", "warned", _values(_blank(1))),
    Fault("slices", "three blank slices", "warned", _values(_blank(3))),
    Fault("slices", "upper half blank", "refused", _values(_half)),
    Fault(
        "slices",
        "a slice twice",
        "warned",
        _values(_ordered(lambda n, at: [*range(at + 1), *range(at, n - 1)])),
    ),
    Fault("slices", "two slices exchanged", "refused", _values(_ordered(_swapped))),
    Fault(
        "slices",
        "odd slices, then even ones",
        "refused",
        _values(_ordered(lambda n, at: [*range(0, n, 2), *range(1, n, 2)])),
    ),
    Fault("slices", "four slices missing", "warned", _values(_ordered(_without))),
    Fault(
        "slices",
        "odd and even by 10 %",
        "warned",
        _values(_brightness(lambda n, at: 1 + 0.1 * (np.arange(n) % 2))),
    ),
    Fault("slices", "one slice by 30 %", "warned", _values(_brightness(_one_brighter))),
    Fault(
        "acquisition",
        "wrap-around of a fifth",
        "warned",
        _values(lambda h: np.roll(h.data, h.data.shape[1] // 5 + h.data.shape[1] // 8, 1)),
    ),
    Fault("acquisition", "ghost of a tenth", "warned", _values(_ghosts)),
    Fault("acquisition", "motion of 6 mm", "warned", _values(_moved)),
    Fault("acquisition", "metal", "warned", _values(_metal)),
)
