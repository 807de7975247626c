"""What the workflow's scripts call: one job each, its output in its log."""

from __future__ import annotations

import importlib
import logging
import sys
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from cmburden.core.errors import CMBurdenError, sentence
from cmburden.core.files import locked
from cmburden.core.threads import bound_threads
from cmburden.run.plan import Flow

#: A quarter of the time that a bucket's job is given (workflow/rules/detect.smk).
_LONGEST_WAIT_S = 1800


@contextmanager
def logged(log: str, threads: int = 1):
    """Send stdout, stderr and logging of this process to ``log``; bound the numeric libraries.

    What a user can mend ends the job with a sentence among Snakemake's messages.
    """
    bound_threads(threads)
    # A log that cannot be written (full disk) is not to hide why the job fails.
    logging.raiseExceptions = False
    try:
        with _into(Path(log)):
            yield
    except (CMBurdenError, OSError) as error:
        said = sentence(error)
        if said is None:
            raise
        sys.exit(f"cmburden: {said}; log: {Path(log).resolve()}")


@contextmanager
def _into(log: Path):
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", buffering=1) as stream, redirect_stdout(stream), redirect_stderr(stream):
        logging.basicConfig(
            stream=stream, level=logging.INFO, format="%(levelname)s %(message)s", force=True
        )
        try:
            yield
        except BaseException:
            logging.exception("the job failed")
            raise
        finally:
            logging.getLogger().handlers.clear()


def _flow(snakemake) -> Flow:
    return Flow(snakemake.config, main=False)


def scan_job(stage: str, snakemake) -> None:
    """preprocess or register of one scan."""
    flow = _flow(snakemake)
    with logged(snakemake.log[0], snakemake.threads):
        module = importlib.import_module(f"cmburden.{stage}.stage")
        scan = flow.scans[snakemake.wildcards.scan]
        log = flow.layout.log_name(stage, scan.scan_id)
        outcome = module.run(scan, flow.layout, flow.config[stage], log)
        logging.info("%s: %s %s", scan.scan_id, outcome.status, outcome.message or "")


def bucket_job(stage: str, snakemake) -> None:
    """detect or verify of one bucket."""
    flow = _flow(snakemake)
    bucket = snakemake.wildcards.bucket
    lock = flow.layout.bucket_lock(stage, bucket)
    with logged(snakemake.log[0], snakemake.threads), _alone(lock):
        module = importlib.import_module(f"cmburden.{stage}.stage")
        scans = [flow.scans[scan_id] for scan_id in flow.buckets[bucket]]
        log = flow.layout.log_name(stage, bucket)
        module.run(scans, flow.layout, flow.config[stage], int(bucket), log)


def longitudinal_job(snakemake) -> None:
    """The participants with several sessions of one bucket."""
    flow = _flow(snakemake)
    with logged(snakemake.log[0], snakemake.threads):
        from cmburden.follow import stage as longitudinal

        bucket = snakemake.wildcards.bucket
        longitudinal.run(
            flow.people[bucket], flow.layout, flow.config["longitudinal"], flow.config["verify"],
            flow.config["buckets"], int(bucket),
        )  # fmt: skip


@contextmanager
def _alone(lock: Path):
    """Wait for another job of the same bucket to end; what it inferred is then in the cache.

    Where Snakemake is killed its jobs go on, on a cluster or here; the next run would start the
    same bucket beside them.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock))
        except BlockingIOError:
            logging.info("a job of an earlier run is at work on this bucket: waiting for its end")
            try:
                stack.enter_context(locked(lock, wait=_LONGEST_WAIT_S))
            except BlockingIOError:
                # A node that is gone may hold it for ever. Both would write the same bytes.
                logging.warning("it has not ended: going on beside it")
        yield


def aggregate_job(snakemake) -> None:
    flow = _flow(snakemake)
    with logged(snakemake.log[0]):
        from cmburden.cohort import stage as aggregate

        if flow.bids is None:
            raise CMBurdenError("config bids_dir: names no folder; name the BIDS folder")
        aggregate.run(flow.layout, flow.bids, flow.config)


def report_job(snakemake) -> None:
    flow = _flow(snakemake)
    with logged(snakemake.log[0]):
        from cmburden.report import stage as report

        report.run(flow.layout, flow.config)


def check_job(snakemake) -> None:
    """Fail loudly, after tables and report exist, when too many scans failed."""
    flow = _flow(snakemake)
    with logged(snakemake.log[0]):
        from cmburden.cohort import stage as aggregate
        from cmburden.core.files import write_json

        aggregate.check_failed_fraction(flow.layout, flow.config)
        write_json(Path(snakemake.output[0]), {"checked": True})


def evaluate_job(snakemake) -> None:
    flow = _flow(snakemake)
    with logged(snakemake.log[0]):
        from cmburden.evaluate import command as evaluate

        evaluate.run(
            flow.layout.root, Path(snakemake.input.truth), Path(snakemake.output[0]).parent
        )
