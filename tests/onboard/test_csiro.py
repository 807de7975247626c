"""CSIRO's set (fixture F6): real scans alone, points of the sheet as 1-based voxels."""

import nibabel as nib
import numpy as np
import openpyxl
import pytest
from nifti_downloads import F6, found, images, nifti, request

from cmburden.core.errors import CMBurdenError
from cmburden.onboard.cohorts import csiro

HEADER = ["NIFTI File Name ", "Location CMB # 1", None, None, "Location CMB # 2", None, None]
FIRST = "901_T0_MRI_SWI_BFC_50mm_HM.nii.gz"
SECOND = "903_T2_MRI_SWI_BFC_50mm_HM.nii.gz"
CLEAN = "902_T1_MRI_SWI_BFC_50mm_HM.nii.gz"


def sheet(root, *rows, header=HEADER):
    book = openpyxl.Workbook()
    for row in (header, *rows):
        book.active.append(row)
    book.save(root / "rCMBInformationInfo.xlsx")


@pytest.fixture
def share(tmp_path):
    root = tmp_path / "PublicDataShare_2020"
    data = np.zeros((24, 24, 8), np.float32)
    for folder, name in (
        ("rCMB_DefiniteSubject", FIRST),
        ("rCMB_DefiniteSubject", SECOND),
        ("NoCMBSubject", CLEAN),
        ("sCMB_DefiniteSubject", "901_T0_MRI_SWI_BFC_50mm_HM_rsCMB_V7.nii.gz"),
        ("sCMB_NoCMBSubject", "902_T1_MRI_SWI_BFC_50mm_HM_sCMB_V1.nii.gz"),
    ):
        nifti(root / folder / name, data, F6)
    return root


def told_of(share, tmp_path):
    asked = request("csiro", share, out=tmp_path / "out")
    sources, _ = found(csiro, asked)
    return csiro.findings(asked, images(csiro, sources))


def test_fixture_f6(share, tmp_path):
    blank = " "
    sheet(
        share,
        [FIRST, 10, 12, 7, blank, blank, blank],
        [SECOND, "3", "4", "5", 3.0, 4, 5],
        [FIRST, 1, 1, 1, 2, 2, 2],
        ["904_T0_MRI_SWI_BFC_50mm_HM.nii.gz", 1, 1, 1],
    )
    asked = request("csiro", share, out=tmp_path / "out")
    sources, passed = found(csiro, asked)
    made = images(csiro, sources)
    assert sorted(image.scan_id for image in made) == [
        "sub-AIBLmom901_ses-T0_swi",
        "sub-AIBLmom902_ses-T1_swi",
        "sub-AIBLmom903_ses-T2_swi",
    ]
    assert all(source.fixed.sidecar["SkullStripped"] is True for source in sources)
    assert {row.reason for row in passed} == {"synthetic microbleeds were drawn into it"}
    told = csiro.findings(asked, made)
    assert told.convention == "voxel1"
    points = {one.scan_id: (one.kind, one.point) for one in told.findings}
    assert len(told.findings) == 3
    assert points == {
        "sub-AIBLmom901_ses-T0_swi": ("microbleed", (10, 12, 7)),
        "sub-AIBLmom902_ses-T1_swi": ("none", None),
        "sub-AIBLmom903_ses-T2_swi": ("microbleed", (3, 4, 5)),
    }
    # The first voxel is 1: scanner mm of fixture F6.
    place = nib.affines.apply_affine(F6, np.array([10, 12, 7]) - 1)
    assert np.allclose(place, (6.0625, 7.9875, -6.1))
    assert told.counted == {
        "rows without a scan": 1,
        "rows that repeat a scan": 1,
        "points that stand twice": 1,
    }


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([FIRST, 25, 1, 1], "the point 25 x 1 x 1 is no voxel"),
        ([FIRST, 0, 1, 1], "the point 0 x 1 x 1 is no voxel"),
        ([FIRST, 1, 2, " "], r"row 2: the cells \(1, 2, \) are no point"),
        ([FIRST, "left", 2, 3], "row 2: the cells"),
        ([FIRST, "nan", 2, 3], "row 2: the cells"),
        ([CLEAN, 1, 2, 3], "lies in NoCMBSubject, but has points"),
    ],
)
def test_points_that_are_none_stop(share, tmp_path, row, words):
    sheet(share, row)
    with pytest.raises(CMBurdenError, match=words):
        told_of(share, tmp_path)


def test_a_scan_without_points_is_not_read(share, tmp_path):
    sheet(share, [FIRST, 1, 1, 1], [SECOND, " ", " ", " "])
    told = told_of(share, tmp_path)
    assert {one.scan_id for one in told.findings} == {
        "sub-AIBLmom901_ses-T0_swi",
        "sub-AIBLmom902_ses-T1_swi",
    }
    assert "no point of 903_T2" in told.remarks[0]


def test_a_sheet_of_another_kind_stops_with_its_columns(share, tmp_path):
    sheet(share, [1, 2], header=["Subject", "Age"])
    with pytest.raises(CMBurdenError, match="it has: Subject, Age"):
        told_of(share, tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04torn"])
def test_a_sheet_that_is_missing_or_torn_stops(share, tmp_path, content):
    if content is not None:
        (share / "rCMBInformationInfo.xlsx").write_bytes(content)
    with pytest.raises(CMBurdenError, match=r"rCMBInformationInfo\.xlsx"):
        told_of(share, tmp_path)


def test_a_scan_outside_of_the_folders_is_a_row(share, tmp_path):
    nifti(share / "905_T0_MRI_SWI_BFC_50mm_HM.nii.gz")
    nifti(share / "NoCMBSubject/scan.nii.gz")
    _, passed = found(csiro, request("csiro", share, out=tmp_path / "out"))
    reasons = {row.place: row.reason for row in passed}
    assert "nobody tells" in reasons["905_T0_MRI_SWI_BFC_50mm_HM.nii.gz"]
    assert "none of the set" in reasons["NoCMBSubject/scan.nii.gz"]
