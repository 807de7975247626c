"""The plain renderer: a dark ellipsoid with a soft edge. It knows nothing of the acquisition.

Numbers are by eye.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cmburden.insert.ground import Ground

#: Share of the signal that is taken; half axes against the radius; width of the edge, radii.
_DEPTH, _AXES, _EDGE = (0.6, 0.97), (0.8, 1.25), (0.1, 0.4)
#: Points of a voxel lie at most so far apart, mm.
_STEP_MM, _MOST_PARTS = 0.35, 8
#: How far beyond its radius the ellipsoid reaches, radii.
_REACH_RADII = 1.8


@dataclasses.dataclass(frozen=True, eq=False)
class Ellipsoid:
    """``to_ball`` (3, 3) takes offsets in mm to those in a ball of radius 1."""

    radius_mm: float
    to_ball: np.ndarray
    depth: float
    edge: float

    @classmethod
    def draw(cls, radius_mm: float, rng: np.random.Generator) -> Ellipsoid:
        """An ellipsoid of a mean radius, turned at random."""
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        axes = radius_mm * rng.uniform(*_AXES, 3)
        return cls(radius_mm, turn / axes[:, None], rng.uniform(*_DEPTH), rng.uniform(*_EDGE))

    @property
    def reach_mm(self) -> float:
        return self.radius_mm * _REACH_RADII + 1.0


def render(ball: Ellipsoid, ground: Ground) -> np.ndarray:
    """What the ellipsoid leaves of each voxel's signal, (x, y, z) of the box."""
    parts = np.clip(np.ceil(ground.sizes / _STEP_MM), 2, _MOST_PARTS).astype(int)
    grid = np.stack(np.meshgrid(*ground.points(parts), indexing="ij"), axis=-1)
    away = np.linalg.norm(grid @ ball.to_ball.T, axis=-1)
    dark = 1 / (1 + np.exp(np.clip((away - 1) / (ball.edge / 4), -40, 40)))
    x, y, z = ground.shape
    a, b, c = (int(n) for n in parts)
    return 1 - ball.depth * dark.reshape(x, a, y, b, z, c).mean((1, 3, 5))
