"""Sidecars: which apply, in which order, and what becomes of odd files and values."""

import json
import os

import pytest
from small_trees import SOUND, index_of, tree

from cmburden.index.values import echo_time, field_strength, text

GOOD = "sub-01/anat/sub-01_T2starw.nii.gz"
MINE = "sub-01/anat/sub-01_T2starw.json"


def put(bids, name, content, encoding="utf-8"):
    path = bids / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode(encoding))


@pytest.mark.parametrize("turn", [1, -1])
def test_of_one_folder_the_most_specific_applies_in_any_order_of_the_disk(tmp_path, turn):
    times = {"": 20, "_acq-hires": 35, "_acq-hires_run-1": 12, "_run-1": 28}
    bids = tree(tmp_path / "bids", [])
    for middle, ms in list(times.items())[::turn]:
        tree(bids, [f"sub-01/anat/sub-01{middle}_T2starw.nii.gz"])
        put(bids, f"sub-01/anat/sub-01{middle}_T2starw.json", {"EchoTime": ms / 1000})
    made = index_of(bids)
    read = {middle: made.value(f"sub-01{middle}_T2starw", "echo_time_s") for middle in times}
    assert read == {middle: ms / 1000 for middle, ms in times.items()}


def test_a_sidecar_of_other_entities_or_another_suffix_does_not_apply(tmp_path):
    bids = tree(tmp_path / "bids", [GOOD], swi=SOUND)
    for name in ("sub-01_acq-x_T2starw", "sub-02_T2starw", "sub-01_T1w", "sub-01_run-1_T2starw"):
        put(bids, f"sub-01/anat/{name}.json", SOUND)
    put(bids, "sub-02_T2starw.json", SOUND)
    put(bids, "acq-x_T2starw.json", SOUND)
    warning = index_of(bids).value("sub-01_T2starw", "warning")
    assert warning == "No sidecar: echo time and field strength are unknown."


def test_each_level_adds_and_the_nearest_wins(tmp_path):
    image = "sub-01/ses-1/anat/sub-01_ses-1_run-1_T2starw.nii.gz"
    bids = tree(tmp_path / "bids", [image], T2starw=SOUND | {"EchoTime": 0.011})
    put(bids, "sub-01/sub-01_T2starw.json", {"EchoTime": 0.012, "Manufacturer": "GE"})
    put(bids, "sub-01/ses-1/sub-01_ses-1_T2starw.json", {"EchoTime": 0.013})
    put(bids, "sub-01/ses-1/anat/sub-01_ses-1_T2starw.json", {"EchoTime": 0.014})
    made = index_of(bids)
    scan = "sub-01_ses-1_run-1_T2starw"
    columns = ("echo_time_s", "field_strength_t", "manufacturer", "warning")
    assert [made.value(scan, column) for column in columns] == [0.014, 3.0, "GE", None]


def test_two_that_fit_alike_are_said(tmp_path):
    bids = tree(tmp_path / "bids", ["sub-01/anat/sub-01_acq-x_run-1_T2starw.nii.gz"])
    put(bids, "sub-01/anat/sub-01_run-1_T2starw.json", SOUND | {"EchoTime": 0.03})
    put(bids, "sub-01/anat/sub-01_acq-x_T2starw.json", SOUND)
    made = index_of(bids)
    assert made.value("sub-01_acq-x_run-1_T2starw", "echo_time_s") == 0.02
    assert "fit alike" in made.value("sub-01_acq-x_run-1_T2starw", "warning")


@pytest.mark.parametrize("root", ["study.v2/bids", "study/bids", "sub-9/ses-1"])
def test_nothing_above_the_root_applies(tmp_path, root):
    bids = tree(tmp_path / root, [GOOD])
    put(bids.parent, "T2starw.json", SOUND)
    put(tmp_path, "T2starw.json", SOUND)
    assert "No sidecar" in index_of(bids).value("sub-01_T2starw", "warning")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_any_usual_encoding_is_read(tmp_path, encoding):
    bids = tree(tmp_path / "bids", [GOOD])
    content = SOUND | {"InstitutionAddress": "Straße 5°"}
    put(bids, MINE, json.dumps(content, ensure_ascii=False), encoding)
    made = index_of(bids)
    assert made.value("sub-01_T2starw", "echo_time_s") == 0.02
    assert made.value("sub-01_T2starw", "warning") is None


@pytest.mark.parametrize(
    "content",
    [
        '{"EchoTime": 0.02,}',
        "",
        "[1]",
        "[" * 100_000,
        f'{{"EchoTime": {"9" * 5000}}}',
        None,
        "link",
    ],
)
def test_an_unreadable_sidecar_is_named_and_the_other_levels_count(tmp_path, content):
    bids = tree(tmp_path / "bids", [GOOD], T2starw=SOUND)
    if content is None:
        (bids / MINE).mkdir(parents=True)
        (bids / MINE).rmdir()
        os.mkfifo(bids / MINE)
    elif content == "link":
        (bids / MINE).symlink_to("../../.git/annex/objects/absent")
    else:
        put(bids, MINE, content)
    made = index_of(bids)
    assert made.value("sub-01_T2starw", "echo_time_s") == 0.02
    assert f"The sidecar {MINE} cannot be read: it " in made.value("sub-01_T2starw", "warning")


@pytest.mark.parametrize(
    ("value", "seconds", "word"),
    [
        (0.02, 0.02, None),
        ("0.02", 0.02, None),
        (20, 0.02, "20 was taken as milliseconds"),
        (1, 0.001, "milliseconds"),
        (0.001, 0.001, None),
        (0.12, 0.12, None),
        (120, 0.12, "milliseconds"),
        (0.5, None, "0.5 is no echo time"),
        (20000, None, "20000 is no"),
        (-1, None, "-1 is no"),
        (0, None, "0 is no"),
        (True, None, "True is no number"),
        (float("nan"), None, "nan is no number"),
        (float("inf"), None, "inf is no number"),
        ("20 ms", None, "'20 ms' is no number"),
        ([0.005, 0.02], None, "[0.005, 0.02] is no number"),
        ({"a": 1}, None, "is no number"),
        (10**400, None, "is no number"),
        (None, None, None),
    ],
)
def test_echo_times(value, seconds, word):
    got, remark = echo_time(value)
    assert got == pytest.approx(seconds) if seconds else got is None
    assert (remark is None) if word is None else (word in remark)


@pytest.mark.parametrize(
    ("value", "tesla"),
    [(3, 3.0), ("1.5", 1.5), (0.055, 0.055), (11.7, 11.7)]
    + [(bad, None) for bad in (0, -3, 30000, "3T", True, [3], float("nan"), 3000)],
)
def test_field_strengths(value, tesla):
    got, remark = field_strength(value)
    assert got == tesla
    assert (remark is None) == (tesla is not None)


def test_a_manufacturer_is_text_that_can_be_stored():
    assert text("Manufacturer", "Siemens") == ("Siemens", None)
    assert text("Manufacturer", None) == text("Manufacturer", "") == (None, None)
    assert text("Manufacturer", "\ud800") == ("\\ud800", None)
    assert text("Manufacturer", ["GE"]) == (None, "Manufacturer ['GE'] is no name.")


def test_values_that_are_no_values_are_null_with_a_remark_in_the_manifest(tmp_path):
    bids = tree(tmp_path / "bids", [GOOD])
    put(bids, MINE, '{"EchoTime": 1e999, "MagneticFieldStrength": "3T", "Manufacturer": "\\ud800"}')
    made = index_of(bids)
    assert made.value("sub-01_T2starw", "echo_time_s") is None
    assert made.value("sub-01_T2starw", "field_strength_t") is None
    warning = made.value("sub-01_T2starw", "warning")
    assert "EchoTime inf" in warning and "MagneticFieldStrength '3T'" in warning


def test_missing_values_are_said(tmp_path):
    bids = tree(tmp_path / "bids", [GOOD])
    put(bids, MINE, {"MagneticFieldStrength": 3})
    assert index_of(bids).value("sub-01_T2starw", "warning") == "Its sidecar gives no EchoTime."


@pytest.mark.parametrize("unit", [1, 1000])
def test_echoes_are_compared_in_one_unit(tmp_path, unit):
    """39 ms is the longest within 10 to 40 ms."""
    bids = tree(tmp_path / "bids", [])
    for number, ms in enumerate((4.9, 12, 20, 30, 39, 50), 1):
        tree(bids, [f"sub-01/anat/sub-01_echo-{number}_MEGRE.nii.gz"])
        put(bids, f"sub-01/anat/sub-01_echo-{number}_MEGRE.json", {"EchoTime": ms / 1000 * unit})
    made = index_of(bids)
    assert made.scans == ["sub-01_echo-5_MEGRE"]
    assert made.value("sub-01_echo-5_MEGRE", "echo_time_s") == pytest.approx(0.039)
    assert set(made.reasons.values()) == {"echo_not_chosen"}
