"""Venous trees: sulcal, medullary and deep veins as centrelines with a radius.

Veins across the slices are the main mimic of microbleeds, so that many veins are drawn. A vein is a
walk that keeps near a guide (the outer CSF or the ventricles' wall) or runs straight to the
ventricles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from cmburden.simulate import anatomy as an
from cmburden.simulate.volumes import dilated, distance_to

#: How much a vein turns, in radians a mm about either axis, log-uniform over veins. With this range
#: stretches of 6 mm are as straight as those of a real 7 T scan (the study ``straightness``,
#: docs/training.md).
WANDER = (0.06, 0.25)
#: A vein of a sulcus or the ventricles' wall ends where it is further than this from its guide:
#: about the thickness of the cortex, as sulci that are closed have no fluid in the label maps.
_STRAYED_MM = 2.5
#: A vein is part of a tree: a shorter piece would be a dot, which nobody can tell from a microbleed
#: and which no brain has.
LEAST_MM = 8
#: Points a sub-voxel that a vein fills.
_POINTS = 4

#: White matter and cortex of the brain to which numbers of veins refer, mm^3.
_BRAIN_MM3 = 1.1e6
#: Cortex this near (dilations of 1 mm) makes fluid a sulcus.
_SULCUS_MM = 2
#: Smoothing of a guide before its gradient is taken, voxels.
_GUIDE_SMOOTHING = 1.0
#: Steps along a guide, by eye: share of the heading across the guide that is taken off; the pull
#: back a mm beyond the distance at which the guide is followed, with its limits; how much of a
#: straight vein's heading stays.
_ALONG, _PULL_A_MM, _FOLLOWED_MM, _PULL_LIMITS = 0.25, 0.3, 1.0, (-0.1, 0.5)
_STRAIGHT_HEADING = 0.5
#: Medullary veins end this near to the ventricle, mm.
_MEDULLARY_END_MM = 2
#: A vein widens towards where it drains: radius at the start and what the whole length adds, as
#: shares of the vein's radius. By eye.
_WIDTH_AT_START, _WIDENS_BY = 0.8, 0.5

#: Crossing vessels, by eye: standard deviation of the heading's in-plane part against 1 across the
#: slices; half their length (the depth of a sulcus) and radius, mm; standard deviation of the bend,
#: 1/mm.
_CROSSING_TILT, _CROSSING_HALF_MM, _CROSSING_RADIUS_MM = 0.25, (5.0, 12.0), (0.35, 1.0)
_CROSSING_BEND = 0.015
#: Short stretches: half the length and radius, mm. What shows of a vein dark enough for a reader,
#: whose ends are too thin or too bright to be seen. By eye.
_STRETCH_HALF_MM, _STRETCH_RADIUS_MM = (3.0, 8.0), (0.35, 1.2)


@dataclasses.dataclass(frozen=True)
class _Kind:
    """Veins of one kind: their ``number`` in a brain, steps of 1 mm and radii in mm."""

    number: float
    steps: tuple[int, int]
    radius_mm: tuple[float, float]


_SULCAL = _Kind(450, (15, 60), (0.22, 0.8))
_DEEP = _Kind(25, (15, 40), (0.35, 0.9))
_MEDULLARY = _Kind(250, (8, 30), (0.15, 0.45))
#: Deep veins start within 1 mm of this distance from the ventricles, mm.
_DEEP_AT_MM = 1.5
#: Medullary veins start nearer to the surface and further from the ventricles than these, mm.
_MEDULLARY_DEPTH_MM, _MEDULLARY_FROM_VENTRICLE_MM = 12, 8


@dataclasses.dataclass(frozen=True)
class Veins:
    """Veins as points with a step to the next point.

    ``points`` (n, 3) about 1 mm apart; ``ahead`` (n, 3) from each point to the next of its vein, 0
    at the end; ``radius_mm`` (n,). Veins grow in voxel indices of the guide's grid, 1 mm a step.
    """

    points: np.ndarray
    ahead: np.ndarray
    radius_mm: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Veins]) -> Veins:
        """All veins of ``parts``."""
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
        self,
        shape: tuple[int, ...],
        sub_mm: np.ndarray,
        a_step: np.ndarray,
        rng: np.random.Generator,
    ) -> torch.Tensor:
        """Share (``shape``) of each sub-voxel that the veins fill, float32.

        ``a_step`` (3,) is how many sub-voxels of ``sub_mm`` a step of the points' coordinates has.
        Draws: the points over the cross-sections (distance from the centreline, then angle).
        """
        area = np.pi * self.radius_mm**2
        size = float(np.prod(sub_mm))
        count = np.maximum(2, np.round(area * _POINTS / size)).astype(int)
        of = np.repeat(np.arange(len(count)), count)
        # Even along the step, at random over the cross-section: no vein comes apart.
        along = (np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[of]
        at = self.points[of] + along[:, None] * self.ahead[of] + self._across(of, rng)
        # A vein's last point stands for half a step.
        amount = (area / count / size * np.where(self.ahead.any(1), 1.0, 0.5))[of]
        return _spread((at + 0.5) * a_step - 0.5, amount, shape).clamp_(max=1.0).reshape(shape)

    def _across(self, of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Random offsets (m, 3), mm, over the cross-sections of the points ``of`` (m,)."""
        length = np.linalg.norm(self.ahead, axis=1, keepdims=True)
        along = np.where(length > 0, self.ahead / np.maximum(length, 1e-9), [0.0, 0.0, 1.0])
        one = np.cross(along, np.eye(3)[np.abs(along).argmin(1)])
        one /= np.linalg.norm(one, axis=1, keepdims=True)
        other = np.cross(along, one)
        far = self.radius_mm[of] * np.sqrt(rng.random(len(of)))
        angle = rng.uniform(0, 2 * np.pi, len(of))
        return (far * np.cos(angle))[:, None] * one[of] + (far * np.sin(angle))[:, None] * other[of]


def _spread(index: np.ndarray, amount: np.ndarray, shape: tuple[int, ...]) -> torch.Tensor:
    """Sums (flat, float32) of ``amount`` (m,), each shared by the eight voxels about ``index``."""
    total = torch.zeros(int(np.prod(shape)))
    low = np.floor(index).astype(int)
    part = index - low
    for corner in np.ndindex(2, 2, 2):
        near = low + corner
        weight = amount * np.where(corner, part, 1 - part).prod(1)
        inside = ((near >= 0) & (near < shape)).all(1)
        flat = np.ravel_multi_index(tuple(near[inside].T), shape)
        total.index_add_(
            0, torch.from_numpy(flat), torch.from_numpy(weight[inside].astype(np.float32))
        )
    return total


def grow(
    labels: np.ndarray, to_ventricle: np.ndarray, density: float, rng: np.random.Generator
) -> Veins:
    """Veins of a brain on a grid of about 1 mm, in voxel indices.

    ``labels`` (x, y, z) in FreeSurfer codes, ``to_ventricle`` (x, y, z) in mm; ``density`` scales
    the number of veins (1: some 700 starts a brain).

    Order of draws: sulcal, deep and medullary veins; of each kind first the starts, then the draws
    of :func:`_walk`.
    """
    csf = labels == an.CSF
    cortex = an.is_any(labels, an.CORTEX)
    white = an.is_any(labels, an.WHITE)
    share = (white.sum() + cortex.sum()) / _BRAIN_MM3
    to_surface = distance_to(csf)
    sulci = csf & dilated(cortex, _SULCUS_MM)

    def starts(where: np.ndarray, kind: _Kind) -> np.ndarray:
        flat = np.flatnonzero(where)
        number = round(kind.number * density * share)
        if not len(flat) or not number:
            return np.zeros((0, 3))
        return np.stack(np.unravel_index(rng.choice(flat, number), labels.shape), 1).astype(float)

    sulcal = _walk(starts(sulci, _SULCAL), to_surface, _SULCAL, rng)
    wall = white & (np.abs(to_ventricle - _DEEP_AT_MM) < 1)
    deep = _walk(starts(wall, _DEEP), to_ventricle, _DEEP, rng)
    within = white & (to_surface < _MEDULLARY_DEPTH_MM)
    within &= to_ventricle > _MEDULLARY_FROM_VENTRICLE_MM
    medullary = _walk(starts(within, _MEDULLARY), to_ventricle, _MEDULLARY, rng, straight=True)
    return Veins.joined([sulcal, deep, medullary])


def crossing(
    labels: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[list[Veins], np.ndarray]:
    """Sulcal vessels that run straight across the slices: the main mimic of a microbleed.

    In its slice such a vessel is a dot, as a microbleed is. Only the neighbouring slices and the
    fluid about the dot tell them apart. ``labels`` (x, y, z) on a grid of about 1 mm. Returns the
    vessels, 10 to 24 mm long (the depth of a sulcus), and their middles (n, 3) in voxel indices.

    Draws of each vessel: the middle (voxel, offsets), heading, half the length, radius, bend.
    """
    fluid = (labels == an.CSF) & dilated(an.is_any(labels, an.CORTEX), _SULCUS_MM)
    heading = np.array([_CROSSING_TILT, _CROSSING_TILT, 0.0]), np.array([0.0, 0.0, 1.0])
    return _pieces(fluid, count, heading, (_CROSSING_HALF_MM, _CROSSING_RADIUS_MM), rng)


def stretches(
    labels: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[list[Veins], np.ndarray]:
    """Veins of which a short dark piece of 6 to 16 mm shows, in any direction.

    They lie in sulci and in the cortex beside. A reader tells them from microbleeds by their
    length, where slices are thin enough to show it. Arguments, result and draws are those of
    :func:`crossing`.
    """
    cortex = an.is_any(labels, an.CORTEX)
    beside = ((labels == an.CSF) & dilated(cortex, _SULCUS_MM)) | cortex
    anywhere = np.ones(3), np.zeros(3)
    return _pieces(beside, count, anywhere, (_STRETCH_HALF_MM, _STRETCH_RADIUS_MM), rng)


def _pieces(
    where: np.ndarray,
    count: int,
    heading: tuple[np.ndarray, np.ndarray],
    sizes: tuple[tuple[float, float], tuple[float, float]],
    rng: np.random.Generator,
) -> tuple[list[Veins], np.ndarray]:
    """Nearly straight veins whose middles lie in ``where`` (x, y, z), and the middles (n, 3).

    ``heading`` is the standard deviation (3,) of the direction and its mean (3,); ``sizes`` the
    ranges of half the length and of the radius, mm. Draws: see :func:`crossing`.
    """
    spread, mean = heading
    flat, free = np.flatnonzero(where), np.flatnonzero(spread)
    drawn, middles = [], []
    for _ in range(count if len(flat) else 0):
        middle = np.array(np.unravel_index(rng.choice(flat), where.shape), float)
        middle += rng.uniform(-0.5, 0.5, 3)
        direction = mean.copy()
        direction[free] += rng.normal(0, spread[free])
        direction /= np.linalg.norm(direction)
        half = rng.uniform(*sizes[0])
        radius = float(np.exp(rng.uniform(*np.log(sizes[1]))))
        steps = np.arange(-half, half + 0.5)
        # A slight bend: real vessels are not straight.
        bend = rng.normal(0, _CROSSING_BEND, 3) * steps[:, None] ** 2
        points = middle + steps[:, None] * direction + bend
        points = points[((points >= 0) & (points <= np.array(where.shape) - 1)).all(1)]
        ahead = np.diff(points, axis=0, append=points[-1:])
        drawn.append(Veins(points, ahead, np.full(len(points), radius)))
        middles.append(middle)
    return drawn, np.array(middles).reshape(-1, 3)


def _walk(
    start: np.ndarray,
    distance: np.ndarray,
    kind: _Kind,
    rng: np.random.Generator,
    *,
    straight: bool = False,
) -> Veins:
    """Walk all veins at once by steps of 1 voxel along the guide.

    ``start`` (n, 3) voxel indices; ``distance`` (x, y, z) from the guide in mm, whose gradient says
    where the guide lies; ``straight`` veins run down the gradient. Draws: steps, radius, wander,
    offset of the start and first heading of all veins; then at each step the change of all
    headings.
    """
    if not len(start):
        return Veins.joined([])
    smooth = ndimage.gaussian_filter(distance.astype(np.float32), _GUIDE_SMOOTHING)
    gradient = np.stack(np.gradient(smooth))
    steps = rng.integers(*kind.steps, len(start))
    thin, thick = np.log(kind.radius_mm)
    radius = np.exp(rng.uniform(thin, thick, len(start)))
    straightest, most_bent = np.log(WANDER)
    wander = np.exp(rng.uniform(straightest, most_bent, (len(start), 1)))
    position = start + rng.uniform(-0.5, 0.5, start.shape)
    heading = rng.normal(size=start.shape)
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    trace: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    last = np.array(distance.shape) - 1
    for step in range(int(steps.max())):
        x, y, z = np.clip(np.round(position).astype(int), 0, last).T
        far = distance[x, y, z][:, None]
        heading = _turned(heading, -gradient[:, x, y, z].T, far, straight)
        heading = heading + wander * rng.normal(size=heading.shape)
        heading /= np.linalg.norm(heading, axis=1, keepdims=True) + 1e-6
        position = position + heading
        within = ((position >= 0) & (position <= last)).all(1) & (step < steps)
        # Medullary veins end at the ventricle; the others where they have left their guide: no vein
        # of a sulcus crosses white matter.
        within &= far[:, 0] > _MEDULLARY_END_MM if straight else far[:, 0] <= _STRAYED_MM
        steps = np.where(within, steps, 0)
        width = radius * (_WIDTH_AT_START + _WIDENS_BY * step / np.maximum(steps, 1))
        trace.append((position, within, width))
    points, inside, sizes = (np.stack(part) for part in zip(*trace, strict=True))
    return _long_enough(points, inside, sizes)


def _turned(heading: np.ndarray, pull: np.ndarray, far: np.ndarray, straight: bool) -> np.ndarray:
    """Headings (n, 3) after a step, not normalised.

    ``pull`` (n, 3) points to the guide, ``far`` (n, 1) is the distance from the guide in mm.
    """
    if straight:
        return _STRAIGHT_HEADING * heading + pull
    # Along the guide rather than away from it, and gently back to it.
    heading = heading - _ALONG * (heading * pull).sum(1, keepdims=True) * pull
    return heading + np.clip(_PULL_A_MM * (far - _FOLLOWED_MM), *_PULL_LIMITS) * pull


def _long_enough(points: np.ndarray, inside: np.ndarray, sizes: np.ndarray) -> Veins:
    """Veins of at least LEAST_MM: ``points`` (steps, n, 3) where ``inside`` (steps, n)."""
    inside = inside & (inside.sum(0) > LEAST_MM)
    on = np.concatenate([inside[1:], np.zeros_like(inside[:1])])
    ahead = on[..., None] * np.diff(points, axis=0, append=points[-1:])
    return Veins(points[inside], ahead[inside], sizes[inside])
