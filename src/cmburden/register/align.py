"""Registers a brain to the template with ANTs, rates the fit, and brings the regions back."""

from __future__ import annotations

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from cmburden.images import geometry
from cmburden.space import ants, atlas, template
from cmburden.space.transform import (
    FIELD_SPACING_MM,
    REGISTRATION_MM,
    Transform,
    block_grid,
    coarse_brain,
)

#: Voxel size of the volumes that are registered to the template, mm (docs/decisions.md).
SPACING_MM = 4.0
#: How much of the surroundings of the brain the measure of alignment takes in (by eye).
_SURROUNDINGS_MM = 12.0


def to_template(
    data: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    nonlinear: bool,
    linear: Transform | None = None,
) -> Transform:
    """Transform from a brain to MNI152: an affine and, if ``nonlinear``, SyN, both at 4 mm.

    ``data`` and brain ``mask`` (bool) are (x, y, z), ``affine`` is voxel index to RAS mm.
    The affine goes on from ``linear`` where there is one.
    """
    fixed = ants.ants_image(*coarse_brain(data, mask, affine, SPACING_MM))
    moving = ants.ants_image(*template.brain(SPACING_MM))
    start = ants.affine(fixed, moving) if linear is None else (linear.matrix, linear.offset)
    linear = Transform(*ants.affine(fixed, moving, start))
    if not nonlinear:
        return linear
    return Transform(
        linear.matrix, linear.offset, *ants.syn(fixed, moving, linear.matrix, linear.offset)
    )


def alignment(
    data: np.ndarray, mask: np.ndarray, affine: np.ndarray, transform: Transform
) -> float:
    """Correlation, 0 to 1, of the masked scan with the template's tissues at the same places.

    Points lie every 4 mm or so, also outside the brain: misalignment shows mostly at the brain's
    outline (:func:`cmburden.space.template.fit`).

    ``data`` and brain ``mask`` (bool) are (x, y, z), ``affine`` is voxel index to RAS mm.
    """
    sizes = voxel_sizes(affine)
    voxels = _near(mask, sizes, block_grid(mask.shape, affine, FIELD_SPACING_MM))
    # An even number of voxels shifts the scan by half of one. The QC column would change with it.
    box = geometry.box(mask, np.ceil(_SURROUNDINGS_MM / sizes) + FIELD_SPACING_MM / sizes)
    start = np.array([part.start for part in box])
    smooth = ndimage.uniform_filter(
        np.where(mask[box], data[box], 0).astype(np.float32),
        [max(1, round(FIELD_SPACING_MM / size)) for size in sizes],
    )[tuple((voxels - start).astype(int).T)]
    return template.fit(smooth, transform(apply_affine(affine, voxels)), REGISTRATION_MM)


def _near(mask: np.ndarray, sizes: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Those of ``voxels`` (n, 3) that lie in the mask's box or within ``_SURROUNDINGS_MM`` of it.

    ``sizes`` (3,) are those of a voxel, mm.
    """
    box = geometry.box(mask)
    margin = _SURROUNDINGS_MM / sizes
    low = [part.start for part in box] - margin
    high = [part.stop for part in box] + margin
    return voxels[np.all((voxels >= low) & (voxels < high), axis=1)]


def regions_in_scan(mask: np.ndarray, affine: np.ndarray, transform: Transform) -> np.ndarray:
    """MARS labels (x, y, z) int16 of the voxels of a brain mask, each of the nearest atlas voxel.

    ``mask`` (x, y, z) is bool, ``affine`` is voxel index to RAS mm. The transform is linear between
    the nodes of its field, whose grid has the axes of the scan (``space.transform.compact``).
    """
    labels, to_mni = atlas.load()
    last = np.array(labels.shape) - 1
    regions = np.zeros(mask.shape, dtype=np.int16)
    box = geometry.box(mask)
    places, along = transform.nodes(affine, box)
    nodes = apply_affine(np.linalg.inv(to_mni), places).astype(np.float32)
    for plane, at in zip(range(box[2].start, box[2].stop), along[2], strict=True):
        inside = mask[box[0], box[1], plane]
        voxels = geometry.sampled(nodes, 2, np.array([at]))[:, :, 0]
        for axis in (0, 1):
            voxels = geometry.sampled(voxels, axis, along[axis])
        nearest = np.clip(np.rint(voxels[inside]).astype(int), 0, last)
        regions[box[0], box[1], plane][inside] = labels[tuple(nearest.T)]
    return regions
