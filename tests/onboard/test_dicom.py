"""Reading DICOM: our reader against pydicom, series, and what is wrong with a series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from onboard import invented
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from cmburden.core.errors import CMBurdenError
from cmburden.onboard import dicom, elements, series


def one_file(folder: Path, **options) -> Path:
    invented.write(folder, "Axial T2 Star", slices=[3], **options)
    return next(folder.iterdir())


def implicit(file, count) -> None:
    file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def deflated(file, count) -> None:
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def with_sequence(file, count) -> None:
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = "1.2"
    file.ReferencedImageSequence = [item]
    file["ReferencedImageSequence"].is_undefined_length = True


@pytest.mark.parametrize("change", [None, implicit, deflated, with_sequence])
def test_a_file_reads_as_pydicom_reads_it(tmp_path, change) -> None:
    path = one_file(tmp_path / "a", change=change, echoes=(13.4,))
    file, content = dicom.read(str(path))
    whole = pydicom.dcmread(path)
    assert file.uid == whole.SeriesInstanceUID and file.sop == whole.SOPInstanceUID
    assert file.echo_ms == 13.4 and file.part == "mag" and not file.torn
    assert file.position == tuple(whole.ImagePositionPatient)
    assert file.orientation == tuple(whole.ImageOrientationPatient)
    header = dicom.header_of(content)
    assert header["ImageType"] == list(whole.ImageType)
    assert header["SeriesDescription"] == "Axial T2 Star" and header["Rows"] == 64
    assert header["SeriesNumber"] == 7 and header["PixelSpacing"] == list(whole.PixelSpacing)
    assert not {"PatientName", "PatientBirthDate"} & set(header)


def test_the_usual_file_needs_no_pydicom(tmp_path, monkeypatch) -> None:
    path = one_file(tmp_path / "a")
    monkeypatch.setattr(pydicom, "dcmread", None)
    assert dicom.read(str(path))[0].echo_ms == 20.0


def test_a_file_without_preamble_is_read(tmp_path) -> None:
    path = one_file(tmp_path / "a")
    whole = pydicom.dcmread(path)
    bare = tmp_path / "bare.dcm"
    pydicom.dcmwrite(bare, whole, implicit_vr=False, little_endian=True, enforce_file_format=False)
    content = bare.read_bytes()
    bare.write_bytes(content[content.index(b"\x08\x00\x08\x00CS") :])
    assert dicom.read(str(bare))[0].uid == whole.SeriesInstanceUID


@pytest.mark.parametrize("most", [0, 1, 140, 400, 700])
def test_a_torn_header_is_a_sentence(tmp_path, most) -> None:
    path = one_file(tmp_path / "a")
    path.write_bytes(path.read_bytes()[:most])
    with pytest.raises(dicom.NoImage):
        dicom.read(str(path))


def test_ge_says_the_part_in_a_private_element(tmp_path) -> None:
    def phase(file, count) -> None:
        file.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", 1)

    path = one_file(tmp_path / "a", maker="GE MEDICAL SYSTEMS", change=phase)
    assert dicom.read(str(path))[0].part == "phase"


@pytest.mark.parametrize(
    ("sop_class", "what"),
    [
        ("1.2.840.10008.5.1.4.1.1.104.1", "an encapsulated PDF"),
        ("1.2.840.10008.5.1.4.1.1.7", "a screenshot"),
        ("1.2.840.10008.5.1.4.1.1.7.2", "a screenshot"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "a structured report"),
        ("1.2.840.10008.5.1.4.1.1.4.2", "a spectrum"),
    ],
)
def test_files_that_are_no_mr_images_are_told(tmp_path, sop_class, what) -> None:
    def change(file, count) -> None:
        file.SOPClassUID = sop_class

    with pytest.raises(dicom.NoImage, match=what):
        dicom.read(str(one_file(tmp_path / "a", change=change)))


def test_elements_read_nothing_of_noise() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        content = bytes(128) + b"DICM" + rng.bytes(300)
        assert elements.read(content) is None or isinstance(elements.read(content), dict)


# --- series ---


def the_series(root: Path) -> series.Series:
    gathered, rows = series.gather([root])
    assert len(gathered) == 1, rows
    return gathered[0]


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        (range(12), None),
        ([0, 1, 2, 3, 6, 7, 8, 9, 10, 11], "2 between"),
        ([0, 1, 2], None),
        ([0], None),
    ],
)
def test_missing_slices_are_told(tmp_path, slices, said) -> None:
    invented.write(tmp_path / "a", "T2 star", slices=slices, size=16)
    fault = series.fault_of(the_series(tmp_path))
    assert fault is None if said is None else fault is not None and said in fault


def test_an_echo_that_lacks_its_last_slices_is_told(tmp_path) -> None:
    def half(file, count):
        return count <= 22

    invented.write(tmp_path / "a", "T2 star", echoes=(7.0, 14.0), size=16, change=half)
    assert "echoes have 10 and 12 slices" in str(series.fault_of(the_series(tmp_path)))


def test_a_half_downloaded_series_is_told(tmp_path) -> None:
    invented.write(tmp_path / "a", "T2 star", slices=range(8), size=16, ImagesInAcquisition=12)
    assert "8 of 12 files are here" in str(series.fault_of(the_series(tmp_path)))


def test_a_file_that_ends_early_is_told(tmp_path) -> None:
    invented.write(tmp_path / "a", "T2 star", size=64)
    path = sorted((tmp_path / "a").iterdir())[4]
    path.write_bytes(path.read_bytes()[:-5000])
    assert "1 of 12 files end before their pixels" in str(series.fault_of(the_series(tmp_path)))


def test_a_file_twice_is_taken_once_and_a_slice_twice_is_told(tmp_path) -> None:
    invented.write(tmp_path / "a", "T2 star", size=16)
    first = sorted((tmp_path / "a").iterdir())[0]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "again.dcm").write_bytes(first.read_bytes())
    one = the_series(tmp_path)
    assert (len(one.files), one.n_doubled, series.fault_of(one)) == (12, 1, None)
    assert "1 files stand twice" in one.remark
    other = pydicom.dcmread(first)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    other.save_as(tmp_path / "b" / "again.dcm")
    assert "duplicated slices: 1 of 12" in str(series.fault_of(the_series(tmp_path)))


def test_slices_of_three_orientations_are_told(tmp_path) -> None:
    def turned(file, count) -> None:
        if count > 8:
            file.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    invented.write(tmp_path / "a", "T2 star", size=16, change=turned)
    assert "several orientations" in str(series.fault_of(the_series(tmp_path)))


def test_a_series_with_magnitude_and_phase_is_two(tmp_path) -> None:
    def phase(file, count) -> None:
        file.ImageType = ["ORIGINAL", "PRIMARY", "P", "ND"]
        file.SOPInstanceUID = f"1.2.9.{count}"

    invented.write(tmp_path / "a", "T2 star", size=16, uid="1.2.3")
    invented.write(tmp_path / "b", "T2 star", size=16, uid="1.2.3", change=phase)
    gathered, _ = series.gather([tmp_path])
    assert [(one.kind[1], len(one.files)) for one in gathered] == [("mag", 12), ("phase", 12)]
    assert all("several kinds" in one.remark for one in gathered)
    assert all(series.fault_of(one) is None for one in gathered)


def test_series_are_one_over_roots_and_other_files_are_rows(tmp_path) -> None:
    invented.write(tmp_path / "r1" / "x", "T2 star", size=16, slices=range(6))
    invented.write(tmp_path / "r2" / "x", "T2 star", size=16, slices=range(6, 12))
    (tmp_path / "r2" / "a.xml").write_text("<a/>")
    (tmp_path / "r2" / "b.dcm").write_bytes(b"")
    (tmp_path / "r2" / "c.nii.gz").write_bytes(b"x")
    (tmp_path / "r2" / "d.dcm.part").write_bytes(b"x")
    (tmp_path / "r2" / "e.jpg").write_bytes(b"x" * 300)
    gathered, rows = series.gather([tmp_path / "r1", tmp_path / "r2"])
    assert [len(one.files) for one in gathered] == [12]
    assert series.fault_of(gathered[0]) is None
    assert "2 folders" in gathered[0].remark
    assert sorted(row.reason.split(";")[0] for row in rows) == [
        "a NIfTI file",
        "a half-downloaded file",
        "an empty file (half-downloaded)",
        "no DICOM",
    ]


def test_a_root_within_another_and_a_link_to_above_are_read_once(tmp_path) -> None:
    invented.write(tmp_path / "r" / "x", "T2 star", size=16)
    (tmp_path / "r" / "x" / "up").symlink_to(tmp_path / "r")
    gathered, _ = series.gather([tmp_path / "r", tmp_path / "r" / "x"])
    assert [(len(one.files), one.n_doubled) for one in gathered] == [(12, 0)]
    with pytest.raises(CMBurdenError, match="no such folder"):
        series.gather([tmp_path / "none"])
