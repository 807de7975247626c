"""A T1w that is not of the scan's head, or no head at all, is not used."""

import nibabel as nib
import numpy as np
import pytest

from cmburden.core.errors import ScanError
from cmburden.images import brain
from cmburden.images.volume import save_volume
from cmburden.register.align import through_t1w, to_template
from cmburden.space import template

SETTINGS = {"nonlinear": False, "threads": 1}


@pytest.fixture(scope="module")
def scan() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The template as a GRE, turned by a few degrees; its mask and affine."""
    tissues, affine = template.tissues(2.0)
    turn = nib.affines.from_matvec(
        nib.eulerangles.euler2mat(*np.deg2rad([4, -6, 5])), [5.0, -3.0, 8.0]
    )
    return tissues @ np.array([1.05, 0.95, 1.4]), tissues.sum(-1) > 0.5, turn @ affine


def t1w(path, tissues: np.ndarray, affine: np.ndarray):
    save_volume(path, tissues @ np.array([0.6, 1.0, 0.2]), affine, np.float32)
    return path


@pytest.fixture
def masks(monkeypatch):
    """The brain of a T1w without deepbet: all of its signal."""
    monkeypatch.setattr(brain, "brain_mask", lambda data, threads=1: data > 0.05)


@pytest.mark.slow
def test_through_the_t1w_is_the_way_there(scan, masks, tmp_path):
    """The T1w lies in MNI152 itself, the scan is turned: the transform turns it back."""
    data, mask, affine = scan
    tissues, to_mni = template.tissues(2.0)
    path = t1w(tmp_path / "t1w.nii.gz", tissues, to_mni)
    transform = through_t1w(data, mask, affine, path, SETTINGS)
    voxels = np.array([[50, 60, 45], [30, 70, 50], [70, 40, 40]])
    at = transform(nib.affines.apply_affine(affine, voxels))
    expected = nib.affines.apply_affine(to_mni, voxels)
    assert np.linalg.norm(at - expected, axis=1).max() < 1.0


@pytest.mark.slow
def test_a_t1w_of_another_head_is_refused(scan, masks, tmp_path):
    tissues, affine = template.tissues(2.0)
    # A brain of 60 % of the width: no rigid motion lays one on the other.
    narrow = np.diag([0.6, 1.0, 1.0, 1.0]) @ affine
    path = t1w(tmp_path / "t1w.nii.gz", tissues, narrow)
    with pytest.raises(ScanError, match="overlaps with the scan's by 0") as caught:
        through_t1w(*scan, path, SETTINGS)
    assert caught.value.reason == "registration"


@pytest.mark.parametrize("scale", [0.5, 1.2])
def test_a_t1w_whose_mask_is_no_brain_is_refused(scan, masks, tmp_path, scale):
    tissues, affine = template.tissues(2.0)
    path = t1w(tmp_path / "t1w.nii.gz", tissues, np.diag([scale] * 3 + [1.0]) @ affine)
    with pytest.raises(ScanError, match="Its brain mask has") as caught:
        through_t1w(*scan, path, SETTINGS)
    assert caught.value.reason == "brain_mask"


@pytest.mark.slow
def test_to_template_turns_the_scan_back(scan):
    data, mask, affine = scan
    transform = to_template(data, mask, affine, nonlinear=False)
    assert transform.field is None
    voxels = np.array([[50, 60, 45], [30, 70, 50], [70, 40, 40]])
    at = transform(nib.affines.apply_affine(affine, voxels))
    expected = nib.affines.apply_affine(template.tissues(2.0)[1], voxels)
    assert np.linalg.norm(at - expected, axis=1).max() < 1.0
