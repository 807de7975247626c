"""The skeleton of stages: records, shards and run files, and when a bucket stops."""

import contextlib
import dataclasses
import errno
import json
from pathlib import Path

import pandas as pd
import pytest

from cmburden.core import carry_out, remake, tries
from cmburden.core.carry_out import Bucket, Done, Job, RestartJob, measured
from cmburden.core.errors import REASONS, CMBurdenError, DamagedFile, ScanError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.schema import Column, Table
from cmburden.core.workers import Late

TABLE = Table("t", "a row", ("scan_id",), (Column("scan_id", "str", "Scan", nullable=False),))


def a_scan(number: int) -> Scan:
    stem = f"sub-{number}_T2starw"
    return Scan(
        stem, "c", f"sub-{number}", None, "T2starw", "GRE", Path(stem), (("sub", str(number)),)
    )


@pytest.fixture
def job(tmp_path) -> Job:
    return Job("detect", 3, Layout(tmp_path), {"a": 1}, "logs/detect/0.log", "abc")


def of_scan(job: Job, number: int) -> Outcome:
    return Outcome.read(job.layout.record(job.stage, a_scan(number).scan_id))


class Killed(BaseException):
    """Stands for the end of the process: what is on disk stays as it is."""


@pytest.fixture(autouse=True)
def death_leaves_the_count(monkeypatch):
    """A process that is killed runs no ``finally``: the count stays."""
    real, kept = tries.counted, []

    @contextlib.contextmanager
    def counted(path, name, key):
        context = real(path, name, key)
        kept.append(context)  # nor does the collector of garbage run it
        context.__enter__()
        try:
            yield
        except Killed:
            raise
        except BaseException as error:
            context.__exit__(type(error), error, None)
            raise
        else:
            context.__exit__(None, None, None)

    monkeypatch.setattr(tries, "counted", counted)


class Network:
    device_name = "a device"

    def answer(self) -> int:
        return 42


def run_bucket(job: Job, work, scans: int = 3, most: int = 5, note=None) -> None:
    """``work(number)`` for scans 1, 2 ...; 'preprocess' succeeded where no record says else."""
    for number in range(1, scans + 1):
        record = job.layout.record("preprocess", a_scan(number).scan_id)
        if not record.exists():
            Outcome("preprocess", a_scan(number).scan_id, "ok").write(record)
    unit = Bucket(
        7, [a_scan(n) for n in range(1, scans + 1)], ("preprocess",), "Not looked at.", most
    )
    numbers = {a_scan(n).scan_id: n for n in range(1, scans + 1)}
    carry_out.bucket(
        job, unit, lambda scan: work(numbers[scan.scan_id]), Late(Network), TABLE, note
    )


def rows(number: int) -> pd.DataFrame:
    return TABLE.frame([{"scan_id": a_scan(number).scan_id}])


def faulty(number: int) -> Done:
    raise ScanError("unreadable", f"Scan {number}.")


def test_a_scan_that_succeeds_has_its_measures_and_its_warning(job):
    outcome = carry_out.scan(job, a_scan(1), lambda: Done({"snr": 9.0}, "Look at it."))
    assert outcome == of_scan(job, 1)
    assert (outcome.status, outcome.message, outcome.measures) == (
        "ok",
        "Look at it.",
        {"snr": 9.0},
    )
    assert (outcome.version, outcome.log) == (3, "logs/detect/0.log")
    run = json.loads(job.layout.run_record("detect", a_scan(1).scan_id).read_text())
    assert (run["stage_version"], run["device"], run["weights_sha256"]) == (3, "cpu", "abc")


def test_a_scan_that_fails_keeps_what_was_measured_before(job):
    def work() -> Done:
        measures = {"coverage": 0.4}
        with measured(measures):
            measures["snr"] = 2.0
            raise ScanError("coverage", "A part of it.", excluded=True)

    outcome = carry_out.scan(job, a_scan(1), work)
    assert (outcome.status, outcome.reason) == ("excluded", "coverage")
    assert outcome.measures == {"coverage": 0.4, "snr": 2.0}


def raising(error: BaseException):
    def work(*_) -> Done:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "MemoryError."),
        (ValueError("Out of range float values are not JSON compliant: inf"), "not JSON compliant"),
        (RecursionError("maximum recursion depth exceeded"), "RecursionError"),
        (OSError(errno.EIO, "Input/output error", "/data/Jane/x.nii"), "OSError: Input/output"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), "FileNotFoundError: No such file"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), "UnicodeEncodeError"),
        (AssertionError("in /home/jane/sub-1/x.py and 'C:\\\\data\\\\jane'"), "in PATH and"),
        (RuntimeError("x" * 100_000), "RuntimeError: xxx"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_any_error_in_one_scan_is_that_scans_record(job, error, says, caplog):
    outcome = carry_out.scan(job, a_scan(1), raising(error))
    assert outcome == of_scan(job, 1)
    assert (outcome.status, outcome.reason) == ("failed", "crashed")
    assert says in outcome.message and len(outcome.message) < 450
    assert outcome.message.endswith(f"To do: {REASONS['crashed']}.")
    assert "jane" not in outcome.message.lower()
    # The traceback is in the job's log, which the record names.
    assert any(entry.exc_info and entry.exc_info[1] is error for entry in caplog.records)


def test_text_that_is_no_unicode_is_written(job, monkeypatch):
    # pytest-xdist cannot pass on such a log.
    monkeypatch.setattr(carry_out._LOG, "exception", lambda *_: None)
    outcome = carry_out.scan(job, a_scan(1), raising(ValueError("sub\ud800")))
    assert "ValueError: sub?." in outcome.message and outcome == of_scan(job, 1)


@pytest.mark.parametrize(
    "error",
    [
        CMBurdenError("the model is gone"),
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        KeyboardInterrupt(),
        SystemExit(3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_person_mends_ends_the_job_and_blames_no_scan(job, error):
    with pytest.raises(type(error)):
        carry_out.scan(job, a_scan(1), raising(error))
    with pytest.raises(type(error)):
        run_bucket(job, raising(error))
    assert not job.layout.record("detect", a_scan(1).scan_id).exists()
    # Nobody was killed: the next run tries as if it were the first.
    assert not list((job.layout.work / "tries").rglob("*.json"))


def test_a_damaged_file_fails_the_scan_and_the_next_run_makes_it_anew(job):
    path = job.layout.root / "sub-1" / "sub-1_desc-preproc.nii.gz"
    error = DamagedFile(path, "EOFError", "make it again")
    run_bucket(job, lambda n: raising(error)() if n == 1 else Done(rows=rows(n)))
    assert of_scan(job, 1).reason == "damaged"
    assert "sub-1_desc-preproc.nii.gz cannot be read (EOFError)" in of_scan(job, 1).message
    assert str(job.layout.root) not in of_scan(job, 1).message
    assert [of_scan(job, n).status for n in (2, 3)] == ["ok", "ok"]
    assert remake.marked(job.layout) == [a_scan(1).scan_id]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"stage": "preprocess"}', '"x"'])
def test_a_torn_record_of_before_fails_the_scan_only(job, content):
    path = job.layout.record("preprocess", a_scan(2).scan_id)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    run_bucket(job, lambda n: Done(rows=rows(n)))
    assert [of_scan(job, n).status for n in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert of_scan(job, 2).reason == "upstream"
    assert remake.marked(job.layout) == [a_scan(2).scan_id]


def test_rows_that_break_the_contract_are_that_scans_fault(job):
    wrong = pd.DataFrame({"scan_id": [None]})
    run_bucket(job, lambda n: Done(rows=wrong if n == 2 else rows(n)))
    assert [of_scan(job, n).status for n in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert len(TABLE.read(job.layout.bucket("detect", 7))) == 2


def test_a_bucket_has_a_shard_of_the_scans_that_succeeded(job):
    Outcome("preprocess", a_scan(2).scan_id, "excluded", "coverage").write(
        job.layout.record("preprocess", a_scan(2).scan_id)
    )
    run_bucket(job, lambda n: Done({"n": n}, rows=rows(n)) if n == 3 else faulty(n))
    assert TABLE.read(job.layout.bucket("detect", 7))["scan_id"].tolist() == [a_scan(3).scan_id]
    assert [of_scan(job, n).status for n in (1, 2, 3)] == ["failed", "excluded", "ok"]
    assert of_scan(job, 2).reason == "upstream"
    assert of_scan(job, 2).message == f"Not looked at. To do: {REASONS['upstream']}."
    assert of_scan(job, 3).measures == {"n": 3}


@pytest.mark.parametrize(("loads", "device"), [(False, "cached"), (True, "a device")])
def test_the_network_is_loaded_once_and_only_when_it_is_asked(job, loads, device):
    loaded = []

    def load() -> Network:
        loaded.append(1)
        return Network()

    network = Late(load)

    def work(scan: Scan) -> Done:
        if loads:
            assert network.ask() == 42
        return Done(rows=TABLE.frame([{"scan_id": scan.scan_id}]))

    unit = Bucket(7, [a_scan(1), a_scan(2)], (), "")
    carry_out.bucket(job, unit, work, network, TABLE)
    assert len(loaded) == loads
    assert json.loads(job.layout.run_record("detect", "bucket-7").read_text())["device"] == device


def test_scans_that_crash_in_a_row_are_tried_once_more_in_another_process(job):
    work = raising(ValueError("no device"))
    with pytest.raises(RestartJob, match=r"bucket-7: 2 scans crashed in a row, last sub-2_"):
        run_bucket(job, work, most=2)
    assert not job.layout.bucket("detect", 7).exists()
    assert not job.layout.record("detect", a_scan(3).scan_id).exists()
    # In the other process it is recorded, and the cohort goes on.
    run_bucket(job, work, most=2)
    assert [of_scan(job, n).reason for n in (1, 2, 3)] == ["crashed"] * 3
    assert len(TABLE.read(job.layout.bucket("detect", 7))) == 0
    # The next time begins as if it were the first.
    with pytest.raises(RestartJob):
        run_bucket(job, work, most=2)


@pytest.mark.parametrize("error", [ScanError("unreadable", "It is."), ValueError("odd ones only")])
def test_faults_of_scans_start_no_other_process(job, error):
    known = isinstance(error, ScanError)
    run_bucket(
        job, lambda n: raising(error)() if known or n % 2 else Done(rows=rows(n)), scans=5, most=2
    )
    wanted = ["failed"] * 5 if known else ["failed", "ok"] * 2 + ["failed"]
    assert [of_scan(job, n).status for n in range(1, 6)] == wanted


def test_a_scan_of_which_processes_died_is_given_up_and_the_others_are_not(job):
    died: list[int] = []

    def work(number: int) -> Done:
        if number == 2:
            died.append(1)
            raise Killed
        return Done(rows=rows(number))

    for _ in range(tries.MOST):
        with pytest.raises(Killed):
            run_bucket(job, work)
        tries.settle(job.layout.tries("detect", "bucket-7"), 9)
    run_bucket(job, work)
    assert len(died) == tries.MOST
    assert [of_scan(job, n).status for n in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert of_scan(job, 2).reason == "crashed"
    assert "2 processes ended at it" in of_scan(job, 2).message
    assert "signal 9: often for want of memory" in of_scan(job, 2).message
    # The bucket runs again for another scan's sake: nobody dies a third time.
    run_bucket(job, work)
    assert len(died) == tries.MOST
    # Other settings are other work.
    other = dataclasses.replace(job, settings={"a": 2})
    with pytest.raises(Killed):
        run_bucket(other, work)


def test_a_note_makes_another_shard_of_equal_rows(job):
    shards = set()
    for note in (None, {"records": "1"}, {"records": "2"}, {"records": "2"}):
        run_bucket(job, lambda n: Done(rows=rows(n)), note=note)
        shards.add(job.layout.bucket("detect", 7).read_bytes())
    assert len(shards) == 3
