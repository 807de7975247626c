"""What a candidate looks like: measures of shape, YOLO's view, the extent in voxels."""

from __future__ import annotations

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from cmburden.detect.shape import measure
from cmburden.images.geometry import slices_last
from cmburden.images.views import view


def describe(volume, mask, affine, candidates) -> tuple[list[dict], list, list]:
    """Rows of shape measures, YOLO views and extents (voxel indices) of candidates.

    ``volume`` and ``mask`` (x, y, z) on the scan's canonical grid; the depth below the brain's
    surface is taken once for all candidates.
    """
    depth = ndimage.distance_transform_edt(mask, voxel_sizes(affine)).astype(np.float32)
    order = slices_last(affine)
    turned, turned_affine = volume.transpose(order), affine[:, [*order, 3]]
    rows, pictures, voxels = [], [], []
    for candidate in candidates:
        centre = np.array(candidate.centre_mm)
        shape = measure(volume, depth, affine, centre)
        pictures.append(view(turned, turned_affine, centre))
        voxels.append(shape.voxels)
        rows.append(
            {
                "x_mm": round(float(centre[0]), 3),
                "y_mm": round(float(centre[1]), 3),
                "z_mm": round(float(centre[2]), 3),
                "p_cnn": round(candidate.p_cnn, 6),
                "volume_mm3": round(shape.volume_mm3, 4),
                "diameter_mm": round(shape.diameter_mm, 4),
                "elongation": round(shape.elongation, 4),
                "contrast": round(shape.contrast, 4),
                "tubularity": round(shape.tubularity, 4),
                "edge_mm": round(shape.edge_mm, 4),
                "sphericity": round(shape.sphericity, 4),
                "through_plane": round(shape.through_plane, 4),
                "surroundings": round(shape.surroundings, 4),
            }
        )
    return rows, pictures, voxels
