"""A batch of preprocess or register: what is made, what is left alone, what it leaves behind."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from cmburden.core import carry_out, tries
from cmburden.core.carry_out import Done, Job, RestartJob
from cmburden.core.errors import ScanError
from cmburden.core.files import locked
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.run import jobs, pilot, supervisor
from cmburden.run.batches import MOST_CRASHES_IN_A_ROW, Batch, Clock, work

NAME = "0-1"


def a_scan(number: int, key: str = "a") -> Scan:
    stem, label = f"sub-{number}_T2starw", (("sub", str(number)),)
    path = Path(f"{stem}.nii.gz")
    return Scan(stem, "c", f"sub-{number}", None, "T2starw", "GRE", path, label, content_key=key)


class Cohort:
    """Three scans in a batch, and a stage that makes its files and counts its calls."""

    def __init__(self, folder: Path, scans: int = 3):
        self.layout = Layout(folder)
        self.scans = [a_scan(number) for number in range(1, scans + 1)]
        self.tried: list[str] = []
        self.settings = {"min_brain_ml": 700}

    def deed(self, scan: Scan) -> None:
        """What happens at work on a scan; nothing, until a test says something else."""

    def job(self, stage: str, version: int = 1) -> Job:
        return Job(stage, version, self.layout, self.settings)

    def run(self, stage: str = "preprocess", version: int = 1, *, again: bool = False) -> list[str]:
        """Work through the batch; the scans that were made."""
        self.tried = []

        def of_scan(one: Scan, layout: Layout, settings: dict) -> Done:
            self.tried.append(one.scan_id)
            print(f"work on {one.scan_id}")
            self.deed(one)
            for path in layout.results(stage, one):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            return Done()

        batch = Batch(NAME, self.scans)
        work(self.job(stage, version), batch, of_scan, Clock.of_job(again=again))
        return self.tried

    def mark(self, stage: str = "preprocess") -> dict[str, str]:
        return json.loads(self.layout.batch(stage, NAME).read_text())

    def ids(self) -> list[str]:
        return [scan.scan_id for scan in self.scans]


@pytest.fixture
def cohort(tmp_path) -> Cohort:
    return Cohort(tmp_path)


def replaced(cohort: Cohort) -> list[str]:
    cohort.scans[1] = a_scan(2, "b")
    return ["sub-2_T2starw"]


def added(cohort: Cohort) -> list[str]:
    cohort.scans.append(a_scan(4))
    return ["sub-4_T2starw"]


def removed(cohort: Cohort) -> list[str]:
    del cohort.scans[0]
    return []


def without_record(cohort: Cohort) -> list[str]:
    cohort.layout.record("preprocess", "sub-3_T2starw").unlink()
    return ["sub-3_T2starw"]


def torn(cohort: Cohort) -> list[str]:
    cohort.layout.record("preprocess", "sub-3_T2starw").write_text("{")
    return ["sub-3_T2starw"]


def without_volume(cohort: Cohort) -> list[str]:
    cohort.layout.preproc(cohort.scans[2]).unlink()
    return ["sub-3_T2starw"]


def other_settings(cohort: Cohort) -> list[str]:
    cohort.settings = {"min_brain_ml": 600}
    return cohort.ids()


SAME = (without_record, torn, without_volume)


@pytest.mark.parametrize(
    "change",
    [
        lambda cohort: [],
        replaced,
        added,
        removed,
        without_record,
        torn,
        without_volume,
        other_settings,
    ],
)
def test_only_what_a_change_alters_is_made(cohort, change):
    assert cohort.run() == cohort.ids()
    before = cohort.mark()
    wanted = change(cohort)
    assert cohort.run() == wanted
    after = cohort.mark()
    assert list(after) == cohort.ids()
    other = {scan_id for scan_id in after if before.get(scan_id) != after[scan_id]}
    # A record that is made again of the same scan may have the same bytes.
    assert other <= set(wanted) if change in SAME else other == set(wanted)
    assert cohort.run() == []


def test_another_version_makes_all_again(cohort):
    cohort.run()
    assert cohort.run(version=2) == cohort.ids()


def test_register_follows_what_preprocess_did(cohort):
    cohort.run()
    assert cohort.run("register") == cohort.ids()
    replaced(cohort)
    cohort.run()
    assert cohort.run("register") == ["sub-2_T2starw"]
    # Registering again makes no volume again.
    cohort.run("register", version=2)
    assert cohort.run() == []


def test_a_scan_that_failed_is_left_alone_until_it_changes(cohort):
    def deed(scan: Scan) -> None:
        if scan.content_key == "a" and scan.scan_id.startswith("sub-2"):
            raise ScanError("coverage", "A part of it.", excluded=True)

    cohort.deed = deed
    cohort.run()
    assert cohort.run() == []
    assert Outcome.read(cohort.layout.record("preprocess", "sub-2_T2starw")).reason == "coverage"
    assert replaced(cohort) == cohort.run()


def test_a_job_that_is_stopped_goes_on_where_it_was(cohort):
    def full(scan: Scan) -> None:
        if scan.scan_id.startswith("sub-2"):
            raise OSError(28, "No space left on device")

    cohort.deed = full
    with pytest.raises(OSError, match="No space left"):
        cohort.run()
    assert not cohort.layout.batch("preprocess", NAME).exists()
    cohort.deed = lambda scan: None
    assert cohort.run() == cohort.ids()[1:]


def test_a_former_record_is_gone_while_its_scan_is_made_again(cohort):
    """A process that is killed then leaves no record beside files of other settings."""
    cohort.run()
    there = []
    cohort.deed = lambda scan: there.append(
        cohort.layout.record("preprocess", scan.scan_id).exists()
    )
    other_settings(cohort)
    cohort.run()
    assert there == [False] * 3


def test_each_scan_has_a_log_and_a_benchmark_of_its_own(cohort):
    def deed(scan: Scan) -> None:
        if scan.scan_id.startswith("sub-2"):
            raise ValueError("a bug")

    cohort.deed = deed
    cohort.run()
    for scan_id in cohort.ids():
        log = cohort.layout.log("preprocess", scan_id).read_text()
        assert f"\nwork on {scan_id}\n" in log
        assert ("Traceback" in log) == scan_id.startswith("sub-2")
        record = Outcome.read(cohort.layout.record("preprocess", scan_id))
        assert record.log == cohort.layout.log_name("preprocess", scan_id)
        times = pilot.benchmark_file(cohort.layout.benchmark("preprocess", scan_id)).iloc[0]
        assert 0 <= times["s"] < 5 and times["max_rss"] > 10 and times["cpu_time"] >= 0


def test_crashes_in_a_row_are_tried_again_by_another_process(tmp_path):
    cohort = Cohort(tmp_path, MOST_CRASHES_IN_A_ROW + 2)
    ill = {scan.scan_id for scan in cohort.scans[1:]}

    def deed(scan: Scan) -> None:
        if scan.scan_id in ill:
            raise RuntimeError("the machine is ill")

    cohort.deed = deed
    with pytest.raises(RestartJob, match="5 scans crashed in a row, last sub-6_T2starw"):
        cohort.run()
    # The other process is sound but for one scan: no crash of the ill one is left.
    ill = {"sub-3_T2starw"}
    assert cohort.run(again=True) == cohort.ids()[1:]
    reasons = [Outcome.read(cohort.layout.record("preprocess", s)).reason for s in cohort.ids()]
    assert reasons == [None, None, "crashed", None, None, None, None]


def test_crashes_that_another_process_repeats_are_recorded(tmp_path):
    cohort = Cohort(tmp_path, MOST_CRASHES_IN_A_ROW + 1)

    def deed(scan: Scan) -> None:
        raise RuntimeError("a bug")

    cohort.deed = deed
    with pytest.raises(RestartJob):
        cohort.run()
    cohort.run(again=True)
    assert set(cohort.mark()) == set(cohort.ids())
    assert cohort.run() == []


@pytest.mark.parametrize("restart", [True, False], ids=["one machine", "a cluster"])
def test_a_scan_that_kills_two_processes_is_crashed_and_the_others_go_on(tmp_path, restart):
    cohort = Cohort(tmp_path)
    tried = tmp_path / "tried.txt"

    def deed(scan: Scan) -> None:
        with tried.open("a") as stream:
            stream.write(f"{scan.scan_id}\n")
        if scan.scan_id.startswith("sub-2"):
            os.kill(os.getpid(), signal.SIGKILL)

    cohort.deed = deed
    counts = cohort.layout.tries("preprocess", f"batch-{NAME}")

    def watch() -> None:
        def one_process(again: bool) -> None:
            cohort.run(again=again)

        supervisor.watch(one_process, counts, tmp_path / "job.log", restart=restart)

    if restart:
        watch()
    else:
        for _ in range(tries.MOST):
            with pytest.raises(SystemExit, match="the job is tried again"):
                watch()
        watch()
    assert tried.read_text().split() == [cohort.ids()[i] for i in (0, 1, 1, 2)]
    record = Outcome.read(cohort.layout.record("preprocess", "sub-2_T2starw"))
    assert record.reason == "crashed" and "2 processes ended at it" in record.message
    log = cohort.layout.log("preprocess", "sub-2_T2starw").read_text()
    assert log.count("a process ended at work on this scan (signal 9") == 2
    assert len(cohort.mark()) == 3


def test_the_settings_of_places_make_nothing_again(cohort):
    """A stage that had a device and a model's folder: neither changes a result."""
    cohort.run()
    cohort.settings = cohort.settings | {"device": "cpu", "model": "elsewhere"}
    assert cohort.run() == []


def test_the_current_record_is_that_of_the_scan_alone(cohort):
    cohort.run()
    job = cohort.job("preprocess")
    assert carry_out.is_current(job, cohort.scans[0])
    other = dataclasses.replace(cohort.scans[0], content_key="b")
    assert not carry_out.is_current(job, other)


def test_a_job_that_is_killed_with_its_supervisor_loses_nothing(cohort, tmp_path):
    """As by `scancel`, or `kill -9` of the job: the next one goes on."""
    killed = tmp_path / "killed"

    def deed(scan: Scan) -> None:
        if scan.scan_id.startswith("sub-2") and not killed.exists():
            killed.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    cohort.deed = deed
    counts = cohort.layout.tries("preprocess", f"batch-{NAME}")

    def job() -> None:
        supervisor.watch(
            lambda again: bool(cohort.run(again=again)), counts, tmp_path / "log", restart=True
        )

    first = multiprocessing.get_context("fork").Process(target=job)
    first.start()
    first.join(60)
    assert first.exitcode == -signal.SIGKILL
    assert not cohort.layout.batch("preprocess", NAME).exists()
    tries.settle(counts)
    assert cohort.run() == cohort.ids()[1:]
    assert all(Outcome.read(cohort.layout.record("preprocess", s)).ok for s in cohort.ids())


def test_a_job_waits_for_the_one_that_an_earlier_run_left_and_repeats_nothing(cohort):
    lock = cohort.layout.batch_lock("preprocess", NAME)
    context = multiprocessing.get_context("fork")
    began = context.Event()

    def left_alone() -> None:
        with locked(lock):
            began.set()
            time.sleep(0.3)
            cohort.run()

    other = context.Process(target=left_alone)
    other.start()
    assert began.wait(60)
    with jobs._alone(lock, 60):
        assert cohort.run() == []
    other.join()
    # One that does not end is no reason to wait for ever.
    with locked(lock), jobs._alone(lock, 0.01):
        assert cohort.run() == []
