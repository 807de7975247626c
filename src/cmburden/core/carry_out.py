"""The skeleton of the stages that work through scans: preprocess and register, detect and verify.

A stage says in a callback what it does with one scan. The rest is equal for all stages and stands
here: records, shards, run files, skipped scans, and what becomes of an error. Whatever goes wrong
with one scan is that scan's record. Only what a person mends (a full disk, a folder without
permission, a mistake in the configuration) ends the job.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.core import remake, tries
from cmburden.core.errors import (
    ILL,
    CMBurdenError,
    DamagedFile,
    ScanError,
    sentence,
    short_text,
    with_advice,
)
from cmburden.core.keys import hash_of, settings_of_results
from cmburden.core.paths import Layout
from cmburden.core.provenance import write_run
from cmburden.core.scan import Outcome, Scan
from cmburden.core.schema import BrokenContract, Table
from cmburden.core.stages import SCAN_STAGES
from cmburden.core.workers import Late, Worked, Workers
from cmburden.core.workers import number_of as workers_of

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """A stage at work: its name and ``version``, where results go, and its settings.

    ``log`` is the job's log as ``Layout.log_name`` names it; ``weights_sha256`` the checksum of the
    stage's model, None without one.
    """

    stage: str
    version: int
    layout: Layout
    settings: dict[str, Any]
    log: str | None = None
    weights_sha256: str | None = None

    def record(self, outcome: Outcome) -> Outcome:
        """Write ``outcome`` as the scan's record of this stage."""
        outcome = dataclasses.replace(outcome, version=self.version, log=self.log)
        outcome.write(self.layout.record(self.stage, outcome.scan_id))
        return outcome

    def skip(self, scan: Scan, status: str, message: str) -> Outcome:
        """Write the record of a scan that an earlier stage ended with ``status``."""
        advice = with_advice("upstream", message)
        return self.record(Outcome(self.stage, scan.scan_id, status, "upstream", advice))

    def succeeded(
        self,
        scan: Scan,
        done: Done,
        seconds: float,
        made_from: dict[str, Any] | None = None,
    ) -> Outcome:
        """Write the record of a scan of which this stage is ``done``."""
        return self.record(
            Outcome(
                self.stage,
                scan.scan_id,
                "ok",
                message=done.warning,
                seconds=seconds,
                measures=done.measures,
                made_from=made_from or {},
            )
        )

    def failed(
        self,
        scan: Scan,
        error: ScanError,
        seconds: float | None = None,
        made_from: dict[str, Any] | None = None,
    ) -> Outcome:
        """Write the record of a scan that this stage failed or excluded because of ``error``."""
        return self.record(
            Outcome(
                self.stage,
                scan.scan_id,
                error.status,
                error.reason,
                str(error),
                seconds,
                measures=error.measures,
                made_from=made_from or {},
            )
        )

    def write_run(self, unit: str, seconds: float, device: str = "cpu") -> None:
        """Write the run file of ``unit``: a scan's id, or ``bucket-`` and the bucket's number."""
        write_run(
            self.layout,
            self.stage,
            self.version,
            unit,
            self.settings,
            weights_sha256=self.weights_sha256,
            device=device,
            seconds=seconds,
        )


@dataclasses.dataclass(frozen=True)
class Done:
    """Result of a stage for one scan: ``measures`` and ``warning`` for the scan's record.

    ``rows`` are the scan's rows of the bucket's shard.
    """

    measures: dict[str, Any] = dataclasses.field(default_factory=dict)
    warning: str | None = None
    rows: pd.DataFrame | None = None


@contextmanager
def measured(measures: dict[str, Any]) -> Iterator[None]:
    """Hand ``measures`` to a ``ScanError`` that passes, so that the scan's record holds them.

    The caller fills ``measures`` within the context: a scan that fails keeps the measures that were
    taken before the failure.
    """
    try:
        yield
    except ScanError as error:
        error.measures = measures
        raise


class RestartJob(CMBurdenError):
    """Several scans crashed one after the other: another process shall try them before they count.

    Raised once: what crashes in the new process as well is recorded.
    """


class CrashesInARow:
    """Watches the scans of the job ``unit``, of which at most ``most`` may crash in a row."""

    def __init__(self, job: Job, unit: str, most: int):
        self._job, self._unit, self._most = job, unit, most
        self._crashed: list[str] = []

    def count(self, outcome: Outcome) -> None:
        """Note a scan's ``outcome``.

        Raises
        ------
        RestartJob
            The first time that so many scans crash one after the other. Their records are gone.
        """
        ill = outcome.reason in ILL
        self._crashed = [*self._crashed, outcome.scan_id] if ill else []
        number, counts = len(self._crashed), self._job.layout.tries(self._job.stage, self._unit)
        if number != self._most or not tries.first_restart(counts):
            return
        for scan_id in self._crashed:
            self._job.layout.record(self._job.stage, scan_id).unlink()
        raise RestartJob(
            f"{self._unit}: {number} scans crashed in a row, last {outcome.scan_id}; they are "
            "tried again in another process; if they crash again, check device and model"
        )

    def end(self) -> None:
        """The job has done all its scans: the next one begins as if it were the first."""
        tries.forget_restart(self._job.layout.tries(self._job.stage, self._unit))


@dataclasses.dataclass(frozen=True)
class Tries:
    """Counts the processes that end at work on a scan of the job ``unit``."""

    job: Job
    unit: str

    @property
    def _path(self) -> Path:
        return self.job.layout.tries(self.job.stage, self.unit)

    def _key(self, one: Scan) -> str:
        job = self.job
        return hash_of(job.version, job.settings, job.weights_sha256, one.content_key)

    def begin(self, one: Scan) -> None:
        """Count a process at work on the scan; ScanError where it is given up."""
        tries.begin(self._path, one.scan_id, self._key(one))

    def end(self, one: Scan) -> None:
        """The process is at work on the scan no more, or it is not to blame."""
        tries.end(self._path, one.scan_id)

    def counted(self, one: Scan) -> AbstractContextManager[None]:
        """``begin`` and ``end`` about a context."""
        return tries.counted(self._path, one.scan_id, self._key(one))

    def suspect(self, one: Scan) -> bool:
        """Whether a process has ended at work on the scan."""
        return tries.ended_at(self._path, one.scan_id, self._key(one)) > 0


def attempt(job: Job, unit: str, one: Scan, work: Callable[[], Done]) -> Done | ScanError:
    """Do ``work`` for a scan of the job ``unit`` and count the process (:func:`guarded`)."""
    try:
        with Tries(job, unit).counted(one):
            return guarded(job.layout, one, work)
    except ScanError as error:
        return error


def guarded(layout: Layout, one: Scan, work: Callable[[], Done]) -> Done | ScanError:
    """Do ``work`` for a scan; whatever goes wrong with it is returned.

    An error that is no ``ScanError`` is ``crashed``, and its traceback is in the job's log. A
    damaged file of an earlier stage is ``damaged``: the next run makes the scan anew.

    Raises
    ------
    CMBurdenError, OSError
        What a person mends (``core.errors.sentence``): it is no fault of the scan.
    """
    try:
        return work()
    except ScanError as error:
        return error
    except DamagedFile as error:
        _LOG.error("%s: %s", one.scan_id, error)
        remake.mark(layout, one.scan_id)
        return ScanError("damaged", f"{error.path.name} cannot be read ({error.fault}).")
    except Exception as error:
        if sentence(error) is not None and not isinstance(error, BrokenContract):
            raise
        _LOG.exception("%s: crashed", one.scan_id)
        return ScanError("crashed", f"{short_text(error)}.")


def made_from(job: Job, one: Scan) -> dict[str, Any]:
    """Keys of what a stage of scans makes its result from, beside the stage's version.

    ``content_key`` of the scan, ``settings`` of the stage, ``before``: the former stage's record.
    """
    place = SCAN_STAGES.index(job.stage) if job.stage in SCAN_STAGES else 0
    before = None
    if place:
        last = Outcome.read(job.layout.record(SCAN_STAGES[place - 1], one.scan_id))
        before = hash_of(last.status, last.version, last.made_from)
    settings = hash_of(settings_of_results(job.settings))
    return {"content_key": one.content_key, "settings": settings, "before": before}


def is_current(job: Job, one: Scan) -> bool:
    """Whether the scan's record of a stage of scans is what the stage would write now.

    A scan that is ok has its files as well.
    """
    record = Outcome.read(job.layout.record(job.stage, one.scan_id))
    if record.version != job.version or record.made_from != made_from(job, one):
        return False
    return not record.ok or all(path.exists() for path in job.layout.results(job.stage, one))


def scan(job: Job, one: Scan, work: Callable[[], Done], unit: str | None = None) -> Outcome:
    """Do ``work`` for the scan ``one`` (:func:`attempt`); write its record and its run file.

    ``unit`` is the job's name, by default that of the scan.
    """
    started = time.perf_counter()
    keys = made_from(job, one)
    # A process that is killed at work must not leave the former record beside new files.
    job.layout.record(job.stage, one.scan_id).unlink(missing_ok=True)
    result = attempt(job, unit or one.scan_id, one, work)
    seconds = time.perf_counter() - started
    job.write_run(one.scan_id, seconds)
    if isinstance(result, ScanError):
        return job.failed(one, result, round(seconds, 2), keys)
    return job.succeeded(one, result, round(seconds, 2), keys)


@dataclasses.dataclass(frozen=True)
class Bucket:
    """The scans of one job, and the stages before that each scan must have passed.

    ``skipped`` is the message in the record of a scan that has not passed. After
    ``max_failures_in_a_row`` scans that crashed one after the other, another process tries again.
    On several ``cores`` as many workers do the scans (``core.workers``).
    """

    number: int
    scans: list[Scan]
    after: tuple[str, ...]
    skipped: str
    max_failures_in_a_row: int = 5
    cores: int = 1

    @property
    def name(self) -> str:
        """Name of the job in run files and counts of tries."""
        return f"bucket-{self.number}"


def bucket(
    job: Job,
    unit: Bucket,
    work: Callable[[Scan], Done],
    network: Late,
    table: Table,
    note: dict[str, str] | None = None,
) -> None:
    """Do ``work`` for each scan of a bucket; write the records, the shard and the run file.

    The shard holds the rows of all scans that succeeded, by the contract ``table``. ``note`` goes
    into the shard's metadata. ``work`` asks ``network`` only for scans that are not cached. Records
    and shard do not depend on the number of workers.

    Raises
    ------
    RestartJob
        The first time that ``unit.max_failures_in_a_row`` scans crash one after the other.
    """
    began = time.monotonic()
    shard: list[pd.DataFrame] = []
    crashes = CrashesInARow(job, unit.name, unit.max_failures_in_a_row)
    failed = {one.scan_id: failed_before(job.layout, one, unit.after) for one in unit.scans}
    asked = [one for one in unit.scans if failed[one.scan_id] is None]
    workers = workers_of(unit.cores, len(asked))
    with closing(_worked(job, unit, asked, work, network, table, workers)) as results:
        for one in unit.scans:
            status = failed[one.scan_id]
            if status is not None:
                job.skip(one, status, unit.skipped)
                continue
            done = next(results)
            crashes.count(_record(job, one, done))
            if isinstance(done.result, Done) and done.result.rows is not None:
                shard.append(done.result.rows)
    rows = pd.concat(shard) if shard else table.frame([])
    table.write(job.layout.bucket(job.stage, unit.number), rows, note=note)
    job.write_run(unit.name, time.monotonic() - began, network.device_name)
    crashes.end()


def _worked(
    job: Job,
    unit: Bucket,
    asked: list[Scan],
    work: Callable[[Scan], Done],
    network: Late,
    table: Table,
    workers: int,
) -> Generator[Worked[Done | ScanError], None, None]:
    """What becomes of the scans ``asked``, in their order."""
    checked = functools.partial(_checked, work, table)
    if workers == 1:
        for one in asked:
            began = time.monotonic()
            done = attempt(job, unit.name, one, functools.partial(checked, one))
            yield Worked(done, time.monotonic() - began)
        return

    def of_worker(one: Scan) -> Done | ScanError:
        return guarded(job.layout, one, functools.partial(checked, one))

    crew = Workers(
        of_worker,
        asked,
        network,
        Tries(job, unit.name),
        number=workers,
        threads=unit.cores // workers,
    )
    with closing(crew):
        for worked in crew.results():
            # A scan's share of the job's time: the shares of all scans add up to it.
            yield Worked(worked.result, worked.seconds / workers)


def _record(job: Job, one: Scan, done: Worked[Done | ScanError]) -> Outcome:
    """Write the record of a scan of a bucket."""
    result = done.result
    if isinstance(result, ScanError):
        _LOG.error("%s: %s", one.scan_id, result)
        return job.failed(one, result)
    return job.succeeded(one, result, round(done.seconds, 3))


def _checked(work: Callable[[Scan], Done], table: Table, one: Scan) -> Done:
    """Result of ``work`` for a scan, whose rows keep the contract ``table``.

    A row that does not would otherwise make the shard of all scans impossible.
    """
    done = work(one)
    if done.rows is not None:
        table.arrow(done.rows)
    return done


def failed_before(layout: Layout, one: Scan, stages: tuple[str, ...]) -> str | None:
    """Status of the first of ``stages`` that did not succeed with a scan; None where all did."""
    for stage in stages:
        before = read_record(layout, stage, one.scan_id)
        if not before.ok:
            return before.status
    return None


def read_record(layout: Layout, stage: str, scan_id: str) -> Outcome:
    """The scan's record of ``stage``. The next run makes a scan anew whose record is torn."""
    path = layout.record(stage, scan_id)
    outcome = Outcome.read(path)
    if not outcome.was_run and path.exists():
        _LOG.warning("%s: %s", scan_id, outcome.message)
        remake.mark(layout, scan_id)
    return outcome
