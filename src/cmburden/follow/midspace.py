"""The mid-space of a participant's sessions: a rigid frame that favours no session.

Each pair of sessions is registered in both directions. The mean of the two results on the group of
rigid motions is symmetric: the motion back is the inverse. A registration with one image as the
target treats the two images unequally, and the difference looks like change (Reuter, Rosas and
Fischl, NeuroImage 2010;53:1181). Spectral synchronisation joins the pairs' motions into one pose a
session (Arie-Nachimson et al., 3DIMPVT 2012). The mid-space is the mean of the scanners' frames.
The result does not depend on the order of the sessions. A pair is not registered again when a third
session comes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import linalg, ndimage

from cmburden.space.ants import FLIP, affine_of, rigid
from cmburden.space.transform import block_grid, brain_image

#: Part of the keys of cached motions and tracks: raise it when this module gives other results.
VERSION = 1
#: Spacing of the points at which the overlap of two brains is measured.
_GRID_MM = 4.0
#: A correlation over fewer voxels counts as none. Unmeasured.
_LEAST_VOXELS = 1000


@dataclasses.dataclass(frozen=True)
class Image:
    """A session's image: ``data`` and brain ``mask`` (x, y, z), ``affine`` voxel to RAS mm."""

    data: np.ndarray
    mask: np.ndarray
    affine: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """Middle of the brain, RAS mm."""
        return apply_affine(self.affine, np.array(ndimage.center_of_mass(self.mask)))


@dataclasses.dataclass(frozen=True)
class ImagePair:
    """Result of the registration of two sessions.

    ``motion`` (4 x 4) leads from RAS mm of the first session to those of the second. ``overlap`` is
    the share of brain that is brain in the other session, where the other's field of view reaches;
    ``correlation`` is that of the signal within both brains.
    """

    motion: np.ndarray
    overlap: float
    correlation: float


def register_pair(one: Image, other: Image) -> ImagePair:
    """Rigid motion between two sessions of a participant.

    That of (other, one) is its inverse, whichever session is named first.
    """
    first, second = (brain_image(image.data, image.mask, image.affine) for image in (one, other))
    motion = middle_of(_rigid(first, second), np.linalg.inv(_rigid(second, first)))
    back = np.linalg.inv(motion)
    overlap = (_overlap(one, other, motion) + _overlap(other, one, back)) / 2
    alike = (_correlation(first, second, motion) + _correlation(second, first, back)) / 2
    return ImagePair(motion, float(overlap), float(alike))


def _rigid(fixed: Any, moving: Any) -> np.ndarray:
    """4 x 4 in RAS that takes points of ``fixed`` to ``moving``, both ANTs images."""
    matrix, offset = rigid(fixed, moving)
    motion = np.eye(4)
    motion[:3, :3] = nearest_rotation(FLIP @ matrix @ FLIP)
    motion[:3, 3] = FLIP @ offset
    return motion


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotation (3 x 3) nearest to ``matrix`` in the Frobenius norm.

    Of a sum of rotations the nearest rotation is their mean.
    SciPy's ``Rotation.from_matrix`` gives the same to 1e-15, but differs in the bits of the cached
    motions and refuses a matrix with a negative determinant.
    """
    left, _, right = np.linalg.svd(matrix)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return left @ sign @ right


def middle_of(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The rigid motion half-way from ``one`` to ``other`` (4 x 4) along the group's geodesic.

    The middle of the inverses is the inverse of the middle, which no mean of entries gives.

    >>> turn = np.array([[0.0, -1, 0, 4], [1, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]])
    >>> half = middle_of(np.eye(4), turn)
    >>> bool(np.allclose(half @ half, turn))
    True
    """
    half = np.real(linalg.sqrtm(np.linalg.inv(one) @ other))
    result = one @ half
    result[:3, :3] = nearest_rotation(result[:3, :3])
    result[3] = [0, 0, 0, 1]
    return result


def _overlap(one: Image, other: Image, motion: np.ndarray) -> float:
    """Share of the brain of ``one`` in the view of ``other`` that is brain there too."""
    voxels = block_grid(one.mask.shape, one.affine, _GRID_MM)
    voxels = voxels[one.mask[tuple(voxels.astype(int).T)] > 0]
    inside, brain = in_view(apply_affine(motion @ one.affine, voxels), other.mask, other.affine)
    return float(brain[inside].mean()) if inside.any() else 0.0


def in_view(
    points: np.ndarray, mask: np.ndarray, affine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which ``points`` (n, 3) in RAS mm lie in the field of view, and which in the brain mask."""
    index = np.round(apply_affine(np.linalg.inv(affine), np.reshape(points, (-1, 3)))).astype(int)
    inside = ((index >= 0) & (index < mask.shape)).all(1)
    brain = np.zeros(len(index), bool)
    brain[inside] = mask[tuple(index[inside].T)] > 0
    return inside, brain


def _correlation(fixed: Any, moving: Any, motion: np.ndarray) -> float:
    """Correlation of two prepared brains where both are brain."""
    here, there = fixed.numpy(), moving.numpy()
    index = np.argwhere(here > 0)
    to_there = np.linalg.inv(affine_of(moving)) @ motion @ affine_of(fixed)
    sampled = ndimage.map_coordinates(there, apply_affine(to_there, index).T, order=1)
    both = sampled > 0
    if both.sum() < _LEAST_VOXELS:
        return 0.0
    return float(np.corrcoef(here[tuple(index[both].T)], sampled[both])[0, 1])


def synchronise(
    motions: Mapping[tuple[int, int], np.ndarray], centres: np.ndarray
) -> list[np.ndarray]:
    """Pose (4 x 4, RAS mm of the scan to the mid-space) of each of n sessions.

    Parameters
    ----------
    motions : mapping
        For each i < j the motion (4 x 4) from i to j.
    centres : array, shape (n, 3)
        Middle of each session's brain; the mid-space's origin is chosen so that their mean stays.
    """
    number = len(centres)
    if number == 1:
        return [np.eye(4)]
    turns = _turns(motions, number)
    poses = np.tile(np.eye(4), (number, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = turns, _shifts(motions, turns, centres)
    return list(poses)


def _turns(motions: Mapping[tuple[int, int], np.ndarray], number: int) -> np.ndarray:
    """Rotations (n, 3, 3) of the poses: the leading eigenvectors of the matrix of all rotations."""
    every = np.eye(3 * number)
    for (i, j), motion in motions.items():
        every[3 * j : 3 * j + 3, 3 * i : 3 * i + 3] = motion[:3, :3]
        every[3 * i : 3 * i + 3, 3 * j : 3 * j + 3] = motion[:3, :3].T
    _, vectors = np.linalg.eigh(every)
    top = vectors[:, -3:].reshape(number, 3, 3)
    if np.linalg.det(top).sum() < 0:
        top = top * np.array([1.0, 1.0, -1.0])
    turns = np.stack([nearest_rotation(block).T for block in top])
    # The frame is free: the chosen one is that in which the mean of the sessions' turns is no turn.
    return nearest_rotation(turns.sum(0)).T @ turns


def _shifts(
    motions: Mapping[tuple[int, int], np.ndarray], turns: np.ndarray, centres: np.ndarray
) -> np.ndarray:
    """Translations (n, 3) of the poses, by least squares over the pairs."""
    rows, right = [], []
    for (i, j), motion in motions.items():
        row = np.zeros(len(centres))
        row[i], row[j] = 1, -1
        rows.append(row)
        # Where the turns disagree, the translation depends on the point: the middle of both brains.
        here = np.stack([centres[i], apply_affine(np.linalg.inv(motion), centres[j])])
        there = np.stack([apply_affine(motion, centres[i]), centres[j]])
        right.append((there @ turns[j].T - here @ turns[i].T).mean(0))
    rows.append(np.ones(len(centres)))
    right.append(sum(c - turn @ c for c, turn in zip(centres, turns, strict=True)))
    shifts, *_ = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)
    return shifts


def consistent(bad: set[tuple[int, int]], number: int) -> list[int]:
    """Sessions, of ``number``, that go together.

    While pairs are ``bad``, the session with the most bad pairs is left out, of equals the last.

    >>> consistent({(0, 2), (1, 2)}, 3), consistent({(0, 1)}, 2)
    ([0, 1], [0])
    """
    rest = list(range(number))
    while True:
        left = [pair for pair in combinations(rest, 2) if pair in bad]
        if not left:
            return rest
        rest.remove(max(rest, key=lambda k: (sum(k in pair for pair in left), k)))


def consistent_sessions(
    pairs: Mapping[tuple[int, int], ImagePair],
    contrasts: Sequence[str],
    *,
    min_overlap: float,
    min_correlation: float,
) -> list[str]:
    """Status of each of n sessions: ``followed``, ``not registered`` or ``not alike``.

    A pair is bad where the brains do not lie on each other (``not registered``), or where they do
    and differ in signal (``not alike``). GRE and SWI of one head differ in signal: the correlation
    counts only in pairs of one contrast. A session alone is no comparison: where no two go
    together, none is followed.

    Parameters
    ----------
    pairs : mapping
        For each i < j the registration of the two sessions.
    contrasts : sequence of n str
        Contrast of each session's scan.
    """
    # Negated: NaN agrees with nothing.
    off = {ij for ij, pair in pairs.items() if not pair.overlap >= min_overlap}
    unlike = {
        (i, j)
        for (i, j), pair in pairs.items()
        if contrasts[i] == contrasts[j] and not pair.correlation >= min_correlation
    }
    together = consistent(off | unlike, len(contrasts))
    if pairs and len(together) == 1:
        together = []

    def status(k: int) -> str:
        if k in together:
            return "followed"
        return "not registered" if any(k in pair for pair in off) else "not alike"

    return [status(k) for k in range(len(contrasts))]


def spread(affine: np.ndarray, pose: np.ndarray, error_mm: float) -> np.ndarray:
    """Covariance (3 x 3, mm2, mid-space) of the position that a scan gives a lesion.

    A centre is known to a voxel (uniform: size squared / 12 along its axes). Registration and
    detection add ``error_mm`` (a standard deviation) along any axis.
    """
    sizes = voxel_sizes(affine)
    axes = pose[:3, :3] @ (affine[:3, :3] / sizes)
    return axes @ np.diag(sizes**2 / 12) @ axes.T + error_mm**2 * np.eye(3)
