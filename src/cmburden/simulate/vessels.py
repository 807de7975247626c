"""Venous trees: sulcal, medullary and deep veins as centrelines with a radius.

Veins across the slices are the main mimic of microbleeds, so they are drawn in numbers: walks that
keep near a guide (the outer CSF or the ventricles' wall) or run straight to the ventricles.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage


@dataclasses.dataclass(frozen=True)
class Veins:
    """``points`` (n, 3) in voxel indices of the guide grid (1 mm steps), ``radius_mm`` (n,)."""

    points: np.ndarray
    radius_mm: np.ndarray


def grow(
    labels: np.ndarray, to_ventricle: np.ndarray, density: float, rng: np.random.Generator
) -> Veins:
    """Veins of a brain on a grid of about 1 mm.

    ``labels`` is (x, y, z) in FreeSurfer codes; ``density`` scales the number of veins (1: about
    400 a brain).
    """
    from cmburden.simulate import anatomy

    csf = labels == anatomy.CSF
    cortex = np.isin(labels, anatomy.CORTEX)
    white = np.isin(labels, anatomy.WHITE)
    share = (white.sum() + cortex.sum()) / 1.1e6
    to_surface = ndimage.distance_transform_edt(~csf).astype(np.float32)
    near_cortex = ndimage.binary_dilation(cortex, iterations=2)
    walks = []

    def starts(where: np.ndarray, count: float) -> np.ndarray:
        flat = np.flatnonzero(where)
        number = round(count * density * share)
        if not len(flat) or not number:
            return np.zeros((0, 3))
        return np.stack(np.unravel_index(rng.choice(flat, number), labels.shape), 1).astype(float)

    for distance, where, count, length, radii, wander in (
        (to_surface, csf & near_cortex, 240, (15, 60), (0.25, 0.9), 0.45),
        (to_ventricle, white & (np.abs(to_ventricle - 1.5) < 1), 25, (15, 40), (0.35, 0.9), 0.3),
    ):
        walks.append(_walk(starts(where, count), distance, length, radii, wander, rng))
    medullary = starts(white & (to_surface < 12) & (to_ventricle > 8), 150)
    walks.append(_walk(medullary, to_ventricle, (8, 30), (0.12, 0.4), 0.12, rng, straight=True))
    points = np.concatenate([w[0] for w in walks])
    radius = np.concatenate([w[1] for w in walks])
    return Veins(points, radius)


def crossing(
    labels: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[list[Veins], np.ndarray]:
    """Sulcal vessels that run straight across the slices: the main mimic of a microbleed.

    In its slice such a vessel is a dot as a microbleed is; only the neighbouring slices and what
    lies about it (fluid) tell them apart. ``labels`` (x, y, z) on a grid of about 1 mm. Returns the
    vessels, 10 to 24 mm long (the depth of a sulcus), and their middles (n, 3) in voxel indices.
    """
    from cmburden.simulate import anatomy

    fluid = labels == anatomy.CSF
    near = ndimage.binary_dilation(np.isin(labels, anatomy.CORTEX), iterations=2)
    flat = np.flatnonzero(fluid & near)
    found, middles = [], []
    for _ in range(count if len(flat) else 0):
        middle = np.array(np.unravel_index(rng.choice(flat), labels.shape), float)
        middle += rng.uniform(-0.5, 0.5, 3)
        heading = np.array([*rng.normal(0, 0.25, 2), 1.0])
        heading /= np.linalg.norm(heading)
        half = rng.uniform(5.0, 12.0)
        radius = float(np.exp(rng.uniform(*np.log((0.35, 1.0)))))
        steps = np.arange(-half, half + 0.5)
        # A slight bend: vessels are not rulers.
        bend = rng.normal(0, 0.015, 3) * steps[:, None] ** 2
        points = middle + steps[:, None] * heading + bend
        inside = ((points >= 0) & (points <= np.array(labels.shape) - 1)).all(1)
        found.append(Veins(points[inside], np.full(int(inside.sum()), radius)))
        middles.append(middle)
    return found, np.array(middles).reshape(-1, 3)


def _walk(start, distance, length, radii, wander, rng, *, straight=False):
    """Walk all veins at once by steps of 1 voxel along the guide ``distance`` (towards 0)."""
    if not len(start):
        return np.zeros((0, 3)), np.zeros(0)
    gradient = np.stack(np.gradient(ndimage.gaussian_filter(distance.astype(np.float32), 1.0)))
    steps = rng.integers(*length, len(start))
    radius = np.exp(rng.uniform(*np.log(radii), len(start)))
    position = start + rng.uniform(-0.5, 0.5, start.shape)
    heading = rng.normal(size=start.shape)
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    points, sizes = [], []
    size = np.array(distance.shape)
    for step in range(int(steps.max())):
        index = np.clip(np.round(position).astype(int), 0, size - 1)
        pull = -gradient[:, index[:, 0], index[:, 1], index[:, 2]].T
        far = distance[index[:, 0], index[:, 1], index[:, 2]][:, None]
        weight = 1.0 if straight else np.clip(far - 1.0, -0.3, 0.8)
        heading = heading * (0.5 if straight else 1.0) + weight * pull
        heading += wander * rng.normal(size=heading.shape)
        heading /= np.linalg.norm(heading, axis=1, keepdims=True) + 1e-6
        position = position + heading
        inside = ((position >= 0) & (position <= size - 1)).all(1) & (step < steps)
        if straight:
            inside &= far[:, 0] > 2
        steps = np.where(inside, steps, 0)
        points.append(position[inside])
        # A vein widens towards where it drains.
        sizes.append((radius * (0.8 + 0.5 * step / np.maximum(steps, 1)))[inside])
    return np.concatenate(points), np.concatenate(sizes)
