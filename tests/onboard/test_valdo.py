"""VALDO's task 2 (fixture F5): masked images, masks of microbleeds."""

import math

import nibabel as nib
import numpy as np
import pytest
from nifti_downloads import found, images, nifti, request

from cmburden.onboard.cohorts import valdo

AFFINE = np.array([[-0.449, 0, 0, 5.0], [0, 0.449, 0, -6.0], [0, 0, 4.0, -16.0], [0, 0, 0, 1]])
SHAPE = (24, 24, 8)


@pytest.fixture
def task(tmp_path):
    """Fixture F5: sub-101 with a lesion of four voxels and one of one, sub-201 clean."""
    inside = np.zeros(SHAPE, bool)
    inside[4:20, 4:20, 1:7] = True
    masked = np.where(inside, 100, np.nan).astype(np.float32)
    for number in ("101", "201", "301"):
        for kind in ("T1", "T2", "T2S"):
            name = f"sub-{number}_space-T2S_desc-masked_{kind}.nii.gz"
            nifti(tmp_path / "Task2" / f"sub-{number}" / name, masked, AFFINE)
    lesions = np.where(inside, 0, np.nan).astype(np.float32)
    nifti(tmp_path / "Task2/sub-201/sub-201_space-T2S_CMB.nii.gz", lesions, AFFINE)
    lesions[8:10, 10:12, 3] = 1
    lesions[15, 6, 5] = 1
    nifti(tmp_path / "Task2/sub-101/sub-101_space-T2S_CMB.nii.gz", lesions, AFFINE)
    nifti(tmp_path / "Task2/sub-101/sub-101_space-T1_desc-masked_FLAIR.nii.gz")
    return tmp_path / "Task2"


def test_fixture_f5(task, tmp_path):
    asked = request("valdo", task, out=tmp_path / "out")
    sources, passed = found(valdo, asked)
    made = images(valdo, sources)
    assert sorted(image.scan_id for image in made if image.participant_id == "sub-VALDO101") == [
        "sub-VALDO101_T1w",
        "sub-VALDO101_T2starw",
        "sub-VALDO101_T2w",
    ]
    assert all(source.fixed.sidecar == {"SkullStripped": True} for source in sources)
    assert sorted(row.place for row in passed) == [
        "sub-101/sub-101_space-T1_desc-masked_FLAIR.nii.gz",
        "sub-101/sub-101_space-T2S_CMB.nii.gz",
        "sub-201/sub-201_space-T2S_CMB.nii.gz",
    ]
    told = valdo.findings(asked, made)
    assert told.convention == "ras"
    clean = told.findings[-1]
    first, second = sorted(told.findings[:-1], key=lambda one: -one.radius_mm)
    assert first.scan_id == second.scan_id == "sub-VALDO101_T2starw"
    assert np.allclose(first.point, nib.affines.apply_affine(AFFINE, (8.5, 10.5, 3)))
    assert np.allclose(second.point, nib.affines.apply_affine(AFFINE, (15, 6, 5)))
    voxel = 0.449 * 0.449 * 4
    assert first.radius_mm == pytest.approx((3 * 4 * voxel / (4 * math.pi)) ** (1 / 3))
    assert second.radius_mm == pytest.approx((3 * voxel / (4 * math.pi)) ** (1 / 3))
    assert (clean.scan_id, clean.kind, clean.point) == ("sub-VALDO201_T2starw", "none", None)
    assert told.remarks == ("sub-VALDO301_T2starw: no mask lies beside it; it counts as not read",)
    people = {person.participant_id: person.site for person in valdo.people(asked, made)}
    assert people == {"sub-VALDO101": "SABRE", "sub-VALDO201": "RSS", "sub-VALDO301": "ALFA"}


def test_a_mask_that_cannot_be_used_is_a_remark(task, tmp_path):
    nifti(task / "sub-201/sub-201_space-T2S_CMB.nii.gz", np.zeros((24, 24, 9), np.uint8), AFFINE)
    asked = request("valdo", task, out=tmp_path / "out")
    told = valdo.findings(asked, images(valdo, found(valdo, asked)[0]))
    assert {one.scan_id for one in told.findings} == {"sub-VALDO101_T2starw"}
    assert "24 x 24 x 9" in told.remarks[0] and "counts as not read" in told.remarks[0]


def test_a_download_that_lies_twice_is_taken_once(task, tmp_path):
    asked = request("valdo", task, task, out=tmp_path / "out")
    sources, passed = found(valdo, asked)
    assert len(sources) == 9
    assert sum("twice" in row.reason for row in passed) == 9
