"""Compares the orientation that a header states with the other ones that a brain could have.

A header that does not fit its image passes unseen otherwise: an affine and SyN bend a brain that
lies front to back so well that the correlation stays at 0.97, and every region is then wrong. Here
the brain is registered to MNI152 by an affine alone, at 4 mm, once as the header says and, where
that does not fit well, in each of the 24 ways in which the axes can be exchanged and turned. The
brain is nearly symmetric: a mirror of left and right cannot be seen.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np
from nibabel.affines import apply_affine

from cmburden.core.errors import ScanError
from cmburden.images.prepared import Prepared
from cmburden.space import ants, template
from cmburden.space.transform import REGISTRATION_MM, coarse_brain

if TYPE_CHECKING:
    from ants.core.ants_image import ANTsImage

#: Voxel size of the volumes that are compared, mm.
_SPACING_MM = 4.0
#: Correlation as the header says, from which no other orientation is tried (docs/inputs.md).
_SURE = 0.91
#: Another orientation must fit better by this (docs/inputs.md); closer ones are warned of.
_LEAST_GAIN = 0.02
#: Names of the two directions of each axis of RAS.
_DIRECTIONS = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))


def check(prepared: Prepared) -> str | None:
    """None where the header fits the image; a warning where that is in doubt.

    Raises
    ------
    ScanError
        orientation (excluded) where the brain fits MNI152 clearly better in another orientation.
    """
    data, affine = coarse_brain(prepared.volume, prepared.mask, prepared.affine, _SPACING_MM)
    stated = _fit(data, affine, np.eye(3))
    if stated >= _SURE:
        return None
    fits = [(_fit(data, affine, turn), turn) for turn in turns()]
    best, turn = max(fits, key=lambda fit: fit[0])
    if best - stated >= _LEAST_GAIN:
        raise ScanError(
            "orientation",
            f"It fits MNI152 with a correlation of {stated:.2f} as its header says, and of"
            f" {best:.2f} with {_as_text(turn)}.",
            excluded=True,
        )
    others = [fit for fit in fits if fit[0] > stated - _LEAST_GAIN and not _is_stated(fit[1])]
    if not others:
        return None
    best, turn = max(others, key=lambda fit: fit[0])
    return (
        f"Its orientation is in doubt: it fits MNI152 with a correlation of {stated:.2f} as its"
        f" header says, and of {best:.2f} with {_as_text(turn)}."
    )


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
    return ants.ants_image(*template.brain(_SPACING_MM))


def _fit(data: np.ndarray, affine: np.ndarray, turn: np.ndarray) -> float:
    """Correlation of a brain with the template's tissues after an affine registration.

    ``data`` (x, y, z) is the masked brain, ``affine`` voxel index to RAS mm, ``turn`` (3, 3) the
    rotation about the volume's centre before the registration.
    """
    centre = apply_affine(affine, (np.array(data.shape) - 1) / 2)
    turned = affine.copy()
    turned[:3] = turn @ affine[:3]
    turned[:3, 3] -= turn @ centre
    matrix, offset = ants.affine(ants.ants_image(data, turned), _moving())
    voxels = np.indices(data.shape).reshape(3, -1).T
    points = (apply_affine(turned, voxels) @ ants.FLIP @ matrix.T + offset) @ ants.FLIP
    return template.fit(data.ravel(), points, REGISTRATION_MM)


def _is_stated(turn: np.ndarray) -> bool:
    return bool(np.array_equal(turn, np.eye(3)))


def _as_text(turn: np.ndarray) -> str:
    """What the header's directions are in the image, without a mirror of left and right.

    >>> _as_text(np.diag([-1.0, -1.0, 1.0]))
    'posterior where it says anterior'
    """
    parts = []
    for axis in range(3):
        there = int(np.argmax(np.abs(turn[:, axis])))
        direction = int(turn[there, axis] > 0)
        if there != axis or (axis > 0 and not direction):
            name = _DIRECTIONS[there][direction] if there else "left or right"
            parts.append(f"{name} where it says {_DIRECTIONS[axis][1]}")
    return ", ".join(parts)
