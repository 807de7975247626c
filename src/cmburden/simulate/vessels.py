"""Venous trees: sulcal, medullary and deep veins as centrelines with a radius.

Veins across the slices are the main mimic of microbleeds, so they are drawn in numbers: walks that
keep near a guide (the outer CSF or the ventricles' wall) or run straight to the ventricles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

#: How much a vein turns, in radians a mm about either axis, from vein to vein: stretches of 6 mm
#: then are as straight as those of a real 7 T scan (``simulate.straightness``).
WANDER = (0.06, 0.25)
#: A vein of a sulcus or the ventricles' wall ends where it is further than this from it: about the
#: thickness of the cortex, as sulci that are closed have no fluid in the label maps.
_STRAYED_MM = 2.5
#: A vein is part of a tree: a shorter piece of one would be a dot, which nobody can tell from a
#: microbleed and which no brain has.
LEAST_MM = 8
#: Points a sub-voxel that a vein fills.
_POINTS = 4


@dataclasses.dataclass(frozen=True)
class Veins:
    """``points`` (n, 3) about 1 mm apart, ``ahead`` (n, 3) from each to the next of its vein (0 at
    the end), ``radius_mm`` (n,). Grown in voxel indices of the guide grid (1 mm steps)."""

    points: np.ndarray
    ahead: np.ndarray
    radius_mm: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Veins]) -> Veins:
        if not parts:
            return cls(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
        return cls(
            np.concatenate([one.points for one in parts]),
            np.concatenate([one.ahead for one in parts]),
            np.concatenate([one.radius_mm for one in parts]),
        )

    def through(self, matrix: np.ndarray) -> Veins:
        """The same veins in other coordinates of the same scale: ``matrix`` (4, 4)."""
        turn = matrix[:3, :3].T
        return Veins(self.points @ turn + matrix[:3, 3], self.ahead @ turn, self.radius_mm)

    def share(
        self, shape: tuple[int, ...], sub_mm: np.ndarray, a_step, rng: np.random.Generator
    ) -> torch.Tensor:
        """Share (``shape``) of each sub-voxel that the veins fill.

        ``a_step`` (3,) is how many sub-voxels of ``sub_mm`` a step of the points' coordinates has.
        """
        area = np.pi * self.radius_mm**2
        size = float(np.prod(sub_mm))
        count = np.maximum(2, np.round(area * _POINTS / size)).astype(int)
        of = np.repeat(np.arange(len(count)), count)
        # Even along the step, at random over the cross-section: so no vein comes apart.
        along = (np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[of]
        at = self.points[of] + along[:, None] * self.ahead[of] + self._across(of, rng)
        # A vein's last point stands for half a step.
        amount = (area / count / size * np.where(self.ahead.any(1), 1.0, 0.5))[of]
        index = (at + 0.5) * a_step - 0.5
        total = torch.zeros(int(np.prod(shape)))
        low = np.floor(index).astype(int)
        part = index - low
        for corner in np.ndindex(2, 2, 2):
            near = low + corner
            weight = amount * np.where(corner, part, 1 - part).prod(1)
            ok = ((near >= 0) & (near < shape)).all(1)
            flat = np.ravel_multi_index(near[ok].T, shape)
            total.index_add_(
                0, torch.from_numpy(flat), torch.from_numpy(weight[ok].astype(np.float32))
            )
        return total.clamp_(max=1.0).reshape(shape)

    def _across(self, of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Random offsets (mm) over the cross-sections of the points ``of``."""
        length = np.linalg.norm(self.ahead, axis=1, keepdims=True)
        along = np.where(length > 0, self.ahead / np.maximum(length, 1e-9), [0.0, 0.0, 1.0])
        one = np.cross(along, np.eye(3)[np.abs(along).argmin(1)])
        one /= np.linalg.norm(one, axis=1, keepdims=True)
        other = np.cross(along, one)
        far = self.radius_mm[of] * np.sqrt(rng.random(len(of)))
        angle = rng.uniform(0, 2 * np.pi, len(of))
        return (far * np.cos(angle))[:, None] * one[of] + (far * np.sin(angle))[:, None] * other[of]


def grow(
    labels: np.ndarray, to_ventricle: np.ndarray, density: float, rng: np.random.Generator
) -> Veins:
    """Veins of a brain on a grid of about 1 mm.

    ``labels`` is (x, y, z) in FreeSurfer codes; ``density`` scales the number of veins (1: about
    600 a brain).
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

    for distance, where, count, length, radii in (
        (to_surface, csf & near_cortex, 450, (15, 60), (0.22, 0.8)),
        (to_ventricle, white & (np.abs(to_ventricle - 1.5) < 1), 25, (15, 40), (0.35, 0.9)),
    ):
        walks.append(_walk(starts(where, count), distance, length, radii, rng))
    medullary = starts(white & (to_surface < 12) & (to_ventricle > 8), 250)
    walks.append(_walk(medullary, to_ventricle, (8, 30), (0.15, 0.45), rng, straight=True))
    return Veins.joined(walks)


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
        points = points[((points >= 0) & (points <= np.array(labels.shape) - 1)).all(1)]
        ahead = np.diff(points, axis=0, append=points[-1:])
        found.append(Veins(points, ahead, np.full(len(points), radius)))
        middles.append(middle)
    return found, np.array(middles).reshape(-1, 3)


def _walk(start, distance, length, radii, rng, *, straight=False) -> Veins:
    """Walk all veins at once by steps of 1 voxel along the guide ``distance`` (towards 0)."""
    if not len(start):
        return Veins.joined([])
    gradient = np.stack(np.gradient(ndimage.gaussian_filter(distance.astype(np.float32), 1.0)))
    steps = rng.integers(*length, len(start))
    radius = np.exp(rng.uniform(*np.log(radii), len(start)))
    wander = np.exp(rng.uniform(*np.log(WANDER), (len(start), 1)))
    position = start + rng.uniform(-0.5, 0.5, start.shape)
    heading = rng.normal(size=start.shape)
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    points, inside, sizes = [], [], []
    size = np.array(distance.shape)
    for step in range(int(steps.max())):
        index = np.clip(np.round(position).astype(int), 0, size - 1)
        pull = -gradient[:, index[:, 0], index[:, 1], index[:, 2]].T
        far = distance[index[:, 0], index[:, 1], index[:, 2]][:, None]
        if straight:
            heading = 0.5 * heading + pull
        else:
            # Along the guide rather than away from it, and gently back from where it has left it.
            heading = heading - 0.25 * (heading * pull).sum(1, keepdims=True) * pull
            heading = heading + np.clip(0.3 * (far - 1.0), -0.1, 0.5) * pull
        heading = heading + wander * rng.normal(size=heading.shape)
        heading /= np.linalg.norm(heading, axis=1, keepdims=True) + 1e-6
        position = position + heading
        within = ((position >= 0) & (position <= size - 1)).all(1) & (step < steps)
        # Medullary veins end at the ventricle; the others where they have left their guide: no vein
        # of a sulcus crosses white matter.
        within &= far[:, 0] > 2 if straight else far[:, 0] <= _STRAYED_MM
        steps = np.where(within, steps, 0)
        points.append(position)
        inside.append(within)
        # A vein widens towards where it drains.
        sizes.append(radius * (0.8 + 0.5 * step / np.maximum(steps, 1)))
    points, inside, sizes = (np.stack(part) for part in (points, inside, sizes))
    inside &= inside.sum(0) > LEAST_MM
    on = np.concatenate([inside[1:], np.zeros_like(inside[:1])])
    ahead = on[..., None] * np.diff(points, axis=0, append=points[-1:])
    return Veins(points[inside], ahead[inside], sizes[inside])
