"""Place of a candidate: MARS region and side from the scan's own region volume, and MNI152 mm."""

from __future__ import annotations

import numpy as np

from cmburden.mars import region_of

#: A centre outside every region takes the nearest within this distance.
REACH_MM = 10.0


def places(
    points_mm: np.ndarray, regions: np.ndarray, affine: np.ndarray
) -> list[tuple[str, str, str]]:
    """(region, group, hemisphere) of each point.

    ``points_mm`` (n, 3) scanner RAS; ``regions`` (x, y, z) as `_desc-MARS_dseg`, ``affine`` its.
    Ties in distance go to the smaller label, so that nothing is left to chance.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    inverse = np.linalg.inv(affine)
    reach = np.ceil(REACH_MM / spacing).astype(int)
    found = []
    for point in np.asarray(points_mm, float).reshape(-1, 3):
        at = inverse[:3, :3] @ point + inverse[:3, 3]
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
