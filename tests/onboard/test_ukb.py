"""UK Biobank's archives (fixture F4): what is taken, what is passed by, people of the tables."""

import sys
import types

import nibabel as nib
import numpy as np
import pytest
from nifti_downloads import found, packed, request

from cmburden.onboard.cohorts import ukb
from cmburden.onboard.parts import Person


def image(value: int) -> bytes:
    data = np.full((16, 18, 6), value, np.int16)
    data[0] = 0
    return nib.Nifti1Image(data, np.diag([0.8, 0.8, 3, 1])).to_bytes()


def gz(value: int) -> bytes:
    import gzip

    return gzip.compress(image(value), mtime=0)


@pytest.fixture
def download(tmp_path):
    """Fixture F4 of the two participants."""
    packed(
        tmp_path / "zips/10/1000001_20251_2_0.zip",
        {
            "SWI/SWI.nii.gz": gz(1),
            "SWI/SWI_TOTAL_MAG_TE2.nii.gz": gz(2),
            "SWI/SWI_TOTAL_PHA_TE2.nii.gz": gz(3),
            "SWI/T2star.nii.gz": gz(4),
            "SWI/unusable/SWI.nii.gz": gz(5),
        },
    )
    packed(tmp_path / "zips/10/1000001_20252_2_0.zip", {"T1/T1.nii.gz": gz(6), "T1/x.txt": b""})
    packed(tmp_path / "zips/10/1000002_20251_3_0.zip", {"SWI/unusable/SWI.nii.gz": gz(7)})
    return tmp_path / "zips"


def test_fixture_f4(download, tmp_path):
    sources, passed = found(ukb, request("ukb", download, out=tmp_path / "out"))
    made = {
        source.place: (ukb.label(source), source.fixed.suffix, source.fixed.entities)
        for source in sources
    }
    first = "10/1000001_20251_2_0.zip!SWI/"
    person = ("UKB1000001", "2")
    echo = ("echo", "2")
    assert made == {
        first + "SWI.nii.gz": (person, "swi", ()),
        first + "SWI_TOTAL_MAG_TE2.nii.gz": (person, "MEGRE", (echo, ("part", "mag"))),
        first + "SWI_TOTAL_PHA_TE2.nii.gz": (person, "MEGRE", (echo, ("part", "phase"))),
        "10/1000001_20252_2_0.zip!T1/T1.nii.gz": (person, "T1w", ()),
    }
    for source in sources:
        [path] = source.files
        assert path.is_relative_to(tmp_path / "out/work/onboard")
        assert nib.load(path).shape == (16, 18, 6)
    echoes = {source.fixed.suffix: source.fixed.sidecar.get("EchoTime") for source in sources}
    assert echoes == {"swi": 0.02, "MEGRE": 0.02, "T1w": None}
    assert all("protocol" in s.fixed.sidecar["AcquisitionParametersSource"] for s in sources)
    reasons = {row.place: (row.participant, row.reason.split(":")[0]) for row in passed}
    assert reasons == {
        first + "unusable/SWI.nii.gz": ("1000001", "unusable"),
        "10/1000001_20251_2_0.zip": ("1000001", "1 more images"),
        "10/1000002_20251_3_0.zip!SWI/unusable/SWI.nii.gz": ("1000002", "unusable"),
    }
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.gz")) == [
        "SWI.nii.gz",
        "SWI_TOTAL_MAG_TE2.nii.gz",
        "SWI_TOTAL_PHA_TE2.nii.gz",
        "T1.nii.gz",
    ]


def test_faults_are_rows_and_the_rest_goes_on(download, tmp_path):
    whole = (download / "10/1000001_20251_2_0.zip").read_bytes()
    (download / "1000003_20251_2_0.zip").write_bytes(whole[: len(whole) // 2])
    (download / "1000004_20251_2_0.zip").write_bytes(whole.replace(gz(1), gz(1)[:-9] + bytes(9), 1))
    packed(download / "1000005_20219_2_0.zip", {"a.dcm": b""})
    packed(download / "1000005_20253_2_0.zip", {"T2_FLAIR/T2_FLAIR.nii.gz": gz(1)})
    packed(download / "others.zip", {"a.txt": b""})
    packed(download / "again/1000001_20252_2_0.zip", {"T1/T1.nii.gz": gz(6)})
    sources, passed = found(ukb, request("ukb", download, out=tmp_path / "out"))
    assert [s.place for s in sources if s.participant == "1000003"] == []
    assert len([s for s in sources if s.participant == "1000004"]) == 2
    assert len([s for s in sources if s.fixed.suffix == "T1w"]) == 1
    reasons = {row.place: row.reason for row in passed}
    assert "cut off" in reasons["1000003_20251_2_0.zip"]
    assert "checksum is wrong" in reasons["1000004_20251_2_0.zip!SWI/SWI.nii.gz"]
    assert "archives of field 20251" in reasons["1000005_20219_2_0.zip"]
    assert "neither 20251" in reasons["1000005_20253_2_0.zip"]
    assert "<eid>" in reasons["others.zip"]
    twice = reasons["again/1000001_20252_2_0.zip!T1/T1.nii.gz"]
    assert twice == (
        "the download holds this image twice; 10/1000001_20252_2_0.zip!T1/T1.nii.gz is used"
    )


def test_archives_that_were_unpacked(tmp_path):
    folder = tmp_path / "in/1000001_20251_2_0/SWI"
    for name, value in (("SWI", 1), ("T2star", 2), ("unusable/SWI", 3)):
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gz(value))
    (tmp_path / "in/loose.nii.gz").write_bytes(gz(4))
    sources, passed = found(ukb, request("ukb", tmp_path / "in", out=tmp_path / "out"))
    assert [s.place for s in sources] == ["1000001_20251_2_0/SWI/SWI.nii.gz"]
    assert sorted(row.reason.split(":")[0] for row in passed) == [
        "it lies in no archive or folder <eid>_<field>_<i>_<n>",
        "not needed",
        "unusable",
    ]


def test_a_dry_run_unpacks_nothing(download, tmp_path):
    asked = request("ukb", download, out=tmp_path / "out", dry_run=True)
    sources, _ = found(ukb, asked)
    assert len(sources) == 4 and not (tmp_path / "out").exists()


def test_people_are_those_of_the_tables(monkeypatch, tmp_path):
    person = Person("sub-UKB1000001", "ses-2", 66.0, "F")
    tables = types.ModuleType("cmburden.onboard.phenotypes")
    tables.ukb = lambda asked, images: [person]
    monkeypatch.setitem(sys.modules, "cmburden.onboard.phenotypes", tables)
    import cmburden.onboard

    monkeypatch.setattr(cmburden.onboard, "phenotypes", tables, raising=False)
    assert ukb.people(request("ukb", out=tmp_path), []) == [person]
    assert "publishes no microbleeds" in ukb.findings(request("ukb", out=tmp_path), []).remarks[0]
