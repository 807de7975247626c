"""Jobs: what goes into the log, what Snakemake shows, and how many threads the libraries take."""

import errno
import json
import logging
import os
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from cmburden import __version__
from cmburden.core import config
from cmburden.core.errors import CMBurdenError
from cmburden.core.keys import batch_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.stages import PREPROCESS
from cmburden.index import stage as index
from cmburden.run import jobs, logs
from cmburden.run.logs import logged


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    """What ``logged`` changes in this process is put back."""
    for name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def untimed(log):
    """Text of a log without the times of its lines."""
    return re.sub(r"^[\d-]{10} [\d:]{8} ", "", log.read_text(), flags=re.MULTILINE)


def test_all_output_goes_into_the_log(tmp_path, capsys):
    log, before = tmp_path / "logs" / "preprocess" / "sub-01.log", logging.getLogger().handlers[:]
    with logged(str(log)):
        print("from stdout")
        print("from stderr", file=sys.stderr)
        logging.getLogger("cmburden.some").info("from a logger")
        # Line by line: a job that is killed leaves what it had to say.
        assert "from stdout" in log.read_text()
    assert untimed(log) == "from stdout\nfrom stderr\nINFO from a logger\n"
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO from a logger$", log.read_text(), re.M)
    print("afterwards")
    assert capsys.readouterr() == ("afterwards\n", "")
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (CMBurdenError("sub-99: not in the tree"), "sub-99: not in the tree"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/out/x.nii.gz"),
            "/out/x.nii.gz: No space left on device; free space there and run again: "
            "what is done is kept",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/out/x.nii.gz"),
            "/out/x.nii.gz: Read-only file system",
        ),
    ],
    ids=["a user's mistake", "a full disk", "a closed disk"],
)
def test_a_mistake_is_a_sentence_and_its_traceback_is_in_the_log(error, sentence, tmp_path):
    log = tmp_path / "job.log"
    with pytest.raises(SystemExit) as end, logged(str(log)):
        print("so far")
        raise error
    # ``sys.exit`` with a text prints it on stderr and exits with 1: Snakemake sees a failed job.
    assert isinstance(end.value.code, str)
    assert end.value.code.startswith(f"cmburden: {sentence}")
    assert end.value.code.endswith(f"; log: {log.resolve()}")
    assert "\n" not in end.value.code
    written = untimed(log)
    assert written.startswith("so far\nERROR the job failed\nTraceback (most recent call last)")
    assert type(error).__name__ in written


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        KeyboardInterrupt(),
        MemoryError(),
        FileNotFoundError(errno.ENOENT, "No such file", "work/x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_mistake_stays_an_error(error, tmp_path):
    log, before = tmp_path / "job.log", logging.getLogger().handlers[:]
    with pytest.raises(type(error)) as raised, logged(str(log)):
        raise error
    assert raised.value is error
    assert "Traceback (most recent call last)" in log.read_text()
    assert logging.getLogger().handlers == before


def test_the_log_of_a_scan_ends_within_the_log_of_its_job(tmp_path):
    with logged(str(tmp_path / "job.log")):
        logging.info("begins")
        with logs.into(tmp_path / "scan.log"):
            print("of the scan")
            logging.info("too")
        logging.info("goes on")
        print("prints")
        with logs.into(tmp_path / "scan.log", again=True):
            logging.info("another process")
    assert untimed(tmp_path / "job.log") == "INFO begins\nINFO goes on\nprints\n"
    assert untimed(tmp_path / "scan.log") == ("of the scan\nINFO too\nINFO another process\n")


def test_a_log_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "logs").write_text("a file where the folder should be")
    with pytest.raises(SystemExit) as end, logged(str(tmp_path / "logs" / "job.log")):
        raise AssertionError("the job must not begin")
    assert end.value.code.startswith("cmburden: ")


def test_libraries_that_are_loaded_later_are_told_their_threads(tmp_path):
    with logged(str(tmp_path / "job.log"), threads=3):
        assert os.environ["OMP_NUM_THREADS"] == "3"
        assert os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] == "3"


def test_libraries_that_are_there_are_bound_too(tmp_path):
    np.ones((8, 8)) @ np.ones((8, 8))
    log = str(tmp_path / "job.log")
    with threadpool_limits(limits=2, user_api="blas"), logged(log, threads=1):
        bound = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    assert bound == {1}


# --- a job as Snakemake calls it ---

BATCH = batch_of("sub-01_T2starw", 16, 5)


@pytest.fixture
def cohort(tmp_path):
    """A scan that cannot be read, indexed; and what Snakemake hands to a script."""
    path = tmp_path / "bids/sub-01/anat/sub-01_T2starw.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no image")
    (tmp_path / "bids/dataset_description.json").write_text('{"Name": "jobs"}')
    settings = {"bids_dir": str(tmp_path / "bids"), "output_dir": str(tmp_path / "out")}
    layout = Layout(tmp_path / "out")
    index.run(tmp_path / "bids", layout, config.load(settings))

    def snakemake(unit: str, stage: str, **wildcards):
        return SimpleNamespace(
            config=settings,
            log=[str(layout.log(stage, unit))],
            threads=1,
            wildcards=SimpleNamespace(**wildcards),
            output=[str(layout.checked)],
        )

    return layout, snakemake


def test_a_scan_that_is_bad_does_not_fail_its_job(cohort):
    layout, snakemake = cohort
    jobs.batch_job("preprocess", snakemake("b", "preprocess", batch=BATCH))
    outcome = Outcome.read(layout.record("preprocess", "sub-01_T2starw"))
    assert (outcome.status, outcome.reason) == ("failed", "unreadable")
    assert untimed(layout.log("preprocess", "b")) == (
        "INFO sub-01_T2starw\nINFO sub-01_T2starw: failed unreadable\n"
    )
    version, settings, *log = untimed(layout.log("preprocess", "sub-01_T2starw")).splitlines()
    assert version == f"INFO CMBurden {__version__}, preprocess version {PREPROCESS.version}"
    assert '"min_brain_ml": ' in settings
    assert log[0].startswith("INFO sub-01_T2starw: failed It does not begin with a NIfTI header.")


def test_a_job_is_given_its_stage_s_settings(cohort):
    layout, snakemake = cohort
    jobs.batch_job("preprocess", snakemake("b", "preprocess", batch=BATCH))
    run = json.loads(layout.run_record("preprocess", "sub-01_T2starw").read_text())
    assert (run["stage"], run["unit"]) == ("preprocess", "sub-01_T2starw")


def test_too_many_failed_scans_fail_the_last_job_with_a_sentence(cohort):
    layout, snakemake = cohort
    jobs.batch_job("preprocess", snakemake("b", "preprocess", batch=BATCH))
    jobs.aggregate_job(snakemake("all", "aggregate"))
    jobs.check_job(snakemake("all", "check"))
    assert json.loads(layout.checked.read_text()) == {"checked": True}
    layout.checked.unlink()
    strict = snakemake("all", "check")
    strict.config = config.merge(strict.config, {"aggregate": {"max_failed_fraction": 0.5}})
    with pytest.raises(SystemExit) as end:
        jobs.check_job(strict)
    assert "max_failed_fraction" in end.value.code
    assert not layout.checked.exists()
