"""OASIS-3 as it is downloaded: folders of sessions and scans, older and newer names, sidecars."""

import json

from nifti_downloads import found, nifti, request

from cmburden.onboard.cohorts import oasis3


def with_sidecar(path, **fields):
    nifti(path)
    beside = path.with_name(path.name.replace(".nii.gz", ".json"))
    beside.write_text(json.dumps(fields), encoding="utf-8")
    return path


def test_what_a_session_holds(tmp_path):
    root = tmp_path / "OASIS3"
    first = root / "OAS30001_MR_d0757"
    with_sidecar(first / "swi1/sub-OAS30001_ses-d0757_minIP.nii.gz", EchoTime=0.02)
    with_sidecar(first / "swi2/NIFTI/sub-OAS30001_ses-d0757_swi.nii.gz", EchoTime=0.02)
    with_sidecar(
        first / "anat3/sub-OAS30001_ses-d0757_run-02_T2star.nii.gz",
        EchoTime=0.02,
        PatientName="somebody",
    )
    nifti(first / "anat1/sub-OAS30001_ses-d0757_T1w.nii.gz")
    nifti(first / "func1/sub-OAS30001_ses-d0757_bold.nii.gz")
    second = root / "OAS30002_MR_d0129"
    nifti(second / "anat2/NIFTI/sub-OAS30002_sess-d0129_T2star.nii.gz")
    sidecar = second / "anat2/BIDS/sub-OAS30002_sess-d0129_T2star.json"
    sidecar.parent.mkdir()
    sidecar.write_text('{"EchoTime": 0.02, "MagneticFieldStrength": 3}', encoding="utf-8")
    nifti(root / "notes/something.nii.gz")
    sources, passed = found(oasis3, request("oasis3", root, out=tmp_path / "out"))
    made = {
        (*oasis3.label(s), s.fixed.suffix, s.fixed.entities): dict(s.fixed.sidecar) for s in sources
    }
    assert made == {
        ("OAS30001", "d0757", "swi", ()): {"EchoTime": 0.02},
        ("OAS30001", "d0757", "T2starw", (("run", "02"),)): {"EchoTime": 0.02},
        ("OAS30001", "d0757", "T1w", ()): {},
        ("OAS30002", "d0129", "T2starw", ()): {"EchoTime": 0.02, "MagneticFieldStrength": 3},
    }
    # Times of headers are in ms, as DICOM has them.
    assert {s.header.get("EchoTime") for s in sources} == {20.0, None}
    reasons = sorted(row.reason for row in passed)
    assert reasons == [
        "bold is no GRE, SWI or T1w",
        "it lies in no folder OAS3xxxx_MR_dxxxx and has no such name",
        "minimum projection",
    ]


def test_names_of_swi_that_are_not_known_are_told_by_the_sidecar(tmp_path):
    folder = tmp_path / "OAS30003_MR_d0001/swi1"
    name = "sub-OAS30003_ses-d0001_run-0{}_xyz.nii.gz"
    with_sidecar(folder / name.format(1), SeriesDescription="SWI_Images", EchoTime=0.02)
    with_sidecar(folder / name.format(2), SeriesDescription="Mag_Images")
    with_sidecar(folder / name.format(3), ImageType=["ORIGINAL", "PRIMARY", "P", "SWI"])
    with_sidecar(folder / name.format(4), SeriesDescription="something")
    with_sidecar(folder / "sub-OAS30003_ses-d0001_abc.nii.gz", ImageType=["DERIVED", "MNIP"])
    (folder / "sub-OAS30003_ses-d0001_abd.json").write_text("{", encoding="utf-8")
    nifti(folder / "sub-OAS30003_ses-d0001_abd.nii.gz")
    sources, passed = found(oasis3, request("oasis3", tmp_path, out=tmp_path / "out"))
    assert [(s.fixed.suffix, dict(s.fixed.entities).get("part")) for s in sources] == [
        ("swi", None),
        ("T2starw", "mag"),
        ("T2starw", "phase"),
    ]
    assert sorted(row.reason.split(":")[0] for row in passed) == [
        "its sidecar cannot be read",
        "minimum projection",
        "neither its name nor its sidecar tells which image of an SWI scan it is",
    ]


def test_nothing_is_published(tmp_path):
    told = oasis3.findings(request("oasis3", out=tmp_path), [])
    assert told.findings == () and "--lesions" in told.remarks[0]
