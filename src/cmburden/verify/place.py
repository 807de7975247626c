"""Place of a candidate: MARS region and side from the scan's own region volume, and MNI152 mm."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from cmburden.space.regions import region_of

#: A centre outside every region takes the nearest within this distance.
REACH_MM = 10.0


def places(
    points_mm: np.ndarray, regions: np.ndarray, affine: np.ndarray
) -> list[tuple[str, str, str]]:
    """(region, group, hemisphere) of each point.

    ``points_mm`` (n, 3) scanner RAS; ``regions`` (x, y, z) as `_desc-MARS_dseg`, ``affine`` its.
    Ties in distance go to the smaller label, so that nothing is left to chance.
    """
    spacing = voxel_sizes(affine)
    inverse = np.linalg.inv(affine)
    reach = np.ceil(REACH_MM / spacing).astype(int)
    found = []
    for point in np.asarray(points_mm, float).reshape(-1, 3):
        at = apply_affine(inverse, point)
        nearest = np.round(at).astype(int)
        label = 0
        if ((nearest >= 0) & (nearest < regions.shape)).all():
            label = int(regions[tuple(nearest)])
        if label == 0:
            low = np.maximum(nearest - reach, 0)
            high = np.minimum(nearest + reach + 1, regions.shape)
            if (low < high).all():
                patch = regions[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
                index = np.argwhere(patch > 0)
                if len(index):
                    far = np.linalg.norm((index + low - at) * spacing, axis=1)
                    labels = patch[tuple(index.T)]
                    best = np.lexsort((labels, np.round(far, 6)))[0]
                    label = int(labels[best]) if far[best] <= REACH_MM else 0
        region, side = region_of(label)
        found.append((region.name, region.group, side))
    return found


@lru_cache(maxsize=1)
def _ventricle_map() -> tuple[np.ndarray, np.ndarray]:
    """Distance to the lateral ventricles (mm) on a 2 mm grid of MNI152, and its inverse affine.

    Ventricles are what is neither grey nor white matter deep in nilearn's template, above the
    brainstem and the cerebellum, in parts of a millilitre and more.
    """
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    from cmburden.space import atlas as space_atlas

    image = load_mni152_gm_template(resolution=2)
    tissue = np.asarray(image.dataobj) + np.asarray(
        load_mni152_wm_template(resolution=2).dataobj
    )  # fmt: skip
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(tissue > 0.3, iterations=3))
    mars = space_atlas.regions_on(tissue.shape, image.affine) % 100
    hollow = brain & (tissue < 0.4) & ~np.isin(mars, (1, 2))
    hollow &= ndimage.distance_transform_edt(brain, 2.0) > 20
    parts, _ = ndimage.label(hollow)
    sizes = np.bincount(parts.ravel()) * 8
    large = (sizes >= 1000)[parts] & hollow
    return ndimage.distance_transform_edt(~large, 2.0), np.linalg.inv(image.affine)


def ventricle_distance(points_mm: np.ndarray) -> np.ndarray:
    """Distance (n,) in mm of points (n, 3) in MNI152 to the template's lateral ventricles."""
    distance, inverse = _ventricle_map()
    index = np.asarray(points_mm, float).reshape(-1, 3) @ inverse[:3, :3].T + inverse[:3, 3]
    return ndimage.map_coordinates(distance, index.T, order=1, mode="nearest")


#: Where calcium is usual in old people, in MNI152: (x without its sign, y, z) mm and half axes,
#: 3 mm of a registration's error in old brains included (after Mai, Majtanik and Paxinos, Atlas of
#: the Human Brain). The choroid plexus lies in the ventricles (:func:`ventricle_distance`).
PALLIDUM = ((19.0, -5.0, -1.0), (11.0, 13.0, 10.0))
PINEAL = ((0.0, -28.0, 2.0), (5.0, 6.0, 6.0))


def at_site(points_mm: np.ndarray, site: tuple) -> np.ndarray:
    """1 in the middle of a ``site`` of calcium, 0.5 at its rim, towards 0 outside; (n,).

    ``points_mm`` (n, 3) in MNI152. What a dark spot there is worth the calibration scans say: a
    pallidum has microbleeds too, a pineal gland has none.

    >>> at_site(np.array([[-19.0, -5, -1], [19, 8, -1], [40, 30, 20]]), PALLIDUM).round(2).tolist()
    [1.0, 0.5, 0.0]
    """
    points = np.asarray(points_mm, float).reshape(-1, 3) * 1.0
    points[:, 0] = np.abs(points[:, 0])
    centre, half = site
    return 1 / (1 + np.linalg.norm((points - centre) / np.array(half), axis=1) ** 6)


def near_ventricle(distance_mm: np.ndarray) -> np.ndarray:
    """1 in the ventricles, where the choroid plexus is, 0.5 at 3 mm (a registration's error in old
    brains), towards 0 beyond; (n,)."""
    return 1 / (1 + (np.maximum(distance_mm, 0) / 3.0) ** 4)


#: How well the two sides of a brain, and calcium of both, agree after registration, mm.
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
        own = np.flatnonzero(scans == scan)
        other = points[own] * np.array([-1.0, 1.0, 1.0])
        far = np.linalg.norm(points[own][:, None] - other[None], axis=2)
        worth = scores[own][None] * np.exp(-0.5 * (far / MIRROR_MM) ** 2)
        np.fill_diagonal(worth, 0.0)
        best[own] = worth.max(1)
    return best
