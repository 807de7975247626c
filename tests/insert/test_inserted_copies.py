"""A copy with lesions, from places in a brain to voxels: on MNI152 itself, without a network."""

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage

from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images.prepared import Prepared
from cmburden.images.volume import load_volume, save_volume
from cmburden.insert import lesions, places, transplant
from cmburden.insert.copies import LeftOut
from cmburden.insert.ground import Acquisition
from cmburden.insert.lesions import Wish
from cmburden.insert.pictures import PIXELS
from cmburden.insert.places import Avoided
from cmburden.space import atlas, template
from cmburden.space.transform import Transform, save_transform

pytestmark = pytest.mark.slow

GRE = Acquisition(3.0, 0.020, masked=False, partitions=False, thickness_mm=4.0)
NOWHERE = Avoided(np.zeros((0, 3)), np.zeros((0, 3)))
AFFINE = np.array([[2.0, 0, 0, -110], [0, 2.0, 0, -140], [0, 0, 4.0, -90], [0, 0, 0, 1]])
SHAPE = (110, 130, 48)


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    """Scan and results of a brain that is the template: flat tissue with noise."""
    folder = tmp_path_factory.mktemp("brain")
    layout = Layout(folder / "derivatives")
    voxels = np.indices(SHAPE).reshape(3, -1).T
    inside = template.tissues_at(apply_affine(AFFINE, voxels), 1.0).sum(1) > 0.5
    mask = inside.reshape(SHAPE)
    rng = np.random.default_rng(0)
    real, imaginary = rng.normal(0, 8, (2, *SHAPE))
    raw = np.rint(np.hypot(ndimage.gaussian_filter(400.0 * mask, 1) + real, imaginary)).astype(
        np.int16
    )
    path = folder / "sub-01_T2starw.nii.gz"
    nib.Nifti1Image(raw, AFFINE).to_filename(path)
    scan = Scan(
        "sub-01_T2starw",
        "A",
        "sub-01",
        None,
        "T2starw",
        "GRE",
        path,
        (("sub", "01"),),
        content_key="k",
    )
    save_volume(layout.preproc(scan), raw / 400.0, AFFINE, np.float32)
    save_volume(layout.brain_mask(scan), mask, AFFINE, np.uint8)
    regions = atlas.regions_on(SHAPE, AFFINE)
    save_volume(layout.regions(scan), regions, AFFINE, np.int16)
    save_transform(layout, scan, Transform(np.eye(3), np.zeros(3)))
    return scan, layout, regions


def insert(brain, target: Path, *, avoided=NOWHERE, library=(), wish=None):
    scan, layout, _ = brain
    return lesions.insert(scan, GRE, avoided, library, layout, wish or Wish(0, 3), target)


def test_what_is_drawn_is_where_it_is_said_to_be(brain, tmp_path):
    drawn = insert(brain, tmp_path / "copy.nii")
    rows = drawn.rows
    assert drawn.closed == 0 and len(rows) == 3
    assert {row["renderer"] for row in rows} == {"physics", "plain"}
    before, after = load_volume(brain[0].path), load_volume(tmp_path / "copy.nii")
    assert np.array_equal(after.data, np.rint(after.data))
    changed = np.argwhere(before.data != after.data)
    at = apply_affine(AFFINE, changed)
    centres = np.array([[row["x_mm"], row["y_mm"], row["z_mm"]] for row in rows])
    distance = np.linalg.norm(at[:, None] - centres[None], axis=2)
    assert distance.min(1).max() < 24  # the corner of the largest box
    for row, centre in zip(rows, centres, strict=True):
        near = tuple(np.rint(apply_affine(np.linalg.inv(AFFINE), centre)).astype(int))
        lost = 1 - after.data[near] / before.data[near]
        assert lost > 0.6 * row["signal_loss"] or row["diameter_mm"] < 2.5
        assert 0.5 < row["diameter_mm"] < 9
        # The picture's middle is where the lesion lies.
        greys = drawn.pictures[row["number"] - 1].astype(int)
        away = np.abs(np.argwhere(greys[0] != greys[1]) - PIXELS / 2).max(1)
        assert away.min() < 8
        label = brain[2][near]
        assert label == 0 or row["region"] == atlas_name(label)


def atlas_name(label):
    from cmburden.space.regions import region_of

    return region_of(int(label))[0].name


def test_equal_seeds_give_equal_bytes_and_another_another_copy(brain, tmp_path):
    first, again, other = (tmp_path / f"{name}.nii" for name in "abc")
    rows = insert(brain, first).rows
    assert insert(brain, again).rows == rows
    assert insert(brain, other, wish=Wish(1, 3)).rows != rows
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()


def test_nothing_is_inserted_near_what_was_there(brain, tmp_path):
    rng = np.random.default_rng(2)
    avoided = Avoided(rng.uniform(-60, 60, (60, 3)), rng.uniform(-60, 60, (10, 3)))
    drawn = insert(brain, tmp_path / "copy.nii", avoided=avoided)
    assert 0.01 < drawn.closed < 0.6
    for row in drawn.rows:
        at = np.array([row["x_mm"], row["y_mm"], row["z_mm"]])
        assert np.linalg.norm(avoided.rejected - at, axis=1).min() >= places.REJECTED_MM - 0.01
        assert np.linalg.norm(avoided.lesions - at, axis=1).min() >= places.LESION_MM - 0.01


def test_a_brain_full_of_lesions_has_no_room(brain, tmp_path):
    grid = np.stack(np.meshgrid(*[np.arange(-110, 110, 8.0)] * 3), -1).reshape(-1, 3)
    with pytest.raises(LeftOut, match="No room"):
        insert(brain, tmp_path / "copy.nii", avoided=Avoided(grid, grid))
    assert not (tmp_path / "copy.nii").exists()


def test_another_image_than_the_run_has_read_is_left_out(brain, tmp_path):
    scan, layout, regions = brain
    moved = tmp_path / "moved.nii.gz"
    image = nib.load(scan.path)
    nib.Nifti1Image(np.asarray(image.dataobj)[1:], image.affine).to_filename(moved)
    with pytest.raises(LeftOut, match="another one than the run has read"):
        insert((dataclasses.replace(scan, path=moved), layout, regions), tmp_path / "copy.nii")


# --- transplants ---


def prepared_with_a_lesion(loss=0.7):
    rng = np.random.default_rng(4)
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    volume = (1 + rng.normal(0, 0.02, (60, 60, 12))).astype(np.float32)
    x, y, z = np.meshgrid(*[np.arange(n) for n in volume.shape], indexing="ij")
    volume *= 1 + 0.004 * (x - 30)  # what is left of the bias
    away = np.sqrt((x - 30) ** 2 + (y - 28) ** 2 + (3 * (z - 6)) ** 2)
    volume[away <= 2] *= 1 - loss
    return Prepared(volume, np.ones(volume.shape, bool), affine)


def test_a_donor_is_what_its_lesion_left_of_the_signal(brain):
    donor = transplant._donor(
        brain[0], prepared_with_a_lesion(), GRE, np.array([30.0, 28.0, 18.0]), 2.0
    )
    assert donor is not None
    middle = tuple(donor.half)
    assert donor.ratio[middle] == pytest.approx(0.3, abs=0.03)
    # Beyond the lesion nothing is transplanted: no noise and no bias of the donor.
    assert (donor.ratio[0] == 1).all() and (donor.ratio[:, :, 0] == 1).all()


def test_a_faint_place_or_one_at_the_edge_is_no_donor(brain):
    grey = prepared_with_a_lesion(loss=0.1)
    assert transplant._donor(brain[0], grey, GRE, np.array([30.0, 28, 18]), 2.0) is None
    dark = prepared_with_a_lesion()
    assert transplant._donor(brain[0], dark, GRE, np.array([1.0, 28, 18]), 2.0) is None


def test_donors_of_other_people_are_transplanted(brain, tmp_path):
    sizes = np.array([2.0, 2.0, 4.0])
    ratio = np.ones((7, 7, 3), np.float32)
    ratio[2:5, 2:5, 1] = 0.2
    library = [transplant.Donor(f"sub-x{n % 4}", "GRE", sizes, 2, 0.06, ratio) for n in range(8)]
    rows = insert(brain, tmp_path / "copy.nii", library=library).rows
    assert {row["renderer"] for row in rows} == {"physics", "plain", "transplant"}
    (one,) = (row for row in rows if row["renderer"] == "transplant")
    # Nine voxels of 2 mm.
    assert one["diameter_mm"] == pytest.approx(2 * np.sqrt(9 * 2**2 / np.pi), abs=0.5)
    assert one["visible"] and one["signal_loss"] > 0.7
