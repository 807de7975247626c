"""The workflow for real, on scans that all fail as data: every scan a row, nothing done twice."""

import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from steps import jobs, run, validator_errors

from cmburden.run import cli


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """An empty, a truncated and a constant scan, a participant with a T1w only; run once."""
    folder = tmp_path_factory.mktemp("cohort")
    bids = folder / "bids"
    image = nib.Nifti1Image(np.full((12, 12, 6), 7, np.int16), np.diag([1.0, 1, 3, 1]))
    for number in (1, 2, 3):
        path = bids / f"sub-0{number}" / "anat" / f"sub-0{number}_T2starw.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(image, path)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text('{"EchoTime": 0.02}')
    (bids / "sub-01/anat/sub-01_T2starw.nii.gz").write_bytes(b"")
    torn = bids / "sub-02/anat/sub-02_T2starw.nii.gz"
    torn.write_bytes(torn.read_bytes()[:-40])
    (bids / "sub-04/anat").mkdir(parents=True)
    nib.save(image, bids / "sub-04/anat/sub-04_T1w.nii.gz")
    (bids / "dataset_description.json").write_text('{"Name": "bad", "BIDSVersion": "1.10.0"}')
    (bids / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t70\tF\n")
    assert run(folder) == 0
    return folder


def test_every_scan_is_a_row_with_its_reason(cohort):
    scans = pd.read_parquet(cohort / "out/cohort/scans.parquet").set_index("participant_id")
    assert scans["reason"].to_dict() == {
        "sub-01": "empty_file",
        "sub-02": "truncated",
        "sub-03": "constant",
        "sub-04": "no_scan",
    }
    assert scans["n_cmb"].isna().all()
    assert (cohort / "out/report/index.html").exists()


def test_nothing_runs_again(cohort):
    assert jobs(cohort) == {}


def test_a_replaced_scan_runs_alone(cohort):
    path = cohort / "bids/sub-03/anat/sub-03_T2starw.nii.gz"
    before = path.read_bytes()
    nib.save(nib.Nifti1Image(np.full((12, 12, 6), 9, np.int16), np.diag([1.0, 1, 3, 1])), path)
    planned = jobs(cohort)
    path.write_bytes(before)
    assert planned["preprocess"] == planned["register"] == 1
    assert planned["detect"] == planned["verify"] == 1


def test_an_edited_age_redoes_the_cohort_only(cohort):
    path = cohort / "bids/participants.tsv"
    before = path.read_text()
    path.write_text(before.replace("70", "71"))
    planned = jobs(cohort)
    path.write_text(before)
    assert set(planned) == {"aggregate", "report", "check"}


def test_the_output_passes_the_bids_validator(cohort):
    assert validator_errors(cohort / "out") == []


def test_group_holds_everybody_after_runs_of_one(cohort):
    table = cohort / "out/cohort/scans.parquet"
    whole = table.read_bytes()
    assert run(cohort, "--participant-label", "01") == 0
    assert len(pd.read_parquet(table)) == 1
    arguments = ["run", str(cohort / "bids"), str(cohort / "out"), "group", "--set", "buckets=2"]
    assert cli.main(arguments) == 0
    assert table.read_bytes() == whole


def test_status_and_retry(cohort, capsys):
    assert cli.main(["status", str(cohort / "out")]) == 0
    assert "empty_file" in capsys.readouterr().out
    assert cli.main(["retry", str(cohort / "out"), "--scan", "sub-01_T2starw"]) == 0
    assert jobs(cohort)["preprocess"] == 1


def test_snakemake_report_carries_page_and_caption(cohort):
    assert run(cohort) == 0
    work = cohort / "out" / "work"
    assert run(cohort, "--", "--report", str(work / "report.html")) == 0
    page = (work / "report.html").read_text()
    assert "participant flow, prevalence with intervals" in page
    assert "index.html" in page


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 120 KB and a function that changes its mount options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if not mount("size=120k"):
        pytest.skip("file systems can be mounted by root only")
    yield folder, lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_loses_nothing(cohort, small_disk, capsys):
    disk, change = small_disk
    assert run(cohort, out=disk / "out") == 2
    said = capsys.readouterr().err
    assert "the disk is full (0 MB are free); free space and run again" in said
    assert "Traceback" not in said
    assert change("size=80m")
    assert run(cohort, out=disk / "out") == 0
    assert run(cohort) == 0
    for name in ("scans", "counts", "participants"):
        table = f"cohort/{name}.parquet"
        assert (disk / "out" / table).read_bytes() == (cohort / "out" / table).read_bytes()


def test_a_read_only_folder_is_one_sentence(cohort, small_disk, capsys):
    disk, change = small_disk
    assert change("ro")
    assert run(cohort, out=disk / "out") == 2
    assert "cannot be written (Read-only file system)" in capsys.readouterr().err
