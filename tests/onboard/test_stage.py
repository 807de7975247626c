"""From invented DICOM to the BIDS tree: names, bad input, runs that go on, equal bytes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats
from nibabel.affines import apply_affine
from onboard import invented
from scipy.spatial.transform import Rotation

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.onboard import convert, dry_run, ida, series, stage, work
from cmburden.onboard.parts import Finding, Request, Source, Told
from cmburden.onboard.paths import Onboarded
from cmburden.onboard.rules import Decision


def asked(root: Path, **options) -> Request:
    return Request("dicom", (root / "in",), root / "out", **options)


def scan(root: Path, patient: str = "A1", description: str = "Axial T2 Star", **options) -> str:
    """A series below ``in/``."""
    options = {"image": None, "size": 32, "patient": patient} | options
    folder = options.pop("folder", f"{patient}/{description}-{options.get('number', 7)}")
    return invented.write(root / "in" / folder, description, **options)


def names(root: Path) -> list[str]:
    bids = Onboarded(root / "out").bids
    return sorted(path.name for path in bids.rglob("*.nii*"))


def rows(root: Path) -> dict[str, tuple[str, str]]:
    """Image and reason by place, of onboard.tsv."""
    header, *lines = Onboarded(root / "out").table.read_text(encoding="utf-8").splitlines()
    columns = header.split("\t")
    table = [dict(zip(columns, line.split("\t"), strict=True)) for line in lines]
    return {row["place"]: (row["image"], row["reason"]) for row in table}


def content(root: Path) -> dict[str, bytes]:
    files = (path for path in sorted((root / "out").rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


# --- the makers ---


def test_siemens_swi_has_four_images_of_which_three_are_kept(tmp_path) -> None:
    """Fixture F2."""
    kinds = {"Mag_Images": "M", "Pha_Images": "P", "SWI_Images": "M\\SWI"}
    for number, (name, kind) in enumerate(kinds.items(), 9):
        image_type = ["ORIGINAL", "PRIMARY", *kind.split("\\"), "NORM"]
        scan(tmp_path, "9", name, number=number, image_type=image_type)
    derived = ["DERIVED", "PRIMARY", "MNIP", "SWI", "NORM"]
    scan(tmp_path, "9", "mIP_Images(SW)", number=12, image_type=derived)
    stage.run(asked(tmp_path))
    stem = "sub-9_ses-20110708"
    assert names(tmp_path) == [
        f"{stem}_part-mag_T2starw.nii.gz",
        f"{stem}_part-phase_T2starw.nii.gz",
        f"{stem}_swi.nii.gz",
    ]
    assert rows(tmp_path)["9/mIP_Images(SW)-12"] == ("n/a", "minimum projection")


def test_philips_and_ge_swi(tmp_path) -> None:
    """Fixture F3: of SWIp the derived image is kept, its magnitude twin is not."""
    philips = {"maker": "Philips Medical Systems", "SequenceName": ""}
    scan(tmp_path, "ph1", "SWIp", number=5, image_type=["ORIGINAL", "PRIMARY", "M_FFE"], **philips)
    scan(tmp_path, "ph1", "SWIp", number=6, image_type=["DERIVED", "PRIMARY", "M_FFE"], **philips)
    scan(tmp_path, "ph2", "SWIp", number=5, image_type=["ORIGINAL", "PRIMARY", "M_FFE"], **philips)
    other = ["ORIGINAL", "PRIMARY", "OTHER"]
    scan(tmp_path, "ge1", "Ax SWAN", image_type=other, maker="GE MEDICAL SYSTEMS", SequenceName="")
    stage.run(asked(tmp_path))
    assert names(tmp_path) == [f"sub-{p}_ses-20110708_swi.nii.gz" for p in ("ge1", "ph1", "ph2")]
    assert (
        "derived image of the same series is used (ph1/SWIp-6)" in rows(tmp_path)["ph1/SWIp-5"][1]
    )


def test_magnitude_and_phase_of_one_series_are_two_images(tmp_path) -> None:
    phase = ["ORIGINAL", "PRIMARY", "P", "ND"]
    scan(tmp_path, uid="1.2.3", folder="A1/x")
    scan(tmp_path, uid="1.2.3", folder="A1/y", image_type=phase, change=_other_sop)
    stage.run(asked(tmp_path))
    stem = "sub-A1_ses-20110708"
    assert names(tmp_path) == [f"{stem}_T2starw.nii.gz", f"{stem}_part-phase_T2starw.nii.gz"]


def _other_sop(file, count) -> None:
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{count}"


def test_echoes_are_megre_and_repeats_are_numbered_by_time(tmp_path) -> None:
    three = {"echoes": (6.7, 13.4, 20.1), "SequenceName": "*fl3d3", "MRAcquisitionType": "3D"}
    scan(tmp_path, "A1", "Axial 3D ME T2 GRE", number=8, time="100000", **three)
    scan(tmp_path, "A2", number=9, time="080000")
    scan(tmp_path, "A2", "Axial T2 Star REPEAT", number=7, time="090000")
    stage.run(asked(tmp_path))
    assert names(tmp_path) == [
        *(f"sub-A1_ses-20110708_echo-{n}_MEGRE.nii.gz" for n in (1, 2, 3)),
        *(f"sub-A2_ses-20110708_run-{n}_T2starw.nii.gz" for n in (1, 2)),
    ]
    assert rows(tmp_path)["A2/Axial T2 Star-9"][0] == "sub-A2_ses-20110708_run-1_T2starw"
    times = [
        json.loads(path.read_text())["EchoTime"]
        for path in sorted(Onboarded(tmp_path / "out").bids.rglob("*MEGRE.json"))
    ]
    assert times == [0.0067, 0.0134, 0.0201]


def test_one_t1w_a_session_the_first(tmp_path) -> None:
    scan(tmp_path, "A1", "MPRAGE", number=4, time="090000")
    scan(tmp_path, "A1", "MPRAGE repeat", number=3, time="091000")
    stage.run(asked(tmp_path))
    assert names(tmp_path) == ["sub-A1_ses-20110708_T1w.nii.gz"]
    assert "another T1w" in rows(tmp_path)["A1/MPRAGE repeat-3"][1]


# --- geometry ---

TURNS = {
    "axial": np.array([[1.0, 0, 0], [0, 1, 0]]),
    "oblique": invented.OBLIQUE,
    "sagittal": np.array([[0, 1.0, 0], [0, 0, -1]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, -1]]),
    "turned": np.array([[0.8, 0.6, 0], [-0.36, 0.48, 0.8]]),
    "feet first": np.array([[-1.0, 0, 0], [0, 1, 0]]),
}


@pytest.mark.parametrize("name", TURNS)
def test_scanner_coordinates_survive(tmp_path, name) -> None:
    """The darkest voxel of each slice lies where DICOM's own formula puts it (PS3.3 C.7.6.2)."""
    axes = TURNS[name]
    scan(tmp_path, axes=axes, size=64)
    (image,) = stage.run(asked(tmp_path)).images
    volume = nib.load(image.path)
    values = np.asanyarray(volume.dataobj)
    for s in (0, 5, 11):
        (voxel,) = np.argwhere(values == 10 * (s + 1))
        here = apply_affine(volume.affine, voxel)
        np.testing.assert_allclose(here, invented.dark_point(s, axes), atol=0.01)


@given(turn=arrays(float, 4, elements=floats(-1, 1)))
@settings(max_examples=8, deadline=None)
def test_scanner_coordinates_survive_any_turn(turn) -> None:
    """As above, for slices in any direction."""
    assume(np.linalg.norm(turn) > 0.1)
    axes = Rotation.from_quat(turn).as_matrix()[:2]
    with tempfile.TemporaryDirectory() as folder:
        scan(Path(folder), axes=axes, size=64)
        ((one,), _) = series.gather([Path(folder) / "in"])
        source = ida.source_of(one, str)
        assert isinstance(source, Source) and source.fault is None
        out = Path(folder) / "out"
        out.mkdir()
        (made,) = convert.convert(source, Decision("", suffix="T2starw"), out).made
        volume = nib.load(out / made.file)
        values = np.asanyarray(volume.dataobj)
    for s in (0, 11):
        (voxel,) = np.argwhere(values == 10 * (s + 1))
        here = apply_affine(volume.affine, voxel)
        np.testing.assert_allclose(here, invented.dark_point(s, axes), atol=0.01)


# --- privacy ---


def test_nothing_of_the_person_is_written(tmp_path) -> None:
    scan(tmp_path, "A1", PatientComments="Jo Doe", ImageComments="Jo Doe", OperatorsName="Doe")
    stage.run(asked(tmp_path))
    for name, text in content(tmp_path).items():
        assert b"Doe" not in text and b"19400102" not in text, name
    (sidecar,) = Onboarded(tmp_path / "out").bids.rglob("*T2starw.json")
    fields = json.loads(sidecar.read_text())
    assert not [key for key in fields if "UID" in key or "Date" in key or key.startswith("Patient")]
    (image,) = Onboarded(tmp_path / "out").bids.rglob("*.nii.gz")
    header = nib.load(image).header
    assert header["aux_file"] == b"" and b"2011" not in bytes(header["descrip"])


# --- bad input: a row, and the rest goes on ---


def test_faults_are_rows_and_the_rest_goes_on(tmp_path) -> None:
    scan(tmp_path, "good")
    scan(tmp_path, "gap", slices=[0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11])
    scan(tmp_path, "pdf", SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1")
    scan(tmp_path, "shot", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    scan(tmp_path, "mosaic", image_type=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    scan(tmp_path, "ct", Modality="CT")
    scan(tmp_path, "torn")
    torn = next((tmp_path / "in" / "torn").rglob("*.dcm"))
    torn.write_bytes(torn.read_bytes()[:-1000])
    (tmp_path / "in" / "zip.rar").write_bytes(b"x")
    result = stage.run(asked(tmp_path))
    assert [image.participant_id for image in result.images] == ["sub-good"]
    said = {place.split("/")[0]: reason for place, (_, reason) in rows(tmp_path).items()}
    assert "slices are missing: 1 between" in said["gap"]
    assert said["pdf"] == "an encapsulated PDF (12 files)"
    assert said["shot"].startswith("a screenshot")
    assert said["mosaic"].startswith("a mosaic")
    assert said["ct"].startswith("an image of modality CT")
    assert said["torn"].startswith("half-downloaded: 1 of 12 files end before")
    assert said["."].startswith("an archive; unpack it")


def test_volumes_that_dcm2niix_refuses_are_rows(tmp_path, monkeypatch) -> None:
    scan(tmp_path, "A1")
    scan(tmp_path, "A2", change=_unknown_compression)
    result = stage.run(asked(tmp_path))
    assert [image.participant_id for image in result.images] == ["sub-A1"]
    ((_, reason),) = [row for place, row in rows(tmp_path).items() if place.startswith("A2")]
    assert reason.startswith("dcm2niix makes no image of it (")
    assert str(tmp_path) not in reason


def _unknown_compression(file, count) -> None:
    """MPEG-4, which no scanner uses for slices."""
    file.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" + b"\xfe\xff\x00\xe0\x04\x00\x00\x00abcd"
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = True
    file.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"


def test_repeats_in_one_series_are_a_row(tmp_path) -> None:
    scan(tmp_path, "A1", uid="1.2.3", folder="A1/x")
    scan(tmp_path, "A1", uid="1.2.3", folder="A1/y", change=_other_sop)
    scan(tmp_path, "A2")
    stage.run(asked(tmp_path))
    assert names(tmp_path) == ["sub-A2_ses-20110708_T2starw.nii.gz"]
    assert "A1/x" in rows(tmp_path)
    assert "repeats" in rows(tmp_path)["A1/x"][1] or "tells apart" in rows(tmp_path)["A1/x"][1]


def test_sentences_of_a_wrong_request(tmp_path) -> None:
    with pytest.raises(CMBurdenError, match="no such folder"):
        stage.run(asked(tmp_path))
    scan(tmp_path, "A1", "localizer")
    with pytest.raises(CMBurdenError, match=r"none of 1 series or files.*a localizer"):
        stage.run(asked(tmp_path))
    within = dataclasses.replace(asked(tmp_path), out=tmp_path / "in" / "out")
    with pytest.raises(CMBurdenError, match="lies within the download"):
        stage.run(within)
    with pytest.raises(CMBurdenError, match="holds the download"):
        stage.run(dataclasses.replace(asked(tmp_path), out=tmp_path))
    with pytest.raises(CMBurdenError, match="--jobs 0"):
        stage.run(asked(tmp_path, jobs=0))
    with pytest.raises(CMBurdenError, match=r"--lesions .*no such file"):
        stage.run(asked(tmp_path, lesions=tmp_path / "none.csv"))
    with pytest.raises(CMBurdenError, match="no such cohort"):
        stage.run(dataclasses.replace(asked(tmp_path), cohort="adni9"))


def test_two_people_of_one_label_stop(tmp_path) -> None:
    scan(tmp_path, "A-1")
    scan(tmp_path, "A1")
    with pytest.raises(CMBurdenError, match="sub-A1: stands for 2 participants"):
        stage.run(asked(tmp_path))


def test_a_patient_id_that_is_a_name_is_not_used(tmp_path) -> None:
    scan(tmp_path, "Doe^Jo", folder="P07/a")
    stage.run(asked(tmp_path))
    assert names(tmp_path) == ["sub-P07_ses-20110708_T2starw.nii.gz"]


def test_a_disk_that_fills_is_one_sentence(tmp_path, monkeypatch, capsys) -> None:
    for patient in ("A1", "A2", "A3"):
        scan(tmp_path, patient)
    convert_one = convert.convert

    def full(source, decision, folder, slots):
        if source.participant == "A2":
            raise OSError(28, "No space left on device", str(folder))
        return convert_one(source, decision, folder, slots)

    monkeypatch.setattr(convert, "convert", full)
    assert exit_code(lambda: stage.run(asked(tmp_path)), "cmburden: ", []) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "No space left" in said and "what is done is kept" in said
    monkeypatch.setattr(convert, "convert", convert_one)
    assert 1 <= stage.run(asked(tmp_path)).fresh <= 2
    assert not list(Onboarded(tmp_path / "out").work.glob("part-*"))


def test_dcm2niix_that_finds_the_disk_full_stops(tmp_path, monkeypatch) -> None:
    scan(tmp_path, "A1")
    said = ("Error: No space left on device", 1)
    monkeypatch.setattr(convert, "_run", lambda command: said)
    with pytest.raises(CMBurdenError, match="no space left; free space and run again"):
        stage.run(asked(tmp_path))


def test_a_bug_in_one_series_is_its_row(tmp_path, monkeypatch) -> None:
    scan(tmp_path, "A1")
    scan(tmp_path, "A2")
    convert_one = convert.convert

    def odd(source, decision, folder, slots):
        if source.participant == "A2":
            raise ZeroDivisionError("division by zero")
        return convert_one(source, decision, folder, slots)

    monkeypatch.setattr(convert, "convert", odd)
    assert len(stage.run(asked(tmp_path)).images) == 1
    assert "ZeroDivisionError" in rows(tmp_path)["A2/Axial T2 Star-7"][1]
    monkeypatch.setattr(convert, "convert", convert_one)
    assert len(stage.run(asked(tmp_path)).images) == 2


# --- runs that go on ---


def test_a_second_run_converts_nothing_and_leaves_equal_bytes(tmp_path, monkeypatch) -> None:
    scan(tmp_path, "A1")
    scan(tmp_path, "A2", slices=[0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12])
    first = stage.run(asked(tmp_path, jobs=2))
    before = content(tmp_path)
    monkeypatch.setattr(convert, "convert", None)
    again = stage.run(asked(tmp_path))
    assert (first.fresh, again.fresh) == (1, 0)
    assert content(tmp_path) == before


def test_two_runs_from_the_start_give_equal_bytes(tmp_path) -> None:
    for place in ("a", "b"):
        scan(tmp_path / place, "A1")
        stage.run(asked(tmp_path / place))
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_run_that_was_killed_goes_on(tmp_path, monkeypatch) -> None:
    for patient in ("A1", "A2", "A3"):
        scan(tmp_path, patient)
    made = work._made
    calls: list[str] = []

    def killed(one, *rest, **options):
        calls.append(one.participant)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return made(one, *rest, **options)

    monkeypatch.setattr(work, "_made", killed)
    with pytest.raises(KeyboardInterrupt):
        stage.run(asked(tmp_path))
    torn = Onboarded(tmp_path / "out").work / "part-left"
    torn.mkdir()
    monkeypatch.setattr(work, "_made", made)
    result = stage.run(asked(tmp_path))
    assert len(result.images) == 3 and result.fresh == 3 - (len(calls) - 1)
    assert not torn.exists()


def test_a_converted_image_that_is_torn_or_lost_is_made_again(tmp_path) -> None:
    scan(tmp_path, "A1")
    (image,) = stage.run(asked(tmp_path)).images
    whole = image.path.read_bytes()
    (converted,) = (Onboarded(tmp_path / "out").work / "converted").rglob("*.nii.gz")
    converted.write_bytes(b"torn")
    assert stage.run(asked(tmp_path)).fresh == 1
    assert image.path.read_bytes() == whole
    image.path.unlink()
    assert stage.run(asked(tmp_path)).fresh == 0
    assert image.path.read_bytes() == whole


def test_a_series_that_was_completed_is_made_again_and_a_repeat_renames(tmp_path) -> None:
    scan(tmp_path, "A1", slices=range(11), time="090000")
    stage.run(asked(tmp_path))
    assert names(tmp_path) == ["sub-A1_ses-20110708_T2starw.nii.gz"]
    scan(tmp_path, "A1", time="090000")
    assert stage.run(asked(tmp_path)).fresh == 1
    scan(tmp_path, "A1", "Axial T2 Star REPEAT", number=9, time="080000")
    result = stage.run(asked(tmp_path))
    assert result.fresh == 1
    assert names(tmp_path) == [f"sub-A1_ses-20110708_run-{n}_T2starw.nii.gz" for n in (1, 2)]
    assert "1 images have other names" in result.remarks[-1]
    bids = Onboarded(tmp_path / "out").bids
    assert len(list(bids.rglob("*T2starw.json"))) == 2


def test_another_rule_makes_the_image_anew(tmp_path) -> None:
    scan(tmp_path, "A1")
    stage.run(asked(tmp_path))
    mine = tmp_path / "my.yaml"
    mine.write_text("- {rule: mine, text: axial t2 star, suffix: GRE}\n")
    assert stage.run(asked(tmp_path, rules=mine)).fresh == 1
    assert names(tmp_path) == ["sub-A1_ses-20110708_GRE.nii.gz"]


# --- what stands around the images ---


def test_people_and_description(tmp_path) -> None:
    scan(tmp_path, "A1", date="20110708")
    scan(tmp_path, "A1", date="20120708", folder="A1/later")
    stage.run(asked(tmp_path))
    bids = Onboarded(tmp_path / "out").bids
    people = (bids / "participants.tsv").read_text()
    assert people == "participant_id\tage\tsex\tdiagnosis\tsite\nsub-A1\t71\tF\tn/a\tn/a\n"
    assert (bids / "sub-A1" / "sub-A1_sessions.tsv").read_text().splitlines()[1:] == [
        "ses-20110708\t2011-07-08T07:59:15\t71\tn/a",
        "ses-20120708\t2012-07-08T07:59:15\t71\tn/a",
    ]
    assert "**/*_swi.*" in (bids / ".bidsignore").read_text().splitlines()
    assert json.loads((bids / "dataset_description.json").read_text())["DatasetType"] == "raw"


@pytest.mark.slow
def test_the_tree_passes_the_bids_validator(tmp_path) -> None:
    scan(tmp_path, "A1", "SWI_Images", image_type=["ORIGINAL", "PRIMARY", "M", "SWI"])
    phase = ["ORIGINAL", "PRIMARY", "P", "ND"]
    scan(tmp_path, "A1", "Pha_Images", number=8, image_type=phase)
    three = {"echoes": (6.7, 13.4, 20.1), "SequenceName": "*fl3d3", "MRAcquisitionType": "3D"}
    scan(tmp_path, "A2", "Axial 3D ME T2 GRE", **three)
    scan(tmp_path, "A3", "MPRAGE")
    stage.run(asked(tmp_path))
    program = Path(sys.executable).with_name("bids-validator-deno")
    command = [program, "--json", str(Onboarded(tmp_path / "out").bids)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    issues = json.loads(ended.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue.get("severity") == "error"] == []
    assert "NOT_INCLUDED" not in {issue["code"] for issue in issues}


def test_only_read_keeps_read_scans_and_their_t1w(tmp_path, monkeypatch) -> None:
    scan(tmp_path, "A1", time="080000")
    scan(tmp_path, "A1", "Axial T2 Star REPEAT", number=9, time="090000")
    scan(tmp_path, "A1", "MPRAGE", number=3)
    scan(tmp_path, "A2")
    scan(tmp_path, "A2", "MPRAGE", number=3)
    read = "sub-A1_ses-20110708_run-2_T2starw"
    told = Told((Finding(read, "none"),))
    from cmburden.onboard.cohorts import dicom

    monkeypatch.setattr(dicom, "findings", lambda request, images: told)
    stage.run(asked(tmp_path, only_read=True))
    assert names(tmp_path) == ["sub-A1_ses-20110708_T1w.nii.gz", f"{read}.nii.gz"]
    assert rows(tmp_path)["A2/Axial T2 Star-7"] == ("n/a", "not read (--only-read)")
    monkeypatch.setattr(dicom, "findings", lambda request, images: Told())
    with pytest.raises(CMBurdenError, match="no scan was read"):
        stage.run(asked(tmp_path, only_read=True))


def test_a_dry_run_writes_nothing_and_names_nobody(tmp_path) -> None:
    scan(tmp_path, "A1")
    scan(tmp_path, "A2", "localizer")
    lines = dry_run.lines(asked(tmp_path, dry_run=True))
    text = "\n".join(lines)
    assert not (tmp_path / "out").exists()
    assert "1  T2*, ADNI -> T2starw" in text and "1  localizer: a localizer" in text
    assert "12 slices, TE 20, 4 mm, SIEMENS" in text
    assert "A1" not in text and "A2" not in text
