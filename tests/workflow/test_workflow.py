"""The workflow for real, on scans that all fail as data: every scan a row, nothing done twice."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from steps import jobs, run, validator_errors

from cmburden.core import resources, table_set
from cmburden.core.files import locked
from cmburden.core.paths import Layout
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


def test_a_run_of_one_leaves_the_tables_and_group_makes_them(cohort, capfd):
    table, page = cohort / "out/cohort/scans.parquet", cohort / "out/report/index.html"
    whole, shown = table.read_bytes(), page.read_bytes()
    assert run(cohort, "--participant-label", "01") == 0
    assert (table.read_bytes(), page.read_bytes()) == (whole, shown)
    said = capfd.readouterr()
    assert "tables and report stay as they are" in said.out
    assert "Nothing to be done" in said.out + said.err
    made = table.stat().st_mtime_ns
    # Without --set buckets=2: the folder remembers.
    assert cli.main(["run", str(cohort / "bids"), str(cohort / "out"), "group"]) == 0
    assert table.read_bytes() == whole
    assert table.stat().st_mtime_ns > made
    # What group made, a run knows.
    assert jobs(cohort) == {}


def test_a_run_knows_the_settings_of_group(cohort):
    """The number that group was given is the folder's; going back to the default is a change."""
    group = ["run", str(cohort / "bids"), str(cohort / "out"), "group"]
    assert cli.main([*group, "--set", "aggregate.macrohaemorrhage_mm=1"]) == 0
    assert jobs(cohort) == {}
    planned = jobs(cohort, "--set", "aggregate.macrohaemorrhage_mm=10")
    assert set(planned) == {"aggregate", "report", "check"}
    assert cli.main([*group, "--set", "aggregate.macrohaemorrhage_mm=10"]) == 0


# Read by every Python that starts: the job that aggregates is killed at its fifth table.
KILLED_AT_WORK = """
import os, pathlib, signal, sys
if any("aggregate.py" in word for word in sys.orig_argv):
    replace, replaced = pathlib.Path.replace, []

    def until_the_fifth(path, target):
        replaced.append(target)
        if len(replaced) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    pathlib.Path.replace = until_the_fifth
"""


def test_a_job_that_fails_leaves_tables_and_report(cohort, capfd, tmp_path, monkeypatch):
    """Snakemake removes the outputs of a failed job, but not what people read."""
    out = Layout(cohort / "out")
    before = {path: path.read_bytes() for path in [*out.cohort.glob("*"), out.report]}
    (tmp_path / "sitecustomize.py").write_text(KILLED_AT_WORK)
    searched = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join(filter(None, searched)))
        assert run(cohort, "--set", "aggregate.macrohaemorrhage_mm=3") == 1
    assert "tables and report are those of an earlier run" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
    assert table_set.faults(out) == []
    assert run(cohort, "--set", "aggregate.macrohaemorrhage_mm=10") == 0


def test_a_torn_table_of_reviews_is_made_again(cohort, capfd):
    out = Layout(cohort / "out")
    out.reviews.write_bytes(b"no table")
    assert run(cohort, "--set", "aggregate.macrohaemorrhage_mm=3") == 0
    assert "it is now reviews.damaged" in capfd.readouterr().err
    assert (out.cohort / "reviews.damaged").read_bytes() == b"no table"
    assert table_set.faults(out) == []
    assert run(cohort, "--set", "aggregate.macrohaemorrhage_mm=10") == 0


def test_snakemake_alone_holds_the_lock_and_the_settings(cohort, tmp_path):
    """README's plain command: the folder's settings, the folder's lock."""
    out = Layout(cohort / "out")
    command = [
        *(sys.executable, "-m", "snakemake", "-n", "--snakefile", resources.root() / "Snakefile"),
        *("--profile", resources.root() / "workflow/profiles/default"),
        *("--directory", out.work, "--config"),
        *(f"bids_dir={cohort / 'bids'}", f"output_dir={out.root}"),
    ]
    with locked(out.lock):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "another run is at work here" in done.stdout + done.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "settings of this folder, from its last run: batches=1; buckets=2" in done.stderr
    assert "Nothing to be done" in done.stdout + done.stderr


def test_status_and_retry(cohort, capsys):
    assert cli.main(["status", str(cohort / "out")]) == 0
    assert "empty_file" in capsys.readouterr().out
    table = cohort / "out/cohort/scans.parquet"
    before = table.read_bytes()
    assert cli.main(["retry", str(cohort / "out"), "--scan", "sub-01_T2starw"]) == 0
    planned = jobs(cohort)
    assert (planned["preprocess"], planned["register"]) == (1, 1)
    assert (planned["detect"], planned["verify"], planned["check"]) == (1, 1, 1)
    assert table.read_bytes() == before
    assert (cohort / "out/report/index.html").exists()


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
