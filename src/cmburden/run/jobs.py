"""Jobs of the workflow: a script calls one function, whose output goes to the job's log.

The jobs that work through scans run under a supervisor (``run.supervisor``).
"""

from __future__ import annotations

import faulthandler
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from cmburden.core import stages
from cmburden.core.carry_out import RestartJob
from cmburden.core.config import of_stage
from cmburden.core.errors import CMBurdenError, DamagedFile, sentence
from cmburden.core.files import locked, write_json
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.threads import bound_threads
from cmburden.run import supervisor
from cmburden.run.begin import plan_for_snakemake
from cmburden.run.plan import Plan

#: Longest wait for another job of the bucket, s: a quarter of the time limit of a bucket's job
#: (workflow/rules/detect.smk).
_LONGEST_WAIT_S = 1800


@contextmanager
def logged(log: str, threads: int = 1, *, again: bool = False) -> Iterator[None]:
    """Send stdout, stderr and logging of this process to ``log``; limit the libraries' threads.

    An error that the user can mend ends the job with a sentence among Snakemake's messages.
    ``again``: the log of the job's first process goes on.
    """
    bound_threads(threads)
    # If the log cannot be written (full disk), the cause of the job's failure must still be seen.
    logging.raiseExceptions = False
    try:
        with _into(Path(log), "a" if again else "w"):
            yield
    except RestartJob:
        sys.exit(supervisor.RESTART)
    except (CMBurdenError, OSError) as error:
        advice = sentence(error)
        if advice is None:
            raise
        sys.exit(f"cmburden: {advice}; log: {Path(log).resolve()}")


@contextmanager
def _into(log: Path, mode: str) -> Iterator[None]:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        opened = log.open(mode, buffering=1, encoding="utf-8")
    except OSError as error:
        raise CMBurdenError(
            f"{log}: the log cannot be written ({error.strerror}); make room for it and run again"
        ) from error
    with opened as stream, redirect_stdout(stream), redirect_stderr(stream):
        logging.basicConfig(
            stream=stream, level=logging.INFO, format="%(levelname)s %(message)s", force=True
        )
        # A fault within a library ends the process: its place in our code stands in the log.
        here = not faulthandler.is_enabled()
        if here:
            faulthandler.enable(stream)
        try:
            yield
        except BaseException:
            logging.exception("the job failed")
            raise
        finally:
            logging.getLogger().handlers.clear()
            if here:
                faulthandler.disable()


def _plan(snakemake: Any) -> Plan:
    return plan_for_snakemake(snakemake.config, main=False)


def supervised(job: Callable[..., None], stage: str, snakemake: Any) -> None:
    """Run ``job`` (:func:`scan_job`, :func:`bucket_job`, :func:`longitudinal_job`) of a stage.

    If its process is killed at work on a scan, another one goes on: the cohort does not wait for
    the scan. On a cluster the whole job is first tried again with more memory (rules of
    workflow/rules: the resource ``restart``).
    """
    layout = Layout(snakemake.config.get("output_dir") or "derivatives")
    wildcards = dict(snakemake.wildcards.items())
    unit = wildcards["scan"] if "scan" in wildcards else f"bucket-{wildcards['bucket']}"
    supervisor.watch(
        lambda again: job(stage, snakemake, again=again),
        layout.tries(stage, unit),
        Path(snakemake.log[0]),
        restart=bool(snakemake.resources.get("restart", 1)),
    )


def scan_job(stage: str, snakemake: Any, *, again: bool = False) -> None:
    """Run preprocess or register of one scan."""
    plan = _plan(snakemake)
    with logged(snakemake.log[0], snakemake.threads, again=again):
        run = _scan_stage(stage)
        scan = plan.scans[snakemake.wildcards.scan]
        log = plan.layout.log_name(stage, scan.scan_id)
        outcome = run(scan, plan.layout, plan.config[stage], log)
        logging.info("%s: %s %s", scan.scan_id, outcome.status, outcome.message or "")


def _scan_stage(stage: str) -> Callable[..., Outcome]:
    """``run`` of a stage that works on a scan. Only the stage that runs is imported."""
    if stage == stages.PREPROCESS.name:
        from cmburden.preprocess.stage import run
    elif stage == stages.REGISTER.name:
        from cmburden.register.stage import run
    else:
        raise ValueError(f"{stage} is no stage of scans")
    return run


def bucket_job(stage: str, snakemake: Any, *, again: bool = False) -> None:
    """Run detect or verify of one bucket."""
    plan = _plan(snakemake)
    bucket = snakemake.wildcards.bucket
    lock = plan.layout.bucket_lock(stage, bucket)
    log = snakemake.log[0]
    with logged(log, snakemake.threads, again=again), _alone(lock), _sound_shards(plan.layout):
        run = _bucket_stage(stage)
        scans = [plan.scans[scan_id] for scan_id in plan.buckets[bucket]]
        log = plan.layout.log_name(stage, bucket)
        run(scans, plan.layout, of_stage(plan.config, stage), int(bucket), log)


def _bucket_stage(stage: str) -> Callable[..., None]:
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
def _alone(lock: Path) -> Iterator[None]:
    """Wait for the end of another job of the same bucket. The cache then holds its results.

    If Snakemake is killed, its jobs go on, on a cluster or on this machine. The next run would
    start a second job of the bucket beside them.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock))
        except BlockingIOError:
            logging.info("a job of an earlier run is at work on this bucket: waiting for its end")
            try:
                stack.enter_context(locked(lock, wait=_LONGEST_WAIT_S))
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

        if plan.bids is None:
            raise CMBurdenError("config bids_dir: names no folder; name the BIDS folder")
        aggregate.run(plan.layout, plan.bids, plan.config)
        write_json(plan.layout.aggregated, {"aggregated": True})


def report_job(snakemake: Any) -> None:
    """Write the report's pages."""
    plan = _plan(snakemake)
    with logged(snakemake.log[0]):
        from cmburden.report import stage as report

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
