"""On a real SLURM of one machine: the same tables as without it, GPUs for the networks only, and a
training that outlives its time limit. About four minutes on two cores."""

import json
import re
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import tiny_models
import yaml
from cluster import ACCOUNT

from cmburden.core import resources
from cmburden.core.paths import COHORT_TABLES
from cmburden.run import cli
from cmburden.simulate.cohort import run as simulate

#: Looks for the end of jobs every few seconds: they are short here.
QUICK = ("--slurm-init-seconds-before-status-checks", "3")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A scan that goes the whole way, a truncated and a constant one, and two models."""
    folder = tmp_path_factory.mktemp("study")
    simulate(
        folder / "bids", presets=["MAS"], participants=1, seed=4, positive_share=1.0, t1w_share=0
    )
    image = nib.Nifti1Image(np.full((12, 12, 6), 7, np.int16), np.diag([1.0, 1, 3, 1]))
    for label in ("02", "03"):
        path = folder / f"bids/sub-{label}/anat/sub-{label}_T2starw.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(image, path)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text('{"EchoTime": 0.02}')
    path.write_bytes(path.read_bytes()[:-40])
    tiny_models.write(folder / "models")
    return folder


def run(study: Path, out: str, *further: str) -> int:
    return cli.main(
        ["run", str(study / "bids"), str(study / out), "participant", "--set", "buckets=1",
         "--set", "batches=2", "--set", "threads=1", "--set", "detect.max_candidates=20",
         *tiny_models.settings(study / "models"), *further]
    )  # fmt: skip


@pytest.fixture(scope="module")
def profile(study) -> Path:
    """The profile as the manual says to make one's own: a copy with one's account in it."""
    text = (resources.root() / "workflow/profiles/slurm/config.yaml").read_text()
    mine = study / "profile" / "config.yaml"
    mine.parent.mkdir()
    mine.write_text(text.replace("# slurm_account: yours", f"slurm_account: {ACCOUNT}"))
    assert yaml.safe_load(mine.read_text())["default-resources"]["slurm_account"] == ACCOUNT
    return mine.parent


@pytest.fixture(scope="module")
def jobs(study, profile, cluster) -> pd.DataFrame:
    """The cohort's run on the cluster; a row a job, as the accounting has them."""
    assert run(study, "slurm", "--profile", str(profile), "--", *QUICK) == 0
    until = time.monotonic() + 30
    while True:
        # The database hears of a job's end a moment after Snakemake does.
        rows = pd.DataFrame(
            cluster.accounted("JobID", "Partition", "State", "AllocTRES", "Account", "Comment")
        )
        if rows["State"].eq("COMPLETED").all() or time.monotonic() > until:
            return rows.assign(rule=rows["Comment"].str.extract(r"^rule_([a-z]+)"))
        time.sleep(1)


def test_every_job_went_well_and_was_charged(study, jobs):
    assert jobs["State"].eq("COMPLETED").all(), jobs.to_string()
    assert jobs["Account"].eq(ACCOUNT).all()


def test_the_networks_alone_had_gpus(study, jobs):
    on_gpu = jobs["Partition"] == "gpu"
    assert (jobs["AllocTRES"].str.contains("gres/gpu=1") == on_gpu).all()
    assert set(jobs.loc[on_gpu, "rule"]) == {"detect", "verify"}
    assert set(jobs.loc[~on_gpu, "rule"]) == {"preprocess", "register", "aggregate", "report"}
    # Three scans in two batches of one bucket.
    counts, of_batches = jobs["rule"].value_counts(), ["preprocess", "register"]
    assert counts[of_batches].tolist() == [2, 2] and counts.drop(of_batches).eq(1).all()


def test_the_same_tables_as_without_a_cluster(study, jobs):
    assert run(study, "local", "--cores", "1") == 0
    scans = pd.read_parquet(study / "local/cohort/scans.parquet")
    assert sorted(scans["status"]) == ["failed", "failed", "ok"]
    # Equal because both are empty would say nothing.
    assert len(pd.read_parquet(study / "local/cohort/lesions.parquet")) > 3
    for name in set(COHORT_TABLES) - {"runs"}:
        table = f"cohort/{name}.parquet"
        assert (study / "slurm" / table).read_bytes() == (study / "local" / table).read_bytes()


@pytest.fixture
def slabs(tmp_path) -> Path:
    """Two slabs with a dark spot each, as ``cmburden train dataset`` writes them."""
    folder = tmp_path / "slabs"
    folder.mkdir()
    for number in range(2):
        image = np.ones((64, 56, 16), np.float16)
        image[19:22, 19:22, 5:8] = 0.2
        np.savez(
            folder / f"slab-{number:04d}.npz", image=image, mask=np.ones(image.shape, np.uint8),
            spacing=np.array([0.75, 0.75, 2.0]), centre=np.array([[20.0, 20, 6]]),
            radius=np.array([1.2]), kind=np.array(["microbleed"]),
        )  # fmt: skip
    return folder


def ended(cluster, job: str) -> str:
    """What SLURM knows of a job once it has ended: its result is there a moment before."""
    until = time.monotonic() + 30
    while True:
        state = cluster.ask("scontrol", "show", "job", job)
        if not re.search("JobState=(RUNNING|COMPLETING)", state) or time.monotonic() > until:
            return state
        time.sleep(0.5)


def test_a_training_outlives_its_time_limit(slabs, tmp_path, cluster, capfd):
    """SLURM looks at limits each 30 s, so a job of one minute that is to be told 15 s before is
    told 15 to 45 s after its start. A training of 45 s is interrupted, whenever that is."""
    out = tmp_path / "out"
    code = cli.main(
        ["train", "detector", str(slabs), str(out), "--batch", "1", "--channels", "4",
         "--steps", "1000000", "--minutes", "0.75", "--executor", "slurm", "--minutes-a-job", "1",
         "--partition", "cpu", "--cpus", "1"]
    )  # fmt: skip
    job = re.search(r"job (\d+):", capfd.readouterr().out)[1]
    (log_file,) = (out / "jobs").rglob(f"{job}_0_log.out")
    log = log_file.read_text()
    assert code == 0, log
    state = ended(cluster, job)
    assert "JobState=COMPLETED" in state
    assert int(re.search(r"Restarts=(\d+)", state)[1]) >= 1
    assert (out / "detector.pt").exists()
    # It went on where the checkpoint was: no step was counted twice, and none from the start.
    curve = json.loads((out / "curve.json").read_text())["step_loss_seconds"]
    steps = [row[0] for row in curve]
    assert steps == list(range(50, 50 * len(steps) + 1, 50))
    starts = [int(step) for step in re.findall(r"^step (\d+) loss", log, re.MULTILINE)]
    assert starts == sorted(set(starts))
