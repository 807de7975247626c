"""A job outlives its process: killed, out of memory, or ended by a library."""

import os
import resource
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from cmburden.core import carry_out, tries
from cmburden.core.carry_out import Bucket, Done, Job
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.schema import Column, Table
from cmburden.core.workers import Late
from cmburden.run import supervisor

pytestmark = pytest.mark.slow

TABLE = Table("t", "a row", ("scan_id",), (Column("scan_id", "str", "Scan"),))
NUMBERS = (1, 2, 3)


def a_scan(number: int) -> Scan:
    stem = f"sub-{number}_T2starw"
    return Scan(
        stem, "c", f"sub-{number}", None, "T2starw", "GRE", Path(stem), (("sub", str(number)),)
    )


class Cohort:
    """A bucket of three scans, whose second does ``what`` to the process that works on it."""

    def __init__(self, folder: Path, what):
        self.layout = Layout(folder)
        self.what = what
        self.log = folder / "logs" / "detect" / "0.log"
        self.tried = folder / "tried.txt"

    def work(self, again: bool) -> None:
        def of_scan(scan: Scan) -> Done:
            with self.tried.open("a") as stream:
                stream.write(f"{scan.scan_id} {again}\n")
            if scan.scan_id == a_scan(2).scan_id:
                self.what()
            return Done(rows=pd.DataFrame({"scan_id": [scan.scan_id]}))

        job = Job("detect", 1, self.layout, {})
        unit = Bucket(0, [a_scan(n) for n in NUMBERS], (), "", 2)
        carry_out.bucket(job, unit, of_scan, Late(lambda: None), TABLE)

    def scan_work(self, again: bool) -> None:
        def work() -> Done:
            with self.tried.open("a") as stream:
                stream.write(f"{again}\n")
            self.what()
            return Done()

        carry_out.scan(Job("preprocess", 1, self.layout, {}), a_scan(2), work)

    def watch(self, restart: bool = True) -> None:
        counts = self.layout.tries("detect", "bucket-0")
        supervisor.watch(self.work, counts, self.log, restart=restart)

    def watch_scan(self, restart: bool = True) -> Outcome:
        counts = self.layout.tries("preprocess", a_scan(2).scan_id)
        supervisor.watch(self.scan_work, counts, self.log, restart=restart)
        return Outcome.read(self.layout.record("preprocess", a_scan(2).scan_id))

    def reasons(self) -> list[str | None]:
        records = [self.layout.record("detect", a_scan(n).scan_id) for n in NUMBERS]
        return [Outcome.read(record).reason for record in records]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def exhaust() -> None:
    """More memory than the process may have: Python says so, as it does under a cluster's limit."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**26, before[1]))
    try:
        bytearray(2**30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    ("what", "processes", "says"),
    [
        (kill, 3, "2 processes ended at it without a result (signal 9: often for want of memory)"),
        (os.abort, 3, "(signal 6: a library gave up, often for want of memory)"),
        (exhaust, 1, "MemoryError"),
    ],
)
def test_a_scan_that_ends_its_process_is_a_record_and_the_others_are_done(
    tmp_path, what, processes, says
):
    cohort = Cohort(tmp_path, what)
    cohort.watch()
    assert cohort.reasons() == [None, "crashed", None]
    assert len(TABLE.read(cohort.layout.bucket("detect", 0))) == 2
    message = Outcome.read(cohort.layout.record("detect", a_scan(2).scan_id)).message
    assert says in message and "To do: read the job's log" in message
    tried = cohort.tried.read_text().split("\n")
    assert tried.count(f"{a_scan(1).scan_id} False") == 1
    assert sum(line.startswith(a_scan(3).scan_id) for line in tried) == 1
    assert sum(line.startswith(a_scan(1).scan_id) for line in tried) == processes
    if processes > 1:
        assert "ERROR the process was killed (signal" in cohort.log.read_text()


def test_a_scan_job_ends_well_though_its_process_was_killed(tmp_path):
    cohort = Cohort(tmp_path, kill)
    outcome = cohort.watch_scan()
    assert (outcome.status, outcome.reason) == ("failed", "crashed")
    assert cohort.tried.read_text() == "False\nTrue\n"


def test_one_death_may_be_of_another_cause(tmp_path):
    def once() -> None:
        if not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            kill()

    cohort = Cohort(tmp_path, once)
    assert cohort.watch_scan().ok
    assert not list((tmp_path / "work" / "tries").rglob("*.json"))


def test_on_a_cluster_the_job_fails_first_and_comes_again_with_more_memory(tmp_path):
    cohort = Cohort(tmp_path, kill)
    with pytest.raises(SystemExit, match=r"signal 9: often for want of memory.*tried again"):
        cohort.watch_scan(restart=False)
    assert not cohort.layout.record("preprocess", a_scan(2).scan_id).exists()
    # The second job has more memory, and is killed too.
    assert cohort.watch_scan().reason == "crashed"
    # SLURM may hold the second job to have failed, for want of memory: Snakemake removes its
    # record. A third one writes it again, and nobody is killed.
    cohort.layout.record("preprocess", a_scan(2).scan_id).unlink()
    assert cohort.watch_scan().reason == "crashed"
    assert cohort.tried.read_text() == "False\nFalse\n"


def test_a_job_that_was_killed_whole_leaves_its_count(tmp_path):
    """Of the supervisor too: a cluster's limit may end all processes of a job."""
    cohort = Cohort(tmp_path, kill)
    for _ in range(2):
        pid = os.fork()
        if not pid:
            cohort.scan_work(False)
        os.waitpid(pid, 0)
    assert cohort.watch_scan().reason == "crashed"
    assert cohort.tried.read_text() == "False\n" * 2


def test_retry_tries_a_scan_again_of_which_processes_died(tmp_path):
    cohort = Cohort(tmp_path, kill)
    assert cohort.watch_scan().reason == "crashed"
    tries.forget_all(cohort.layout)  # as `cmburden retry` does
    cohort.what = lambda: None
    assert cohort.watch_scan().ok


def test_a_process_that_is_killed_at_no_scan_ends_the_job(tmp_path):
    began = tmp_path / "began"

    def work(again: bool) -> None:
        with began.open("a") as stream:
            stream.write("x")
        kill()

    with pytest.raises(SystemExit, match="not at work on a scan"):
        supervisor.watch(work, tmp_path / "tries.json", tmp_path / "log", restart=True)
    assert began.read_text() == "x"


@pytest.mark.parametrize(("code", "ends"), [(0, None), (1, 1), (4, 4)])
def test_an_orderly_end_is_the_jobs(tmp_path, code, ends):
    def work(again: bool) -> None:
        raise SystemExit(code)

    if ends is None:
        supervisor.watch(work, tmp_path / "t", tmp_path / "log", restart=True)
    else:
        with pytest.raises(SystemExit) as end:
            supervisor.watch(work, tmp_path / "t", tmp_path / "log", restart=True)
        assert end.value.code == ends


def test_scans_that_crash_in_a_row_have_a_second_process(tmp_path):
    def work(again: bool) -> None:
        raise SystemExit(0 if again else supervisor.RESTART)

    supervisor.watch(work, tmp_path / "t", tmp_path / "log", restart=True)
    assert "the work begins anew" in (tmp_path / "log").read_text()


def test_a_process_costs_a_scan_less_than_half_a_second(tmp_path):
    began = time.perf_counter()
    for _ in range(5):
        supervisor.watch(lambda again: None, tmp_path / "t", tmp_path / "log", restart=True)
    assert (time.perf_counter() - began) / 5 < 0.5
