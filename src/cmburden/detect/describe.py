"""A candidate's measures of shape, its view for YOLO, and its extent in voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes

from cmburden.detect.candidates import Candidate
from cmburden.detect.shape import Surface, measure
from cmburden.images.geometry import slices_last
from cmburden.images.views import view


def describe(
    volume: np.ndarray, mask: np.ndarray, affine: np.ndarray, candidates: Sequence[Candidate]
) -> tuple[list[dict[str, Any]], list[np.ndarray], list[np.ndarray]]:
    """Rows of shape measures, YOLO views (``images.views.SHAPE``) and extents of n candidates.

    ``volume`` and ``mask`` (x, y, z) lie on the scan's canonical grid, which ``affine`` leads to
    scanner RAS mm. An extent is an array (m, 3) of voxel indices.
    """
    if not candidates:
        return [], [], []
    surface = Surface(mask, voxel_sizes(affine))
    order = slices_last(affine)
    turned, turned_affine = _slices_whole(volume.transpose(order)), affine[:, [*order, 3]]
    rows: list[dict[str, Any]] = []
    views: list[np.ndarray] = []
    voxels: list[np.ndarray] = []
    for candidate in candidates:
        centre = np.array(candidate.centre_mm)
        shape = measure(volume, surface, affine, centre)
        views.append(view(turned, turned_affine, centre))
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
    return rows, views, voxels


def _slices_whole(volume: np.ndarray) -> np.ndarray:
    """``volume`` (x, y, slice) with each slice in one piece of the memory, as views take them."""
    if volume.strides[2] == max(volume.strides):
        return volume
    return np.ascontiguousarray(volume.transpose(2, 0, 1)).transpose(1, 2, 0)
