"""Seconds a scan by stage on one core, two and more.

``python -m cmburden.benchmarks.stages BIDS_DIR DERIVATIVES --scans 4 --cores 1 2``.

The first scans of a finished run go through the four stages again, in a folder of their own, as the
jobs of the workflow take them: on n cores n jobs of preprocess and of register with a thread each,
then one job of detect and one of verify with n threads. Each job is a process, whose start, imports
and loading of the networks count. Files of scans are compared between the numbers of cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cmburden.core import config, stages
from cmburden.core.carry_out import Job
from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import write_json
from cmburden.core.manifest import read_scans
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.stages import BUCKET_STAGES, RECORDED_STAGES, SCAN_STAGES
from cmburden.core.threads import bound_threads
from cmburden.run import batches
from cmburden.run.jobs import bucket_stage, scan_stage

_KB_A_MB = 1024
#: Folders below the output folder that hold no results of scans.
_OTHER = ("work/records/", "work/runs/", "logs/")

#: Files of a transform: the field is there where a scan has one.
_TRANSFORM = ("affine.mat", "warp.nii.gz", "json")


@dataclasses.dataclass(frozen=True)
class StageCost:
    """Cost of a stage on ``cores``: seconds a scan, and the largest memory of a process, MB."""

    stage: str
    cores: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


def measure(
    scans: Sequence[Scan],
    out: Path,
    settings: dict[str, Any],
    cores: int,
    prepared: Layout | None = None,
) -> list[StageCost]:
    """The cost of each stage for ``scans`` on ``cores``, in the new folder ``out``.

    Where ``prepared`` is given, results of preprocess and register are copied from there. Raises
    CMBurdenError where a job fails, or a stage gives no result for a scan.
    """
    layout = Layout(out)
    costs = []
    if prepared is not None:
        _copy(scans, prepared, layout)
    for stage in SCAN_STAGES if prepared is None else ():
        parts = [list(scans[number::cores]) for number in range(min(cores, len(scans)))]
        jobs = [_Batch(stage, layout, settings, str(n), part) for n, part in enumerate(parts)]
        costs.append(_timed(stage, cores, jobs, len(scans)))
    for stage in BUCKET_STAGES:
        one = _Bucket(stage, layout, settings, list(scans), cores)
        costs.append(_timed(stage, cores, [one], len(scans)))
    for scan in scans:
        for stage in RECORDED_STAGES:
            record = Outcome.read(layout.record(stage, scan.scan_id))
            if not record.ok:
                raise CMBurdenError(f"{scan.scan_id}: {stage}: {record.message}; choose others")
    return costs


def _copy(scans: Sequence[Scan], prepared: Layout, layout: Layout) -> None:
    """Copy what preprocess and register have left of ``scans``."""
    for scan in scans:
        paths = [path for stage in SCAN_STAGES for path in prepared.results(stage, scan)]
        paths += [prepared.record(stage, scan.scan_id) for stage in SCAN_STAGES]
        paths += [prepared.transform(scan, part) for part in _TRANSFORM]
        for path in {path for path in paths if path.exists()}:
            target = layout.root / path.relative_to(prepared.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


@dataclasses.dataclass(frozen=True)
class _Batch:
    """A job of preprocess or register."""

    stage: str
    layout: Layout
    settings: dict[str, Any]
    name: str
    scans: list[Scan]

    def __call__(self) -> None:
        bound_threads(1)
        job = Job(self.stage, stages.version_of(self.stage), self.layout, self.settings[self.stage])
        batch = batches.Batch(self.name, self.scans)
        batches.work(job, batch, scan_stage(self.stage), batches.Clock.of_job(again=True))


@dataclasses.dataclass(frozen=True)
class _Bucket:
    """A job of detect or verify."""

    stage: str
    layout: Layout
    settings: dict[str, Any]
    scans: list[Scan]
    cores: int

    def __call__(self) -> None:
        bound_threads(self.cores)
        chosen = config.of_stage(self.settings, self.stage)
        bucket_stage(self.stage)(self.scans, self.layout, chosen, 0, None, self.cores)


def _timed(stage: str, cores: int, jobs: Sequence[Callable[[], None]], scans: int) -> StageCost:
    """Run ``jobs`` side by side in a process of their own, which counts their time and memory."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def together() -> None:
        began = time.monotonic()
        # A new interpreter for each, as a job of Snakemake is one: its start counts.
        workers = [multiprocessing.get_context("spawn").Process(target=job) for job in jobs]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        codes = [worker.exitcode for worker in workers]
        seconds = time.monotonic() - began
        theirs.send((codes, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / _KB_A_MB))

    watcher = context.Process(target=together)
    watcher.start()
    codes, seconds, cpu_seconds, peak_mb = ours.recv()
    watcher.join()
    if any(codes):
        raise CMBurdenError(f"{stage} on {cores} cores: a job ended with the codes {codes}")
    return StageCost(stage, cores, seconds / scans, cpu_seconds / scans, peak_mb)


def contents(root: Path) -> dict[str, str]:
    """sha256 of each file of the scans' results, by its path."""
    files = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith(_OTHER):
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return files


def run(
    bids: Path, derivatives: Path, scans: int, cores: Sequence[int], *, networks: bool = False
) -> dict[str, Any]:
    """Costs of ``scans`` scans for each number of ``cores``, and the files that differ.

    With ``networks`` only detect and verify run.
    """
    finished = Layout(derivatives)
    listed = [
        scan
        for scan in read_scans(finished.manifest, bids)
        if Outcome.read(finished.record(RECORDED_STAGES[-1], scan.scan_id)).ok
    ]
    if len(listed) < scans:
        raise CMBurdenError(f"{derivatives}: {len(listed)} scans are finished, not {scans}")
    # As far apart as the list allows: a demo has its acquisitions one after another.
    chosen = [listed[number * len(listed) // scans] for number in range(scans)]
    settings = config.load()
    costs: list[StageCost] = []
    made: dict[int, dict[str, str]] = {}
    for number in cores:
        with tempfile.TemporaryDirectory(prefix="cmburden-stages-") as folder:
            prepared = finished if networks else None
            costs += measure(chosen, Path(folder), settings, number, prepared)
            made[number] = contents(Path(folder))
    first = made[cores[0]]
    differ = {
        str(number): sorted(n for n in first | files if first.get(n) != files.get(n))
        for number, files in made.items()
    }
    return {
        "scans": [scan.scan_id for scan in chosen],
        "cores_of_machine": os.cpu_count(),
        "files": len(first),
        "differ": differ,
        "costs": [dataclasses.asdict(cost) for cost in costs],
    }


def markdown(result: dict[str, Any]) -> str:
    """A table of the result of :func:`run`, and what differs between the numbers of cores."""
    rows = [
        [
            cost["stage"],
            str(cost["cores"]),
            f"{cost['seconds']:.1f}",
            f"{cost['cpu_seconds']:.1f}",
            f"{cost['peak_mb']:.0f}",
        ]
        for cost in result["costs"]
    ]
    header = ["stage", "cores", "seconds a scan", "processor seconds a scan", "peak memory, MB"]
    differ = {number: names for number, names in result["differ"].items() if names}
    unequal = [f"{number} cores: {', '.join(names)}" for number, names in differ.items()]
    equal = f"All {result['files']} files of the scans are equal to the byte."
    return markdown_table(header, rows) + "\n" + ("\n".join(unequal) if unequal else equal)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.benchmarks.stages BIDS_DIR DERIVATIVES``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("bids", type=Path, help="BIDS folder of a finished run")
    parser.add_argument("derivatives", type=Path, help="its output folder, which is only read")
    parser.add_argument("--scans", type=int, default=4)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--networks",
        action="store_true",
        help="detect and verify alone; what they read is copied from the finished run",
    )
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    given = parser.parse_args(arguments)
    result = run(given.bids, given.derivatives, given.scans, given.cores, networks=given.networks)
    if given.out:
        write_json(given.out, result)
    print(markdown(result))
    return int(any(result["differ"].values()))


if __name__ == "__main__":
    sys.exit(exit_code(main))
