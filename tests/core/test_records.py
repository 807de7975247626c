"""Records: no measure prevents one, and a torn one is none. Files: whole, or absent."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from cmburden.core import files
from cmburden.core.scan import Outcome


def test_what_json_cannot_hold_is_null_and_is_said(tmp_path):
    path = tmp_path / "records" / "preprocess" / "sub-1.json"
    measures = {
        "echo_time_s": math.inf,
        "snr": np.float32("nan"),
        "coverage": np.float64(0.5),
        "n": np.int16(3),
        "sound": np.bool_(True),
        "name": "a\ud800b",
        "array": np.zeros(3),
        "list": [1, math.nan],
        "tuple": (1, 2),
        "none": None,
    }
    Outcome("preprocess", "sub-1", "ok", message="Look.", measures=measures).write(path)
    outcome = Outcome.read(path)
    assert outcome.ok
    assert outcome.measures == {
        "echo_time_s": None,
        "snr": None,
        "coverage": 0.5,
        "n": 3,
        "sound": True,
        "name": "a?b",
        "array": None,
        "list": None,
        "tuple": [1, 2],
        "none": None,
    }
    assert outcome.message == (
        "Look. What was measured is no finite number: array, echo_time_s, list, snr."
    )
    path.read_text().encode("ascii")  # whatever the locale of the reader is


def test_sound_measures_are_stored_as_they_are(tmp_path):
    path = tmp_path / "r.json"
    Outcome("detect", "sub-1", "ok", measures={"snr": 9.25, "n": 2}).write(path)
    assert json.loads(path.read_text())["measures"] == {"snr": 9.25, "n": 2}
    assert Outcome.read(path).message is None


SOUND = {"stage": "detect", "scan_id": "sub-1", "status": "ok", "measures": {"n": 1}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        json.dumps(SOUND).encode()[:-9],
        b"[]",
        b"null",
        b"7",
        b"\xff\xfe{",
        b"[" * 100_000,
        json.dumps(SOUND | {"later": 1}).encode(),
        json.dumps(SOUND | {"status": "fine"}).encode(),
        json.dumps(SOUND | {"measures": [1]}).encode(),
        json.dumps(SOUND | {"message": {}}).encode(),
        b'{"stage": "detect", "status": "ok"}',
        bytes(200),
    ],
)
def test_a_torn_record_is_no_record(tmp_path, content):
    path = tmp_path / "records" / "detect" / "sub-1.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    outcome = Outcome.read(path)
    assert (outcome.stage, outcome.scan_id) == ("detect", "sub-1")
    assert (outcome.status, outcome.reason, outcome.was_run) == ("failed", "not_run", False)
    assert "detect: its record cannot be read." in outcome.message


def test_where_there_is_no_record_the_scan_was_not_run(tmp_path):
    outcome = Outcome.read(tmp_path / "records" / "detect" / "sub-1.json")
    assert outcome.reason == "not_run" and "detect: no record." in outcome.message


def test_a_folder_in_place_of_a_record_is_no_record(tmp_path):
    assert not Outcome.read(tmp_path).was_run


def test_a_record_in_a_closed_folder_may_be_sound(tmp_path, monkeypatch):
    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", closed)
    with pytest.raises(PermissionError):
        Outcome.read(tmp_path / "r.json")


@pytest.mark.parametrize("length", [255, 243])
@pytest.mark.parametrize("letter", ["x", "\u00fc"])
def test_the_longest_name_that_a_disk_takes_can_be_written(tmp_path, length, letter):
    ending = ".nii.gz"
    letters = (length - len(ending)) // len(letter.encode())
    path = tmp_path / (letter * letters + ending)
    with files.whole_file(path) as temporary:
        assert temporary.name.endswith(ending)
        temporary.write_bytes(b"1")
    assert path.read_bytes() == b"1"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    happened = []
    real_fsync, real_replace = os.fsync, type(tmp_path).replace

    def fsync(descriptor):
        happened.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        real_fsync(descriptor)

    def replace(self, target):
        happened.append(("rename", target.name))
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(type(tmp_path), "replace", replace)
    files.write_json(tmp_path / "a.json", {})
    (first, temporary), *others = happened
    assert first == "fsync" and temporary.startswith(".part-")
    assert others == [("rename", "a.json"), ("fsync", tmp_path.name)]


def test_a_file_that_did_not_reach_the_disk_is_not_there(tmp_path, monkeypatch):
    def fsync(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "a.json").write_text("before")
    with pytest.raises(OSError, match="Input/output error"):
        files.write_json(tmp_path / "a.json", {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "before"
