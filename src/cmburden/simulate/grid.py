"""The grid of a scan: voxels to scanner mm, and the sub-voxels on which spins dephase."""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np
import torch

from cmburden.simulate import anatomy as an
from cmburden.simulate.acquisition import Acquisition

#: Sub-voxels are about this large, mm. Chosen for the time that a scan takes; unmeasured.
SUB_MM = (0.47, 0.47, 0.65)
#: What the grid adds to the brain's extent beyond ``margin_mm`` on each side, mm: width of the
#: scalp, and height above the brain. By eye.
_BEYOND_MM = (8.0, 8.0, 6.0)
#: Error of an operator who centres the grid on the brain, mm along each axis. By choice.
_CENTRING_MM = 2.0
#: Points at which the brain's box is looked up: half the range and the step, mm.
_BOX_RANGE_MM, _BOX_STEP_MM = 110.0, 4.0


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """A scan's voxels, each split into sub-voxels.

    ``affine`` (4, 4) takes voxel indices to scanner RAS mm; ``shape`` (3,) int counts voxels;
    ``voxel_mm`` (3,) is a voxel's size and ``factor`` counts its sub-voxels along each axis; ``b0``
    (3,) is the unit vector of the static field in the grid's axes.
    """

    affine: np.ndarray
    shape: np.ndarray
    voxel_mm: np.ndarray
    factor: tuple[int, int, int]
    b0: np.ndarray

    @property
    def sub_mm(self) -> np.ndarray:
        """Size (3,) of a sub-voxel in mm."""
        return self.voxel_mm / self.factor

    @property
    def sub_shape(self) -> tuple[int, ...]:
        """Number of sub-voxels along each axis."""
        return tuple(self.shape * self.factor)

    def sub_index(self, index: np.ndarray) -> np.ndarray:
        """Voxel indices (n, 3) to sub-voxel indices; both count from centres."""
        factor = np.array(self.factor)
        return index * factor + (factor - 1) / 2


def draw_grid(
    box_mm: tuple[np.ndarray, np.ndarray],
    acquisition: Acquisition,
    margin_mm: float,
    sub_mm: tuple[float, float, float],
    rng: np.random.Generator,
) -> Grid:
    """The grid of a scan of the brain with corners ``box_mm`` (:func:`brain_box`).

    The grid holds the brain with ``margin_mm``, or ``acquisition.extent_mm`` of the brain's height,
    turned by ``acquisition.turn_deg``. Draws: three offsets of the centre; where the extent is
    given, the height at which the slab lies.
    """
    voxel = np.array(acquisition.voxel_mm)
    low, high = box_mm
    margin = np.array([2 * margin_mm, 2 * margin_mm, margin_mm])
    extent = (high - low) + (margin + _BEYOND_MM)
    if acquisition.extent_mm is not None:
        extent[2] = min(extent[2], acquisition.extent_mm)
    shape = np.ceil(extent / voxel).astype(int)
    # In-plane matrices of scanners are even.
    shape[:2] += shape[:2] % 2
    centre = (low + high) / 2 + rng.uniform(-_CENTRING_MM, _CENTRING_MM, 3)
    if acquisition.extent_mm is not None:
        room = max(0.0, (high - low)[2] - shape[2] * voxel[2]) / 2
        centre[2] += rng.uniform(-room, room)
    rotation = nib.eulerangles.euler2mat(*np.deg2rad(acquisition.turn_deg)[::-1])
    affine = np.eye(4)
    affine[:3, :3] = rotation * voxel
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
    fx, fy, fz = (max(1, round(v / s)) for v, s in zip(voxel, sub_mm, strict=True))
    b0 = rotation.T @ np.array([0, 0, 1.0])
    return Grid(affine, shape, voxel, (fx, fy, fz), b0)


def brain_box(anatomy: an.Anatomy, deform: an.PointMap) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner (3,) of the brain's tissue in scan mm.

    Points of a coarse grid are looked up, as ``deform`` has no inverse in closed form.
    """
    axis = torch.arange(-_BOX_RANGE_MM, _BOX_RANGE_MM + 1, _BOX_STEP_MM)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    labels = an.sample(anatomy.labels, anatomy.affine, deform(points), nearest=True)
    inside = points[(labels > 0) & (labels < an.BRAIN_CODES_END) & (labels != an.CSF)]
    return inside.min(0).values.numpy(), inside.max(0).values.numpy()


def voxel_points(affine: np.ndarray, shape: np.ndarray) -> torch.Tensor:
    """Voxel centres (x, y, z, 3) in mm, float32, of a grid with ``affine`` and ``shape``."""
    axes = [torch.arange(n, dtype=torch.float32) for n in shape]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    matrix = torch.as_tensor(affine, dtype=torch.float32)
    return (index @ matrix[:3, :3].T).add_(matrix[:3, 3])
