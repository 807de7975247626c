"""The transform from scan to MNI152: its application, composition, compression and files."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from cmburden.core.errors import sentence
from cmburden.core.files import whole_file, write_json
from cmburden.core.paths import TEMPLATE, Layout
from cmburden.core.scan import Scan
from cmburden.images import geometry
from cmburden.images.prepared import UnreadableDerivative, read_image
from cmburden.images.volume import save_volume
from cmburden.space.ants import (
    FLIP,
    affine_transform,
    ants_image,
    flipped,
    load_ants,
    matrix_and_offset,
)

if TYPE_CHECKING:
    from ants.core.ants_image import ANTsImage

#: Voxel size of the volumes that are registered.
REGISTRATION_MM = 2.0
#: Spacing and rounding of the stored field: SyN's fields are smooth over 12 mm.
FIELD_SPACING_MM = 4.0
_FIELD_STEP_MM = 1 / 64
#: Rounding of the axes of a grid that was read from a file, in voxels per voxel.
_SAME_AXES = 1e-3
#: How far the stored field reaches beyond the brain mask (by eye).
_FIELD_MARGIN_MM = 16.0
#: How much of the surroundings of the brain mask is registered with the brain (by eye).
_BRAIN_MARGIN_MM = 12.0
#: Most of a voxel's signal, in medians of the brain: the brightest vessels and fat within the mask
#: would stretch the bins of the metric's histogram (by eye).
_MOST_SIGNAL = 2.5
#: Standard deviation of the blur before voxels are made larger, in the larger voxels: its full
#: width at half maximum is one of them (1 / 2.355).
_BLUR = 0.42
#: gzip's level for the field: 0.1 s and a sixth smaller than level 1; level 9 takes 0.6 s for
#: another tenth (three scans of the demo).
_FIELD_COMPRESSION = 6


@dataclasses.dataclass(frozen=True)
class Transform:
    """Scan to MNI152: ``points -> matrix @ (points + field(points)) + offset``, all in LPS mm.

    ``field`` (x, y, z, 3) holds displacements in mm. ``grid`` (4 x 4) takes the field's voxel index
    to LPS mm. Both are None where the transform is affine.
    """

    matrix: np.ndarray
    offset: np.ndarray
    field: np.ndarray | None = None
    grid: np.ndarray | None = None

    def __post_init__(self) -> None:
        if (self.field is None) != (self.grid is None):
            raise ValueError("a field needs a grid, and a grid a field")

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """MNI152 RAS mm of scanner RAS mm ``points`` (n, 3)."""
        points = np.asarray(points, dtype=float).reshape(-1, 3) @ FLIP
        if self.field is not None and self.grid is not None:
            voxels = (points - self.grid[:3, 3]) @ np.linalg.inv(self.grid[:3, :3]).T
            points = points + sample(self.field, voxels)
        return (points @ self.matrix.T + self.offset) @ FLIP

    def nodes(
        self, affine: np.ndarray, box: tuple[slice, ...]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """MNI152 RAS mm (a, b, c, 3) of nodes between which the transform is linear.

        The nodes are those of the field; of an affine transform, the corners of the ``box`` (three
        slices) of a scan's grid, whose ``affine`` takes voxel index to RAS mm. Also returned are
        the places of the box's voxels along each axis of the nodes.

        Raises
        ------
        ValueError
            Where the field's grid has not the axes of the scan.
        """
        to_ras = geometry.cropped(affine, box)
        shape = tuple(part.stop - part.start for part in box)
        if self.field is None or self.grid is None:
            step, low, counts = np.array(shape) - 1.0, np.zeros(3), (2, 2, 2)
        else:
            voxels = np.linalg.inv(to_ras) @ flipped(self.grid)
            step, low, counts = voxels.diagonal()[:3], voxels[:3, 3], self.field.shape[:3]
            if np.abs(voxels[:3, :3] - np.diag(step)).max() > _SAME_AXES:
                raise ValueError("the field's grid has not the axes of the scan")
        step = np.where(step > 0, step, 1.0)
        grid = np.moveaxis(np.indices(counts), 0, -1) * step + low
        points = self(apply_affine(to_ras, grid.reshape(-1, 3))).reshape(grid.shape)
        along = tuple(
            (np.arange(count) - start) / by
            for count, start, by in zip(shape, low, step, strict=True)
        )
        return points, along


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
    """Voxel indices (n, 3), as floats, every ``spacing`` mm or so of a volume of ``shape``."""
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

    ``first`` must be affine or None. The grid has the axes of the scan, whose brain ``mask``
    (x, y, z) and RAS ``affine`` are given. Its spacing is ``FIELD_SPACING_MM``, and it reaches
    16 mm beyond the mask.
    """
    matrix, offset = second.matrix, second.offset
    if first is not None:
        matrix, offset = matrix @ first.matrix, matrix @ first.offset + offset
    if second.field is None:
        return Transform(matrix, offset)
    sizes = voxel_sizes(affine)
    inside = geometry.box(mask)
    low = np.array([part.start for part in inside]) - _FIELD_MARGIN_MM / sizes
    high = np.array([part.stop for part in inside]) + _FIELD_MARGIN_MM / sizes
    step = FIELD_SPACING_MM / sizes
    shape = tuple(int(count) for count in np.ceil((high - low) / step) + 1)
    to_ras = affine @ np.vstack([np.column_stack([np.diag(step), low]), [0, 0, 0, 1]])
    voxels = np.indices(shape).reshape(3, -1).T
    points = apply_affine(to_ras, voxels)
    target = second(points if first is None else first(points)) @ FLIP
    field = (target - offset) @ np.linalg.inv(matrix).T - points @ FLIP
    field = np.round(field / _FIELD_STEP_MM) * _FIELD_STEP_MM
    return Transform(matrix, offset, field.reshape(*shape, 3).astype(np.float32), flipped(to_ras))


def moved(affine: np.ndarray, by: Transform) -> np.ndarray:
    """RAS affine (4 x 4) of a volume after the rigid transform ``by``, which has no field."""
    after = affine.copy()
    after[:3] = FLIP @ by.matrix @ FLIP @ affine[:3]
    after[:3, 3] += FLIP @ by.offset
    return after


def coarse_brain(
    data: np.ndarray, mask: np.ndarray, affine: np.ndarray, spacing: float = REGISTRATION_MM
) -> tuple[np.ndarray, np.ndarray]:
    """The masked brain on coarse voxels, with a median of 1, cut to its surroundings.

    Parameters
    ----------
    data, mask : arrays (x, y, z)
        Volume and brain mask (bool).
    affine : array (4, 4)
        Voxel index to RAS mm.
    spacing : float
        Size of the coarse voxels, mm.

    Returns
    -------
    The coarse volume (x, y, z) float32, 0 outside the mask, and its RAS affine.
    """
    sizes = voxel_sizes(affine)
    box = geometry.box(mask, np.round(_BRAIN_MARGIN_MM / sizes))
    masked = np.where(mask[box], data[box], 0).astype(np.float32)
    masked /= np.median(masked[mask[box]])
    masked = np.clip(masked, 0, _MOST_SIGNAL)
    start = geometry.cropped(affine, box)
    step = spacing / sizes
    coarse = masked
    for axis, by in enumerate(step):
        # Axes whose voxels are larger already are not blurred. An axis is sampled as soon as it is
        # blurred: the axes do not depend on each other, and the next one has less to do.
        if by > 1:
            coarse = ndimage.gaussian_filter1d(coarse, _BLUR * by, axis)
        count = int(np.floor((masked.shape[axis] - 1) / by)) + 1
        coarse = geometry.sampled(coarse, axis, np.arange(count) * by)
    to_ras = start.copy()
    to_ras[:3, :3] = start[:3, :3] * step
    return coarse, to_ras


def brain_image(data: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> ANTsImage:
    """:func:`coarse_brain` as an ANTs image."""
    return ants_image(*coarse_brain(data, mask, affine))


def save_transform(layout: Layout, scan: Scan, transform: Transform) -> None:
    """Write ``affine.mat`` (ITK) and, if there is a field, ``warp.nii.gz`` (ITK displacements).

    A sidecar says how ANTs applies them.

    ANTs takes both: ``-t warp.nii.gz -t affine.mat`` brings an image in MNI152 onto the scan. The
    field is float32; its values are multiples of ``_FIELD_STEP_MM``: ITK up to at least 5.4 reads
    beyond its buffer where a vector image has integers and a scale (ITK pull request 6625).
    """
    ants = load_ants()
    affine = affine_transform(transform.matrix, transform.offset)
    with whole_file(layout.transform(scan, "affine.mat")) as temporary:
        ants.write_transform(affine, str(temporary))
    warp = layout.transform(scan, "warp.nii.gz")
    write_json(layout.transform(scan, "json"), _described(layout, scan, transform))
    if transform.field is None or transform.grid is None:
        warp.unlink(missing_ok=True)
        return
    # NIfTI has vectors on the fifth axis. Adding 0 turns -0 into 0, which compresses better.
    stored = (np.round(transform.field / _FIELD_STEP_MM) * _FIELD_STEP_MM + 0)[..., None, :]
    save_volume(
        warp,
        stored,
        flipped(transform.grid),
        np.float32,
        intent="vector",
        compression=_FIELD_COMPRESSION,
    )


def _described(layout: Layout, scan: Scan, transform: Transform) -> dict[str, Any]:
    """Sidecar of a transform: from where to where, and ANTs' arguments."""
    names = [layout.transform(scan, "affine.mat").name]
    if transform.field is not None:
        names.insert(0, layout.transform(scan, "warp.nii.gz").name)
    onto_scan = " ".join(f"-t {name}" for name in names)
    return {
        "Description": "Points of the scan to the template; ITK's convention (LPS, mm)",
        "FromFile": f"bids::{layout.preproc(scan).relative_to(layout.root).as_posix()}",
        "ToTemplate": TEMPLATE,
        "Template": "ICBM 2009a nonlinear symmetric (Fonov et al. 2011), not 2009c asymmetric",
        "PointsToTemplate": "antsApplyTransformsToPoints -d 3 " + onto_scan + " (LPS mm)",
        "TemplateOntoScan": "antsApplyTransforms -d 3 -i TEMPLATE -r SCAN " + onto_scan,
    }


def load_transform(layout: Layout, scan: Scan) -> Transform:
    """The transform that ``save_transform`` wrote.

    The field of an older run is int16 with a scale, which nibabel multiplies.

    Raises
    ------
    UnreadableDerivative
        Where a file is missing or damaged.
    """
    path = layout.transform(scan, "affine.mat")
    try:
        matrix, offset = matrix_and_offset(load_ants().read_transform(str(path)))
        if not (np.isfinite(matrix).all() and np.isfinite(offset).all()):
            raise ValueError("it holds NaN or infinity")
    except Exception as error:  # ITK and ANTs raise many kinds
        if sentence(error) is not None:
            raise
        raise UnreadableDerivative(path, scan.scan_id, error) from error
    warp = layout.transform(scan, "warp.nii.gz")
    if not warp.exists():
        return Transform(matrix, offset)
    image = read_image(warp, scan.scan_id)
    field = np.asarray(image.dataobj, dtype=np.float32)[..., 0, :]
    return Transform(matrix, offset, field, flipped(image.affine))
