"""CUHK's set (fixture F7): points of MATLAB files as 1-based voxels."""

import numpy as np
import pytest
import scipy.io
from nifti_downloads import F6, found, images, nifti, request

from cmburden.core.errors import CMBurdenError
from cmburden.onboard.cohorts import cuhk


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "cmb-3dcnn-data"
    for name in ("01", "02"):
        nifti(root / f"nii/{name}.nii", np.zeros((24, 24, 8), np.float32), F6)
    (root / "ground_truth").mkdir()
    return root


def table(data, name="01", **held):
    scipy.io.savemat(data / f"ground_truth/{name}.mat", held)


def told_of(data, tmp_path):
    asked = request("cuhk", data, out=tmp_path / "out")
    sources, _ = found(cuhk, asked)
    return cuhk.findings(asked, images(cuhk, sources))


def test_fixture_f7(data, tmp_path):
    table(data, cen=np.array([[10, 12, 7]]), gt_num=1)
    told = told_of(data, tmp_path)
    [one] = told.findings
    assert (one.scan_id, one.kind, one.point) == ("sub-CUHK01_swi", "microbleed", (10, 12, 7))
    assert told.convention == "voxel1"
    assert told.remarks == (
        "sub-CUHK02_swi: there is no ground_truth/*.mat; it counts as not read",
    )


def test_points_that_stand_twice_count_once_and_none_is_clean(data, tmp_path):
    table(data, cen=np.array([[1, 2, 3], [4, 5, 6], [1, 2, 3]]), gt_num=3)
    table(data, "02", cen=np.zeros((0, 3)), gt_num=0)
    told = told_of(data, tmp_path)
    assert [(one.scan_id, one.kind, one.point) for one in told.findings] == [
        ("sub-CUHK01_swi", "microbleed", (1, 2, 3)),
        ("sub-CUHK01_swi", "microbleed", (4, 5, 6)),
        ("sub-CUHK02_swi", "none", None),
    ]


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"cen": [[25, 1, 1]], "gt_num": 1}, "25 x 1 x 1 is no voxel of sub-CUHK01_swi"),
        ({"cen": [[1, 1, 1]], "gt_num": 2}, "gt_num is 2, but cen has 1 points"),
        ({"cen": [[1, 1]], "gt_num": 1}, "not n x 3 numbers"),
        ({"cen": [[1, np.nan, 1]], "gt_num": 1}, "NaN"),
        ({"gt_num": 1}, "holds no cen"),
        ({"cen": np.array([["a", "b", "c"]], dtype=object)}, "not n x 3 numbers"),
    ],
)
def test_a_table_that_holds_no_points_stops(data, tmp_path, held, words):
    table(data, **held)
    with pytest.raises(CMBurdenError, match=words):
        told_of(data, tmp_path)


@pytest.mark.parametrize("content", [b"", b"nothing of MATLAB's", bytes(2**20 + 1)])
def test_what_is_no_table_stops(data, tmp_path, content):
    (data / "ground_truth/01.mat").write_bytes(content)
    with pytest.raises(CMBurdenError, match=r"ground_truth/01\.mat: "):
        told_of(data, tmp_path)


def test_other_names_are_rows(data, tmp_path):
    nifti(data / "nii/mean.nii")
    sources, passed = found(cuhk, request("cuhk", data, out=tmp_path / "out"))
    assert [cuhk.label(source)[0] for source in sources] == ["CUHK01", "CUHK02"]
    assert [row.place for row in passed] == ["nii/mean.nii"]
