"""What a run would do with files, said in sentences and in JSON, with nothing left behind."""

import json

import nibabel as nib
import numpy as np
import pytest

from cmburden.run import cli

SHAPE, SIZES = (64, 72, 20), (3.0, 3.0, 6.0)
FINE = (2.4, 2.4, 6.0)


def head(sizes=FINE) -> nib.Nifti1Image:
    """A ball with an edge in noisy air."""
    points = (np.indices(SHAPE).T - (np.array(SHAPE) - 1) / 2).T * np.reshape(sizes, (3, 1, 1, 1))
    tissue = np.clip(400 - 5 * np.linalg.norm(points, axis=0), 0, None)
    data = tissue + np.abs(np.random.default_rng(0).normal(0, 5, SHAPE))
    return nib.Nifti1Image(data.astype(np.float32), np.diag([*sizes, 1.0]))


@pytest.fixture
def bids(tmp_path):
    bids = tmp_path / "bids"
    for name, sizes in (("01", FINE), ("02", FINE), ("03", SIZES)):
        anat = bids / f"sub-{name}" / "anat"
        anat.mkdir(parents=True)
        nib.save(head(sizes), anat / f"sub-{name}_T2starw.nii.gz")
        (anat / f"sub-{name}_T2starw.json").write_text(
            '{"EchoTime": 0.02, "MagneticFieldStrength": 3}'
        )
    torn = bids / "sub-02/anat/sub-02_T2starw.nii.gz"
    torn.write_bytes(torn.read_bytes()[:2000])
    (bids / "sub-04").mkdir()
    (bids / "sub-01/anat/sub-01_minIP.nii.gz").write_bytes(b"x")
    (bids / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t70\tF\n")
    (bids / "dataset_description.json").write_text('{"Name": "n", "BIDSVersion": "1.10.0"}')
    return bids


def test_a_bids_folder(bids, capsys, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["check", str(bids), "--json", str(tmp_path / "said.json")]) == 0
    said = capsys.readouterr().out
    assert "3 scans of 3 participants would be searched (3 GRE)" in said
    assert "Without a scan to search: 1 participant." in said
    assert "projection: 1 file, such as sub-01/anat/sub-01_minIP.nii.gz" in said
    assert "Opened: 3 images, of which 1 without a remark." in said
    assert "sub-02_T2starw.nii.gz: Its compressed data end early." in said
    assert "sub-03_T2starw.nii.gz: Its voxels are 3.00 x 3.00 x 6.00 mm" in said
    assert "Phenotypes: age, sex." in said and "lacks 2 participant(s)" in said
    assert "Research use only" in said
    facts = json.loads((tmp_path / "said.json").read_text())
    assert facts["contrasts"] == {"GRE": 3} and facts["rejected"]["no_scan"]["files"] == 1
    assert [image["status"] for image in facts["images"]] == ["ok", "failed", "excluded"]
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "said.json"])


def test_some_images_of_a_bids_folder(bids, capsys):
    assert cli.main(["check", str(bids), "--images", "1"]) == 0
    assert "Opened: 1 image, of which 1 without a remark." in capsys.readouterr().out


def test_a_file_and_a_folder_of_files(bids, capsys):
    anat = bids / "sub-03/anat"
    assert cli.main(["check", str(bids / "sub-01/anat/sub-01_T2starw.nii.gz")]) == 0
    said = capsys.readouterr().out
    assert "can be searched" in said
    assert "voxels 2.4 x 2.4 mm, slices 6 mm, field of view 154 x 173 x 120 mm" in said
    assert cli.main(["check", str(anat)]) == 1
    assert "at most 2.5 in plane" in capsys.readouterr().out


def test_a_tree_without_description_is_said(bids, capsys):
    (bids / "dataset_description.json").unlink()
    assert cli.main(["check", str(bids)]) == 0
    assert "dataset_description.json is missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [("nowhere", "there is no such file or folder"), ("empty", "holds no NIfTI file")],
)
def test_what_cannot_be_checked_is_one_sentence(name, words, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert cli.main(["check", str(tmp_path / name)]) == 2
    assert words in capsys.readouterr().err
