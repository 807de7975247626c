"""Shape of a candidate on the scan's own grid: extent, depth, elongation, line-likeness, edge."""

from __future__ import annotations

import dataclasses

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage
from skimage.morphology import h_minima
from skimage.segmentation import watershed

from cmburden.images.geometry import slices_last, sphericity

#: Half-width of the neighbourhood that is measured.
REACH_MM = 9.0
#: Largest distance of an extent from the candidate, and out of the brain.
EXTENT_MM, OUTSIDE_MM = 6.0, 1.0
#: A neighbouring dark structure is parted from the spot by a rise of this share of the signal loss.
RISE = 0.4
#: Dark points within this distance of the spot's darkest point, or within this share of the slice
#: thickness, belong to the spot: blooming is dark in several points.
APART_MM, APART_SLICES = 2.0, 0.6
#: Steps from the darkest point to the surroundings, in which the watershed counts. Unmeasured.
_LEVELS = 20
#: The surroundings are a shell about the extent, between these distances from it.
SHELL_MM = (0.8, 3.0)
#: The signal around the spot is taken from this distance on. Unmeasured.
_RING_FROM_MM = 3.5
#: The darkest point lies within this distance of the candidate, or within this share of the largest
#: voxel size. Unmeasured.
_CORE_MM, _CORE_VOXELS = 1.5, 0.6
#: Standard deviation of the smoothing before the Hessian. Unmeasured.
_HESSIAN_MM = 1.2
#: Divisors are at least this: intensities, where the brain's median is 1, variances (mm2) and
#: curvatures.
_LEAST_SIGNAL, _LEAST_VARIANCE, _LEAST_CURVATURE = 1e-3, 1e-6, 1e-6
#: An extent of fewer pixels in its largest slice counts as round.
_LEAST_PIXELS = 3


@dataclasses.dataclass(frozen=True)
class Neighbourhood:
    """The neighbourhood of a candidate.

    ``signal`` and ``inside`` (the brain, bool) are (x, y, z) with voxels of ``spacing`` mm. ``low``
    is the patch's first voxel in the volume, ``distance`` (x, y, z) that of each voxel from the
    candidate in mm, ``seed`` the darkest voxel near the candidate, ``around`` the median signal
    away from it.
    """

    signal: np.ndarray
    inside: np.ndarray
    spacing: np.ndarray
    low: np.ndarray
    distance: np.ndarray
    seed: tuple[int, ...]
    around: float

    @property
    def floor(self) -> float:
        """Signal of the darkest voxel."""
        return float(self.signal[self.seed])


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
    patch = _patch(volume, depth_mm, affine, centre_mm)
    spacing = patch.spacing
    loss = 1 - patch.floor / max(patch.around, _LEAST_SIGNAL)
    near = patch.distance <= EXTENT_MM
    if patch.inside.any():
        near &= ndimage.distance_transform_edt(~patch.inside, spacing) <= OUTSIDE_MM
    extent = _extent(patch, near)
    outside = ndimage.distance_transform_edt(~extent, spacing)
    shell = (outside > SHELL_MM[0]) & (outside <= SHELL_MM[1]) & patch.inside
    volume_mm3 = float(extent.sum() * spacing.prod())
    return Shape(
        volume_mm3=volume_mm3,
        diameter_mm=float(np.cbrt(6 * volume_mm3 / np.pi)),
        elongation=_elongation(extent, spacing),
        contrast=float(np.clip(loss, 0, 1)),
        tubularity=_tubularity(patch),
        edge_mm=float(depth_mm[tuple(patch.low + patch.seed)]),
        sphericity=sphericity(extent, spacing),
        through_plane=_through_plane(extent, spacing),
        surroundings=float(np.median(patch.signal[shell])) if shell.any() else patch.around,
        voxels=np.argwhere(extent) + patch.low,
    )


def _patch(
    volume: np.ndarray, depth_mm: np.ndarray, affine: np.ndarray, centre_mm: np.ndarray
) -> Neighbourhood:
    """The neighbourhood of ``centre_mm`` within ``REACH_MM``, cut at the volume's border."""
    spacing = voxel_sizes(affine)
    at = np.linalg.inv(affine)[:3, :3] @ (np.asarray(centre_mm) - affine[:3, 3])
    reach = np.maximum(2, np.ceil(REACH_MM / spacing)).astype(int)
    low = np.maximum(np.round(at).astype(int) - reach, 0)
    high = np.minimum(np.round(at).astype(int) + reach + 1, volume.shape)
    low = np.minimum(low, high - 1)
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    signal, inside = volume[part], depth_mm[part] > 0
    offset = (np.indices(signal.shape).transpose(1, 2, 3, 0) + low - at) * spacing
    distance = np.sqrt((offset**2).sum(-1))
    ring = (distance > _RING_FROM_MM) & (distance <= REACH_MM) & inside
    core = distance <= max(_CORE_MM, float(spacing.max()) * _CORE_VOXELS)
    darkest = int(np.where(core, signal, np.inf).argmin())
    seed = tuple(int(index) for index in np.unravel_index(darkest, signal.shape))
    around = float(np.median(signal[ring])) if ring.any() else 1.0
    return Neighbourhood(signal, inside, spacing, low, distance, seed, around)


def _extent(patch: Neighbourhood, allowed: np.ndarray) -> np.ndarray:
    """The spot: the region about the seed below half of the signal loss, in ``allowed`` (bool).

    The spot ends where the next dark structure begins: a vein, the skull, another bleed. If they
    touch at half of the loss, the watershed between them is the border (Vincent and Soille, IEEE
    PAMI 1991;13:583). Otherwise a small bleed beside a dark sulcus would get the size of both.
    """
    signal, seed, floor = patch.signal, patch.seed, patch.floor
    dark = (signal < (floor + patch.around) / 2) & allowed
    dark[seed] = True
    region, _ = ndimage.label(dark)
    extent = region == region[seed]
    level = (signal - floor) / max(patch.around - floor, _LEAST_SIGNAL) * _LEVELS
    level = np.clip(np.round(level), -2 * _LEVELS, 2 * _LEVELS).astype(np.int16)
    beyond = np.where(extent, level, 2 * _LEVELS + 1)
    basins, number = ndimage.label(h_minima(beyond, round(RISE * _LEVELS)) * extent)
    far = np.linalg.norm((np.indices(signal.shape).T - seed) * patch.spacing, axis=-1).T
    near = far <= max(APART_MM, APART_SLICES * patch.spacing.max())
    basins[np.isin(basins, basins[near & (basins > 0)])] = number + 1
    basins[seed] = number + 1
    return watershed(level, basins, mask=extent) == number + 1


def _elongation(extent: np.ndarray, spacing: np.ndarray) -> float:
    """Longest over shortest axis of the extent in the plane of its largest slice (1: round).

    The plane is across the largest voxel size, since thick slices elongate every lesion there.
    """
    *in_plane, axis = slices_last(np.diag([*spacing, 1]))
    plane = np.take(extent, int(extent.sum(tuple(in_plane)).argmax()), axis)
    points = np.argwhere(plane) * spacing[in_plane]
    if len(points) < _LEAST_PIXELS:
        return 1.0
    # A pixel has a size: its own variance keeps a row of two pixels from being a line.
    spread = np.cov(points.T) + np.diag(spacing[in_plane] ** 2) / 12
    values = np.linalg.eigvalsh(spread)
    return float(np.sqrt(values[1] / max(values[0], _LEAST_VARIANCE)))


def _through_plane(extent: np.ndarray, spacing: np.ndarray) -> float:
    """Length across the slices over the width in the largest slice; at least a voxel each."""
    *in_plane, axis = slices_last(np.diag([*spacing, 1]))
    counts = extent.sum(tuple(in_plane))
    width = 2 * np.sqrt(counts.max() * spacing[in_plane[0]] * spacing[in_plane[1]] / np.pi)
    return float((counts > 0).sum() * spacing[axis] / width)


def _tubularity(patch: Neighbourhood) -> float:
    """1 for a dark line, 0 for a dark ball, up to 2: from the Hessian's eigenvalues at the seed.

    A line has two large curvatures, a ball three (Frangi et al., MICCAI 1998).
    """
    spacing = patch.spacing
    smooth = ndimage.gaussian_filter(patch.signal, _HESSIAN_MM / spacing)
    gradient = np.gradient(smooth)
    hessian = np.empty((3, 3))
    for i, first in enumerate(gradient):
        for j, second in enumerate(np.gradient(first)):
            hessian[i, j] = second[patch.seed] / (spacing[i] * spacing[j])
    values = np.linalg.eigvalsh((hessian + hessian.T) / 2)
    if values[1] <= 0:
        return 2.0
    return float(np.clip(1 - values[0] / max(values[1], _LEAST_CURVATURE), 0, 2))
