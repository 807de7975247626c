"""Checks and measures of preprocess: limits to both sides, and a bias field that is known."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from cmburden.core import config
from cmburden.core.errors import ScanError
from cmburden.images.volume import Volume
from cmburden.preprocess import quality
from cmburden.preprocess.bias import bias_field
from cmburden.space import template

SETTINGS = config.load()["preprocess"]


def volume_of(shape, zooms) -> Volume:
    return Volume(np.ones(shape, np.float32), np.diag([*zooms, 1.0]))


def box(*lengths: int) -> tuple[slice, ...]:
    return tuple(slice(0, length) for length in lengths)


def verdict(check, *arguments) -> tuple[str, str] | None:
    """Status and reason of a check; None where it lets the scan pass."""
    try:
        check(*arguments)
    except ScanError as error:
        return error.status, error.reason
    return None


# --- voxels and field of view ---


@pytest.mark.parametrize(
    ("zooms", "passes"),
    [
        ((0.9, 0.9, 5.0), True),
        ((2.5, 2.5, 7.0), True),
        # 0.01 mm is rounding in the header.
        ((2.509, 2.509, 7.009), True),
        ((2.52, 1.0, 3.0), False),
        ((1.0, 2.52, 3.0), False),
        ((1.0, 1.0, 7.02), False),
        # Sagittal and coronal: the thick axis is another.
        ((7.0, 1.0, 1.0), True),
        ((1.0, 7.02, 1.0), False),
        # Thick slices that are no thicker than they are wide.
        ((2.6, 2.6, 2.6), False),
    ],
)
def test_voxels_up_to_the_limit(zooms, passes):
    found = verdict(quality.check_voxels, volume_of((4, 4, 4), zooms), SETTINGS["max_voxel_mm"])
    assert found == (None if passes else ("excluded", "voxel_size"))


@pytest.mark.parametrize(
    ("seen_mm", "passes"),
    [
        ((95, 115, 60), True),
        ((94, 115, 60), False),
        ((95, 114, 60), False),
        ((95, 115, 59), False),
        ((240, 240, 58), False),
    ],
)
def test_a_field_of_view_that_cannot_hold_half_a_brain(seen_mm, passes):
    volume = volume_of((250, 250, 100), (1.0, 1.0, 1.0))
    seen = tuple(slice(3, 3 + length) for length in seen_mm)
    found = verdict(quality.check_field, volume, seen)
    assert found == (None if passes else ("excluded", "coverage"))


def test_the_field_of_view_is_counted_in_millimetres():
    volume = volume_of((60, 60, 12), (2.0, 2.0, 5.0))
    assert verdict(quality.check_field, volume, box(48, 58, 12)) is None
    assert verdict(quality.check_field, volume, box(47, 58, 12)) is not None


# --- the mask ---

SOUND = {"mask_compactness": 0.88, "coverage": 1.0, "brain_volume_ml": 1400.0}


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        ({}, None),
        ({"mask_compactness": 0.69}, ("excluded", "not_brain")),
        ({"mask_compactness": 0.70}, None),
        ({"coverage": 0.59}, ("excluded", "coverage")),
        ({"coverage": 0.60}, None),
        ({"brain_volume_ml": 699.0}, ("failed", "brain_mask")),
        ({"brain_volume_ml": 700.0}, None),
        ({"brain_volume_ml": 2200.0}, None),
        ({"brain_volume_ml": 2201.0}, ("failed", "brain_mask")),
        # Half a brain is small because it is half; a neck is neither.
        ({"coverage": 0.5, "brain_volume_ml": 500.0}, ("excluded", "coverage")),
        (
            {"mask_compactness": 0.5, "coverage": 0.5, "brain_volume_ml": 300.0},
            ("excluded", "not_brain"),
        ),
    ],
)
def test_masks_that_are_no_whole_brain(measures, expected):
    assert verdict(quality.check_mask, SOUND | measures, SETTINGS) == expected


def test_shape_measures_of_a_box():
    mask = np.zeros((60, 70, 30), bool)
    mask[10:50, 10:60, 5:25] = True
    volume = volume_of(mask.shape, (2.0, 2.0, 4.0))
    measures = quality.shape_measures(mask, volume, box(*mask.shape))
    # 40 x 50 x 20 voxels of 16 mm^3.
    assert measures["brain_volume_ml"] == 640.0
    assert measures["coverage"] == 1.0
    # A box of 80 x 100 x 80 mm: (36 pi V^2)^(1/3) over its 41,600 mm^2 of faces, times 1.5.
    expected = (36 * np.pi * 640e3**2) ** (1 / 3) / (2 * (8e3 + 6.4e3 + 8e3)) * 1.5
    assert measures["mask_compactness"] == pytest.approx(expected, abs=1e-4)


# --- contrast ---


@pytest.fixture(scope="module")
def tissues() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grey matter, white matter and fluid of the template at 2 mm, its mask and affine."""
    shares, affine = template.tissues(2.0)
    return shares, shares.sum(-1) > 0.5, affine


@pytest.mark.parametrize(
    ("grey", "white", "fluid", "expected"),
    [
        (0.60, 1.00, 0.20, ("excluded", "polarity")),
        # GRE with bright and with dark fluid, SWI, EPI.
        (1.05, 0.95, 1.60, None),
        (1.02, 0.97, 0.70, None),
        (1.00, 0.90, 0.60, None),
        (1.10, 0.90, 2.10, None),
    ],
    ids=["T1w", "GRE", "GRE, dark fluid", "SWI", "EPI"],
)
def test_a_t1w_is_told_by_its_contrast(tissues, grey, white, fluid, expected):
    shares, mask, _ = tissues
    scan = shares @ np.array([grey, white, fluid])
    scan = scan / np.median(scan[mask])
    assert verdict(quality.check_polarity, scan, mask, (2.0, 2.0, 2.0)) == expected


def test_too_little_depth_says_nothing_of_the_contrast(tissues):
    shares, mask, _ = tissues
    scan = shares @ np.array([0.6, 1.0, 0.2])
    # The same voxels half as far apart: nowhere 30 mm deep.
    found = verdict(quality.check_polarity, scan / np.median(scan[mask]), mask, (1.0, 1.0, 1.0))
    assert found is None


# --- bias ---


@pytest.mark.slow
@pytest.mark.parametrize("step", [(1, 1, 1), (1, 1, 2)], ids=["2 mm", "slices of 4 mm"])
def test_a_known_bias_field_is_recovered(tissues, step):
    shares, mask, affine = tissues
    thin = tuple(slice(None, None, by) for by in step)
    shares, mask = shares[thin], mask[thin]
    affine = affine @ np.diag([*step, 1.0])
    x, y, z = np.moveaxis(
        nib.affines.apply_affine(affine, np.moveaxis(np.indices(mask.shape), 0, -1)), -1, 0
    )
    # A coil at the front left whose sensitivity is a Gaussian. Unlike an exponential it is another
    # field, not only another scale, when it is put down in the wrong place.
    bias = np.exp(-((x + 40) ** 2 + (y - 60) ** 2 + (z - 10) ** 2) / (2 * 120**2))
    bias /= bias[mask].mean()
    assert bias[mask].min() < 0.75 and bias[mask].max() > 1.2
    noise = np.random.default_rng(0).normal(0, 0.02, mask.shape)
    scan = np.clip((shares @ np.array([1.05, 0.95, 1.4])) * bias + noise, 0, None)
    gain = bias_field(Volume(scan.astype(np.float32), affine), mask)
    assert gain.shape == mask.shape
    left = gain[mask] / bias[mask]
    left /= left.mean()
    assert np.std(left) < 0.03
    assert np.abs(left - 1).max() < 0.15
    assert gain[mask].mean() == pytest.approx(1.0, abs=0.02)


@pytest.mark.slow
def test_where_there_is_no_bias_none_is_taken_away(tissues):
    shares, mask, affine = tissues
    scan = (shares @ np.array([1.0, 1.0, 1.0])).astype(np.float32)
    scan += np.random.default_rng(0).normal(0, 0.02, mask.shape).astype(np.float32)
    gain = bias_field(Volume(np.clip(scan, 0, None), affine), mask)
    inner = ndimage.binary_erosion(mask, iterations=4)
    assert np.abs(gain[inner] - 1).max() < 0.05


# --- noise and intensities ---


def test_noise_of_the_air_is_that_of_the_receiver():
    """Air of a magnitude is the length of two normal values: sigma 7 in, sigma 7 out."""
    rng = np.random.default_rng(0)
    mask = np.zeros((60, 70, 40), bool)
    mask[20:40, 20:50, 10:30] = True
    real, imaginary = rng.normal(0, 7, (2, *mask.shape))
    raw = np.hypot(np.where(mask, 500, 0) + real, imaginary).astype(np.float32)
    assert quality.background_noise(raw, mask) == pytest.approx(7, rel=0.03)
    # Bone and muscle about the brain, less than half of what is outside, change little.
    raw[15:20] += 150
    assert quality.background_noise(raw, mask) == pytest.approx(7, rel=0.03)
    assert quality.background_noise(np.where(mask, raw, 0), mask) is None


def test_intensity_measures_by_hand():
    mask = np.zeros((10, 10, 10), bool)
    mask[2:8, 2:8, 2:8] = True
    corrected = np.ones(mask.shape, np.float32)
    corrected[2:8, 2:8, 2] = 0.3  # 36 of 216 voxels below 0.4
    corrected[2:8, 2:8, 7] = 1.5
    raw = np.where(mask, 200 * corrected, 0).astype(np.float32)
    gain = np.where(np.indices(mask.shape)[0] < 5, 0.9, 1.1)
    measures = quality.intensity_measures(raw, corrected, mask, gain)
    assert measures == {
        "snr": None,
        "contrast_csf_tissue": 1.5,
        "dark_fraction": round(36 / 216, 5),
        "bias_spread": 0.1,
        "median_signal": 200.0,
    }
    assert quality.intensity_measures(raw, corrected, mask, np.float32(1))["bias_spread"] == 0
