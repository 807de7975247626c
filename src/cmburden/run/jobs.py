"""Jobs of the workflow: a script calls one function, whose output goes to the job's log.

The jobs that work through scans run under a supervisor (``run.supervisor``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cmburden.core import stages
from cmburden.core.carry_out import Job
from cmburden.core.config import of_stage
from cmburden.core.errors import CMBurdenError, DamagedFile
from cmburden.core.files import locked, write_json
from cmburden.core.paths import Layout
from cmburden.run import batches, supervisor
from cmburden.run.begin import plan_for_snakemake
from cmburden.run.logs import logged, note_stage
from cmburden.run.plan import Plan

#: Longest wait for another job of the same batch or bucket: this share of the job's time limit.
_SHARE_TO_WAIT = 0.25
#: Time limit of a bucket's job (workflow/rules/detect.smk).
_BUCKET_MINUTES = 120
_MINUTE_S = 60


def _plan(snakemake: Any) -> Plan:
    return plan_for_snakemake(snakemake.config, main=False)


def supervised(job: Callable[..., None], stage: str, snakemake: Any) -> None:
    """Run ``job`` (:func:`batch_job`, :func:`bucket_job`, :func:`longitudinal_job`) of a stage.

    If its process is killed at work on a scan, another one goes on: the cohort does not wait for
    the scan. On a cluster the whole job is first tried again with more memory (rules of
    workflow/rules: the resource ``restart``).
    """
    layout = Layout(snakemake.config.get("output_dir") or "derivatives")
    wildcards = dict(snakemake.wildcards.items())
    ((kind, name),) = wildcards.items()
    unit = f"{kind}-{name}"
    supervisor.watch(
        lambda again: job(stage, snakemake, again=again),
        layout.tries(stage, unit),
        Path(snakemake.log[0]),
        restart=bool(snakemake.resources.get("restart", 1)),
    )


def batch_job(stage: str, snakemake: Any, *, again: bool = False) -> None:
    """Run preprocess or register of the scans of one batch."""
    plan, name = _plan(snakemake), snakemake.wildcards.batch
    clock = batches.Clock.of_job(again=again)
    lock = plan.layout.batch_lock(stage, name)
    log, minutes = snakemake.log[0], plan.minutes(name)
    with logged(log, snakemake.threads, again=again), _alone(lock, minutes):
        of_scan = scan_stage(stage)
        batch = batches.Batch(name, [plan.scans[scan_id] for scan_id in plan.batches[name]])
        job = Job(stage, stages.version_of(stage), plan.layout, plan.config[stage])
        batches.work(job, batch, of_scan, clock)


def scan_stage(stage: str) -> batches.OfScan:
    """What a stage does with a scan. Only the stage that runs is imported."""
    if stage == stages.PREPROCESS.name:
        from cmburden.preprocess.stage import of_scan
    elif stage == stages.REGISTER.name:
        from cmburden.register.stage import of_scan
    else:
        raise ValueError(f"{stage} is no stage of scans")
    return of_scan


def bucket_job(stage: str, snakemake: Any, *, again: bool = False) -> None:
    """Run detect or verify of one bucket."""
    plan = _plan(snakemake)
    bucket = snakemake.wildcards.bucket
    lock = plan.layout.bucket_lock(stage, bucket)
    log = snakemake.log[0]
    with (
        logged(log, snakemake.threads, again=again),
        _alone(lock, _BUCKET_MINUTES),
        _sound_shards(plan.layout),
    ):
        note_stage(stage, of_stage(plan.config, stage))
        run = bucket_stage(stage)
        scans = [plan.scans[scan_id] for scan_id in plan.buckets[bucket]]
        log = plan.layout.log_name(stage, bucket)
        # Where a process was killed, often for want of memory, the next one works alone.
        cores = 1 if again else snakemake.threads
        settings = of_stage(plan.config, stage)
        run(scans, plan.layout, settings, int(bucket), log, cores)


def bucket_stage(stage: str) -> Callable[..., None]:
    """``run`` of a stage that works on a bucket. Only the stage that runs is imported."""
    if stage == stages.DETECT.name:
        from cmburden.detect.stage import run
    elif stage == stages.VERIFY.name:
        from cmburden.verify.stage import run
    else:
        raise ValueError(f"{stage} is no stage of buckets")
    return run


def longitudinal_job(stage: str, snakemake: Any, *, again: bool = False) -> None:
    """Follow the participants with several sessions of one bucket."""
    plan = _plan(snakemake)
    log = snakemake.log[0]
    with logged(log, snakemake.threads, again=again), _sound_shards(plan.layout):
        from cmburden.follow import stage as follow

        note_stage(stage, plan.config[stage])
        bucket = snakemake.wildcards.bucket
        follow.run(
            plan.people[bucket],
            plan.layout,
            plan.config[stage],
            plan.config["verify"],
            plan.config["buckets"],
            int(bucket),
        )


@contextmanager
def _alone(lock: Path, minutes: float) -> Iterator[None]:
    """Wait for the end of another job of the same batch or bucket. Its results are then there.

    ``minutes`` is the time limit of the job.

    If Snakemake is killed, its jobs go on, on a cluster or on this machine. The next run would
    start a second job of the same scans beside them.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock))
        except BlockingIOError:
            logging.info("a job of an earlier run is at work on these scans: waiting for its end")
            try:
                stack.enter_context(locked(lock, wait=_SHARE_TO_WAIT * minutes * _MINUTE_S))
            except BlockingIOError:
                # A lost node may hold the lock for ever. Both jobs would write the same bytes.
                logging.warning("it has not ended: going on beside it")
        yield


@contextmanager
def _sound_shards(layout: Layout) -> Iterator[None]:
    """Remove a shard that cannot be read: the next run makes it anew, from the cache."""
    try:
        yield
    except DamagedFile as error:
        if error.path.suffix != ".parquet" or error.path.parent.parent != layout.work:
            raise
        error.path.unlink(missing_ok=True)
        raise CMBurdenError(
            f"{error.path}: was damaged ({error.fault}) and is removed; run again: it is made anew"
        ) from error


def aggregate_job(snakemake: Any) -> None:
    """Write the cohort's tables."""
    plan = _plan(snakemake)
    with logged(snakemake.log[0]), _sound_shards(plan.layout):
        from cmburden.cohort import stage as aggregate

        note_stage("aggregate", plan.config["aggregate"])
        if plan.bids is None:
            raise CMBurdenError("config bids_dir: names no folder; name the BIDS folder")
        aggregate.run(plan.layout, plan.bids, plan.config)
        write_json(plan.layout.aggregated, {"aggregated": True})


def report_job(snakemake: Any) -> None:
    """Write the report's pages."""
    plan = _plan(snakemake)
    with logged(snakemake.log[0]):
        from cmburden.report import stage as report

        note_stage("report", plan.config["report"])
        report.run(plan.layout, plan.config)


def check_job(snakemake: Any) -> None:
    """Fail if too many scans failed. Tables and report exist by then."""
    plan = _plan(snakemake)
    with logged(snakemake.log[0]):
        from cmburden.cohort import stage as aggregate

        aggregate.check_failed_fraction(plan.layout, plan.config)
        write_json(Path(snakemake.output[0]), {"checked": True})


def evaluate_job(snakemake: Any) -> None:
    """Compare the run with simulated truth."""
    plan = _plan(snakemake)
    with logged(snakemake.log[0]):
        from cmburden.evaluate import command as evaluate

        truth, out = Path(snakemake.input.truth), Path(snakemake.output[0]).parent
        evaluate.run(plan.layout.root, truth, out)
