"""What a night does to a long run, one after another on one cohort: a bucket's job killed, then
Snakemake killed, then the disk full. Afterwards the tables are those of a quiet run, and no scan
was inferred twice. About two minutes on two cores; a cluster's faults are in tests/slurm.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import prepared
import pytest
import tiny_models
from faults import detected, inferred

from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.run import cli

pytestmark = pytest.mark.long

SCANS = 6


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    prepared.write(folder / "bids", Layout(folder / "quiet"), SCANS)
    tiny_models.write(folder / "models")
    return folder


@pytest.fixture(scope="module")
def disk(study):
    """The troubled run's folder; on a small disk of its own where we may make one."""
    folder = study / "disk"
    folder.mkdir()
    mounted = _mount(folder, "size=300m")
    yield folder, mounted
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def _mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def arguments(study: Path, out: Path, threads: int = 2) -> list[str]:
    """A run whose bucket has so many workers."""
    return [
        "run",
        str(study / "bids"),
        str(out),
        "participant",
        "--cores",
        "2",
        "--set",
        "buckets=1",
        "--set",
        "batches=1",
        "--set",
        f"threads={threads}",
        "--set",
        "detect.max_candidates=25",
        *tiny_models.settings(study / "models"),
    ]


def start(study: Path, out: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "cmburden.run.cli", *arguments(study, out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def until(reached: Callable[[], bool], seconds: float = 1800) -> None:
    limit = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < limit, "it did not come so far"
        time.sleep(0.05)


def kill(word: str, layout: Layout) -> None:
    """kill -9 of the processes at work in the folder whose command line holds ``word``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
            if word in line and (folder / "cwd").resolve() == layout.work.resolve():
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended
    assert found, f"no process of {word}"
    for process in found:
        os.kill(process, signal.SIGKILL)


def test_faults_lose_nothing_and_repeat_nothing(study, disk, capsys):
    folder, mounted = disk
    layout = Layout(folder / "out")
    quiet = Layout(study / "quiet")
    subprocess.run(["cp", "-a", str(quiet.root), str(layout.root)], check=True)
    kept: dict[str, tuple[int, int]] = {}

    def checked() -> int:
        """No result of before was made again; how many scans have one of the CNN."""
        now = inferred(layout)
        assert kept.items() <= now.items()
        kept.update(now)
        return detected(layout)

    # 1. kill -9 of the bucket's job, in the middle of it.
    run = start(study, layout.root)
    until(lambda: detected(layout) >= 2)
    kill(".detect.py", layout)
    assert run.wait(1800) == 1
    assert 2 <= checked() < SCANS
    assert not layout.bucket("detect", 0).exists()
    # What was done is known meanwhile.
    capsys.readouterr()
    assert cli.main(["status", str(layout.root)]) == 0
    assert f"preprocess: {SCANS} of {SCANS} scans (100%)" in capsys.readouterr().out

    # 2. kill -9 of the command, after which Snakemake goes on, then of that; its job goes on.
    before = detected(layout)
    run = start(study, layout.root)
    until(lambda: detected(layout) > before)
    run.kill()
    run.wait()
    assert cli.main(arguments(study, layout.root)) == 2
    assert "another run is at work here" in capsys.readouterr().err
    kill("--profile", layout)
    assert checked() > before

    # 3. The disk is full. (The next job waits for the one that was left alone.)
    if mounted:
        used = shutil.disk_usage(folder).used
        assert _mount(folder, f"remount,size={used // 1024 + 200}k")
        assert cli.main(arguments(study, layout.root)) == 2
        assert "the disk is full" in capsys.readouterr().err
        assert _mount(folder, "remount,size=300m")
        checked()

    # 4. Nothing happens.
    assert cli.main(arguments(study, layout.root)) == 0
    assert checked() == SCANS
    # The quiet run works through the bucket in one process.
    assert cli.main(arguments(study, quiet.root, threads=1)) == 0
    scans = pd.read_parquet(layout.table("scans"))
    assert len(scans) == scans["scan_id"].nunique() == SCANS
    assert scans["status"].eq("ok").all(), scans["message"].tolist()
    assert len(pd.read_parquet(layout.table("lesions"))) > SCANS
    for name in set(COHORT_TABLES) - {"runs"}:
        assert layout.table(name).read_bytes() == quiet.table(name).read_bytes(), name
