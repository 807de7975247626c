"""MARS regions at points of MNI152, from the committed label volume."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.spatial import cKDTree

from cmburden.images.volume import open_image
from cmburden.space.regions import REGIONS, RIGHT_OFFSET

_FOLDER = Path(__file__).parent / "data"
ATLAS = _FOLDER / "mars_mni152.nii.gz"
#: Sources and limits of the atlas. The first build did not record all of them: those are null.
PROVENANCE = _FOLDER / "mars_mni152.json"
#: A point outside every region belongs to the nearest region within this distance (by eye).
REACH_MM = 10.0


@functools.cache
def load() -> tuple[np.ndarray, np.ndarray]:
    """Labels (x, y, z) int16, right + 100, and the RAS affine (1 mm MNI152 grid)."""
    image = open_image(ATLAS)
    return np.asarray(image.dataobj, dtype=np.int16), image.affine


@functools.cache
def _surface() -> tuple[cKDTree, np.ndarray]:
    """Tree of the mm positions of the labelled voxels that touch the outside, and their labels."""
    labels, affine = load()
    inside = labels > 0
    edge = inside & ~ndimage.binary_erosion(inside)
    return cKDTree(apply_affine(affine, np.argwhere(edge))), labels[edge]


def labels_at(points: np.ndarray) -> np.ndarray:
    """Labels (n,) at MNI152 RAS mm ``points`` (n, 3); the nearest within 10 mm, else 0.

    >>> from cmburden.space.regions import region_of
    >>> [region_of(int(v))[0].name for v in labels_at([[-12, -18, 8], [20, -60, -35]])]
    ['thalamus', 'cerebellum']
    """
    labels, affine = load()
    points = np.asarray(points, dtype=float).reshape(-1, 3)
    voxels = np.round(apply_affine(np.linalg.inv(affine), points)).astype(int)
    within = np.all((voxels >= 0) & (voxels < labels.shape), axis=1)
    values = np.zeros(len(points), dtype=np.int16)
    values[within] = labels[tuple(voxels[within].T)]
    outside = np.flatnonzero(values == 0)
    if outside.size:
        tree, edge_labels = _surface()
        distance, index = tree.query(points[outside], distance_upper_bound=REACH_MM)
        near = np.isfinite(distance)
        values[outside[near]] = edge_labels[index[near]]
    return values


def regions_on(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Labels (int16) on a grid of ``shape``, ``affine`` to MNI152 RAS mm; 0 outside the brain."""
    labels, atlas_affine = load()
    voxels = np.indices(shape).reshape(3, -1).T
    at = apply_affine(np.linalg.inv(atlas_affine) @ affine, voxels)
    values = ndimage.map_coordinates(labels, at.T, order=0, mode="constant")
    return values.reshape(shape)


def label_map() -> dict[str, str]:
    """Value (as text) of every label -> name, for the sidecar of a label image."""
    return {
        str(region.value + offset): f"{side} {region.name}"
        for side, offset in (("left", 0), ("right", RIGHT_OFFSET))
        for region in REGIONS
    }
