"""Place of a candidate: MARS region and side in the scan, sites of calcium in MNI152."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from cmburden.space import template
from cmburden.space.regions import region_of

#: A centre outside every region takes the nearest within this distance.
REACH_MM = 10.0
#: Distances of a centre to regions are compared to this many decimals of a millimetre.
_DISTANCE_DECIMALS = 6


def places(
    points_mm: np.ndarray, regions: np.ndarray, affine: np.ndarray
) -> list[tuple[str, str, str]]:
    """(region, group, hemisphere) of each of n points.

    ``points_mm`` (n, 3) scanner RAS; ``regions`` (x, y, z) as `_desc-MARS_dseg`, ``affine`` its.
    """
    inverse = np.linalg.inv(affine)
    named = []
    for point in np.asarray(points_mm, float).reshape(-1, 3):
        region, side = region_of(_label_at(apply_affine(inverse, point), regions, affine))
        named.append((region.name, region.group, side))
    return named


def _label_at(voxel: np.ndarray, regions: np.ndarray, affine: np.ndarray) -> int:
    """Label at ``voxel`` (3,), else the nearest within ``REACH_MM``; 0 where there is none.

    Of equally near labels the smallest is taken: nothing is left to chance.
    """
    middle = np.round(voxel).astype(int)
    if ((middle >= 0) & (middle < regions.shape)).all() and regions[tuple(middle)]:
        return int(regions[tuple(middle)])
    spacing = voxel_sizes(affine)
    reach = np.ceil(REACH_MM / spacing).astype(int)
    low = np.maximum(middle - reach, 0)
    high = np.minimum(middle + reach + 1, regions.shape)
    if (low >= high).any():
        return 0
    patch = regions[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    index = np.argwhere(patch > 0)
    if not len(index):
        return 0
    distance = np.linalg.norm((index + low - voxel) * spacing, axis=1)
    labels = patch[tuple(index.T)]
    best = np.lexsort((labels, np.round(distance, _DISTANCE_DECIMALS)))[0]
    return int(labels[best]) if distance[best] <= REACH_MM else 0


#: Share of grey and white matter from which a voxel of the template belongs to the head's inside,
#: and below which a voxel is hollow. By eye.
_SOME_TISSUE, _HOLLOW = 0.3, 0.4
#: Holes of the template's brain up to twice this many voxels are closed.
_CLOSING = 3
#: The lateral ventricles lie deeper below the brain's surface. By eye.
_DEEP_MM = 20.0
#: Smaller hollow parts are no ventricles: a millilitre. By eye.
_LEAST_VENTRICLE_MM3 = 1000.0
_TEMPLATE_MM = 2


@lru_cache(maxsize=1)
def _ventricle_map() -> tuple[np.ndarray, np.ndarray]:
    """Distance to the lateral ventricles (mm) on a 2 mm grid of MNI152, and its inverse affine.

    The ventricles are the parts of nilearn's template that hold neither grey nor white matter, lie
    deep and above brainstem and cerebellum, and have a millilitre or more.
    """
    grey, white, affine = template.grey_and_white(_TEMPLATE_MM)
    tissue = grey + white
    closed = ndimage.binary_closing(tissue > _SOME_TISSUE, iterations=_CLOSING)
    brain = ndimage.binary_fill_holes(closed)
    hollow = template.deep_fluid(brain, tissue < _HOLLOW, affine, _DEEP_MM)
    parts, _ = ndimage.label(hollow)
    sizes_mm3 = np.bincount(parts.ravel()) * _TEMPLATE_MM**3
    large = (sizes_mm3 >= _LEAST_VENTRICLE_MM3)[parts] & hollow
    return ndimage.distance_transform_edt(~large, _TEMPLATE_MM), np.linalg.inv(affine)


def ventricle_distance(points_mm: np.ndarray) -> np.ndarray:
    """Distance (n,) in mm of points (n, 3) in MNI152 to the template's lateral ventricles."""
    distance, inverse = _ventricle_map()
    index = np.asarray(points_mm, float).reshape(-1, 3) @ inverse[:3, :3].T + inverse[:3, 3]
    return ndimage.map_coordinates(distance, index.T, order=1, mode="nearest")


@dataclasses.dataclass(frozen=True)
class Site:
    """An ellipsoid on both sides of MNI152: centre (x without its sign, y, z), half axes, mm."""

    centre_mm: tuple[float, float, float]
    half_mm: tuple[float, float, float]


#: Where calcium is usual in old people, 3 mm of a registration's error in old brains included
#: (after Mai, Majtanik and Paxinos, Atlas of the Human Brain). The choroid plexus lies in the
#: ventricles (:func:`ventricle_distance`).
PALLIDUM = Site((19.0, -5.0, -1.0), (11.0, 13.0, 10.0))
PINEAL = Site((0.0, -28.0, 2.0), (5.0, 6.0, 6.0))
#: Exponents of the fall from 1 to 0 across a site's rim, and across the ventricles' wall: the
#: larger, the sharper. By eye; the weights of these features are fitted to the calibration scans.
_SITE_EXPONENT, _VENTRICLE_EXPONENT = 6, 4
#: A registration's error in old brains: half of the fall about the ventricles lies here.
_VENTRICLE_WALL_MM = 3.0


def at_site(points_mm: np.ndarray, site: Site) -> np.ndarray:
    """1 in the middle of a ``site`` of calcium, 0.5 at its rim, towards 0 outside; (n,).

    ``points_mm`` (n, 3) in MNI152. The weight of this feature is learnt from the calibration scans:
    a pallidum has microbleeds too, a pineal gland has none.

    >>> at_site(np.array([[-19.0, -5, -1], [19, 8, -1], [40, 30, 20]]), PALLIDUM).round(2).tolist()
    [1.0, 0.5, 0.0]
    """
    points = np.asarray(points_mm, float).reshape(-1, 3) * 1.0
    points[:, 0] = np.abs(points[:, 0])
    radii = np.linalg.norm((points - site.centre_mm) / np.array(site.half_mm), axis=1)
    return 1 / (1 + radii**_SITE_EXPONENT)


def near_ventricle(distance_mm: np.ndarray) -> np.ndarray:
    """1 in the ventricles, where the choroid plexus is, 0.5 at 3 mm, towards 0 beyond; (n,).

    >>> near_ventricle(np.array([-1.0, 3.0, 30.0])).round(3).tolist()
    [1.0, 0.5, 0.0]
    """
    outside = np.maximum(distance_mm, 0) / _VENTRICLE_WALL_MM
    return 1 / (1 + outside**_VENTRICLE_EXPONENT)


#: Standard deviation of the position of a mirrored candidate: how well the two sides of a brain,
#: and calcium of both, agree after registration.
MIRROR_MM = 6.0


def mirrored(points_mm: np.ndarray, scores: np.ndarray, scans: np.ndarray) -> np.ndarray:
    """The best score of another candidate at the mirrored place, falling with its distance; (n,).

    ``points_mm`` (n, 3) in MNI152, ``scores`` (n,) in 0..1, ``scans`` (n,) names the scan of each.
    Calcium in pallidum and choroid plexus mostly lies on both sides alike, microbleeds do not.

    >>> at = np.array([[19.0, -5, 0], [-19, -5, 0], [-40, 30, 20]])
    >>> mirrored(at, np.array([0.9, 0.8, 0.7]), np.array(["a", "a", "a"])).round(2).tolist()
    [0.8, 0.9, 0.0]
    """
    points = np.asarray(points_mm, float).reshape(-1, 3)
    best = np.zeros(len(points))
    for scan in np.unique(scans):
        of_scan = np.flatnonzero(scans == scan)
        here = points[of_scan]
        there = here * np.array([-1.0, 1.0, 1.0])
        distance = np.linalg.norm(here[:, None] - there[None], axis=2)
        weighted = scores[of_scan][None] * np.exp(-0.5 * (distance / MIRROR_MM) ** 2)
        np.fill_diagonal(weighted, 0.0)
        best[of_scan] = weighted.max(1)
    return best
