"""Between numpy arrays with RAS affines and ANTs images, whose physical space is LPS.

ANTs holds an image as origin, spacing and an orthonormal direction. Voxel axes of a real scan are
orthogonal to within rounding; the nearest orthonormal matrix is taken.
"""

from __future__ import annotations

import os

import numpy as np
from nibabel.affines import voxel_sizes

#: RAS to LPS and back: the first two coordinates change sign.
FLIP = np.diag([-1.0, -1.0, 1.0])


def load_ants():
    """The ants module, held to one thread: with more, sums are added in the order in which threads
    end, and two runs differ in the last bits. ITK reads the limit when it is first used."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    import ants

    return ants


def ants_image(data: np.ndarray, affine: np.ndarray):
    """ANTs image (float32) of ``data`` (x, y, z) with a 4 x 4 RAS ``affine``."""
    sizes = voxel_sizes(affine)
    left, _, right = np.linalg.svd(FLIP @ (affine[:3, :3] / sizes))
    return load_ants().from_numpy(
        np.ascontiguousarray(data, dtype=np.float32),
        origin=[float(value) for value in FLIP @ affine[:3, 3]],
        spacing=[float(value) for value in sizes],
        direction=left @ right,
    )


def affine_of(image) -> np.ndarray:
    """RAS affine of an ANTs image.

    >>> affine = np.array([[0.0, -2, 0, 5], [1, 0, 0, -7], [0, 0, 3, 9], [0, 0, 0, 1]])
    >>> bool(np.allclose(affine_of(ants_image(np.zeros((4, 5, 6)), affine)), affine))
    True
    """
    affine = np.eye(4)
    affine[:3, :3] = FLIP @ image.direction @ np.diag(image.spacing)
    affine[:3, 3] = FLIP @ np.asarray(image.origin)
    return affine
