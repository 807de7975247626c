"""Label images of readers: their connected components as lesions, and whether they fit a scan."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

#: Two grids agree if no corner of the volume is further off, mm: quaternions in single precision
#: err by hundredths of a millimetre.
GRID_MM = 0.5


@dataclasses.dataclass(frozen=True)
class Component:
    """A connected component: ``centre`` of mass in scanner RAS mm, and the radius of a sphere of
    its volume V, (3 V / 4 pi)^(1/3).
    """

    centre: tuple[float, float, float]
    radius_mm: float


def components_of(
    labels: np.ndarray, affine: np.ndarray, *, segmented: bool = False
) -> tuple[Component, ...]:
    """Each connected component (26 neighbours) of ``labels`` (x, y, z), which is not 0 inside.

    Values of ``segmented`` labels separate components that touch; otherwise all values but 0 are
    one label.

    >>> components_of(np.ones((1, 1, 1), int), np.diag([2.0, 2, 2, 1]))[0].centre
    (0.0, 0.0, 0.0)
    """
    if segmented:
        regions = [labels == value for value in np.unique(labels) if value]
    else:
        regions = [labels != 0]
    voxel_mm3 = abs(np.linalg.det(affine[:3, :3]))
    found = []
    for inside in regions:
        parts, _ = ndimage.label(inside, np.ones((3, 3, 3)))
        for index, box in enumerate(ndimage.find_objects(parts), start=1):
            voxels = np.argwhere(parts[box] == index) + [part.start for part in box]
            x, y, z = apply_affine(affine, voxels.mean(0))
            radius = (3 * len(voxels) * voxel_mm3 / (4 * math.pi)) ** (1 / 3)
            found.append(Component((float(x), float(y), float(z)), float(radius)))
    return tuple(found)


def other_grid(
    shape: tuple[int, ...],
    affine: np.ndarray,
    scan_shape: tuple[int, ...],
    scan_affine: np.ndarray,
) -> str | None:
    """How the grid of a label image differs from the scan's, both in canonical RAS; None if not.

    >>> other_grid((2, 2, 2), np.eye(4), (2, 2, 2), np.diag([2.0, 1, 1, 1]))
    'its affine puts it up to 1.0 mm away from the scan'
    """
    if shape != scan_shape:
        return f"its shape is {_by(shape)}, the scan's {_by(scan_shape)} (in RAS order)"
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape) - 1)
    distance = apply_affine(affine, corners) - apply_affine(scan_affine, corners)
    worst = float(np.linalg.norm(distance, axis=1).max())
    if worst > GRID_MM:
        return f"its affine puts it up to {worst:.1f} mm away from the scan"
    return None


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
