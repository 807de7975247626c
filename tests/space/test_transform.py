"""Scan to MNI152: what is written, what is read and what ANTs does with it are one mapping."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.affines import apply_affine
from orientations import ORIENTATIONS, grid

from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.space.ants import FLIP, ants_image, load_ants
from cmburden.space.transform import (
    Transform,
    compact,
    load_transform,
    matrix_and_offset,
    sample,
    save_transform,
)

SHAPE, ZOOMS, MIDDLE = (50, 60, 30), (2.0, 2.0, 4.0), (3.0, -18.0, 12.0)
#: Unit of the stored field, mm (docs of register: fields are rounded to 1/64 mm).
STEP_MM = 1 / 64

SCAN = Scan(
    "sub-01_swi", "x", "sub-01", None, "swi", "SWI", Path("sub-01_swi.nii.gz"), (("sub", "01"),)
)


def turned(*degrees: float, scale: float = 1.0) -> np.ndarray:
    return nib.eulerangles.euler2mat(*np.deg2rad(degrees)) * scale


def smooth_transform() -> Transform:
    """A rotation with scaling after a displacement of up to 3 mm, smooth over 200 mm, on a grid of
    its own that is turned against everything else."""
    shape = (30, 34, 30)
    to_lps = nib.affines.from_matvec(turned(5, 8, -6) * 7.0, (-110.0, -120.0, -100.0))
    points = apply_affine(to_lps, np.moveaxis(np.indices(shape), 0, -1))
    phase = 2 * np.pi * points / 200
    field = np.stack(
        [
            3.0 * np.sin(phase[..., 1]),
            -2.0 * np.cos(phase[..., 2] + 0.7),
            1.5 * np.sin(phase[..., 0] - 0.3),
        ],
        axis=-1,
    )
    return Transform(
        turned(12, -7, 4, scale=1.06), np.array([4.0, -9.0, 6.0]), field.astype(np.float32), to_lps
    )


FIRST = Transform(turned(-9, 14, 21), np.array([-6.0, 3.0, 15.0]))


def brain(orientation: str) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid of a mask on a grid of an orientation, and the affine."""
    zooms = ZOOMS if orientation != "PSR" else (2.0, 3.0, 2.5)
    affine = grid(orientation, SHAPE, zooms, MIDDLE)
    far = (np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2) / (18, 22, 11)
    return np.linalg.norm(far, axis=-1) < 1, affine


def points_in(mask: np.ndarray, affine: np.ndarray, number: int = 300) -> np.ndarray:
    """World points between the voxels of a mask."""
    rng = np.random.default_rng(4)
    voxels = rng.choice(np.argwhere(mask), number) + rng.uniform(-0.5, 0.5, (number, 3))
    return apply_affine(affine, voxels)


def test_a_quarter_turn_and_a_shift_by_hand():
    # In LPS: x -> y, y -> -x, then 10 mm to the left. RAS (1, 2, 3) is LPS (-1, -2, 3).
    quarter = Transform(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([10.0, 0, 0]))
    assert quarter([[1, 2, 3]]) == pytest.approx(np.array([[-12.0, 1, 3]]))


def test_a_field_is_added_before_the_affine():
    # 5 mm towards the left (+x in LPS) everywhere, then all lengths doubled.
    field = np.zeros((4, 4, 4, 3), np.float32)
    field[..., 0] = 5
    at = nib.affines.from_matvec(np.eye(3) * 10, [-15, -15, -15])
    moved = Transform(2 * np.eye(3), np.zeros(3), field, at)
    assert moved([[1, 2, 3]]) == pytest.approx(np.array([[-8.0, 4, 6]]))


def test_sample_is_linear_and_continues_its_edges():
    ramp = np.indices((4, 5, 6)).transpose(1, 2, 3, 0).astype(float)
    assert sample(ramp, np.array([[1.25, 2.5, 3.75]])) == pytest.approx(
        np.array([[1.25, 2.5, 3.75]])
    )
    assert sample(ramp, np.array([[-2.0, 9, 3]])) == pytest.approx(np.array([[0.0, 4, 3]]))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("first", [None, FIRST], ids=["direct", "through another"])
def test_compact_is_second_after_first(orientation, first):
    mask, affine = brain(orientation)
    second = smooth_transform()
    one = compact(first, second, mask, affine)

    def both(points):
        return second(points if first is None else first(points))

    # At the nodes of its grid only the rounding of three components is lost, scaled by 1.06.
    to_ras = one.grid.copy()
    to_ras[:3] = FLIP @ one.grid[:3]
    nodes = apply_affine(to_ras, np.indices(one.field.shape[:3]).reshape(3, -1).T)
    off = np.linalg.norm(one(nodes) - both(nodes), axis=1)
    assert off.max() <= 1.06 * np.sqrt(3) * STEP_MM / 2 + 1e-4
    # Between them the field's curvature comes in: 3 mm x (2 pi / 200 mm)^2 x (4 mm)^2 / 8 an axis.
    points = points_in(mask, affine)
    off = np.linalg.norm(one(points) - both(points), axis=1)
    assert off.max() < 2 * STEP_MM
    # The mapping is none that an identity would pass: it moves by centimetres, and not rigidly.
    assert np.linalg.norm(both(points) - points, axis=1).min() > 3
    affine_alone = Transform(one.matrix, one.offset)
    assert np.linalg.norm(affine_alone(points) - both(points), axis=1).max() > 1


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_grid_of_compact_reaches_beyond_the_brain(orientation):
    mask, affine = brain(orientation)
    one = compact(FIRST, smooth_transform(), mask, affine)
    corners = apply_affine(affine, np.argwhere(mask)) @ FLIP
    voxels = apply_affine(np.linalg.inv(one.grid), corners)
    spacing = nib.affines.voxel_sizes(one.grid)
    assert spacing == pytest.approx([4.0] * 3)
    beyond = np.minimum(voxels.min(0), np.array(one.field.shape[:3]) - 1 - voxels.max(0)) * spacing
    assert beyond.min() >= 12


def test_compact_of_affines_has_no_field():
    mask, affine = brain("RAS")
    second = Transform(turned(3, 4, 5, scale=0.9), np.array([1.0, 2, 3]))
    one = compact(FIRST, second, mask, affine)
    assert one.field is None
    points = points_in(mask, affine)
    assert one(points) == pytest.approx(second(FIRST(points)), abs=1e-9)


def test_a_sidecar_names_the_template_and_the_files_in_ants_order(tmp_path):
    layout = Layout(tmp_path)
    for one, order in ((FIRST, ["affine"]), (smooth_transform(), ["warp", "affine"])):
        save_transform(layout, SCAN, one)
        described = json.loads(layout.transform(SCAN, "json").read_text())
        assert described["ToTemplate"] == "MNI152NLin2009aSym"
        names = re.findall(r"-t (\S+)", described["TemplateOntoScan"])
        assert [re.search("desc-([a-z]+)_xfm", name)[1] for name in names] == order
        assert all((tmp_path / "sub-01" / "anat" / name).exists() for name in names)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_is_saved_is_what_is_loaded(orientation, tmp_path):
    mask, affine = brain(orientation)
    layout, one = Layout(tmp_path), compact(FIRST, smooth_transform(), mask, affine)
    save_transform(layout, SCAN, one)
    again = load_transform(layout, SCAN)
    assert again.field.dtype == np.float32
    assert np.array_equal(again.field, one.field)
    points = points_in(mask, affine)
    # NIfTI holds the grid's affine in single precision.
    assert again(points) == pytest.approx(one(points), abs=1e-4)
    before = layout.transform(SCAN, "warp.nii.gz").read_bytes()
    save_transform(layout, SCAN, again)
    assert layout.transform(SCAN, "warp.nii.gz").read_bytes() == before


def test_a_field_of_an_earlier_run_does_not_stay(tmp_path):
    layout = Layout(tmp_path)
    save_transform(layout, SCAN, smooth_transform())
    save_transform(layout, SCAN, FIRST)
    again = load_transform(layout, SCAN)
    assert again.field is None
    # Single precision, on a brain of 200 mm, is 1e-5 mm.
    assert again.matrix == pytest.approx(FIRST.matrix, abs=1e-7)
    assert again.offset == pytest.approx(FIRST.offset, abs=1e-5)


def files_for_ants(layout: Layout, one: Transform) -> list[str]:
    """The files that ``save_transform`` wrote of ``one``, in the order in which ANTs takes them."""
    save_transform(layout, SCAN, one)
    return [str(layout.transform(SCAN, part)) for part in ("warp.nii.gz", "affine.mat")]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_ants_maps_points_alike(orientation, tmp_path):
    mask, affine = brain(orientation)
    one = compact(FIRST, smooth_transform(), mask, affine)
    files = files_for_ants(Layout(tmp_path), one)
    points = points_in(mask, affine)
    lps = pd.DataFrame(points @ FLIP, columns=["x", "y", "z"])
    moved = load_ants().apply_transforms_to_points(3, lps, files)
    theirs = moved[["x", "y", "z"]].to_numpy(float) @ FLIP
    assert one(points) == pytest.approx(theirs, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_ants_maps_images_alike(orientation, tmp_path):
    """An image in MNI152 whose value is a coordinate: brought onto the scan it says where ANTs
    looked it up."""
    mask, affine = brain(orientation)
    one = compact(FIRST, smooth_transform(), mask, affine)
    files = files_for_ants(Layout(tmp_path), one)
    shape = (40, 44, 40)
    mni = grid("RAS", shape, (8.0, 8.0, 8.0))
    coordinates = apply_affine(mni, np.moveaxis(np.indices(shape), 0, -1))
    fixed = ants_image(mask, affine)
    ours = one(apply_affine(affine, np.argwhere(mask)))
    for axis in range(3):
        moved = load_ants().apply_transforms(fixed, ants_image(coordinates[..., axis], mni), files)
        assert moved.numpy()[mask] == pytest.approx(ours[:, axis], abs=5e-3)


def test_a_field_of_an_older_run_is_read(tmp_path):
    """int16 with a scale of 1/64 mm, as written before fields were float32."""
    mask, affine = brain("oblique")
    layout, one = Layout(tmp_path), compact(FIRST, smooth_transform(), mask, affine)
    save_transform(layout, SCAN, one)
    path = layout.transform(SCAN, "warp.nii.gz")
    image = nib.load(path)
    steps = np.round(np.asarray(image.dataobj) / STEP_MM).astype(np.int16)
    older = nib.Nifti1Image(steps, image.affine)
    older.header.set_slope_inter(STEP_MM, 0)
    nib.save(older, path)
    assert nib.load(path).get_data_dtype() == np.int16
    again = load_transform(layout, SCAN)
    assert again.field.dtype == np.float32
    assert np.array_equal(again.field, one.field)


def test_matrix_and_offset_of_an_itk_affine_with_a_centre():
    ants = load_ants()
    affine = ants.create_ants_transform(
        transform_type="AffineTransform",
        precision="double",
        dimension=3,
        matrix=turned(20, -30, 40, scale=1.2),
        translation=[1.0, -2.0, 3.0],
        center=[30.0, -40.0, 50.0],
    )
    matrix, offset = matrix_and_offset(affine)
    point = np.array([7.0, -11.0, 13.0])
    theirs = ants.apply_ants_transform_to_point(affine, point.tolist())
    assert matrix @ point + offset == pytest.approx(np.array(theirs), abs=1e-6)
