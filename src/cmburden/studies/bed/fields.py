"""Field and signal of spheres and tubes, and what they leave of each voxel's signal.

A voxel's signal is the mean over points within the voxel of exp(i phase) times what blood or iron
leaves there. Source of the fields: Haacke et al., Magnetic Resonance Imaging, 1999, ch. 25.
Lengths in mm, susceptibility in ppm against tissue, phase in rad.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import nibabel as nib
import numpy as np
from scipy.spatial import cKDTree

from cmburden.images.geometry import steps_within

#: Points within a voxel lie at most this far apart, mm.
_STEP_MM = 0.3
#: A source is followed to where its phase falls below this, and at most so far, mm.
_LEAST_PHASE, _FARTHEST_MM = 0.08, 14.0
#: A tube's field is followed to so many radii beyond its wall, and at least so far, mm.
_TUBE_RADII, _TUBE_MM = 5.0, 1.5
#: Nearest distance to a centre, mm: no division by zero.
_LEAST_MM = 1e-6
#: Voxels whose points are looked up at a time.
_VOXELS_AT_A_TIME = 40_000


@dataclasses.dataclass(frozen=True, eq=False)
class Spheres:
    """Touching spheres that are one thing: ``centres`` (n, 3), ``radii`` (n,), one ``ppm``.

    ``left`` is the share of the signal that is left within them.
    """

    centres: np.ndarray
    radii: np.ndarray
    ppm: float
    left: float

    def phase(self, points: np.ndarray, b0: np.ndarray, radians: float) -> np.ndarray:
        """Phase at ``points`` (..., 3); ``radians`` is the phase of a shift of 1 ppm."""
        total = np.zeros(points.shape[:-1])
        for centre, radius in zip(self.centres, self.radii, strict=True):
            offset = points - centre
            distance = np.maximum(np.linalg.norm(offset, axis=-1), _LEAST_MM)
            cosine = offset @ b0 / distance
            beyond = (radius / distance) ** 3 * (3 * cosine**2 - 1)
            total += np.where(distance > radius, beyond, 0.0)
        return total * (self.ppm / 3 * radians)

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Whether ``points`` (..., 3) lie in a sphere."""
        within = np.zeros(points.shape[:-1], bool)
        for centre, radius in zip(self.centres, self.radii, strict=True):
            within |= ((points - centre) ** 2).sum(-1) <= radius**2
        return within

    def box(self, radians: float) -> tuple[np.ndarray, np.ndarray]:
        """Corners (3,) of the box beyond which the phase is small."""
        share = abs(self.ppm) / 3 * radians * 2 / _LEAST_PHASE
        reach = np.minimum(self.radii * np.cbrt(np.maximum(share, 1.0)), _FARTHEST_MM)[:, None]
        return (self.centres - reach).min(0), (self.centres + reach).max(0)


@dataclasses.dataclass(frozen=True, eq=False)
class Tube:
    """A vessel of one ``radius``, ``ppm`` and ``left``; ``points`` (n, 3) on its centreline."""

    points: np.ndarray
    radius: float
    ppm: float
    left: float

    @property
    def reach(self) -> float:
        """Distance from the centreline beyond which nothing changes."""
        return self.radius + max(_TUBE_MM, _TUBE_RADII * self.radius)

    @property
    def directions(self) -> np.ndarray:
        """Unit vectors (n, 3) along the centreline."""
        along = np.gradient(self.points, axis=0)
        return along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), _LEAST_MM)

    @property
    def length(self) -> float:
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())


def points_within(affine: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Points (n, k, 3) within the voxels ``index`` (n, 3), in mm."""
    parts = np.maximum(1, np.ceil(nib.affines.voxel_sizes(affine) / _STEP_MM)).astype(int)
    axes = [(np.arange(n) + 0.5) / n - 0.5 for n in parts]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    return nib.affines.apply_affine(affine, index[:, None] + offsets[None])


def _factors(
    affine: np.ndarray, index: np.ndarray, factor_at: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Means (n,) complex64, over the points within the voxels ``index`` (n, 3), of a factor.

    ``factor_at`` takes points (m, k, 3) in mm to factors (m, k).
    """
    factors = np.empty(len(index), np.complex64)
    for start in range(0, len(index), _VOXELS_AT_A_TIME):
        part = slice(start, start + _VOXELS_AT_A_TIME)
        factors[part] = factor_at(points_within(affine, index[part])).mean(1)
    return factors


def multiply_spheres(
    signal: np.ndarray, affine: np.ndarray, thing: Spheres, b0: np.ndarray, radians: float
) -> None:
    """Multiply ``signal`` complex (x, y, z) by what ``thing`` leaves of each voxel."""
    inverse = np.linalg.inv(affine)
    low, high = thing.box(radians)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1).T
    at = nib.affines.apply_affine(inverse, corners)
    first = np.clip(np.floor(at.min(0)), 0, np.array(signal.shape) - 1).astype(int)
    last = np.clip(np.ceil(at.max(0)), 0, np.array(signal.shape) - 1).astype(int)
    shape = last - first + 1
    index = np.indices(shape).reshape(3, -1).T + first

    def factor_at(points: np.ndarray) -> np.ndarray:
        amplitude = np.where(thing.inside(points), thing.left, 1.0)
        return amplitude * np.exp(1j * thing.phase(points, b0, radians))

    factor = _factors(affine, index, factor_at)
    box = tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
    signal[box] *= factor.reshape(shape)


def multiply_tube(
    signal: np.ndarray, affine: np.ndarray, tube: Tube, b0: np.ndarray, radians: float
) -> float:
    """Multiply ``signal`` complex (x, y, z) by what ``tube`` leaves.

    Returns the largest share of a voxel's signal that is lost.
    """
    inverse = np.linalg.inv(affine)
    index = _near(tube, signal.shape, affine, inverse)
    if not len(index):
        return 0.0
    tree, directions = cKDTree(tube.points), tube.directions
    factor = _factors(
        affine, index, lambda points: of_tube(points, tube, tree, directions, b0, radians)
    )
    signal[tuple(index.T)] *= factor
    return 1 - float(np.abs(factor).min())


def _near(tube: Tube, shape: Sequence[int], affine: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Indices (n, 3) of the voxels within the tube's reach."""
    reach = np.ceil(tube.reach / nib.affines.voxel_sizes(affine)).astype(int)
    steps = steps_within(reach)
    at = np.unique(np.round(nib.affines.apply_affine(inverse, tube.points)).astype(int), axis=0)
    index = np.unique((at[:, None] + steps).reshape(-1, 3), axis=0)
    return index[((index >= 0) & (index < np.array(shape))).all(1)]


def of_tube(
    points: np.ndarray,
    tube: Tube,
    tree: cKDTree,
    directions: np.ndarray,
    b0: np.ndarray,
    radians: float,
) -> np.ndarray:
    """Complex factor at ``points`` (n, k, 3) of a long tube through the nearest of its points."""
    distance, nearest = tree.query(points, distance_upper_bound=tube.reach)
    there = np.isfinite(distance)
    result = np.ones(points.shape[:-1], np.complex128)
    offset = points[there] - tube.points[nearest[there]]
    along = directions[nearest[there]]
    across = offset - (offset * along).sum(-1, keepdims=True) * along
    away = np.maximum(np.linalg.norm(across, axis=-1), _LEAST_MM)
    cosine = along @ b0
    sine2 = 1 - cosine**2
    plane = b0 - cosine[:, None] * along
    plane /= np.maximum(np.linalg.norm(plane, axis=-1, keepdims=True), _LEAST_MM)
    cos_phi = (across / away[:, None] * plane).sum(-1)
    outside = tube.ppm / 2 * sine2 * (tube.radius / away) ** 2 * (2 * cos_phi**2 - 1)
    within = tube.ppm / 2 * (cosine**2 - 1 / 3)
    # Beyond its ends a tube is none: its field there is that of the end, cut at the reach.
    inside = distance[there] <= tube.radius
    phase = np.where(inside, within, np.where(away > tube.radius, outside, 0.0)) * radians
    result[there] = np.where(inside, tube.left, 1.0) * np.exp(1j * phase)
    return result
