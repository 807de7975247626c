"""The transform from scan to MNI152: apply, compose, compress, save and load."""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from cmburden.core.files import whole_file
from cmburden.core.paths import Layout
from cmburden.images import geometry
from cmburden.images import volume as images
from cmburden.space.ants import FLIP, ants_image, load_ants

_SPACING_MM = 2.0


#: Spacing and step of the stored field: SyN's fields are smooth over 12 mm.
_FIELD_SPACING_MM = 4.0


_FIELD_STEP_MM = 1 / 64
#: gzip's level for the field: 0.1 s and a sixth smaller than level 1; level 9 takes 0.6 s for
#: another tenth (three scans of the demo).
_FIELD_COMPRESSION = 6


@dataclasses.dataclass(frozen=True)
class Transform:
    """Scan to MNI152: ``points -> matrix @ (points + field(points)) + offset``, all in LPS mm.

    ``field`` (x, y, z, 3) lies on a grid with voxel-to-LPS ``grid`` (4 x 4); None: affine only.
    """

    matrix: np.ndarray
    offset: np.ndarray
    field: np.ndarray | None = None
    grid: np.ndarray | None = None

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """MNI152 RAS mm of scanner RAS mm ``points`` (n, 3)."""
        points = np.asarray(points, dtype=float).reshape(-1, 3) @ FLIP
        if self.field is not None:
            voxels = (points - self.grid[:3, 3]) @ np.linalg.inv(self.grid[:3, :3]).T
            points = points + sample(self.field, voxels)
        return (points @ self.matrix.T + self.offset) @ FLIP


def sample(field: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Linear interpolation of ``field`` (x, y, z, c) at ``voxels`` (n, 3); edges are continued."""
    return np.stack(
        [
            ndimage.map_coordinates(field[..., channel], voxels.T, order=1, mode="nearest")
            for channel in range(field.shape[-1])
        ],
        axis=-1,
    )


def block_grid(shape: tuple[int, ...], affine: np.ndarray, spacing: float) -> np.ndarray:
    """Voxel coordinates (n, 3) of a grid of about ``spacing`` mm over a volume of ``shape``."""
    sizes = voxel_sizes(affine)
    axes = [
        np.arange(0, length, max(1, round(spacing / size)))
        for length, size in zip(shape, sizes, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)


def compact(
    first: Transform | None, second: Transform, mask: np.ndarray, affine: np.ndarray
) -> Transform:
    """``second`` after ``first`` as one affine and one field on a coarse grid around the brain.

    The grid has the scan's axes and ``_FIELD_SPACING_MM``, and reaches 16 mm beyond the mask.
    """
    matrix, offset = second.matrix, second.offset
    if first is not None:
        matrix, offset = matrix @ first.matrix, matrix @ first.offset + offset
    if second.field is None:
        return Transform(matrix, offset)
    sizes = voxel_sizes(affine)
    inside = geometry.box(mask)
    low = np.array([part.start for part in inside]) - 16 / sizes
    high = np.array([part.stop for part in inside]) + 16 / sizes
    step = _FIELD_SPACING_MM / sizes
    shape = tuple(int(count) for count in np.ceil((high - low) / step) + 1)
    to_ras = affine @ np.vstack([np.column_stack([np.diag(step), low]), [0, 0, 0, 1]])
    voxels = np.indices(shape).reshape(3, -1).T
    points = nib.affines.apply_affine(to_ras, voxels)
    target = second(points if first is None else first(points)) @ FLIP
    field = (target - offset) @ np.linalg.inv(matrix).T - points @ FLIP
    field = np.round(field / _FIELD_STEP_MM) * _FIELD_STEP_MM
    grid = to_ras.copy()
    grid[:3] = FLIP @ to_ras[:3]
    return Transform(matrix, offset, field.reshape(*shape, 3).astype(np.float32), grid)


def matrix_and_offset(transform) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and offset of an ITK affine: M (p - c) + c + t = M p + (t + c - M c)."""
    parameters = np.asarray(transform.parameters, dtype=float)
    centre = np.asarray(transform.fixed_parameters, dtype=float)
    matrix = parameters[:9].reshape(3, 3)
    return matrix, parameters[9:] + centre - matrix @ centre


def coarse_brain(data: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> tuple:
    """The masked brain on voxels of 2 mm, scaled to a median of 1, cut to its surroundings: the
    volume and its affine."""
    sizes = voxel_sizes(affine)
    box = geometry.box(mask, np.round(12 / sizes))
    masked = np.where(mask[box], data[box], 0).astype(np.float32)
    masked /= np.median(masked[mask[box]])
    # The brightest vessels and fat left in the mask would stretch the histogram's bins.
    masked = np.clip(masked, 0, 2.5)
    start = geometry.cropped(affine, box)
    fine = np.maximum(_SPACING_MM / sizes, 1)
    blurred = ndimage.gaussian_filter(masked, np.where(fine > 1, 0.42 * fine, 0))
    step = _SPACING_MM / sizes
    shape = tuple(int(count) for count in np.floor((np.array(masked.shape) - 1) / step) + 1)
    coordinates = np.meshgrid(
        *(np.arange(count) * by for count, by in zip(shape, step, strict=True)),
        indexing="ij",
        sparse=False,
    )
    resampled = ndimage.map_coordinates(blurred, coordinates, order=1, mode="nearest")
    to_ras = start.copy()
    to_ras[:3, :3] = start[:3, :3] * step
    return resampled, to_ras


def brain_image(data: np.ndarray, mask: np.ndarray, affine: np.ndarray):
    """:func:`coarse_brain` as ANTs takes it."""
    return ants_image(*coarse_brain(data, mask, affine))


def save_transform(layout: Layout, scan_id: str, transform: Transform) -> None:
    """Write ``affine.mat`` (ITK) and, if there is a field, ``warp.nii.gz`` (ITK displacements).

    ANTs takes both: ``-t warp.nii.gz -t affine.mat`` brings an image in MNI152 onto the scan. The
    field is float32, whose values are multiples of ``_FIELD_STEP_MM``: ITK up to at least 5.4 reads
    beyond its buffer where a vector image has integers and a scale (ITK pull request 6625).
    """
    ants = load_ants()
    affine = ants.create_ants_transform(
        transform_type="AffineTransform",
        precision="double",
        dimension=3,
        matrix=transform.matrix,
        translation=list(transform.offset),
        center=[0.0, 0.0, 0.0],
    )
    with whole_file(layout.transform(scan_id, "affine.mat")) as temporary:
        ants.write_transform(affine, str(temporary))
    warp = layout.transform(scan_id, "warp.nii.gz")
    if transform.field is None:
        warp.unlink(missing_ok=True)
        return
    to_ras = transform.grid.copy()
    to_ras[:3] = FLIP @ transform.grid[:3]
    # NIfTI has vectors on the fifth axis. Adding 0 turns -0 into 0, which compresses better.
    stored = (np.round(transform.field / _FIELD_STEP_MM) * _FIELD_STEP_MM + 0)[..., None, :]
    images.save_volume(
        warp, stored, to_ras, np.float32, intent="vector", compression=_FIELD_COMPRESSION
    )


def load_transform(layout: Layout, scan_id: str) -> Transform:
    """The transform that ``save_transform`` wrote.

    The field of an older run is int16 with a scale, which nibabel multiplies.
    """
    affine = load_ants().read_transform(str(layout.transform(scan_id, "affine.mat")))
    warp = layout.transform(scan_id, "warp.nii.gz")
    if not warp.exists():
        return Transform(*matrix_and_offset(affine))
    image = nib.load(warp)
    grid = image.affine.copy()
    grid[:3] = FLIP @ image.affine[:3]
    field = np.asarray(image.dataobj, dtype=np.float32)[..., 0, :]
    return Transform(*matrix_and_offset(affine), field, grid)
