"""Shape of a candidate on the scan's own grid: extent, depth, elongation, line-likeness, edge."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.morphology import h_minima
from skimage.segmentation import watershed

from cmburden.images import geometry
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
#: The smoothing reaches so many standard deviations (scipy's own choice).
_TRUNCATE = 4.0
#: Divisors are at least this: intensities, where the brain's median is 1, variances (mm2) and
#: curvatures.
_LEAST_SIGNAL, _LEAST_VARIANCE, _LEAST_CURVATURE = 1e-3, 1e-6, 1e-6
#: An extent of fewer pixels in its largest slice counts as round.
_LEAST_PIXELS = 3
#: Steps to the six voxels that share a face with a voxel.
_FACES = np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)])


class Surface:
    """The border of a scan's brain, for all its candidates.

    ``mask`` (bool, x, y, z) is the brain, with voxels of ``spacing`` mm.
    """

    def __init__(self, mask: np.ndarray, spacing: np.ndarray):
        self.mask, self.spacing = mask, spacing
        # The background voxel that is nearest to a voxel of the brain touches the brain by a face.
        part = geometry.box(mask, 1)
        inside = mask[part]
        border = np.column_stack(np.nonzero((_dilated(inside, _FACES) & ~inside).T)[::-1])
        self._border = border + [side.start for side in part]
        self._tree = cKDTree(self._border * spacing, compact_nodes=False, balanced_tree=False)
        reach = np.floor(OUTSIDE_MM / spacing).astype(int)
        steps = geometry.steps_within(reach)
        self._beside = steps[np.sqrt(((steps * spacing) ** 2).sum(1)) <= OUTSIDE_MM]

    def depth_mm(self, voxel: np.ndarray) -> float:
        """Distance from the centre of ``voxel`` (3,) to the nearest one outside the brain, mm.

        0 outside of the brain, infinite where the brain fills the volume.
        """
        if not self.mask[tuple(voxel)]:
            return 0.0
        if not len(self._border):
            return float("inf")
        _, nearest = self._tree.query(voxel * self.spacing)
        step = (self._border[nearest] - voxel) * self.spacing
        return float(np.float32(np.sqrt((step**2).sum())))

    def beside(self, inside: np.ndarray) -> np.ndarray:
        """Voxels within ``OUTSIDE_MM`` of ``inside`` (bool, x, y, z), a part of the mask."""
        return _dilated(inside, self._beside)


def _dilated(mask: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Union of ``mask`` (bool, x, y, z) moved by each of ``steps`` (n, 3) voxels."""
    result = mask.copy(order="K")
    for step in steps:
        to, start = (
            tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(way, mask.shape, strict=True))
            for way in (step, -step)
        )
        result[to] |= mask[start]
    return result


@dataclasses.dataclass(frozen=True)
class Neighbourhood:
    """The neighbourhood of a candidate.

    ``signal``, ``inside`` (the brain, bool) and ``allowed`` (the voxels that an extent may have,
    bool) are (x, y, z) with voxels of ``spacing`` mm. ``low`` is the patch's first voxel in the
    volume, ``seed`` the darkest voxel near the candidate, ``around`` the median signal away from
    it.
    """

    signal: np.ndarray
    inside: np.ndarray
    allowed: np.ndarray
    spacing: np.ndarray
    low: np.ndarray
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
    volume: np.ndarray, surface: Surface, affine: np.ndarray, centre_mm: np.ndarray
) -> Shape:
    """Measure the dark spot at ``centre_mm`` (scanner RAS).

    ``volume`` (x, y, z) has median 1 in the brain, whose border is ``surface``. Through thick
    slices the extent is as blocky as they are.
    """
    patch = _patch(volume, surface, affine, centre_mm)
    spacing = patch.spacing
    loss = 1 - patch.floor / max(patch.around, _LEAST_SIGNAL)
    low, extent = _extent(patch)
    surroundings = _surroundings(patch, low, extent)
    volume_mm3 = float(extent.sum() * spacing.prod())
    return Shape(
        volume_mm3=volume_mm3,
        diameter_mm=float(np.cbrt(6 * volume_mm3 / np.pi)),
        elongation=_elongation(extent, spacing),
        contrast=float(np.clip(loss, 0, 1)),
        tubularity=_tubularity(patch),
        edge_mm=surface.depth_mm(patch.low + patch.seed),
        sphericity=sphericity(extent, spacing),
        through_plane=_through_plane(extent, spacing),
        surroundings=patch.around if surroundings is None else surroundings,
        voxels=np.argwhere(extent) + low + patch.low,
    )


def _patch(
    volume: np.ndarray, surface: Surface, affine: np.ndarray, centre_mm: np.ndarray
) -> Neighbourhood:
    """The neighbourhood of ``centre_mm`` within ``REACH_MM``, cut at the volume's border."""
    spacing = surface.spacing
    at = np.linalg.inv(affine)[:3, :3] @ (np.asarray(centre_mm) - affine[:3, 3])
    reach = np.maximum(2, np.ceil(REACH_MM / spacing)).astype(int)
    low = np.maximum(np.round(at).astype(int) - reach, 0)
    high = np.minimum(np.round(at).astype(int) + reach + 1, volume.shape)
    low = np.minimum(low, high - 1)
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    signal, inside = (np.ascontiguousarray(array[part]) for array in (volume, surface.mask))
    distance = _distance(signal.shape, low - at, spacing)
    ring = (distance > _RING_FROM_MM) & (distance <= REACH_MM) & inside
    core = distance <= max(_CORE_MM, float(spacing.max()) * _CORE_VOXELS)
    darkest = int(np.where(core, signal, np.inf).argmin())
    seed = tuple(int(index) for index in np.unravel_index(darkest, signal.shape))
    around = float(np.median(signal[ring])) if ring.any() else 1.0
    allowed = distance <= EXTENT_MM
    if inside.any():
        allowed &= surface.beside(inside)
    return Neighbourhood(signal, inside, allowed, spacing, low, seed, around)


def _distance(shape: tuple[int, ...], start: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distances (x, y, z) in mm of a grid's voxels, of which the first lies at ``start`` voxels."""
    x, y, z = (
        ((np.arange(n) + first) * mm) ** 2
        for n, first, mm in zip(shape, start, spacing, strict=True)
    )
    return np.sqrt((x[:, None, None] + y[:, None]) + z)


def _extent(patch: Neighbourhood) -> tuple[np.ndarray, np.ndarray]:
    """The spot: the region about the seed below half of the signal loss, where it is allowed.

    Its first voxel (3,) in the patch, and the spot (bool) in the smallest box that holds the
    region. The spot ends where the next dark structure begins: a vein, the skull, another bleed.
    If they touch at half of the loss, the watershed between them is the border (Vincent and
    Soille, IEEE PAMI 1991;13:583). Otherwise a small bleed beside a dark sulcus would get the size
    of both.
    """
    dark = (patch.signal < (patch.floor + patch.around) / 2) & patch.allowed
    dark[patch.seed] = True
    part = geometry.box(dark)
    regions, _ = ndimage.label(dark[part])
    low = np.array([side.start for side in part])
    region = regions == regions[tuple(np.array(patch.seed) - low)]
    part = geometry.box(region)
    region = region[part]
    low = low + [side.start for side in part]
    spot = _parted(patch, low, region)
    if spot is region:
        return low, region
    part = geometry.box(spot)
    return low + [side.start for side in part], spot[part]


def _parted(patch: Neighbourhood, low: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The part of ``region`` (bool) that belongs to the seed, by the watershed; bool.

    ``low`` (3,) is the region's first voxel in the patch.
    """
    part = tuple(slice(start, start + n) for start, n in zip(low, region.shape, strict=True))
    seed = tuple(np.array(patch.seed) - low)
    far = _distance(region.shape, -np.array(seed), patch.spacing)
    near = far <= max(APART_MM, APART_SLICES * patch.spacing.max())
    scale = max(patch.around - patch.floor, _LEAST_SIGNAL)
    rise = round(RISE * _LEVELS)
    level = (patch.signal[part] - patch.floor) / scale * _LEVELS
    level = np.clip(np.round(level), -2 * _LEVELS, 2 * _LEVELS).astype(np.int16)
    # A point that is no lowest one, and from which the region rises less than ``RISE`` to its
    # highest, is no minimum.
    within = level[region]
    deep = region & (level <= max(int(within.max()) - rise, int(within.min())))
    if not (deep & ~near).any():
        return region
    # A rim beyond the region, higher than all of it, is all that the minima need of the patch.
    beyond = np.pad(np.where(region, level, 2 * _LEVELS + 1), 1, constant_values=2 * _LEVELS + 1)
    minima = h_minima(beyond, rise)[1:-1, 1:-1, 1:-1]
    basins, number = ndimage.label(minima * region)
    basins[np.isin(basins, basins[near & (basins > 0)])] = number + 1
    basins[seed] = number + 1
    if (basins[basins > 0] == number + 1).all():
        return region
    return watershed(level, basins, mask=region) == number + 1


def _surroundings(patch: Neighbourhood, low: np.ndarray, extent: np.ndarray) -> float | None:
    """Median signal of the brain in a shell about ``extent``; None of an empty shell."""
    margin = np.ceil(SHELL_MM[1] / patch.spacing).astype(int)
    start = np.maximum(low - margin, 0)
    stop = np.minimum(low + extent.shape + margin, patch.signal.shape)
    part = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    beyond = np.ones(stop - start, bool)
    beyond[tuple(slice(a, a + n) for a, n in zip(low - start, extent.shape, strict=True))] = ~extent
    outside = ndimage.distance_transform_edt(beyond, patch.spacing)
    shell = (outside > SHELL_MM[0]) & (outside <= SHELL_MM[1]) & patch.inside[part]
    return float(np.median(patch.signal[part][shell])) if shell.any() else None


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
    smooth, seed = _smooth_about_seed(patch)
    hessian = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            hessian[i, j] = _second_difference(smooth, seed, i, j) / (spacing[i] * spacing[j])
    values = np.linalg.eigvalsh((hessian + hessian.T) / 2)
    if values[1] <= 0:
        return 2.0
    return float(np.clip(1 - values[0] / max(values[1], _LEAST_CURVATURE), 0, 2))


def _smooth_about_seed(patch: Neighbourhood) -> tuple[np.ndarray, tuple[int, ...]]:
    """The smoothed signal within two voxels of the seed, all that second differences need there.

    Also the seed's index in this window. Smoothing goes axis by axis, and each axis is cut to the
    window once it is smoothed.
    """
    sigma = _HESSIAN_MM / patch.spacing
    low = np.maximum(np.array(patch.seed) - 2, 0)
    high = np.minimum(np.array(patch.seed) + 3, patch.signal.shape)
    reach = (_TRUNCATE * sigma + 0.5).astype(int)
    start = np.maximum(low - reach, 0)
    smooth = patch.signal[tuple(slice(a, b) for a, b in zip(start, high + reach, strict=True))]
    for axis in range(3):
        smooth = ndimage.gaussian_filter1d(smooth, sigma[axis], axis, truncate=_TRUNCATE)
        window = slice(low[axis] - start[axis], high[axis] - start[axis])
        smooth = smooth[tuple(window if other == axis else slice(None) for other in range(3))]
    return smooth, tuple(int(index) for index in np.array(patch.seed) - low)


def _second_difference(smooth: np.ndarray, at: tuple[int, ...], i: int, j: int) -> float:
    """Difference along axis ``j`` of the difference along axis ``i`` at ``at``, per voxel.

    Differences are central, and one-sided at the end of an axis (``numpy.gradient``).
    """
    line = smooth[tuple(slice(None) if axis in (i, j) else at[axis] for axis in range(3))]
    if i == j:
        return float(np.gradient(np.gradient(line))[at[i]])
    return float(_difference(_difference(line, int(i > j), at[i]), 0, at[j]))


def _difference(values: np.ndarray, axis: int, index: int) -> np.ndarray:
    """Difference of ``values`` along ``axis`` at ``index``, which drops the axis."""
    low, high = max(index - 1, 0), min(index + 1, values.shape[axis] - 1)
    return (values.take(high, axis) - values.take(low, axis)) / values.dtype.type(high - low)
