"""ANTs for arrays: images between numpy and ANTs, and the registrations that the package uses.

Affines of the package are RAS; the physical space of ANTs is LPS. An image of ANTs has an origin, a
spacing and an orthonormal direction. The voxel axes of a real scan are orthogonal up to rounding:
the direction is the nearest orthonormal matrix.
"""

from __future__ import annotations

import os
import tempfile
from types import ModuleType
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

if TYPE_CHECKING:
    from ants.core.ants_image import ANTsImage
    from ants.core.ants_transform import ANTsTransform

#: RAS to LPS and back: the first two coordinates change sign.
FLIP = np.diag([-1.0, -1.0, 1.0])
#: Seed of the voxels that the metric samples, so that two runs give equal transforms.
_SEED = 1
_METRIC = "mattes"
#: Most iterations at each resolution, from coarse to fine, none at the finest (by eye).
_LINEAR_ITERATIONS = (500, 250, 100, 0)
#: Most iterations at twice the voxels and at the voxels themselves, of an affine that goes on from
#: another one, and of SyN (docs/decisions.md).
_LAST_ITERATIONS = (60, 30)
_SYN_ITERATIONS = (40, 20)


def load_ants() -> ModuleType:
    """The ants module, held to one thread.

    With more threads, sums are added in the order in which the threads end: two runs then differ
    in the last bits. ITK reads the limit when ITK is first used.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    import ants

    return ants


def flipped(affine: np.ndarray) -> np.ndarray:
    """The affine (4 x 4) to LPS mm of an ``affine`` to RAS mm, or the other way round.

    >>> flipped(np.diag([2.0, 2.0, 3.0, 1.0])).diagonal().tolist()
    [-2.0, -2.0, 3.0, 1.0]
    """
    other = affine.copy()
    other[:3] = FLIP @ affine[:3]
    return other


def ants_image(data: np.ndarray, affine: np.ndarray) -> ANTsImage:
    """ANTs image (float32) of ``data`` (x, y, z) with a 4 x 4 RAS ``affine``."""
    sizes = voxel_sizes(affine)
    left, _, right = np.linalg.svd(FLIP @ (affine[:3, :3] / sizes))
    return load_ants().from_numpy(
        np.ascontiguousarray(data, dtype=np.float32),
        origin=[float(value) for value in FLIP @ affine[:3, 3]],
        spacing=[float(value) for value in sizes],
        direction=left @ right,
    )


def affine_of(image: ANTsImage) -> np.ndarray:
    """RAS affine of an ANTs image.

    >>> affine = np.array([[0.0, -2, 0, 5], [1, 0, 0, -7], [0, 0, 3, 9], [0, 0, 0, 1]])
    >>> bool(np.allclose(affine_of(ants_image(np.zeros((4, 5, 6)), affine)), affine))
    True
    """
    affine = np.eye(4)
    affine[:3, :3] = FLIP @ image.direction @ np.diag(image.spacing)
    affine[:3, 3] = FLIP @ np.asarray(image.origin)
    return affine


def matrix_and_offset(transform: ANTsTransform) -> tuple[np.ndarray, np.ndarray]:
    """Matrix (3, 3) and offset (3,) of an ITK affine, LPS mm.

    With ITK's centre c and translation t: M (p - c) + c + t = M p + (t + c - M c).
    """
    parameters = np.asarray(transform.parameters, dtype=float)
    centre = np.asarray(transform.fixed_parameters, dtype=float)
    matrix = parameters[:9].reshape(3, 3)
    return matrix, parameters[9:] + centre - matrix @ centre


def register(
    fixed: ANTsImage, moving: ANTsImage, kind: str, folder: str, **options: Any
) -> list[str]:
    """ANTs' registration with a fixed seed: the files in ``folder`` that map fixed to moving.

    ``kind`` is ANTs' ``type_of_transform``; ``options`` are those of ``ants.registration``. The
    list has the order in which ``ants.apply_transforms`` takes the files.
    """
    return load_ants().registration(
        fixed, moving, kind, random_seed=_SEED, outprefix=f"{folder}/{kind}_", **options
    )["fwdtransforms"]


def rigid(fixed: ANTsImage, moving: ANTsImage) -> tuple[np.ndarray, np.ndarray]:
    """Rotation matrix (3, 3) and offset (3,) from ``fixed`` to ``moving``, LPS mm."""
    return _linear(fixed, moving, "Rigid")


def affine(
    fixed: ANTsImage,
    moving: ANTsImage,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix (3, 3) and offset (3,) of the affine from ``fixed`` to ``moving``, LPS mm.

    With ``start``, an affine of the same form, iterations at the fine resolutions go on.
    """
    return _linear(fixed, moving, "Affine", start)


def syn(
    fixed: ANTsImage, moving: ANTsImage, matrix: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """SyN (Avants et al., Med Image Anal 2008) from ``fixed`` to ``moving`` after an affine.

    Parameters
    ----------
    matrix, offset : arrays (3, 3) and (3,)
        The affine from fixed to moving, LPS mm.

    Returns
    -------
    field (x, y, z, 3) float32 of displacements in mm, which come before the affine; grid (4 x 4),
    voxel index of the field to LPS mm.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = register(
            fixed,
            moving,
            "SyNOnly",
            folder,
            initial_transform=_written(matrix, offset, folder),
            syn_metric=_METRIC,
            reg_iterations=_SYN_ITERATIONS,
        )
        warp = next(name for name in files if name.endswith("Warp.nii.gz"))
        image = nib.Nifti1Image.from_filename(warp)
        field = np.asarray(image.dataobj, dtype=np.float32)[..., 0, :]
    return field, flipped(image.affine)


def affine_transform(matrix: np.ndarray, offset: np.ndarray) -> ANTsTransform:
    """ITK's affine of ``matrix`` (3, 3) and ``offset`` (3,), LPS mm."""
    return load_ants().create_ants_transform(
        transform_type="AffineTransform",
        precision="double",
        dimension=3,
        matrix=matrix,
        translation=list(offset),
        center=[0.0, 0.0, 0.0],
    )


def _written(matrix: np.ndarray, offset: np.ndarray, folder: str) -> str:
    """The file in ``folder`` of an affine."""
    path = f"{folder}/start.mat"
    load_ants().write_transform(affine_transform(matrix, offset), path)
    return path


def _linear(
    fixed: ANTsImage,
    moving: ANTsImage,
    kind: str,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"aff_iterations": _LINEAR_ITERATIONS}
        if start is not None:
            options["initial_transform"] = _written(*start, folder)
            options |= {
                "aff_iterations": _LAST_ITERATIONS,
                "aff_shrink_factors": (2, 1),
                "aff_smoothing_sigmas": (1, 0),
            }
        files = register(fixed, moving, kind, folder, aff_metric=_METRIC, **options)
        return matrix_and_offset(load_ants().read_transform(files[0]))
