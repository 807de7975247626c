"""HARNESS: manufacturer, model, TR, flip angle, 2D or 3D, gap, processed SWI or magnitude."""

import json

import pytest
from small_trees import SOUND, index_of, tree

from cmburden.index.protocol import flip_angle, repetition_time, slice_gap

SCAN = "sub-01/anat/sub-01_T2starw.nii.gz"
JSON = "sub-01/anat/sub-01_T2starw.json"
PROTOCOL = {
    "ManufacturersModelName": "Skyra",
    "RepetitionTime": 0.65,
    "FlipAngle": 20,
    "MRAcquisitionType": "2D",
    "SliceThickness": 4,
    "SpacingBetweenSlices": 4.4,
}
COLUMNS = (
    *("manufacturer", "scanner_model", "repetition_time_s", "flip_angle_deg", "dimension"),
    *("slice_gap_mm", "image_kind"),
)


def manifest(folder, fields):
    bids = tree(folder / "bids", [SCAN])
    (bids / JSON).write_text(json.dumps(fields))
    return index_of(bids)


def test_the_manifest_has_the_protocol(tmp_path):
    made = manifest(tmp_path, SOUND | PROTOCOL)
    values = [made.value("sub-01_T2starw", name) for name in COLUMNS]
    assert values[:5] == ["Siemens", "Skyra", 0.65, 20, "2D"]
    assert values[5:] == [pytest.approx(0.4), "magnitude"]


def test_what_no_sidecar_says_is_null_and_no_scan_runs_again_for_it(tmp_path):
    without = manifest(tmp_path / "a", SOUND)
    assert [without.value("sub-01_T2starw", name) for name in COLUMNS[1:6]] == [None] * 5
    with_it = manifest(tmp_path / "b", SOUND | PROTOCOL)
    keys = [made.value("sub-01_T2starw", "content_key") for made in (without, with_it)]
    assert keys[0] == keys[1]


def test_what_is_no_value_is_null_with_a_remark(tmp_path):
    odd = {"RepetitionTime": "short", "FlipAngle": [10, 20], "MRAcquisitionType": 3}
    made = manifest(tmp_path, SOUND | odd | {"ManufacturersModelName": 7})
    assert [made.value("sub-01_T2starw", name) for name in COLUMNS[1:6]] == [None] * 5
    warning = made.value("sub-01_T2starw", "warning")
    for words in ("RepetitionTime 'short'", "FlipAngle [10, 20]", "ManufacturersModelName 7"):
        assert words in warning


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0.027, 0.027),
        (27, 0.027),
        ("0.65", 0.65),
        (1500, 1.5),
        (-1, None),
        (1e9, None),
        (True, None),
    ],
)
def test_repetition_times(value, seconds):
    assert repetition_time(value)[0] == seconds


@pytest.mark.parametrize(("value", "angle"), [(15, 15), ("8", 8), (0, None), (400, None)])
def test_flip_angles(value, angle):
    assert flip_angle(value)[0] == angle


@pytest.mark.parametrize(
    ("thickness", "spacing", "dimension", "gap"),
    [
        (4, 4.4, "2D", pytest.approx(0.4)),
        (4, 4.0004, None, 0),
        (2, 1, "2D", None),
        (2, 2.5, "3D", None),
        (None, 4.4, "2D", None),
        ("x", 4.4, "2D", None),
    ],
)
def test_gaps(thickness, spacing, dimension, gap):
    fields = {"SliceThickness": thickness, "SpacingBetweenSlices": spacing}
    assert slice_gap(fields, dimension) == gap


@pytest.mark.parametrize(
    ("name", "fields", "kind"),
    [
        ("swi", {}, "processed SWI"),
        ("swi", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "SWI", "NORM"]}, "processed SWI"),
        ("part-mag_swi", {}, "magnitude"),
        ("swi", {"SeriesDescription": "Mag_Images"}, "magnitude"),
        ("swi", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"]}, None),
        ("SWImag", {}, "magnitude"),
        ("T2starw", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"]}, "magnitude"),
    ],
)
def test_processed_swi_or_magnitude(tmp_path, name, fields, kind):
    bids = tree(tmp_path / "bids", [f"sub-01/anat/sub-01_{name}.nii.gz"])
    (bids / f"sub-01/anat/sub-01_{name}.json").write_text(json.dumps(SOUND | fields))
    assert index_of(bids).value(f"sub-01_{name}", "image_kind") == kind
