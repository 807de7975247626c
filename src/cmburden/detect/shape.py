"""Shape of a candidate on the scan's own grid: extent, depth, elongation, line-likeness, edge."""

from __future__ import annotations

import dataclasses

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage
from skimage.morphology import h_minima
from skimage.segmentation import watershed

from cmburden.images.geometry import slices_last, sphericity

#: Half-width of the neighbourhood that is looked at.
REACH_MM = 9.0
#: An extent lies within so far of the candidate, and goes no further than that out of the brain.
EXTENT_MM, OUTSIDE_MM = 6.0, 1.0
#: Another dark thing is parted from the spot's darkest point by a rise of this share of the loss,
#: and its own lies further away than this (or than that share of the slice thickness): what blooms
#: is dark in several points.
RISE, APART_MM, APART_SLICES = 0.4, 2.0, 0.6
_LEVELS = 20
#: The shell about the extent, from so far outside it to so far, mm: what surrounds it.
SHELL_MM = (0.8, 3.0)


@dataclasses.dataclass(frozen=True)
class Shape:
    """Measures as in ``tables.FEATURES``; ``voxels`` (n, 3) indices of the lesion's extent."""

    volume_mm3: float
    diameter_mm: float
    elongation: float
    contrast: float
    tubularity: float
    edge_mm: float
    sphericity: float
    through_plane: float
    surroundings: float
    voxels: np.ndarray


def measure(
    volume: np.ndarray, depth_mm: np.ndarray, affine: np.ndarray, centre_mm: np.ndarray
) -> Shape:
    """Measure the dark spot at ``centre_mm`` (scanner RAS).

    ``volume`` (x, y, z) has median 1 in the brain; ``depth_mm`` of the same shape is the distance
    to the outside of the brain mask. Through thick slices the extent is as blocky as they are.
    """
    spacing = voxel_sizes(affine)
    at = np.linalg.inv(affine)[:3, :3] @ (np.asarray(centre_mm) - affine[:3, 3])
    reach = np.maximum(2, np.ceil(REACH_MM / spacing)).astype(int)
    low = np.maximum(np.round(at).astype(int) - reach, 0)
    high = np.minimum(np.round(at).astype(int) + reach + 1, volume.shape)
    low = np.minimum(low, high - 1)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    patch, inside = volume[box], depth_mm[box] > 0
    offset = (np.indices(patch.shape).transpose(1, 2, 3, 0) + low - at) * spacing
    distance = np.sqrt((offset**2).sum(-1))
    ring = (distance > 3.5) & (distance <= REACH_MM) & inside
    around = float(np.median(patch[ring])) if ring.any() else 1.0
    core = distance <= max(1.5, float(spacing.max()) * 0.6)
    darkest = np.where(core, patch, np.inf)
    seed = np.unravel_index(int(darkest.argmin()), patch.shape)
    floor = float(patch[seed])
    contrast = float(np.clip(1 - floor / max(around, 1e-3), 0, 1))
    near = distance <= EXTENT_MM
    if inside.any():
        near &= ndimage.distance_transform_edt(~inside, spacing) <= OUTSIDE_MM
    extent = _extent(patch, near, spacing, seed, around)
    outside = ndimage.distance_transform_edt(~extent, spacing)
    shell = (outside > SHELL_MM[0]) & (outside <= SHELL_MM[1]) & inside
    volume_mm3 = float(extent.sum() * spacing.prod())
    return Shape(
        volume_mm3,
        float(np.cbrt(6 * volume_mm3 / np.pi)),
        _elongation(extent, spacing),
        contrast,
        _tubularity(patch, spacing, seed),
        float(depth_mm[tuple(low + seed)]),
        sphericity(extent, spacing),
        _through_plane(extent, spacing),
        float(np.median(patch[shell])) if shell.any() else around,
        np.argwhere(extent) + low,
    )


def _extent(
    patch: np.ndarray, allowed: np.ndarray, spacing: np.ndarray, seed: tuple, around: float
) -> np.ndarray:
    """The connected region about ``seed`` below half of the depth of the signal loss, in
    ``allowed`` (bool), up to where the next dark thing begins: a vein, the skull, another bleed.

    Where they touch at half of the loss, the watershed between them is the border (Vincent and
    Soille, IEEE PAMI 1991;13:583): a small bleed beside a dark sulcus else is as large as that.
    """
    floor = float(patch[seed])
    dark = (patch < (floor + around) / 2) & allowed
    dark[seed] = True
    region, _ = ndimage.label(dark)
    extent = region == region[seed]
    level = (patch - floor) / max(around - floor, 1e-3) * _LEVELS
    level = np.clip(np.round(level), -2 * _LEVELS, 2 * _LEVELS).astype(np.int16)
    beyond = np.where(extent, level, 2 * _LEVELS + 1)
    basins, number = ndimage.label(h_minima(beyond, round(RISE * _LEVELS)) * extent)
    far = np.linalg.norm((np.indices(patch.shape).T - seed) * spacing, axis=-1).T
    own = basins[(far <= max(APART_MM, APART_SLICES * spacing.max())) & (basins > 0)]
    basins[np.isin(basins, own)] = number + 1
    basins[seed] = number + 1
    return watershed(level, basins, mask=extent) == number + 1


def _elongation(extent: np.ndarray, spacing: np.ndarray) -> float:
    """Longest over shortest axis of the extent in the plane of its largest slice (1: round).

    The plane is across the largest voxel size, since thick slices elongate every lesion there.
    """
    *others, axis = slices_last(np.diag([*spacing, 1]))
    others = tuple(others)
    plane = np.take(extent, int(extent.sum(others).argmax()), axis)
    points = np.argwhere(plane) * spacing[list(others)]
    if len(points) < 3:
        return 1.0
    # A pixel has a size: its own variance keeps a row of two pixels from being a line.
    spread = np.cov(points.T) + np.diag(spacing[list(others)] ** 2) / 12
    values = np.linalg.eigvalsh(spread)
    return float(np.sqrt(values[1] / max(values[0], 1e-6)))


def _through_plane(extent: np.ndarray, spacing: np.ndarray) -> float:
    """Length across the slices over the width in the largest slice; at least a voxel each."""
    *others, axis = slices_last(np.diag([*spacing, 1]))
    counts = extent.sum(tuple(others))
    width = 2 * np.sqrt(counts.max() * spacing[others[0]] * spacing[others[1]] / np.pi)
    return float((counts > 0).sum() * spacing[axis] / width)


def _tubularity(patch: np.ndarray, spacing: np.ndarray, seed) -> float:
    """1 for a dark line, 0 for a dark ball: from the Hessian's eigenvalues at 1.2 mm
    (Frangi et al., MICCAI 1998: a line has two large curvatures, a ball three)."""
    smooth = ndimage.gaussian_filter(patch, 1.2 / spacing)
    gradient = np.gradient(smooth)
    hessian = np.empty((3, 3))
    for i, first in enumerate(gradient):
        for j, second in enumerate(np.gradient(first)):
            hessian[i, j] = second[tuple(seed)] / (spacing[i] * spacing[j])
    values = np.linalg.eigvalsh((hessian + hessian.T) / 2)
    return float(np.clip(1 - values[0] / max(values[1], 1e-6), 0, 2)) if values[1] > 0 else 2.0
