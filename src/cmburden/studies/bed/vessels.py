"""Vessels of the test bed: whole ones of every course and calibre, and short dark stretches.

Order of draws of a vessel: course, length, radius, what the blood leaves; of each try the start,
the heading, then each turn.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import nibabel as nib
import numpy as np
from scipy import ndimage

from cmburden.simulate import anatomy as an
from cmburden.simulate import plain
from cmburden.studies.bed.fields import Tube

Kind = Literal["whole", "short"]
Course = Literal["sulcal", "medullary", "crossing"]
COURSES: tuple[Course, ...] = ("sulcal", "medullary", "crossing")
#: Shares of the courses; a short stretch lies in or beside a sulcus or crosses slices.
_SHARES: dict[Kind, tuple[float, float, float]] = {"whole": (0.5, 0.3, 0.2), "short": (0.7, 0, 0.3)}
#: Length and radius, mm, and the share of the signal that the blood leaves.
_LENGTH_MM: dict[Kind, tuple[float, float]] = {"whole": (15.0, 40.0), "short": (6.0, 16.0)}
_RADIUS_MM: dict[Kind, tuple[float, float]] = {"whole": (0.25, 0.9), "short": (0.4, 1.1)}
_LEFT = (0.1, 0.6)
#: Susceptibility of venous blood against tissue, ppm.
_PPM = (0.25, 0.5)
#: Points on a centreline are so far apart, mm; standard deviation of a turn from point to point.
_STEP_MM, _TURN = 0.25, 0.03
#: Tries at a vessel that stays within the brain.
_TRIES = 40
#: A point of a vessel's truth every so many points of the centreline.
TRUTH_EVERY = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Vessel:
    kind: Kind
    course: Course
    tube: Tube


@dataclasses.dataclass(frozen=True, eq=False)
class Ground:
    """Where vessels may run, on the scan's grid of ``labels`` (x, y, z) with ``affine`` to mm."""

    labels: np.ndarray
    affine: np.ndarray

    def starts(self, course: Course) -> np.ndarray:
        """Voxels (n, 3) in which vessels of a course may start."""
        cortex = np.isin(self.labels, an.CORTEX)
        if course == "sulcal":
            where = (self.labels == an.CSF) & ndimage.binary_dilation(cortex)
        elif course == "medullary":
            where = np.isin(self.labels, an.WHITE)
        else:
            where = cortex | np.isin(self.labels, an.WHITE)
        return np.argwhere(where)

    def holds(self, at: np.ndarray, course: Course) -> bool:
        """Whether a vessel of a course may pass ``at`` (3,) mm."""
        voxel = np.round(nib.affines.apply_affine(np.linalg.inv(self.affine), at)).astype(int)
        if (voxel < 0).any() or (voxel >= self.labels.shape).any():
            return False
        code = int(self.labels[tuple(voxel)])
        if course == "medullary":
            return code in an.WHITE
        return 0 < code < an.OUTSIDE_CODES_START

    def ventricle(self, at: np.ndarray) -> np.ndarray:
        """The middle (3,) mm of the nearer lateral ventricle."""
        middles = [
            nib.affines.apply_affine(self.affine, voxels.mean(0))
            for code in an.LATERAL_VENTRICLES
            if len(voxels := np.argwhere(self.labels == code))
        ]
        if not middles:
            return nib.affines.apply_affine(self.affine, np.array(self.labels.shape) / 2)
        return min(middles, key=lambda middle: float(np.linalg.norm(middle - at)))


def draw(number: int, kind: Kind, ground: Ground, rng: np.random.Generator) -> list[Vessel]:
    """Up to ``number`` vessels: one that finds no room in the brain is left out."""
    starts = {course: ground.starts(course) for course in COURSES}
    drawn = []
    for _ in range(number):
        course = COURSES[int(rng.choice(len(COURSES), p=_SHARES[kind]))]
        length, radius = rng.uniform(*_LENGTH_MM[kind]), rng.uniform(*_RADIUS_MM[kind])
        left, ppm = rng.uniform(*_LEFT), rng.uniform(*_PPM)
        path = _path(ground, course, starts[course], length, _LENGTH_MM[kind][0], rng)
        if path is not None:
            drawn.append(Vessel(kind, course, Tube(path, radius, ppm, left)))
    return drawn


def _path(
    ground: Ground,
    course: Course,
    starts: np.ndarray,
    length: float,
    least: float,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """A centreline (n, 3) mm of ``least`` to ``length`` mm; None where no try gave one."""
    if not len(starts):
        return None
    for _ in range(_TRIES):
        at = plain.anywhere(starts, ground.affine, rng)
        assert at is not None
        heading = _heading(ground, course, at, rng)
        path = [at]
        for turn in rng.normal(0, _TURN, (round(length / _STEP_MM), 3)):
            heading = heading + turn
            heading /= np.linalg.norm(heading)
            at = at + heading * _STEP_MM
            if not ground.holds(at, course):
                break
            path.append(at)
        if (len(path) - 1) * _STEP_MM >= least:
            return np.array(path)
    return None


def _heading(
    ground: Ground, course: Course, at: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Unit vector (3,) along which a vessel sets out from ``at``."""
    drawn = rng.normal(0, 1, 3)
    if course == "medullary":
        drawn = ground.ventricle(at) - at + 5 * drawn
    elif course == "crossing":
        normal = ground.affine[:3, 2] / np.linalg.norm(ground.affine[:3, 2])
        drawn = normal * np.sign(drawn[2] or 1) + 0.15 * drawn
    return drawn / max(float(np.linalg.norm(drawn)), 1e-6)
