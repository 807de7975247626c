"""Operations on whole volumes that give scipy's numbers in less time and memory.

A simulated scan is a contract (its seed stands for its values): each function says how near to
scipy's bits its result is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import ndimage

#: Planes of a volume whose distances are worked out at a time.
_PLANES_AT_A_TIME = 16
#: Voxels about the points of a lookup whose values are converted too, for rounding and neighbours.
_MARGIN = 2


def distance_to(
    mask: np.ndarray,
    spacing: Sequence[float] | np.ndarray = (1, 1, 1),
    dtype: type[np.floating] = np.float32,
) -> np.ndarray:
    """Distance (x, y, z), mm, of each voxel to the nearest voxel of ``mask``.

    Equal to scipy's ``distance_transform_edt(~mask, spacing)``, rounded to ``dtype``. Scipy
    looks for the nearest voxel; the distances follow plane by plane. A mask without a voxel is as
    scipy's.
    """
    spacing = np.asarray(spacing, float)
    if not mask.any():
        return ndimage.distance_transform_edt(~mask, spacing).astype(dtype)
    nearest = ndimage.distance_transform_edt(
        ~mask, spacing, return_distances=False, return_indices=True
    )
    axes = [
        np.arange(size, dtype=np.int32).reshape([-1 if k == axis else 1 for k in range(3)])
        for axis, size in enumerate(mask.shape)
    ]
    distance = np.empty(mask.shape, dtype)
    for start in range(0, mask.shape[0], _PLANES_AT_A_TIME):
        planes = slice(start, start + _PLANES_AT_A_TIME)
        square: np.ndarray | float = 0.0
        for axis in range(3):
            index = axes[axis][planes] if axis == 0 else axes[axis]
            offset = (nearest[axis, planes] - index) * spacing[axis]
            square = square + offset * offset
        distance[planes] = np.sqrt(square)
    return distance


def dilated(mask: np.ndarray, times: int) -> np.ndarray:
    """``mask`` (x, y, z) bool grown by the six neighbours of each voxel, ``times`` over.

    Equal to scipy's ``binary_dilation(mask, iterations=times)``.
    """
    return _by_neighbours(mask, times, np.logical_or)


def eroded(mask: np.ndarray, times: int) -> np.ndarray:
    """``mask`` (x, y, z) bool without its rim of ``times`` voxels; nothing is set beyond.

    Equal to scipy's ``binary_erosion(mask, iterations=times)``.
    """
    for _ in range(times):
        shrunk = np.zeros_like(mask)
        inner = (slice(1, -1),) * 3
        shrunk[inner] = _by_neighbours(mask, 1, np.logical_and)[inner]
        mask = shrunk
    return mask


def _by_neighbours(mask: np.ndarray, times: int, combine: Callable[..., np.ndarray]) -> np.ndarray:
    """Each voxel of ``mask`` combined with its six neighbours within the volume."""
    for _ in range(times):
        result = mask.copy()
        for axis in range(3):
            low, high = ([slice(None)] * 3 for _ in range(2))
            low[axis], high[axis] = slice(None, -1), slice(1, None)
            for to, of in ((low, high), (high, low)):
                view = result[tuple(to)]
                combine(view, mask[tuple(of)], out=view)
        mask = result
    return mask


def stretched(values: np.ndarray, shape: Sequence[int], order: int) -> np.ndarray:
    """``values`` (a, b, c) interpolated to ``shape`` (x, y, z), float64; edges go on beyond.

    As scipy's ``zoom`` with ``grid_mode`` and mode ``nearest``, whose weights along each axis are
    used. Sums are in another order, so that values differ by some 1e-16 of themselves.
    """
    result = np.asarray(values, float)
    for axis, size in enumerate(shape):
        weights = [
            ndimage.zoom(unit, size / len(unit), order=order, grid_mode=True, mode="nearest")
            for unit in np.eye(values.shape[axis])
        ]
        result = np.moveaxis(np.tensordot(result, np.array(weights), ([0], [0])), -1, 2)
    return result


def nearest_stretched(values: np.ndarray, zoom: Sequence[float] | np.ndarray) -> np.ndarray:
    """``values`` (a, b, c) at the nearest voxel of a grid ``zoom`` times as fine.

    Equal to scipy's ``zoom`` of order 0 with ``grid_mode`` and mode ``nearest``.
    """
    along = (
        ndimage.zoom(np.arange(size), by, order=0, grid_mode=True, mode="nearest")
        for size, by in zip(values.shape, zoom, strict=True)
    )
    return values[np.ix_(*along)]


def in_memory(volume: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """``volume`` (x, y, z) as it lies in memory, flat, and the step in it of one voxel a axis.

    A volume that does not lie densely in memory is copied.
    """
    order = np.argsort([-step for step in volume.strides], kind="stable")
    dense = volume.transpose(order)
    if not dense.flags.c_contiguous:
        volume, dense = (np.ascontiguousarray(volume),) * 2
    return dense.reshape(-1), tuple(step // volume.itemsize for step in volume.strides)


class Lookup:
    """Volumes of one grid at many points, whose place among the voxels is worked out once.

    ``index`` (..., 3) float32 are the points in voxels of the grid.
    """

    def __init__(self, shape: Sequence[int], affine: np.ndarray, points: torch.Tensor) -> None:
        """``points`` (..., 3) in mm; ``shape`` and ``affine`` (4, 4) to mm are the volumes'."""
        inverse = torch.as_tensor(np.linalg.inv(affine), dtype=torch.float32)
        self.shape = tuple(int(size) for size in shape)
        self.index = (points @ inverse[:3, :3].T).add_(inverse[:3, 3])

    def _unit(self) -> torch.Tensor:
        """Points (..., 3) with -1 and 1 at the first and the last voxel, as torch wants them."""
        size = torch.tensor(self.shape, dtype=torch.float32)
        return (self.index / (size - 1)).mul_(2).sub_(1)

    def nearest(self, *volumes: np.ndarray) -> list[np.ndarray]:
        """Values (...) at the nearest voxel of each of ``volumes``, in their type; 0 outside.

        Equal to torch's ``grid_sample``, which rounds the halves to the even voxel.
        """
        size = torch.tensor(self.shape, dtype=torch.float32)
        at = self._unit().add_(1).div_(2).mul_(size - 1).round_()
        inside = ((at >= 0) & (at < size)).all(-1)
        voxel = [
            at[..., axis].clamp(0, length - 1).to(torch.int64)
            for axis, length in enumerate(self.shape)
        ]
        results = []
        for volume in volumes:
            flat, steps = in_memory(volume)
            where = voxel[0] * steps[0] + voxel[1] * steps[1] + voxel[2] * steps[2]
            results.append(np.take(flat, where.numpy()) * inside.numpy())
        return results

    def linear(self, *volumes: np.ndarray) -> list[np.ndarray]:
        """Interpolated values (...) float32 of each of ``volumes``; 0 outside.

        Equal to torch's ``grid_sample``. Only what the points can reach is converted to float32.
        """
        unit = self._unit().reshape(1, -1, 1, 1, 3).flip(-1)
        near = self._reached()
        source = torch.zeros((1, len(volumes), *self.shape))
        for channel, volume in enumerate(volumes):
            source[0, channel][near] = torch.from_numpy(np.asarray(volume[near], np.float32))
        values = torch.nn.functional.grid_sample(source, unit, mode="bilinear", align_corners=True)
        return [one.numpy() for one in values.reshape(len(volumes), *self.index.shape[:-1])]

    def _reached(self) -> tuple[slice, ...]:
        """The box of voxels that the points reach."""
        points = self.index.reshape(-1, 3)
        if not len(points):
            return (slice(0, 0),) * 3
        low, high = points.amin(0).floor().tolist(), points.amax(0).ceil().tolist()
        return tuple(
            slice(int(min(max(a - _MARGIN, 0), size)), int(min(max(b + _MARGIN + 1, 0), size)))
            for a, b, size in zip(low, high, self.shape, strict=True)
        )
