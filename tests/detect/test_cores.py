"""detect and verify on one core, two and several: the same bytes of everything but seconds."""

import json
import multiprocessing
from pathlib import Path

import prepared
import pytest
import tiny_models

from cmburden.core import config
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.threads import bound_threads
from cmburden.detect import stage as detect
from cmburden.models import weights
from cmburden.verify import stage as verify

pytestmark = pytest.mark.slow

SCANS = 3


def written(layout: Layout) -> dict[str, bytes | dict]:
    """Content of each file that does not tell the time, by its path."""
    files = {}
    for path in sorted(layout.root.rglob("*")):
        name = path.relative_to(layout.root).as_posix()
        if path.is_dir() or name.startswith(("work/runs/", "work/cache/index", "logs/")):
            continue
        records = name.startswith("work/records/")
        files[name] = json.loads(path.read_bytes()) if records else path.read_bytes()
        if records:
            files[name]["seconds"] = None
    return files


def run(folder: Path, models: Path, cores: int, one_process: bool) -> None:
    """Both stages as a job of ``cores`` runs them; ``one_process``: as if the device were a GPU."""
    weights.is_shared = lambda name: one_process
    layout = Layout(folder / "out")
    scans = read_scans(layout.manifest, folder / "bids")
    bound_threads(cores)
    for stage, module in (("detect", detect), ("verify", verify)):
        chosen = config.of_stage(config.load({}), stage) | {"device": "cpu"}
        chosen |= {"model": str(models / tiny_models.STAGES[stage])}
        if stage == "detect":
            chosen |= {"max_candidates": 5}
        module.run(scans, layout, chosen, 0, None, cores)


def test_files_do_not_depend_on_the_number_of_cores(tmp_path):
    models = tiny_models.write(tmp_path / "models")
    made = {}
    # One process; two workers with a network each; three workers that ask the parent's.
    for cores, one_process in ((1, False), (2, False), (6, True)):
        folder = tmp_path / str(cores)
        prepared.write(folder / "bids", Layout(folder / "out"), SCANS)
        # As in a job: a process that has not used torch. This one has: a fork of it could crash.
        job = multiprocessing.get_context("spawn").Process(
            target=run, args=(folder, models, cores, one_process)
        )
        job.start()
        job.join()
        assert job.exitcode == 0
        made[cores] = written(Layout(folder / "out"))
    assert sum(name.endswith("desc-CMB_lesions.tsv") for name in made[1]) == SCANS
    assert sum(name.startswith("work/cache/verify/") for name in made[1]) == SCANS
    for cores in (2, 6):
        assert made[cores].keys() == made[1].keys()
        assert [name for name in made[1] if made[cores][name] != made[1][name]] == []
