"""A second implementation of `describe`, in plain words: whole patches, whole volumes, scipy alone.

It says what the measures and views are, without windows or shortcuts; it is slow.
"""

from __future__ import annotations

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage
from skimage.morphology import h_minima
from skimage.segmentation import watershed

from cmburden.detect import shape as s
from cmburden.images import views as v
from cmburden.images.geometry import slices_last, sphericity


def measures(volume, mask, depth, affine, centre):
    """Measures by name, and the extent's voxels (m, 3), of the spot at ``centre`` (RAS mm).

    ``depth`` (x, y, z) is the distance of each voxel to the outside of ``mask``, mm.
    """
    spacing = voxel_sizes(affine)
    at = np.linalg.inv(affine)[:3, :3] @ (centre - affine[:3, 3])
    reach = np.maximum(2, np.ceil(s.REACH_MM / spacing)).astype(int)
    low = np.maximum(np.round(at).astype(int) - reach, 0)
    high = np.minimum(np.round(at).astype(int) + reach + 1, volume.shape)
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    signal, inside = volume[part], mask[part]
    index = np.indices(signal.shape).transpose(1, 2, 3, 0)
    distance = np.sqrt((((index + low - at) * spacing) ** 2).sum(-1))
    core = distance <= max(s._CORE_MM, float(spacing.max()) * s._CORE_VOXELS)
    seed = np.unravel_index(np.where(core, signal, np.inf).argmin(), signal.shape)
    ring = (distance > s._RING_FROM_MM) & (distance <= s.REACH_MM) & inside
    around = float(np.median(signal[ring])) if ring.any() else 1.0
    floor = float(signal[seed])
    allowed = distance <= s.EXTENT_MM
    if inside.any():
        allowed &= ndimage.distance_transform_edt(~inside, spacing) <= s.OUTSIDE_MM
    extent = _extent(signal, seed, floor, around, allowed, spacing)
    outside = ndimage.distance_transform_edt(~extent, spacing)
    shell = (outside > s.SHELL_MM[0]) & (outside <= s.SHELL_MM[1]) & inside
    volume_mm3 = float(extent.sum() * spacing.prod())
    values = {
        "volume_mm3": volume_mm3,
        "diameter_mm": float(np.cbrt(6 * volume_mm3 / np.pi)),
        "elongation": s._elongation(extent, spacing),
        "contrast": float(np.clip(1 - floor / max(around, s._LEAST_SIGNAL), 0, 1)),
        "tubularity": _tubularity(signal, seed, spacing),
        "edge_mm": float(np.float32(depth[tuple(low + seed)])),
        "sphericity": sphericity(extent, spacing),
        "through_plane": s._through_plane(extent, spacing),
        "surroundings": float(np.median(signal[shell])) if shell.any() else around,
    }
    return values, np.argwhere(extent) + low


def _extent(signal, seed, floor, around, allowed, spacing):
    dark = (signal < (floor + around) / 2) & allowed
    dark[seed] = True
    regions, _ = ndimage.label(dark)
    region = regions == regions[seed]
    levels = s._LEVELS
    level = (signal - floor) / max(around - floor, s._LEAST_SIGNAL) * levels
    level = np.clip(np.round(level), -2 * levels, 2 * levels).astype(np.int16)
    beyond = np.where(region, level, 2 * levels + 1)
    basins, number = ndimage.label(h_minima(beyond, round(s.RISE * levels)) * region)
    far = np.linalg.norm((np.indices(signal.shape).T - seed) * spacing, axis=-1).T
    near = far <= max(s.APART_MM, s.APART_SLICES * spacing.max())
    basins[np.isin(basins, basins[near & (basins > 0)])] = number + 1
    basins[seed] = number + 1
    return watershed(level, basins, mask=region) == number + 1


def _tubularity(signal, seed, spacing):
    gradient = np.gradient(ndimage.gaussian_filter(signal, s._HESSIAN_MM / spacing))
    hessian = np.array([[second[seed] for second in np.gradient(one)] for one in gradient])
    hessian = hessian.astype(float) / np.outer(spacing, spacing)
    low, middle, _ = np.linalg.eigvalsh((hessian + hessian.T) / 2)
    if middle <= 0:
        return 2.0
    return float(np.clip(1 - low / max(middle, s._LEAST_CURVATURE), 0, 2))


def view(volume, affine, centre):
    """``SHAPE`` uint8: each pixel of each slice by ``scipy.ndimage.map_coordinates``."""
    order = slices_last(affine)
    volume, affine = volume.transpose(order), affine[:, [*order, 3]]
    spacing = voxel_sizes(affine)
    at = np.linalg.inv(affine)[:3, :3] @ (centre - affine[:3, 3])
    slices = volume.shape[2]
    middle = int(np.clip(round(at[2]), 0, slices - 1))
    through = max(1, round(v.PROJECTION_MM / spacing[2]))
    beside = max(1, round(v.BESIDE_MM / spacing[2]))

    def plane(values, width_mm):
        line = (np.arange(v.VIEW_PIXELS) - (v.VIEW_PIXELS - 1) / 2) * width_mm / v.VIEW_PIXELS
        grid = np.meshgrid(at[0] + line / spacing[0], at[1] + line / spacing[1], indexing="ij")
        return ndimage.map_coordinates(values, grid, order=1, mode="constant")

    def slice_at(k):
        inside = 0 <= k < slices
        return plane(volume[:, :, k] if inside else np.zeros(volume.shape[:2], "f4"), v.VIEW_MM)

    reach = [k for k in range(middle - through, middle + through + 1) if 0 <= k < slices]
    next_to = [k for k in (middle - 1, middle + 1) if 0 <= k < slices]
    voxels = [max(1, round(v.WIDE_MM / v.VIEW_PIXELS / mm)) for mm in spacing[:2]]
    least = ndimage.minimum_filter(volume[:, :, reach].min(2), voxels)
    mean = ndimage.uniform_filter(np.ascontiguousarray(volume[:, :, middle]), voxels)
    channels = [
        np.min([slice_at(k) for k in reach], 0),
        slice_at(middle),
        np.mean([slice_at(k) for k in next_to], 0),
        *(slice_at(middle + k * beside) for k in (-1, 1, -2, 2)),
        plane(mean, v.WIDE_MM),
        plane(least, v.WIDE_MM),
    ]
    return np.round(np.clip(np.stack(channels, -1) / v.WHITE, 0, 1) * 255).astype(np.uint8)
