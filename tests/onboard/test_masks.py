"""Readers' masks: components in scanner mm, empty masks, and masks that cannot be used."""

import dataclasses
import math

import numpy as np
import pytest
from nifti_downloads import nifti

from cmburden.core.errors import CMBurdenError
from cmburden.onboard import masks
from cmburden.onboard.parts import Image, Source

SHAPE = (12, 14, 6)
#: RAS, LAS and an oblique grid: a flipped axis cannot hide.
AFFINES = {
    "RAS": np.array([[2.0, 0, 0, -10], [0, 2, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]]),
    "LAS": np.array([[-2.0, 0, 0, 10], [0, 2, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]]),
    "oblique": np.array([[1.6, -1.2, 0, 3], [1.2, 1.6, 0, -7], [0, 0, 3, 1], [0, 0, 0, 1]]),
}


def image_of(tmp_path, affine, name="sub-1_T2starw") -> Image:
    path = nifti(tmp_path / f"{name}.nii.gz", np.ones(SHAPE, np.float32), affine)
    return Image(path, name, "sub-1", None, "T2starw", "rule", Source("", (path,), "1"))


def mask_of(tmp_path, data, affine, name="sub-1_T2starw_mask.nii.gz"):
    return nifti(tmp_path / "masks" / name, data, affine)


@pytest.mark.parametrize("kind", AFFINES)
def test_components_are_lesions_in_scanner_mm(tmp_path, kind):
    affine = AFFINES[kind]
    data = np.zeros(SHAPE, np.float32)
    data[2:4, 5:7, 1] = 1
    data[9, 3, 4] = 1
    data[0, 0, 0] = np.nan
    image = image_of(tmp_path, affine)
    found = masks.findings_of(mask_of(tmp_path, data, affine), image, "mask")
    expected = {
        tuple(np.round(affine[:3, :3] @ voxel + affine[:3, 3], 3)): n
        for voxel, n in (((2.5, 5.5, 1), 4), ((9, 3, 4), 1))
    }
    assert {tuple(np.round(one.point, 3)) for one in found} == set(expected)
    for one in found:
        # 12 mm3 a voxel: 4 pi r^3 / 3 = 12 n.
        n = expected[tuple(np.round(one.point, 3))]
        assert one.radius_mm == pytest.approx((9 * n / math.pi) ** (1 / 3))
        assert one.kind == "microbleed" and one.scan_id == image.scan_id


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_an_empty_mask_is_a_clean_scan(tmp_path, fill):
    image = image_of(tmp_path, AFFINES["RAS"])
    mask = mask_of(tmp_path, np.full(SHAPE, fill, np.float32), AFFINES["RAS"])
    [one] = masks.findings_of(mask, image, "mask")
    assert (one.kind, one.point, one.radius_mm) == ("none", None, None)


def labelled(**voxels):
    data = np.zeros(SHAPE, np.float32)
    for at, value in enumerate(voxels.values()):
        data[3, 3 + at, 2] = value
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (labelled(a=1, b=2, c=3), "holds 4 values (0, 1, 2, 3) in place of two"),
        (labelled(a=0.25, b=0.5), "in place of two"),
        (labelled(a=np.inf), "infinite"),
        (labelled(a=-1), "negative"),
    ],
)
def test_other_values_are_refused(tmp_path, data, words):
    image = image_of(tmp_path, AFFINES["RAS"])
    with pytest.raises(masks.UnusableMask) as caught:
        masks.findings_of(mask_of(tmp_path, data, AFFINES["RAS"]), image, "mask")
    assert words in str(caught.value)


def test_any_one_value_marks_the_lesion(tmp_path):
    image = image_of(tmp_path, AFFINES["RAS"])
    mask = mask_of(tmp_path, labelled(a=255), AFFINES["RAS"])
    assert len(masks.findings_of(mask, image, "mask")) == 1


def test_numbers_of_a_segmentation_part_lesions_that_touch(tmp_path):
    image = image_of(tmp_path, AFFINES["RAS"])
    name = "sub-1_T2starw_label-CMB_dseg.nii.gz"
    mask = mask_of(tmp_path, labelled(a=1, b=2), AFFINES["RAS"], name)
    assert len(masks.findings_of(mask, image, "mask")) == 2


def test_another_grid_is_refused(tmp_path):
    image = image_of(tmp_path, AFFINES["RAS"])
    moved = AFFINES["RAS"].copy()
    moved[0, 3] += 2
    with pytest.raises(masks.UnusableMask, match=r"2\.0 mm away"):
        masks.findings_of(mask_of(tmp_path, labelled(a=1), moved), image, "mask")
    small = mask_of(tmp_path, labelled(a=1)[1:], AFFINES["RAS"])
    with pytest.raises(masks.UnusableMask, match="11 x 14 x 6, the scan's 12 x 14 x 6"):
        masks.findings_of(small, image, "mask")


def test_a_torn_mask_is_refused(tmp_path):
    image = image_of(tmp_path, AFFINES["RAS"])
    mask = mask_of(tmp_path, labelled(a=1), AFFINES["RAS"])
    mask.write_bytes(mask.read_bytes()[:100])
    with pytest.raises(masks.UnusableMask, match="cannot be read"):
        masks.findings_of(mask, image, "mask")


def test_a_folder_of_masks_of_any_cohort(tmp_path):
    affine = AFFINES["RAS"]
    first = image_of(tmp_path, affine, "sub-1_run-1_T2starw")
    second = image_of(tmp_path, affine, "sub-1_run-2_T2starw")
    third = dataclasses.replace(
        image_of(tmp_path, affine, "sub-2_ses-a_swi"), suffix="swi", participant_id="sub-2"
    )
    source = dataclasses.replace(third.source, files=(tmp_path / "patient7.nii",))
    third = dataclasses.replace(third, source=source)
    mask_of(tmp_path, labelled(a=1), affine, "sub-1_run-1_T2starw_label-CMB_mask.nii.gz")
    mask_of(tmp_path, labelled(a=1, b=2), affine, "sub-1_run-2_mask.nii.gz")
    mask_of(tmp_path, labelled(), affine, "patient7_CMB.nii.gz")
    mask_of(tmp_path, labelled(), affine, "sub-1_mask.nii.gz")
    mask_of(tmp_path, labelled(), affine, "other.nii.gz")
    told = masks.told_of_folder(tmp_path / "masks", [first, second, third])
    assert [(one.scan_id, one.kind) for one in told.findings] == [
        (third.scan_id, "none"),
        (first.scan_id, "microbleed"),
    ]
    assert told.convention == "ras"
    text = "\n".join(told.remarks)
    assert "sub-1_run-2_mask.nii.gz: the mask holds 3 values" in text
    assert "sub-1_mask.nii.gz: fits sub-1_run-1_T2starw, sub-1_run-2_T2starw" in text
    assert "other.nii.gz: fits none" in text


def test_two_masks_of_one_scan_leave_it_unread(tmp_path):
    image = image_of(tmp_path, AFFINES["RAS"])
    for name in ("sub-1_T2starw_mask.nii.gz", "sub-1_T2starw_seg.nii.gz"):
        mask_of(tmp_path, labelled(a=1), AFFINES["RAS"], name)
    told = masks.told_of_folder(tmp_path / "masks", [image])
    assert told.findings == () and "of the same scan; keep one" in told.remarks[0]


def test_a_folder_without_masks_stops(tmp_path):
    (tmp_path / "masks").mkdir()
    with pytest.raises(CMBurdenError, match="holds no NIfTI file"):
        masks.told_of_folder(tmp_path / "masks", [])
