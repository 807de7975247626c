"""Compares the orientation that a header states with the other ones that a brain could have.

A header that does not fit its image passes unseen otherwise: an affine and SyN bend a brain that
lies front to back so well that the correlation stays at 0.97, and every region is then wrong. Here
the brain is registered to MNI152 by an affine alone, at 4 mm, once as the header says and, where
that does not fit well, in each of the 24 ways in which the axes can be exchanged and turned, and
with the head nodding. The brain is nearly symmetric: a mirror of left and right cannot be seen.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from cmburden.core.errors import ScanError
from cmburden.images.prepared import Prepared
from cmburden.register.align import SPACING_MM
from cmburden.space import ants, template
from cmburden.space.transform import REGISTRATION_MM, Transform, coarse_brain, moved

if TYPE_CHECKING:
    from ants.core.ants_image import ANTsImage

#: Correlation of the stated orientation, also with a nod, from which no other one is tried
#: (docs/inputs.md).
_SURE = 0.91
#: Another orientation must fit better by this (docs/inputs.md); closer ones are warned of.
_LEAST_GAIN = 0.02
#: A head is turned by no more than this against the scanner, degrees: one at hand by 45. The least
#: error of a header is 90 degrees.
_MOST_DEGREES = 60.0
#: Nods of the head that the registration begins with besides the header's pose, degrees: a head at
#: hand that nods by 45 leads an affine astray, and the wrong orientation that mirrors the brain at
#: its long axis then fits better.
_NODS = (-50.0, -25.0, 25.0, 50.0)
#: Names of the two directions of each axis of RAS.
_DIRECTIONS = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))


@dataclasses.dataclass(frozen=True)
class Fit:
    """An affine registration that began with a ``turn`` (3, 3) about the brain's centre.

    ``correlation`` is that with the template's tissues. ``start`` turns the scan, ``linear`` is the
    affine from there to MNI152, ``rotation`` (3, 3) is that of both together, from scanner RAS to
    MNI152 RAS.
    """

    turn: np.ndarray
    correlation: float
    start: Transform
    linear: Transform
    rotation: np.ndarray

    @property
    def is_stated(self) -> bool:
        """Whether the head lies within reach of what its header says."""
        cosine = (np.trace(self.rotation) - 1) / 2
        return bool(np.degrees(np.arccos(np.clip(cosine, -1, 1))) <= _MOST_DEGREES)


def check(prepared: Prepared) -> tuple[Fit, str | None]:
    """The affine that the registration goes on from, and a warning where the header is in doubt.

    The affine begins as the header says where the brain then fits MNI152 well. A head that is
    turned by up to 60 degrees contradicts no header: only its affine needs another beginning.

    Raises
    ------
    ScanError
        orientation (excluded) where the brain fits MNI152 clearly better in another orientation.
    """
    data, affine = coarse_brain(prepared.volume, prepared.mask, prepared.affine, SPACING_MM)
    stated = _fit(data, affine, np.eye(3))
    if stated.correlation >= _SURE:
        return stated, None
    nodding = [_fit(data, affine, turn) for turn in map(_nod, _NODS)]
    sure = max((fit for fit in nodding if fit.is_stated), key=_correlation, default=stated)
    if sure.correlation >= _SURE:
        return sure, None
    fits = [stated, *nodding, *(_fit(data, affine, turn) for turn in turns()[1:])]
    near = max((fit for fit in fits if fit.is_stated or fit is stated), key=_correlation)
    far = max((fit for fit in fits if not fit.is_stated and fit is not stated), key=_correlation)
    gain = far.correlation - near.correlation
    compared = (
        f"a correlation of {near.correlation:.2f} as its header says, and of"
        f" {far.correlation:.2f} with {_as_text(far.rotation)}."
    )
    if gain >= _LEAST_GAIN:
        raise ScanError("orientation", f"It fits MNI152 with {compared}", excluded=True)
    if gain > -_LEAST_GAIN:
        return near, f"Its orientation is in doubt: it fits MNI152 with {compared}"
    return near, None


def _nod(degrees: float) -> np.ndarray:
    """Rotation (3, 3) about the axis from left to right; positive: the chin goes up."""
    return Rotation.from_euler("x", degrees, degrees=True).as_matrix()


def _correlation(fit: Fit) -> float:
    return fit.correlation


@functools.cache
def turns() -> tuple[np.ndarray, ...]:
    """The 24 rotations (3, 3) that take axes to axes, the identity first.

    With the mirror of left and right, which cannot be told, they are all orders and directions of
    the three axes.

    >>> len(turns()), bool(np.array_equal(turns()[0], np.eye(3)))
    (24, True)
    """
    rotations = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            turn = np.zeros((3, 3))
            turn[range(3), order] = signs
            if np.linalg.det(turn) > 0:
                rotations.append(turn)
    return tuple(rotations)


@functools.cache
def _moving() -> ANTsImage:
    return ants.ants_image(*template.brain(SPACING_MM))


def _fit(data: np.ndarray, affine: np.ndarray, turn: np.ndarray) -> Fit:
    """The affine registration of a brain that begins with ``turn`` (3, 3).

    ``data`` (x, y, z) is the masked brain, ``affine`` voxel index to RAS mm.
    """
    centre = apply_affine(affine, (np.array(data.shape) - 1) / 2)
    offset = centre - turn @ centre
    start = Transform(ants.FLIP @ turn @ ants.FLIP, ants.FLIP @ offset)
    turned = moved(affine, start)
    linear = Transform(*ants.affine(ants.ants_image(data, turned), _moving()))
    voxels = np.indices(data.shape).reshape(3, -1).T
    points = linear(apply_affine(turned, voxels))
    correlation = template.fit(data.ravel(), points, REGISTRATION_MM)
    left, _, right = np.linalg.svd(ants.FLIP @ linear.matrix @ ants.FLIP @ turn)
    return Fit(turn, correlation, start, linear, left @ right)


def _as_text(rotation: np.ndarray) -> str:
    """What the header's directions are in the image, without a mirror of left and right.

    ``rotation`` (3, 3) takes the directions of the header to those of the image.

    >>> _as_text(np.diag([-1.0, -1.0, 1.0]))
    'posterior where it says anterior'
    """
    parts = []
    for axis in range(3):
        there = int(np.argmax(np.abs(rotation[:, axis])))
        direction = int(rotation[there, axis] > 0)
        if there != axis or (axis > 0 and not direction):
            name = _DIRECTIONS[there][direction] if there else "left or right"
            parts.append(f"{name} where it says {_DIRECTIONS[axis][1]}")
    return ", ".join(parts)
