"""A job of preprocess or register: the scans of a batch, one after another.

Python, the networks and ANTs are loaded once a batch. What is done is known by the scans' records:
a scan whose record is current is left alone, so that a job that was stopped goes on where it was,
and a new or replaced scan is made alone.
"""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmburden.core import carry_out, tries
from cmburden.core.carry_out import CrashesInARow, Done, Job
from cmburden.core.files import sha256_of_file, whole_file, write_json
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.run.logs import into, note_stage

#: What a stage does with a scan by its settings; ScanError where the scan is unfit.
OfScan = Callable[[Scan, Layout, dict[str, Any]], Done]

#: Scans that crash one after the other before another process tries them, as in detect by default.
MOST_CRASHES_IN_A_ROW = 5
#: When this process began, and what its start took of the processor, s: until here it was busy.
_START_CPU = time.process_time()
_BEGAN = time.time() - _START_CPU
#: Columns of a scan's benchmark file, a part of those that Snakemake writes for a job.
_BENCHMARK = ("s", "max_rss", "cpu_time")


@dataclasses.dataclass(frozen=True)
class Batch:
    """The scans of a job of preprocess or register."""

    name: str
    scans: list[Scan]

    @property
    def unit(self) -> str:
        """The name of its jobs in logs and counts of tries."""
        return f"batch-{self.name}"


@dataclasses.dataclass
class Clock:
    """Seconds and seconds of the processor since the scan before, or since the job's start."""

    at: float
    cpu: float

    @classmethod
    def of_job(cls, *, again: bool) -> Clock:
        """The clock of this process; a first process counts the start of its supervisor too."""
        if again or multiprocessing.parent_process() is None:
            return cls(time.time(), time.process_time())
        return cls(_BEGAN, -_START_CPU)

    def lap(self) -> tuple[float, float]:
        """Seconds and processor seconds since the last lap."""
        now, cpu = time.time(), time.process_time()
        lap = now - self.at, cpu - self.cpu
        self.at, self.cpu = now, cpu
        return lap


def work(job: Job, batch: Batch, of_scan: OfScan, clock: Clock) -> None:
    """Make the scans of ``batch`` whose records are not current; then write its mark.

    ``of_scan`` is that of the stage. The mark holds a checksum of each scan's record: it changes if
    one of them does.

    Raises
    ------
    RestartJob
        The first time that ``MOST_CRASHES_IN_A_ROW`` scans crash one after the other.
    """
    layout = job.layout
    crashes = CrashesInARow(job, batch.unit, MOST_CRASHES_IN_A_ROW)
    for one in batch.scans:
        if carry_out.is_current(job, one):
            continue
        outcome = _one(job, batch, one, of_scan)
        _write_benchmark(layout.benchmark(job.stage, one.scan_id), *clock.lap())
        crashes.count(outcome)
    records = {scan.scan_id: layout.record(job.stage, scan.scan_id) for scan in batch.scans}
    write_json(
        layout.batch(job.stage, batch.name),
        {scan_id: sha256_of_file(record) for scan_id, record in records.items()},
    )
    crashes.end()


def _one(job: Job, batch: Batch, one: Scan, of_scan: OfScan) -> Outcome:
    """Make a scan; what is printed and logged goes to the scan's own log."""
    stage, layout = job.stage, job.layout
    death = tries.died(layout.tries(stage, batch.unit), one.scan_id)
    logging.info("%s", one.scan_id)
    with into(layout.log(stage, one.scan_id), again=death is not None):
        note_stage(stage, job.settings)
        if death is not None:
            logging.error("a process ended at work on this scan%s", death)
        log = layout.log_name(stage, one.scan_id)
        outcome = carry_out.scan(
            dataclasses.replace(job, log=log),
            one,
            lambda: of_scan(one, layout, job.settings),
            batch.unit,
        )
        logging.info("%s: %s %s", one.scan_id, outcome.status, outcome.message or "")
    logging.info("%s: %s %s", one.scan_id, outcome.status, outcome.reason or "")
    return outcome


def _write_benchmark(path: Path, seconds: float, cpu_seconds: float) -> None:
    """Write what a scan took; the memory (MB) is the largest of the process until now."""
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    values = (f"{seconds:.4f}", f"{peak_mb:.2f}", f"{cpu_seconds:.2f}")
    with whole_file(path, durable=False) as temporary:
        lines = ("\t".join(row) + "\n" for row in (_BENCHMARK, values))
        temporary.write_text("".join(lines), encoding="utf-8")
