"""Stage register: where each voxel of a scan lies in MNI152, and so in which MARS region.

The scan is the fixed image and the template the moving one: a scan that covers part of the brain
then asks nothing of the rest. With a T1w of the same session the scan is aligned rigidly to it and
it to the template; without, the scan goes to the template itself, by mutual information. The result
is one affine and one displacement field from the scan to MNI152, in ANTs' convention (LPS, fixed to
moving, field before affine); points and regions are taken through it here, so that both agree.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from cmburden.core.carry_out import carry_out
from cmburden.core.errors import ScanError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan, whole_file, write_json
from cmburden.images import brain, geometry
from cmburden.images import volume as images
from cmburden.images.volume import Volume
from cmburden.preprocess import stage as preprocess
from cmburden.register.figure import draw
from cmburden.space import template
from cmburden.space.ants import FLIP, ants_image, load_ants
from cmburden.studies import build_atlas as atlas

STAGE = "register"
VERSION = 1

_SPACING_MM = 2.0
#: Spacing and step of the stored field: SyN's fields are smooth over 12 mm.
_FIELD_SPACING_MM = 4.0
_FIELD_STEP_MM = 1 / 64
#: Overlap (Dice) of the two brain masks below which a T1w is not taken for the scan's own.
_LEAST_T1W_OVERLAP = 0.85


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


def run(scan: Scan, layout: Layout, settings: dict, log: str | None = None) -> Outcome:
    """Register one scan; what is wrong with it becomes the outcome's reason."""
    return carry_out(
        STAGE, VERSION, scan, layout, settings,
        lambda measures: _register(scan, layout, settings, measures), log,
    )  # fmt: skip


def _register(scan: Scan, layout: Layout, settings: dict, measures: dict) -> str | None:
    """Write transform, regions and figure, fill ``measures``; return a warning or None."""
    before = Outcome.read(layout.record(preprocess.STAGE, scan.scan_id))
    if not before.ok:
        raise ScanError(
            "upstream",
            f"It was {before.status} at preprocess ({before.reason}).",
            excluded=before.status == "excluded",
        )
    data, mask, affine = preprocess.load_result(scan, layout)
    warning = None
    transform = None
    if scan.t1w_path is not None and settings["use_t1w"]:
        try:
            transform = through_t1w(data, mask, affine, scan.t1w_path, settings)
        except ScanError as error:
            warning = f"The T1w was not used: {error}"
    measures["via_t1w"] = transform is not None
    if transform is None:
        direct = to_template(data, mask, affine, settings["nonlinear"])
        transform = compact(None, direct, mask, affine)
    correlation = alignment(data, mask, affine, transform)
    measures["registration_correlation"] = round(correlation, 4)
    if correlation < settings["min_correlation"]:
        raise ScanError(
            "registration",
            f"Its correlation with the template is {correlation:.2f}, below"
            f" {settings['min_correlation']}.",
        )
    save_transform(layout, scan.scan_id, transform)
    regions = regions_in_scan(mask, affine, transform)
    images.save_volume(layout.regions(scan), regions, affine, np.int16)
    write_json(
        layout.regions(scan).with_name(layout.regions(scan).name.removesuffix(".nii.gz") + ".json"),
        {
            "Description": "MARS regions; left value, right value + 100",
            "Sources": [f"bids::{layout.preproc(scan).relative_to(layout.root).as_posix()}"],
            "LabelMap": atlas.label_map(),
        },
    )
    draw(layout.quality_figure(scan), data, mask, regions, affine)
    return warning


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
    labels, to_ras = atlas.load()
    regions = np.zeros(mask.shape, dtype=np.int16)
    voxels = np.argwhere(mask)
    found = nib.affines.apply_affine(
        np.linalg.inv(to_ras), transform(nib.affines.apply_affine(affine, voxels))
    )
    found = np.clip(np.round(found).astype(int), 0, np.array(labels.shape) - 1)
    regions[mask] = labels[tuple(found.T)]
    return regions


def save_transform(layout: Layout, scan_id: str, transform: Transform) -> None:
    """Write ``affine.mat`` (ITK) and, if there is a field, ``warp.nii.gz`` (ITK displacements).

    ANTs takes both: ``-t warp.nii.gz -t affine.mat`` brings an image in MNI152 onto the scan.
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
    stored = np.round(transform.field / _FIELD_STEP_MM).astype(np.int16)[..., None, :]
    images.save_volume(warp, stored, to_ras, np.int16, scale=_FIELD_STEP_MM, intent="vector")


def load_transform(layout: Layout, scan_id: str) -> Transform:
    """The transform that ``save_transform`` wrote."""
    affine = load_ants().read_transform(str(layout.transform(scan_id, "affine.mat")))
    warp = layout.transform(scan_id, "warp.nii.gz")
    if not warp.exists():
        return Transform(*matrix_and_offset(affine))
    image = nib.load(warp)
    grid = image.affine.copy()
    grid[:3] = FLIP @ image.affine[:3]
    field = np.asarray(image.dataobj, dtype=np.float32)[..., 0, :]
    return Transform(*matrix_and_offset(affine), field, grid)
