"""MARS regions at points of MNI152, from the committed label volume."""

from __future__ import annotations

import functools
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from cmburden.space.regions import REGIONS, RIGHT_OFFSET

_FOLDER = Path(__file__).parents[1] / "space" / "data"


ATLAS = _FOLDER / "mars_mni152.nii.gz"


#: Sources and limits of the atlas. Of the committed file, what its build did not record is null.
PROVENANCE = _FOLDER / "mars_mni152.json"


#: A point outside every region belongs to the nearest region within this distance.
REACH_MM = 10.0


@functools.cache
def load() -> tuple[np.ndarray, np.ndarray]:
    """Labels (x, y, z) int16, right + 100, and the RAS affine (1 mm MNI152 grid)."""
    image = nib.load(ATLAS)
    return np.asarray(image.dataobj, dtype=np.int16), image.affine


@functools.cache
def _surface() -> tuple[cKDTree, np.ndarray]:
    """Tree of the mm positions of the labelled voxels that touch the outside, and their labels."""
    labels, affine = load()
    inside = labels > 0
    edge = inside & ~ndimage.binary_erosion(inside)
    return cKDTree(nib.affines.apply_affine(affine, np.argwhere(edge))), labels[edge]


def labels_at(points: np.ndarray) -> np.ndarray:
    """Labels (n,) at MNI152 RAS mm ``points`` (n, 3); the nearest within 10 mm, else 0.

    >>> [mars.region_of(int(v))[:2][0].name for v in labels_at([[-12, -18, 8], [20, -60, -35]])]
    ['thalamus', 'cerebellum']
    """
    labels, affine = load()
    points = np.asarray(points, dtype=float).reshape(-1, 3)
    voxels = np.round(nib.affines.apply_affine(np.linalg.inv(affine), points)).astype(int)
    within = np.all((voxels >= 0) & (voxels < labels.shape), axis=1)
    found = np.zeros(len(points), dtype=np.int16)
    found[within] = labels[tuple(voxels[within].T)]
    outside = np.flatnonzero(found == 0)
    if outside.size:
        tree, edge_labels = _surface()
        distance, index = tree.query(points[outside], distance_upper_bound=REACH_MM)
        near = np.isfinite(distance)
        found[outside[near]] = edge_labels[index[near]]
    return found


def regions_on(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Labels (int16) on a grid in MNI152 RAS mm; 0 outside of the brain."""
    labels, own = load()
    voxels = np.indices(shape).reshape(3, -1).T
    found = nib.affines.apply_affine(np.linalg.inv(own) @ affine, voxels)
    values = ndimage.map_coordinates(labels, found.T, order=0, mode="constant")
    return values.reshape(shape)


def label_map() -> dict[str, str]:
    """Value (as text) of every label -> name, for the sidecar of a label image."""
    names = {}
    for side, offset in (("left", 0), ("right", RIGHT_OFFSET)):
        names |= {str(r.value + offset): f"{side} {r.name}" for r in REGIONS}
    return names
