"""DICOM of microbleeds: read again, each voxel and number is that of the label image and table."""

import datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.affines import apply_affine

from cmburden.core.errors import CMBurdenError
from cmburden.export import dicom
from cmburden.studies.pretend_download import Visit, write_series

pytestmark = pytest.mark.slow

LESIONS = [
    {
        "lesion_id": 1,
        "label": "definite",
        "volume_mm3": 12.5,
        "diameter_mm": 2.9,
        "probability": 0.8,
    },
    {
        "lesion_id": 3,
        "label": "possible",
        "volume_mm3": 4.0,
        "diameter_mm": 2.0,
        "probability": 0.1,
    },
]
#: An oblique grid of 0.8 x 0.9 x 2 mm, in RAS.
SHAPE = (20, 24, 10)


@pytest.fixture
def labels():
    turned = nib.eulerangles.euler2mat(0.1, -0.2, 0.15)
    affine = nib.affines.from_matvec(turned @ np.diag([0.8, 0.9, 2.0]), (-12.0, 5.0, 30.0))
    values = np.zeros(SHAPE, np.int16)
    values[3:5, 4:6, 2] = 1
    values[15, 20, 7:9] = 3
    return dicom.Labels(values, affine, LESIONS)


@pytest.fixture
def series(labels, tmp_path) -> Path:
    voxels = (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 500).astype(np.int16)
    image = nib.Nifti1Image(voxels, labels.affine)
    when = datetime.datetime(2020, 1, 2, 10, 30)
    visit = Visit(Path("x"), "123_S_4567", 77, 1, when, pd.DataFrame(), {})
    folder = tmp_path / "series"
    write_series(
        image, {"EchoTime": 0.02, "MagneticFieldStrength": 3.0}, folder, visit, first=False
    )
    return folder


def places(values, affine, lesion) -> np.ndarray:
    """Sorted RAS places of a lesion's voxels."""
    points = apply_affine(affine, np.argwhere(values == lesion))
    return points[np.lexsort(points.T)]


def test_ids_lie_on_the_pixels_whose_places_are_those_of_the_voxels(labels, series):
    slices = dicom.read_series(series)
    values = dicom.on_series(labels, slices)
    assert values.shape == (10, 24, 20)
    for lesion in (1, 3):
        points = []
        for number, row, column in np.argwhere(values == lesion):
            one = slices[number]
            across, down = np.array(one.ImageOrientationPatient, float).reshape(2, 3)
            steps = [float(step) for step in one.PixelSpacing]
            at = np.array(one.ImagePositionPatient, float)
            points.append((at + across * column * steps[1] + down * row * steps[0]) * (-1, -1, 1))
        points = np.array(points)
        points = points[np.lexsort(points.T)]
        assert points == pytest.approx(places(labels.values, labels.affine, lesion), abs=1e-3)


def test_another_series_is_refused(labels, series, tmp_path):
    slices = dicom.read_series(series)
    with pytest.raises(CMBurdenError, match="not the voxels of the scan"):
        dicom.on_series(labels, slices[:-1])
    moved = dicom.Labels(labels.values, labels.affine + np.eye(4)[:, [3]] * 0.4, LESIONS)
    with pytest.raises(CMBurdenError, match="not the voxels of the scan"):
        dicom.on_series(moved, slices)
    with pytest.raises(CMBurdenError, match="holds 0 MR series"):
        dicom.read_series(tmp_path / "empty")
    with pytest.raises(CMBurdenError, match="nothing to write"):
        dicom.write(tmp_path, "s", dicom.Labels(labels.values, labels.affine, []), slices)


def test_segmentation_and_report_reload_to_the_same_lesions(labels, series, tmp_path):
    hd = pytest.importorskip("highdicom")
    slices = dicom.read_series(series)
    seg_path, sr_path = dicom.write(tmp_path / "out", "sub-01_T2starw", labels, slices)
    seg = hd.seg.segread(seg_path)
    assert seg.PatientID == "123_S_4567"
    assert seg.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    assert [seg.get_segment_description(n).segment_label for n in seg.segment_numbers] == [
        "1 definite",
        "3 possible",
    ]
    uids = [one.SOPInstanceUID for one in slices]
    frames = seg.get_pixels_by_source_instance(uids)
    ids = dicom.on_series(labels, slices)
    for segment, lesion in enumerate((1, 3)):
        assert np.array_equal(frames[..., segment] == 1, ids == lesion)
    report = hd.sr.srread(sr_path)
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 2
    for group, lesion in zip(groups, LESIONS, strict=True):
        values = [one.value for one in group.get_measurements()]
        assert values == pytest.approx(
            [lesion["volume_mm3"], lesion["diameter_mm"], lesion["probability"]]
        )
        assert group.tracking_identifier == f"lesion {lesion['lesion_id']}"
        (certainty,) = group.get_qualitative_evaluations()
        assert certainty.value.meaning.lower() == lesion["label"]
        assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
