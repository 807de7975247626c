"""NIfTI in and out: a world point keeps its value whatever the order and the faults of a file."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from orientations import ORIENTATIONS, grid
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.images import intensity
from cmburden.images import volume as images

SHAPE, ZOOMS = (12, 10, 8), (1.0, 1.5, 3.0)
RIGHT = np.diag([2.0, 2.0, 3.0, 1.0])
OTHER = np.diag([-2.0, 2.0, 3.0, 1.0])


def magnitude(shape=SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).rayleigh(100, shape).astype(np.float32)


def file_of(sform=None, qform=None, pixdim=(2.0, 2.0, 3.0)) -> bytes:
    """A NIfTI file whose header holds just these forms and voxel sizes, sound or not."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(SHAPE)
    if qform is not None:
        header.set_qform(qform, code=1)
    header["pixdim"][1:4] = pixdim
    if sform is not None:
        header["sform_code"] = 1
        for name, values in zip(("srow_x", "srow_y", "srow_z"), sform, strict=False):
            header[name] = values
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(4) + magnitude().tobytes(order="F")


def put(path, image: nib.Nifti1Image | bytes):
    path.write_bytes(image if isinstance(image, bytes) else image.to_bytes())
    return path


def reason_of(path) -> str:
    with pytest.raises(ScanError) as error:
        images.load_volume(path)
    return error.value.reason


# --- geometry ---


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_world_point_keeps_its_value(orientation, tmp_path):
    data, affine = magnitude(), grid(orientation, SHAPE, ZOOMS, (5.0, -20.0, 30.0))
    volume = images.load_volume(put(tmp_path / "a.nii", nib.Nifti1Image(data, affine)))
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")
    for voxel in ((0, 0, 0), (11, 0, 0), (0, 9, 0), (0, 0, 7), (3, 7, 2)):
        world = nib.affines.apply_affine(affine, voxel)
        there = np.rint(nib.affines.apply_affine(np.linalg.inv(volume.affine), world)).astype(int)
        assert volume.data[tuple(there)] == data[voxel]
    assert sorted(volume.zooms) == pytest.approx(sorted(ZOOMS))
    # A sagittal acquisition is thick from left to right.
    assert volume.slice_axis == (0 if orientation == "PSR" else 2)
    assert volume.slice_mm == pytest.approx(3.0)
    assert sorted(volume.in_plane_mm) == pytest.approx([1.0, 1.5])


@pytest.mark.parametrize(
    ("sform", "qform", "chosen", "affine"),
    [
        (RIGHT, OTHER, "sform", RIGHT),
        (None, OTHER, "qform", OTHER),
        (np.full((4, 4), np.nan), OTHER, "qform", OTHER),
        (np.zeros((4, 4)), OTHER, "qform", OTHER),
        # Two axes of one direction.
        (np.array([[2.0, 2, 0, 0], [0, 0.01, 0, 0], [0, 0, 3, 0]]), OTHER, "qform", OTHER),
        # Voxels of 1 mm in the sform, of 2 x 2 x 3 in the rest of the header.
        (np.eye(4), OTHER, "qform", OTHER),
        # Within a tenth: rounding.
        (np.diag([2.1, 2.1, 3.1, 1]), OTHER, "sform", np.diag([2.1, 2.1, 3.1, 1])),
    ],
    ids=["both", "no sform", "nan", "zeros", "degenerate", "other sizes", "rounded"],
)
def test_the_sound_form_is_taken(sform, qform, chosen, affine, tmp_path):
    volume = images.load_volume(put(tmp_path / "a.nii", file_of(sform, qform)))
    assert volume.orientation == chosen
    expected = nib.as_closest_canonical(nib.Nifti1Image(magnitude(), affine))
    assert volume.affine == pytest.approx(expected.affine, abs=1e-6)
    assert np.array_equal(volume.data, np.asarray(expected.dataobj))


def test_forms_that_both_contradict_the_voxel_sizes_are_better_than_none(tmp_path):
    path = put(tmp_path / "a.nii", file_of(np.eye(4), None))
    volume = images.load_volume(path)
    assert (volume.orientation, volume.zooms) == ("sform", (1.0, 1.0, 1.0))


def test_without_forms_x_runs_to_the_left_as_nibabel_has_it(tmp_path):
    path = put(tmp_path / "a.nii", file_of())
    volume, theirs = images.load_volume(path), nib.as_closest_canonical(nib.load(path))
    assert volume.orientation == "none"
    assert volume.affine == pytest.approx(theirs.affine)
    assert np.array_equal(volume.data, magnitude()[::-1])


@pytest.mark.parametrize("size", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("qform", [None, OTHER], ids=["no form", "qform"])
def test_a_header_without_voxel_sizes_gives_no_geometry(qform, size, tmp_path):
    """A qform turns and shifts; its voxel sizes are those of ``pixdim``."""
    path = put(tmp_path / "a.nii", file_of(None, qform, pixdim=(size,) * 3))
    assert reason_of(path) == "voxel_size"


@pytest.mark.parametrize("size", [np.nan, 0.0])
def test_an_sform_holds_its_own_voxel_sizes(size, tmp_path):
    path = put(tmp_path / "a.nii", file_of(RIGHT, OTHER, pixdim=(size,) * 3))
    volume = images.load_volume(path)
    assert (volume.orientation, volume.zooms) == ("sform", (2.0, 2.0, 3.0))


# --- values ---


def test_slope_and_intercept_as_nibabel_applies_them(tmp_path):
    stored = np.arange(960, dtype=np.int16).reshape(SHAPE)
    image = nib.Nifti1Image(stored, RIGHT)
    image.header.set_slope_inter(0.5, 100)
    path = put(tmp_path / "a.nii", image)
    volume = images.load_volume(path)
    assert volume.data.dtype == np.float32
    assert np.array_equal(volume.data, 0.5 * stored + 100)
    assert np.array_equal(volume.data, nib.load(path).get_fdata())


def test_a_negative_slope_over_a_magnitude_is_turned(tmp_path):
    stored = np.arange(960, dtype=np.int16).reshape(SHAPE)
    image = nib.Nifti1Image(stored, RIGHT)
    image.header.set_slope_inter(-2.0, 0)
    volume = images.load_volume(put(tmp_path / "a.nii", image))
    assert np.array_equal(volume.data, 2.0 * stored)


@pytest.mark.parametrize("trailing", [(1,), (1, 1)])
def test_a_fourth_axis_of_one_is_dropped(trailing, tmp_path):
    data = magnitude()
    image = nib.Nifti1Image(data.reshape(*SHAPE, *trailing), RIGHT)
    assert np.array_equal(images.load_volume(put(tmp_path / "a.nii", image)).data, data)


@pytest.mark.parametrize("shape", [(*SHAPE, 2), (12, 10, 1), (12, 10)])
def test_what_is_not_one_volume(shape, tmp_path):
    assert reason_of(put(tmp_path / "a.nii", nib.Nifti1Image(magnitude(shape), RIGHT))) == "not_3d"


@pytest.mark.parametrize("kind", ["nifti2", "big-endian", "gzip"])
def test_other_ways_to_store_the_same(kind, tmp_path):
    data = magnitude()
    image = nib.Nifti1Image(data, RIGHT)
    if kind == "nifti2":
        image = nib.Nifti2Image(data, RIGHT)
    if kind == "big-endian":
        image = nib.Nifti1Image(data.astype(">f4"), RIGHT, nib.Nifti1Header(endianness=">"))
    content = image.to_bytes()
    path = tmp_path / "a.nii"
    path.write_bytes(gzip.compress(content) if kind == "gzip" else content)
    assert np.array_equal(images.load_volume(path).data, data)


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        (np.dtype(np.complex64), "is_phase"),
        (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), "unreadable"),
    ],
)
def test_values_that_are_no_intensities(dtype, reason, tmp_path):
    image = nib.Nifti1Image(np.zeros(SHAPE, dtype), RIGHT)
    assert reason_of(put(tmp_path / "a.nii", image)) == reason


@pytest.mark.parametrize("cut", [100, 347, 1000])
def test_a_file_that_ends_early(cut, tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(nib.Nifti1Image(magnitude(), RIGHT).to_bytes()[:cut])
    assert reason_of(path) == "truncated"


def test_a_damaged_gzip_is_not_a_torn_one(tmp_path):
    content = bytearray(gzip.compress(nib.Nifti1Image(magnitude(), RIGHT).to_bytes()))
    content[-6] ^= 0xFF  # of the checksum
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    assert reason_of(path) == "unreadable"


# --- phase ---

AIR = np.random.default_rng(1)
POINTS = np.indices((40, 40, 20))
BALL = np.linalg.norm((POINTS.T - (20, 20, 10)) / (15, 15, 8), axis=-1).T < 1
#: Phase of a head: a slope over the ball that wraps, noise of all values in the air.
WRAPPED = np.where(
    BALL,
    (0.9 * POINTS[0] + 0.4 * POINTS[1]) % (2 * np.pi) - np.pi,
    AIR.uniform(-np.pi, np.pi, BALL.shape),
)
#: Magnitude of a head: tissue of 300 to 420 with an edge of some voxels, in Rayleigh noise.
TISSUE = ndimage.gaussian_filter(np.where(BALL, 300.0 + 3 * POINTS[0], 0), 1.5)
TISSUE[POINTS.sum(0) % 9 == 0] *= 0.4  # vessels
TISSUE += AIR.rayleigh(8, BALL.shape)


@pytest.mark.parametrize(
    ("data", "phase"),
    [
        (WRAPPED, True),
        (np.round((WRAPPED + np.pi) / (2 * np.pi) * 4095), True),
        (WRAPPED * 4096 / np.pi, True),
        # A mask has set the air to zero.
        (np.where(BALL, WRAPPED, 0), True),
        (TISSUE, False),
        (np.where(BALL, TISSUE, 0), False),
        # A filtered magnitude that swings a little below zero.
        (TISSUE - 20, False),
        (np.full(BALL.shape, 3.0), False),
    ],
    ids=[
        "signed",
        "unsigned",
        "scanner units",
        "masked",
        "magnitude",
        "stripped",
        "ringing",
        "flat",
    ],
)
def test_phase_is_told_from_magnitude(data, phase):
    assert intensity.looks_like_phase(data.astype(np.float32)) is phase


def test_phase_is_read_where_it_is_allowed(tmp_path):
    path = put(tmp_path / "a.nii", nib.Nifti1Image(WRAPPED.astype(np.float32), RIGHT))
    assert reason_of(path) == "is_phase"
    assert images.load_volume(path, phase_allowed=True).data.min() < -3


# --- labels ---


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_labels_keep_their_places(orientation, tmp_path):
    labels, affine = np.zeros(SHAPE), grid(orientation, SHAPE, ZOOMS)
    labels[2, 3, 5] = 6.9999
    path = put(tmp_path / "a.nii", nib.Nifti1Image(labels, affine))
    read, to_world = images.load_labels(path)
    assert np.issubdtype(read.dtype, np.integer)
    assert np.argwhere(read).shape == (1, 3) and read.max() == 7
    there = nib.affines.apply_affine(to_world, np.argwhere(read)[0])
    assert there == pytest.approx(nib.affines.apply_affine(affine, (2, 3, 5)), abs=1e-4)


def test_an_empty_mask_is_a_mask(tmp_path):
    path = put(tmp_path / "a.nii", nib.Nifti1Image(np.zeros(SHAPE, np.uint8), RIGHT))
    assert not images.load_labels(path)[0].any()


# --- writing ---


def test_equal_volumes_give_equal_bytes_that_others_read(tmp_path):
    data, affine = magnitude() / 100, grid("oblique", SHAPE, ZOOMS, (1.0, 2.0, 3.0))
    for name in ("a.nii.gz", "b.nii.gz"):
        images.save_volume(tmp_path / name, data.copy(), affine, np.float32)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    # RFC 1952: bytes 4 to 7 are the time, and flag 8 a file's name; neither is there.
    assert content[4:8] == bytes(4) and not content[3] & 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]
    image = nib.load(tmp_path / "a.nii.gz")
    for form in (image.get_sform, image.get_qform):
        stored, code = form(coded=True)
        assert code == 1
        assert stored == pytest.approx(affine, abs=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"
    # Rounded to 2^-12, of a tissue of about 1.
    assert np.abs(image.get_fdata() - data).max() <= 2**-13 + 1e-7
    assert np.array_equal(image.get_fdata() * 4096 % 1, np.zeros(SHAPE))


def test_integers_are_stored_as_they_are(tmp_path):
    stored = np.arange(-480, 480, dtype=np.int16).reshape(SHAPE)
    images.save_volume(tmp_path / "a.nii.gz", stored, RIGHT, np.int16, intent="vector")
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert image.header.get_intent()[0] == "vector"
    assert np.array_equal(np.asarray(image.dataobj), stored)


def test_compression_changes_the_file_and_not_the_volume(tmp_path):
    data = np.repeat(magnitude()[..., :1], SHAPE[2], axis=2)
    for level in (1, 9):
        images.save_volume(tmp_path / f"{level}.nii.gz", data, RIGHT, np.float32, compression=level)
    small, large = (tmp_path / f"{level}.nii.gz" for level in (9, 1))
    assert small.stat().st_size < large.stat().st_size
    assert np.array_equal(nib.load(small).get_fdata(), nib.load(large).get_fdata())


def test_what_is_written_is_read(tmp_path):
    data, affine = np.round(magnitude()), grid("RAS", SHAPE, ZOOMS, (1.0, 2.0, 3.0))
    images.save_volume(tmp_path / "a.nii.gz", data, affine, np.float32)
    read, to_world = images.read_derivative(tmp_path / "a.nii.gz")
    assert np.array_equal(read, data)
    assert to_world == pytest.approx(affine)
