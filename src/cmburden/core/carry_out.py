"""The skeleton of the stages that work through scans: one scan a job, or a bucket of scans a job.

A stage says in a callback what it does with one scan. The rest is equal for all stages and stands
here: records, shards, run files, skipped scans, and the stop after several failures in a row.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import pandas as pd

from cmburden.core.errors import CMBurdenError, ScanError, with_advice
from cmburden.core.paths import Layout
from cmburden.core.provenance import write_run
from cmburden.core.scan import Outcome, Scan
from cmburden.core.schema import Table

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

    def failed(self, scan: Scan, error: ScanError, seconds: float | None = None) -> Outcome:
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


def scan(job: Job, one: Scan, work: Callable[[], Done]) -> Outcome:
    """Do ``work`` for the scan ``one``; write its record and its run file.

    A ``ScanError`` of ``work`` becomes the outcome's status and reason. Every other error ends the
    job.
    """
    started = time.perf_counter()
    result: Done | ScanError
    try:
        result = work()
    except ScanError as error:
        result = error
    seconds = time.perf_counter() - started
    job.write_run(one.scan_id, seconds)
    if isinstance(result, ScanError):
        return job.failed(one, result, round(seconds, 2))
    return job.record(
        Outcome(
            job.stage,
            one.scan_id,
            "ok",
            message=result.warning,
            seconds=round(seconds, 2),
            measures=result.measures,
        )
    )


class OnDevice(Protocol):
    """A network that knows the name of the device that it runs on."""

    @property
    def device_name(self) -> str: ...


Network = TypeVar("Network", bound=OnDevice)


class Late(Generic[Network]):
    """A network that is loaded at the first call: a bucket whose scans are cached needs none."""

    def __init__(self, load: Callable[[], Network]):
        self._load = load
        self._network: Network | None = None

    def __call__(self) -> Network:
        if self._network is None:
            self._network = self._load()
        return self._network

    @property
    def device_name(self) -> str:
        """The network's device, or ``cached`` where the network was not needed."""
        return "cached" if self._network is None else self._network.device_name


@dataclasses.dataclass(frozen=True)
class Bucket:
    """The scans of one job, and the stages before that each scan must have passed.

    ``skipped`` is the message in the record of a scan that has not passed. After
    ``max_failures_in_a_row`` failed scans the machine is held to be at fault; None: never.
    """

    number: int
    scans: list[Scan]
    after: tuple[str, ...]
    skipped: str
    max_failures_in_a_row: int | None = None


def bucket(
    job: Job,
    unit: Bucket,
    work: Callable[[Scan], Done],
    network: Late[Any],
    table: Table,
    note: dict[str, str] | None = None,
) -> None:
    """Do ``work`` for each scan of a bucket; write the records, the shard and the run file.

    The shard holds the rows of all scans that succeeded, by the contract ``table``. ``note`` goes
    into the shard's metadata. ``work`` calls ``network`` only for scans that are not cached.

    Raises
    ------
    CMBurdenError
        When ``unit.max_failures_in_a_row`` scans fail one after the other.
    """
    began = time.monotonic()
    shard: list[pd.DataFrame] = []
    failures = 0
    for one in unit.scans:
        status = failed_before(job.layout, one, unit.after)
        if status is not None:
            job.skip(one, status, unit.skipped)
            continue
        started = time.monotonic()
        try:
            done = work(one)
        except ScanError as error:
            failures += 1
            _LOG.error("%s: %s", one.scan_id, error)
            job.failed(one, error)
            if failures == unit.max_failures_in_a_row:
                raise CMBurdenError(
                    f"bucket {unit.number}: {failures} scans failed in a row, last {one.scan_id} "
                    f"({error.reason}); check device and model, then run again"
                ) from error
            continue
        failures = 0
        if done.rows is not None:
            shard.append(done.rows)
        job.record(
            Outcome(
                job.stage,
                one.scan_id,
                "ok",
                message=done.warning,
                seconds=round(time.monotonic() - started, 3),
                measures=done.measures,
            )
        )
    rows = pd.concat(shard) if shard else table.frame([])
    table.write(job.layout.bucket(job.stage, unit.number), rows, note=note)
    job.write_run(f"bucket-{unit.number}", time.monotonic() - began, network.device_name)


def failed_before(layout: Layout, one: Scan, stages: tuple[str, ...]) -> str | None:
    """Status of the first of ``stages`` that did not succeed with a scan; None where all did."""
    for stage in stages:
        before = Outcome.read(layout.record(stage, one.scan_id))
        if not before.ok:
            return before.status
    return None
