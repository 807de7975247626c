"""Skull-stripped images: told from heads, with their own outline as mask; NaN around the brain."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.images import stripped
from cmburden.images.volume import load_volume

SHAPE, SIZES = (66, 74, 45), (3.0, 3.0, 4.0)
POINTS = (np.indices(SHAPE).T - (np.array(SHAPE) - 1) / 2) * SIZES
RNG = np.random.default_rng(0)


def ellipsoid(grown_mm: float) -> np.ndarray:
    """A brain of 136 x 170 x 130 mm (1.6 l), or a surface so far outside of it."""
    axes = np.array([68.0, 85.0, 65.0]) + grown_mm
    return ((POINTS / axes) ** 2).sum(-1).T < 1


BRAIN, SKULL, SCALP = ellipsoid(0), ellipsoid(9), ellipsoid(17)
#: Brain with noise and dark vessels, dark bone, bright scalp.
SIGNAL = np.where(BRAIN, 500.0, 0) + np.where(SKULL & ~BRAIN, 30, 0)
SIGNAL += np.where(SCALP & ~SKULL, 700, 0)
SIGNAL[BRAIN & (np.indices(SHAPE).sum(0) % 17 == 0)] = 120
HEAD = np.hypot(SIGNAL + RNG.normal(0, 10, SHAPE), RNG.normal(0, 10, SHAPE)).astype(np.float32)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.sum(one & other) / (one.sum() + other.sum())


def test_a_head_is_no_stripped_brain():
    assert stripped.brain_of(HEAD, SIZES) is None
    # Air of 0, air and bone of 0, and a head cut out along its skin.
    for level in (25, 60, 100):
        assert stripped.brain_of(np.where(level < HEAD, HEAD, 0), SIZES) is None
    assert stripped.brain_of(np.where(SCALP, HEAD, 0), SIZES) is None


@pytest.mark.parametrize("depth_mm", [0, 1, 2, 4])
def test_the_outline_of_a_stripped_brain_is_its_mask(depth_mm):
    inside = ndimage.distance_transform_edt(BRAIN, SIZES) > depth_mm
    mask = stripped.brain_of(np.where(inside, HEAD, 0), SIZES)
    assert overlap(mask, inside) > 0.99


def test_holes_and_gaps_are_closed_and_crumbs_left_out():
    data = np.where(BRAIN, HEAD, 0)
    data[31:35, 33:43, 20:24] = 0  # a ventricle without signal
    data[33, :, 30] = 0  # a fissure of one slice
    data[2:4, 2:4, 2] = 100
    mask = stripped.brain_of(data, (1.5, 1.5, 2.0), stated=True)
    assert mask[33, 37, 22] and mask[33, 37, 30] and not mask[3, 3, 2]
    assert overlap(mask, BRAIN) > 0.995


def test_what_a_sidecar_says_is_believed_where_a_background_is_blank():
    # A slab of brain, half of it masked away: neither volume nor shape are those of a brain.
    part = BRAIN & (np.indices(SHAPE)[0] < 33) & (np.indices(SHAPE)[2] > 25)
    data = np.where(part, HEAD, 0)
    assert stripped.brain_of(data, SIZES) is None
    assert overlap(stripped.brain_of(data, SIZES, stated=True), part) > 0.99
    assert stripped.brain_of(HEAD, SIZES, stated=True) is None
    assert stripped.brain_of(np.zeros(SHAPE, np.float32), SIZES, stated=True) is None


def test_a_scan_cut_by_the_field_of_view():
    part = slice(8, 38)
    mask = stripped.brain_of(np.where(BRAIN, HEAD, 0)[:, :, part], SIZES)
    assert overlap(mask, BRAIN[:, :, part]) > 0.99


# --- NaN ---


def saved(tmp_path, data):
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([*SIZES, 1])), path)
    return path


def test_nan_around_the_brain_is_read_as_0(tmp_path):
    read = load_volume(saved(tmp_path, np.where(BRAIN, HEAD, np.nan)))
    assert np.array_equal(read.data, np.where(BRAIN, HEAD, 0))
    [note] = read.notes
    assert note == f"NaN in its background ({np.mean(~BRAIN):.0%} of the voxels) was read as 0."
    assert overlap(stripped.brain_of(read.data, read.zooms), BRAIN) > 0.99


@pytest.mark.parametrize("kind", ["within the brain", "in a corner", "infinite"])
def test_other_nan_is_refused(tmp_path, kind):
    data = np.where(BRAIN, HEAD, np.nan)
    if kind == "within the brain":
        data[33, 37, 22] = np.nan
    elif kind == "in a corner":
        data = HEAD.copy()
        data[:30, :30, 0] = np.nan
    else:
        data[33, 37, 22] = np.inf
    with pytest.raises(ScanError) as caught:
        load_volume(saved(tmp_path, data))
    assert caught.value.reason == "not_finite"


def test_an_inverted_head_is_refused_as_before(tmp_path):
    with pytest.raises(ScanError) as caught:
        load_volume(saved(tmp_path, HEAD.max() - HEAD))
    assert caught.value.reason == "polarity"
