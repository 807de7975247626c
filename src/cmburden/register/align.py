"""Scan to template with ANTs, through the T1w where there is one, and how well it fits."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.images import brain, geometry
from cmburden.images import volume as images
from cmburden.images.volume import Volume
from cmburden.space import atlas as space_atlas
from cmburden.space import template
from cmburden.space.ants import FLIP, ants_image, load_ants
from cmburden.space.transform import (
    _FIELD_SPACING_MM,
    _SPACING_MM,
    Transform,
    block_grid,
    brain_image,
    compact,
    matrix_and_offset,
)

#: Overlap (Dice) of the two brain masks below which a T1w is not taken for the scan's own.
_LEAST_T1W_OVERLAP = 0.85


def to_template(
    data: np.ndarray, mask: np.ndarray, affine: np.ndarray, nonlinear: bool
) -> Transform:
    """Affine and, where asked for, SyN from a brain to MNI152, both at 2 mm."""
    ants = load_ants()
    fixed = brain_image(data, mask, affine)
    moving = ants_image(*template.brain(_SPACING_MM))
    with tempfile.TemporaryDirectory() as folder:
        linear = ants.registration(
            fixed,
            moving,
            "Affine",
            aff_metric="mattes",
            aff_iterations=(500, 250, 100, 0),
            random_seed=1,
            outprefix=f"{folder}/affine_",
        )
        result = matrix_and_offset(ants.read_transform(linear["fwdtransforms"][0]))
        if not nonlinear:
            return Transform(*result)
        warped = ants.registration(
            fixed,
            moving,
            "SyNOnly",
            initial_transform=linear["fwdtransforms"][0],
            syn_metric="mattes",
            reg_iterations=(40, 20, 0),
            random_seed=1,
            outprefix=f"{folder}/syn_",
        )
        field = next(name for name in warped["fwdtransforms"] if name.endswith("Warp.nii.gz"))
        image = nib.load(field)
        displacement = np.asarray(image.dataobj, dtype=np.float32)[..., 0, :]
        grid = np.eye(4)
        grid[:3] = FLIP @ image.affine[:3]
    return Transform(*result, displacement, grid)


def through_t1w(
    data: np.ndarray, mask: np.ndarray, affine: np.ndarray, t1w_path: Path, settings: dict
) -> Transform:
    """Scan to MNI152 through the T1w of the session, rigidly as far as that.

    Raises ScanError where the T1w cannot be used: unreadable, no brain, or another head.
    """
    ants = load_ants()
    t1w = images.load_volume(t1w_path)
    t1w_mask = brain.brain_mask(t1w.data, int(settings.get("threads", 1)))
    _check_t1w(t1w, t1w_mask)
    fixed = brain_image(data, mask, affine)
    moving = brain_image(t1w.data, t1w_mask, t1w.affine)
    with tempfile.TemporaryDirectory() as folder:
        rigid = ants.registration(
            fixed,
            moving,
            "Rigid",
            aff_metric="mattes",
            aff_iterations=(500, 250, 100, 0),
            random_seed=1,
            outprefix=f"{folder}/rigid_",
        )
        to_t1w = Transform(*matrix_and_offset(ants.read_transform(rigid["fwdtransforms"][0])))
    _check_overlap(mask, affine, t1w_mask, t1w.affine, to_t1w)
    return compact(
        to_t1w, to_template(t1w.data, t1w_mask, t1w.affine, settings["nonlinear"]), mask, affine
    )


def _check_t1w(t1w: Volume, mask: np.ndarray) -> None:
    """Raise ScanError where the T1w's mask is no brain."""
    volume = float(mask.sum() * np.prod(t1w.zooms)) / 1000
    if not 500 <= volume <= 2500:
        raise ScanError("brain_mask", f"Its brain mask has {volume:.0f} ml.")


def _check_overlap(
    mask: np.ndarray,
    affine: np.ndarray,
    t1w_mask: np.ndarray,
    t1w_affine: np.ndarray,
    to_t1w: Transform,
) -> None:
    """Raise ScanError where, after the rigid step, the two brain masks are not of one head."""
    voxels = block_grid(mask.shape, affine, _FIELD_SPACING_MM)
    inside = mask[tuple(np.round(voxels).astype(int).T)]
    found = to_t1w(nib.affines.apply_affine(affine, voxels))
    found = nib.affines.apply_affine(np.linalg.inv(t1w_affine), found)
    in_t1w = ndimage.map_coordinates(t1w_mask.astype(np.float32), found.T, order=1) > 0.5
    overlap = 2 * np.sum(in_t1w & inside) / max(np.sum(in_t1w) + np.sum(inside), 1)
    if overlap < _LEAST_T1W_OVERLAP:
        raise ScanError("registration", f"Its brain overlaps with the scan's by {overlap:.2f}.")


def alignment(
    data: np.ndarray, mask: np.ndarray, affine: np.ndarray, transform: Transform
) -> float:
    """Correlation of the masked scan with the template's tissues in its place, 0 to 1.

    The tissues (grey, white, the rest of the brain, outside) are weighted so that they fit the scan
    best, so it holds for any contrast. On a grid of 4 mm over the scan, outside of the brain too:
    what tells a brain in its place from one out of place is mostly its outline.
    """
    box = geometry.box(mask)
    voxels = block_grid(mask.shape, affine, _FIELD_SPACING_MM)
    margin = 12 / voxel_sizes(affine)
    near = np.all(
        (voxels >= [part.start for part in box] - margin)
        & (voxels < [part.stop for part in box] + margin),
        axis=1,
    )
    voxels = voxels[near]
    index = tuple(voxels.astype(int).T)
    smooth = ndimage.uniform_filter(
        np.where(mask, data, 0).astype(np.float32),
        [max(1, round(_FIELD_SPACING_MM / size)) for size in voxel_sizes(affine)],
    )[index]
    points = transform(nib.affines.apply_affine(affine, voxels))
    explained = template.tissues_at(points, _SPACING_MM)
    columns = np.column_stack([explained, np.ones(len(explained))])
    weights, *_ = np.linalg.lstsq(columns, smooth, rcond=None)
    fitted = columns @ weights
    if np.std(fitted) == 0:
        return 0.0
    return float(np.corrcoef(fitted, smooth)[0, 1])


def regions_in_scan(mask: np.ndarray, affine: np.ndarray, transform: Transform) -> np.ndarray:
    """MARS labels (int16) of every voxel of the brain mask, by the nearest atlas voxel."""
    labels, to_ras = space_atlas.load()
    regions = np.zeros(mask.shape, dtype=np.int16)
    voxels = np.argwhere(mask)
    found = nib.affines.apply_affine(
        np.linalg.inv(to_ras), transform(nib.affines.apply_affine(affine, voxels))
    )
    found = np.clip(np.round(found).astype(int), 0, np.array(labels.shape) - 1)
    regions[mask] = labels[tuple(found.T)]
    return regions
