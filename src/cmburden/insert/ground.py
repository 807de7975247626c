"""A box of voxels about a place of a scan, and what is known of the scan's acquisition."""

from __future__ import annotations

import dataclasses

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes

from cmburden.images.geometry import slice_axis

#: Field and echo time that are assumed where the sidecar does not say them: those of most cohorts.
ASSUMED_FIELD_T, ASSUMED_ECHO_S = 3.0, 0.020


@dataclasses.dataclass(frozen=True)
class Acquisition:
    """What a renderer takes of a scan's acquisition.

    ``masked``: the image is multiplied with the phase mask of SWI. ``partitions``: slices are
    encoded (3D); else each is excited alone, ``thickness_mm`` thick. ``assumed``: field or echo
    time is not known and was assumed.
    """

    field_t: float
    echo_time_s: float
    masked: bool
    partitions: bool
    thickness_mm: float
    assumed: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Ground:
    """A box of (2 h + 1) voxels an axis about the voxel that holds a place.

    ``sizes`` (3,) of a voxel, mm; ``half`` (3,) is h; ``offset`` (3,) is the place against the
    middle of its voxel, voxels; ``b0`` (3,) the unit vector of the field in the voxel axes;
    ``across`` the axis across slices.
    """

    sizes: np.ndarray
    half: np.ndarray
    offset: np.ndarray
    b0: np.ndarray
    across: int

    @property
    def shape(self) -> tuple[int, int, int]:
        x, y, z = (2 * int(h) + 1 for h in self.half)
        return x, y, z

    def points(self, parts: np.ndarray) -> list[np.ndarray]:
        """mm against the place along each axis, of ``parts`` (3,) sub-voxels a voxel."""
        return [
            ((np.arange(n * int(f)) + 0.5) / f - 0.5 - h - o) * size
            for n, f, h, o, size in zip(
                self.shape, parts, self.half, self.offset, self.sizes, strict=True
            )
        ]


def about(centre_mm: np.ndarray, affine: np.ndarray, reach_mm: float) -> tuple[Ground, np.ndarray]:
    """The box about a place in scanner mm, and the voxel index (3,) of its middle."""
    at = apply_affine(np.linalg.inv(affine), centre_mm)
    middle = np.rint(at).astype(int)
    sizes = voxel_sizes(affine)
    b0 = (affine[:3, :3] / sizes).T @ np.array([0.0, 0.0, 1.0])
    half = np.maximum(1, np.ceil(reach_mm / sizes)).astype(int)
    unit = b0 / np.linalg.norm(b0)
    return Ground(sizes, half, at - middle, unit, slice_axis(affine)), middle


def within(
    middle: np.ndarray, half: np.ndarray, shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of a box that lie in a volume of ``shape``: of the volume, and of the box.

    >>> within(np.array([1, 5, 9]), np.array([2, 2, 2]), (10, 10, 10))[0][0]
    slice(0, 4, None)
    """
    low = np.maximum(middle - half, 0)
    high = np.minimum(middle + half + 1, shape)
    start = middle - half
    of_volume = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    of_box = tuple(slice(int(a - s), int(b - s)) for a, b, s in zip(low, high, start, strict=True))
    return of_volume, of_box
