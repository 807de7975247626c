"""A cluster that takes jobs away: one is cancelled, then the node of another is set down. The run
goes on by itself, with the tables of a quiet run, and no scan is inferred twice. By hand, since
with its five minutes the suite would take more than twenty.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import prepared
import pytest
import tiny_models
from cluster import ACCOUNT
from faults import detected, inferred

from cmburden.core import resources
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.run import cli

pytestmark = pytest.mark.skipif(
    not os.environ.get("CMBURDEN_SLURM_FAULTS"), reason="by hand: make slurm-faults"
)
SCANS = 10


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    prepared.write(folder / "bids", Layout(folder / "quiet"), SCANS)
    subprocess.run(["cp", "-a", str(folder / "quiet"), str(folder / "out")], check=True)
    tiny_models.write(folder / "models")
    text = (resources.root() / "workflow/profiles/slurm/config.yaml").read_text()
    (folder / "profile").mkdir()
    (folder / "profile/config.yaml").write_text(
        text.replace("# slurm_account: yours", f"slurm_account: {ACCOUNT}")
    )
    return folder


def arguments(study: Path, out: str, *further: str) -> list[str]:
    return [
        "run", str(study / "bids"), str(study / out), "participant", "--set", "buckets=1",
        "--set", "batches=1", "--set", "threads=1", "--set", "detect.max_candidates=25",
        *tiny_models.settings(study / "models"), *further,
    ]  # fmt: skip


def until(reached: Callable[[], bool], run: subprocess.Popen, seconds: float = 1800) -> None:
    limit = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < limit, "it did not come so far"
        assert run.poll() is None, "the run has ended"
        time.sleep(0.05)


def test_a_cancelled_job_and_a_lost_node(study, cluster):
    layout, quiet = Layout(study / "out"), Layout(study / "quiet")

    def running() -> str:
        return cluster.ask("squeue", "-h", "-p", "gpu", "-t", "RUNNING", "-o", "%i")

    log = (study / "run.txt").open("w+")
    run = subprocess.Popen(
        [sys.executable, "-m", "cmburden.run.cli",
         *arguments(study, "out", "--profile", str(study / "profile"), "--",
                    "--slurm-init-seconds-before-status-checks", "3")],
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        until(lambda: detected(layout) >= 2, run)
        job = running()
        cluster.ask("scancel", job)
        until(lambda: running() not in ("", job), run)
        first = inferred(layout)
        until(layout.bucket("detect", 0).exists, run)
        detect = running()
        # The executor leaves a lost node out of later submissions: verify is the last that needs
        # this one, which is the only one with GPUs.
        until(lambda: running() not in ("", detect), run)
        cluster.ask("scontrol", "update", "NodeName=gpu1", "State=DOWN", "Reason=test")
        until(lambda: running() == "", run)
        second = inferred(layout)
        # Refused where its daemon has already told the controller that it is there.
        with contextlib.suppress(subprocess.CalledProcessError):
            cluster.ask("scontrol", "update", "NodeName=gpu1", "State=RESUME")
        code = run.wait(300)
    finally:
        run.kill()
    log.seek(0)
    assert code == 0, log.read()[-3000:]
    states = [row["State"] for row in cluster.accounted("State")]
    assert any(state.startswith("CANCELLED") for state in states)
    # What was inferred before each fault is there still: the same files, made when they were.
    last = inferred(layout)
    assert len(first) >= 4
    assert first.items() <= second.items() <= last.items()
    assert detected(layout) == SCANS
    assert cli.main(arguments(study, "quiet", "--cores", "2")) == 0
    for name in set(COHORT_TABLES) - {"runs"}:
        assert layout.table(name).read_bytes() == quiet.table(name).read_bytes(), name
