"""Inserted lesions by each renderer: field, voxels, noise, integer steps, appearance."""

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from cmburden.images.volume import Volume, load_volume
from cmburden.insert import copies, looks, physics, pictures, plain
from cmburden.insert.copies import Change, LeftOut, Original
from cmburden.insert.ground import Acquisition, about, within

GRE = Acquisition(3.0, 0.020, masked=False, partitions=False, thickness_mm=2.0)
SWI = Acquisition(3.0, 0.020, masked=True, partitions=True, thickness_mm=2.0)
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def test_the_field_of_a_ball_is_that_of_the_textbook():
    """Outside: chi/3 (a/r)^3 (3 cos^2 - 1); Haacke et al., Magnetic Resonance Imaging, ch. 25."""
    step = 0.5
    axis = (np.arange(96) - 48) * step
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    ball = (x**2 + y**2 + z**2 <= 3.0**2) * 2.0
    shift = physics.field(ball, np.full(3, step), np.array([0.0, 0.0, 1.0]))
    at = 48 + int(6 / step)
    pole, equator = shift[48, 48, at], shift[at, 48, 48]
    assert pole == pytest.approx(2 / 3 * (3 / 6) ** 3 * 2, rel=0.06)
    assert equator == pytest.approx(-2 / 3 * (3 / 6) ** 3, rel=0.12)
    # Inside a ball there is no shift (Lorentz).
    assert abs(shift[48, 48, 48]) < 0.02


def test_the_field_follows_the_direction_of_b0():
    ball = np.zeros((48, 48, 48))
    ball[22:27, 22:27, 22:27] = 1.0
    along_x = physics.field(ball, np.ones(3), np.array([1.0, 0.0, 0.0]))
    along_z = physics.field(ball, np.ones(3), np.array([0.0, 0.0, 1.0]))
    assert np.allclose(along_x, along_z.transpose(2, 1, 0), atol=1e-9)
    assert along_x[34, 24, 24] > 0 > along_x[24, 24, 34]


def test_an_encoded_voxel_is_sampled_in_its_middle():
    """A wave within the read part of k-space keeps its value at the middle of each voxel."""
    parts, voxels = 4, 21
    fine = (np.arange(parts * voxels) + 0.5) / (parts * voxels)
    wave = np.exp(2j * np.pi * 3 * fine)
    middle = (np.arange(voxels) + 0.5) / voxels
    read = physics._encoded(wave[:, None], 0, parts)[:, 0]
    assert np.allclose(read, np.exp(2j * np.pi * 3 * middle), atol=1e-9)
    assert np.allclose(physics._encoded(np.ones((84, 1)), 0, parts), 1)


def test_a_gap_between_slices_is_not_seen():
    ground, _ = about(np.zeros(3), np.diag([1.0, 1, 4, 1]), 4.0)
    signal = np.ones((1, 1, 3 * 16))
    signal[..., 16:20] = 0.0  # the lowest quarter of the middle slice
    thin = Acquisition(3.0, 0.02, masked=False, partitions=False, thickness_mm=2.0)
    thick = Acquisition(3.0, 0.02, masked=False, partitions=False, thickness_mm=4.0)
    assert physics._excited(signal, 2, 16, thin, ground)[0, 0].tolist() == [1, 1, 1]
    assert physics._excited(signal, 2, 16, thick, ground)[0, 0].tolist() == [1, 0.75, 1]


def rendered(acquisition, radius, seed=0):
    rng = np.random.default_rng(seed)
    clot = physics.Clot(radius, 1.5, 0.1, 0.2)
    reach = physics.reach_mm(clot, acquisition)
    ground, _ = about(np.array([0.3, -0.2, 0.4]), AFFINE, reach)
    return physics.render(clot, ground, acquisition, rng), ground


def test_a_clot_darkens_its_middle_and_leaves_the_box_as_it_is_at_its_edge():
    left, ground = rendered(GRE, 1.0)
    middle = tuple(int(h) for h in ground.half)
    assert left[middle] < 0.3
    assert np.abs(left[0] - 1).max() == 0
    assert np.abs(left[1] - 1).max() < 0.06  # no edge to be seen
    assert looks.diameter_mm(left, ground) == pytest.approx(3.0, abs=0.8)


def test_blooming_grows_with_echo_time_and_the_mask_darkens():
    short = Acquisition(3.0, 0.005, masked=False, partitions=True, thickness_mm=2.0)
    long = Acquisition(3.0, 0.030, masked=False, partitions=True, thickness_mm=2.0)
    lost = [float((1 - rendered(one, 0.8)[0]).clip(0).sum()) for one in (short, long)]
    assert lost[1] > 1.5 * lost[0]
    masked = Acquisition(3.0, 0.005, masked=True, partitions=True, thickness_mm=2.0)
    assert rendered(masked, 0.8)[0].min() < rendered(short, 0.8)[0].min()


def test_a_small_clot_keeps_its_dipole_moment():
    """A clot of fewer points than one still has the field of its volume."""
    small, _ = rendered(GRE, 0.12)
    assert 0.5 < small.min() < 0.995


def test_a_plain_lesion_has_the_size_that_was_asked_for():
    rng = np.random.default_rng(1)
    ball = plain.Ellipsoid(3.0, np.eye(3) / 3.0, depth=0.9, edge=0.1)
    ground, _ = about(np.zeros(3), np.diag([0.5, 0.5, 1.0, 1.0]), ball.reach_mm)
    left = plain.render(ball, ground)
    assert left.min() == pytest.approx(0.1, abs=0.01)
    assert looks.diameter_mm(left, ground) == pytest.approx(6.0, abs=0.3)
    assert plain.Ellipsoid.draw(2.0, rng).radius_mm == 2.0


# --- the copy ---


def noisy(shape=(60, 60, 8), level=400.0, sd=10.0):
    rng = np.random.default_rng(5)
    real, imaginary = rng.normal(0, sd, (2, *shape))
    return np.rint(np.hypot(level + real, imaginary)).astype(np.float32)


def changed(values, left, mask=None, step=1.0):
    half = (np.array(left.shape) - 1) // 2
    change = Change(np.array([30, 30, 4]), half, left)
    original = Original(Volume(values, np.eye(4)), step)
    brain = np.ones(values.shape, bool) if mask is None else mask
    return copies.with_lesions(original, [change], brain, 2, np.random.default_rng(0))


def test_the_noise_is_measured_and_put_back():
    values = noisy()
    brain = np.ones(values.shape, bool)
    sd = copies.noise_sd(values, brain, np.array([30, 30, 4]), 2)
    assert sd == pytest.approx(10, rel=0.1)
    left = np.full((41, 41, 3), 0.5)
    after = changed(values, left)[12:48, 12:48, 3:6]
    assert after.mean() == pytest.approx(200, rel=0.01)
    # A multiplied voxel would have a standard deviation of 5.
    assert after.std() == pytest.approx(10, rel=0.1)


def test_integer_steps_stay_and_nothing_else_changes():
    values = noisy()
    left = np.ones((21, 21, 3))
    left[8:13, 8:13] = 0.4
    after = changed(values, left)
    assert np.array_equal(after, np.rint(after))
    differs = np.argwhere(after != values)
    assert len(differs) > 50
    assert differs.min(0).tolist() >= [28, 28, 3]
    assert differs.max(0).tolist() <= [32, 32, 5]


def test_a_box_may_leave_the_image():
    of_volume, of_box = within(np.array([1, 9, 5]), np.array([3, 3, 1]), (10, 10, 10))
    assert [part.stop - part.start for part in of_volume] == [5, 4, 3]
    assert [part.start for part in of_box] == [2, 0, 0]


def test_a_copy_is_read_as_the_original_is(tmp_path):
    """Written in canonical axes: the pipeline reads the values at the same places in mm."""
    values = np.rint(np.abs(np.random.default_rng(0).normal(300, 90, (40, 44, 20)))).astype("i2")
    values[:8] = 2
    affine = np.array([[-2.0, 0, 0, 40], [0, 0, 4, -40], [0, -2.0, 0, 40], [0, 0, 0, 1]])
    image = nib.Nifti1Image(values, affine)
    path, target = tmp_path / "a.nii.gz", tmp_path / "copy.nii"
    image.to_filename(path)
    original = Original.read(path)
    assert original.step == 1.0
    copies.write(target, original.volume.data, original.volume.affine)
    again = load_volume(target)
    assert np.array_equal(again.data, original.volume.data)
    assert np.allclose(again.affine, original.volume.affine)
    at = apply_affine(np.linalg.inv(affine), apply_affine(again.affine, [20, 5, 9]))
    assert again.data[20, 5, 9] == values[tuple(np.rint(at).astype(int))]


def test_an_image_without_orientation_is_left_out_in_a_sentence(tmp_path):
    values = np.abs(np.random.default_rng(0).normal(300, 90, (80, 80, 40))).astype("f4")
    values[:20] = 2
    image = nib.Nifti1Image(values, None)
    image.header.set_zooms((2, 2, 4))
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    image.to_filename(tmp_path / "a.nii")
    with pytest.raises(LeftOut, match="no orientation"):
        Original.read(tmp_path / "a.nii")


def test_a_reader_sees_a_void_in_tissue_and_no_grey_spot():
    bare = np.full((41, 41, 9), 100.0)
    tissue = np.ones(bare.shape, bool)
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    at = np.array([20.0, 20.0, 12.0])
    dark, grey = bare.copy(), bare.copy()
    dark[19:22, 19:22, 4], grey[19:22, 19:22, 4] = 30.0, 75.0
    seen = looks.look(at, 3.0, bare, dark, tissue, affine)
    assert seen.visible and seen.loss == pytest.approx(0.7)
    assert not looks.look(at, 3.0, bare, grey, tissue, affine).visible
    # In fluid nobody would call it a microbleed.
    assert not looks.look(at, 3.0, bare, dark, np.zeros_like(tissue), affine).visible


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1), (2, 1, 0)])
def test_a_picture_is_of_the_place_in_the_slice(axes):
    """Whatever axis runs across the slices."""
    before = np.full((40, 44, 12), 100.0).transpose(axes)
    affine = np.diag([1.0, 1.0, 4.0, 1.0])[:, [*axes, 3]]
    after = before.copy()
    index = np.array([25, 12, 7])[list(axes)]
    after[tuple(index)] = 0.0
    greys = pictures.pair(before, after, affine, apply_affine(affine, index))
    differs = np.argwhere(greys[0] != greys[1])
    assert np.abs(differs.mean(0) - (pictures.PIXELS - 1) / 2).max() < 1
    assert np.ptp(differs, axis=0).max() <= 2 * pictures.PIXELS / pictures.SIDE_MM
    middle = pictures.PIXELS // 2
    assert greys[0, middle, middle] > 100 > greys[1, middle, middle]
