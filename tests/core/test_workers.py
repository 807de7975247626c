"""Workers of a bucket: the same records and shard for any number, and what their ends do."""

import dataclasses
import errno
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cmburden.core import carry_out, remake, tries
from cmburden.core.carry_out import Bucket, Done, Job, RestartJob
from cmburden.core.errors import CMBurdenError, DamagedFile, ScanError
from cmburden.core.files import whole_file
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.schema import Column, Table
from cmburden.core.workers import Late
from cmburden.run import supervisor
from cmburden.run.logs import into

pytestmark = pytest.mark.slow

TABLE = Table("t", "a row", ("scan_id",), (Column("scan_id", "str", "Scan", nullable=False),))
SCANS = 7


def a_scan(number: int) -> Scan:
    stem = f"sub-{number}_T2starw"
    return Scan(
        stem, "c", f"sub-{number}", None, "T2starw", "GRE", Path(stem), (("sub", str(number)),)
    )


class Network:
    """Says in which process it was loaded, and in which it answers."""

    device_name = "a device"

    def __init__(self) -> None:
        self.loaded = os.getpid()

    def answer(self, number: int) -> tuple[int, int, int]:
        if number < 0:
            raise RuntimeError("the device is ill")
        return number + 1, self.loaded, os.getpid()


@dataclasses.dataclass
class Cohort:
    """A bucket of scans, of which ``deed`` says what happens to each."""

    folder: Path
    deed: Callable[[int], Done | None] = lambda number: None
    most: int = 5
    scans: int = SCANS
    network: Late = dataclasses.field(default_factory=lambda: Late(Network))

    @property
    def layout(self) -> Layout:
        return Layout(self.folder)

    @property
    def tried(self) -> list[str]:
        """Numbers of the scans, in the order in which work on them began."""
        return (self.folder / "tried.txt").read_text().split()

    def run(self, cores: int) -> None:
        self.folder.mkdir(exist_ok=True)
        numbers = {a_scan(n).scan_id: n for n in range(self.scans)}

        def work(one: Scan) -> Done:
            number = numbers[one.scan_id]
            with (self.folder / "tried.txt").open("a") as stream:
                stream.write(f"{number}\n")
            done = self.deed(number)
            rows = pd.DataFrame({"scan_id": [one.scan_id]})
            return done or Done({"number": number}, rows=rows)

        unit = Bucket(7, [a_scan(n) for n in numbers.values()], (), "", self.most, cores)
        job = Job("detect", 3, self.layout, {"a": 1}, "logs/detect/7.log", "abc")
        carry_out.bucket(job, unit, work, self.network, TABLE)

    def records(self) -> list[dict]:
        records = [self.layout.record("detect", a_scan(n).scan_id) for n in range(self.scans)]
        return [json.loads(path.read_text()) | {"seconds": None} for path in records]

    def reasons(self) -> list[str | None]:
        return [record["reason"] for record in self.records()]

    def shard(self) -> bytes:
        return self.layout.bucket("detect", 7).read_bytes()

    def counts(self) -> Path:
        return self.layout.tries("detect", "bucket-7")

    def watch(self, cores: int, log: Path) -> None:
        """As a job runs: its second and later processes work alone."""

        def work(again: bool) -> None:
            with into(log, again=again):
                self.run(1 if again else cores)

        supervisor.watch(work, self.counts(), log, restart=True)


def of_all_kinds(number: int) -> Done | None:
    """What may become of a scan; the first takes longest, so that results come out of order."""
    if number == 0:
        time.sleep(0.05)
    if number == 1:
        raise ScanError("unreadable", "It is.")
    if number == 2:
        raise ValueError("a bug")
    if number == 3:
        raise DamagedFile(Path("sub-3_desc-preproc.nii.gz"), "EOFError", "make it again")
    if number == 4:
        return Done({"number": 4}, "Look at it.", pd.DataFrame({"scan_id": ["a", "b"]}))
    if number == 5:
        return Done(rows=pd.DataFrame({"scan_id": [None]}))
    return None


def test_records_and_shard_do_not_depend_on_the_number_of_workers(tmp_path):
    cohorts = [Cohort(tmp_path / str(cores), of_all_kinds) for cores in (1, 2, 5)]
    for cohort, cores in zip(cohorts, (1, 2, 5), strict=True):
        cohort.run(cores)
    alone = cohorts[0]
    assert alone.reasons() == [None, "unreadable", "crashed", "damaged", None, "crashed", None]
    assert TABLE.read(alone.layout.bucket("detect", 7))["scan_id"].tolist() == [
        "a",
        "b",
        a_scan(0).scan_id,
        a_scan(6).scan_id,
    ]
    for cohort in cohorts[1:]:
        assert cohort.records() == alone.records()
        assert cohort.shard() == alone.shard()
        assert sorted(cohort.tried) == alone.tried
        assert remake.marked(cohort.layout) == [a_scan(3).scan_id]
        assert not cohort.counts().exists()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    "error",
    [CMBurdenError("the model is gone"), OSError(errno.ENOSPC, "No space left"), SystemExit(3)],
    ids=lambda error: type(error).__name__,
)
def test_what_a_person_mends_ends_the_job_and_blames_no_scan(tmp_path, error):
    def deed(number: int) -> None:
        if number == 2:
            raise error

    cohort = Cohort(tmp_path, deed)
    with pytest.raises(type(error)) as raised:
        cohort.run(2)
    assert str(raised.value) == str(error)
    # The scans before it have their records, and none after it.
    there = [cohort.layout.record("detect", a_scan(n).scan_id).exists() for n in range(SCANS)]
    assert there == [True, True] + [False] * 5
    assert not cohort.counts().exists() and not multiprocessing.active_children()


def asking(cohort: Cohort) -> list[tuple[int, int, int]]:
    """What the network answers to each scan of a bucket with two workers."""
    cohort.deed = lambda number: Done({"answer": cohort.network.ask(number)})
    cohort.run(2)
    answers = [record["measures"]["answer"] for record in cohort.records()]
    assert [answer[0] for answer in answers] == list(range(1, SCANS + 1))
    return answers


def device_of(cohort: Cohort) -> str:
    return json.loads(cohort.layout.run_record("detect", "bucket-7").read_text())["device"]


def test_a_device_that_one_process_holds_is_asked_by_the_parent(tmp_path):
    cohort = Cohort(tmp_path, network=Late(Network, lambda: True))
    assert {answer[1:] for answer in map(tuple, asking(cohort))} == {(os.getpid(),) * 2}
    assert device_of(cohort) == "a device"


def test_on_a_processor_each_worker_asks_a_network_of_its_own(tmp_path):
    cohort = Cohort(tmp_path)
    processes = {answer[1:] for answer in map(tuple, asking(cohort))}
    assert all(loaded == answers != os.getpid() for loaded, answers in processes)
    assert len(processes) <= 2
    assert device_of(cohort) == "cpu"


def test_nobody_loads_a_network_that_nobody_asks(tmp_path):
    def fail() -> Network:
        raise AssertionError

    cohort = Cohort(tmp_path, network=Late(fail, fail))
    cohort.run(2)
    assert cohort.reasons() == [None] * SCANS and device_of(cohort) == "cached"


@pytest.mark.parametrize("one_process", [True, False])
def test_an_ill_network_is_the_fault_of_the_scan_that_asked(tmp_path, one_process):
    cohort = Cohort(tmp_path, network=Late(Network, lambda: one_process))
    cohort.deed = lambda number: Done({"a": cohort.network.ask(-number if number == 3 else 1)[0]})
    cohort.run(2)
    assert cohort.reasons() == [None, None, None, "crashed", None, None, None]
    assert "RuntimeError: the device is ill" in cohort.records()[3]["message"]


@pytest.mark.parametrize("where", ["load", "device"])
def test_a_network_that_cannot_be_loaded_ends_the_job_with_its_sentence(tmp_path, where):
    def fail() -> bool:
        raise CMBurdenError("no GPU is visible; use auto or cpu")

    load, shared = (fail, lambda: True) if where == "load" else (Network, fail)
    cohort = Cohort(tmp_path, network=Late(load, shared))
    with pytest.raises(CMBurdenError, match="no GPU is visible; use auto"):
        asking(cohort)


def test_crashes_in_a_row_are_counted_in_the_order_of_the_scans(tmp_path):
    def deed(number: int) -> None:
        if number in (2, 3):
            raise RuntimeError("the machine is ill")

    cohort = Cohort(tmp_path, deed, most=2)
    with pytest.raises(RestartJob, match="bucket-7: 2 scans crashed in a row, last sub-3_"):
        cohort.run(3)
    there = [cohort.layout.record("detect", a_scan(n).scan_id).exists() for n in range(SCANS)]
    assert there == [True, True] + [False] * 5 and not multiprocessing.active_children()
    cohort.run(1)
    assert cohort.reasons() == [None, None, "crashed", "crashed", None, None, None]


def test_few_scans_are_begun_before_their_turn(tmp_path):
    """Results that wait for an earlier scan lie in memory."""
    cohort = Cohort(tmp_path, scans=20)

    def deed(number: int) -> None:
        if number == 0:
            until(lambda: len(cohort.tried) >= 4)
            time.sleep(0.1)
            (tmp_path / "then.txt").write_text(" ".join(cohort.tried))

    cohort.deed = deed
    cohort.run(2)
    assert sorted((tmp_path / "then.txt").read_text().split()) == ["0", "1", "2", "3"]


def test_a_scan_at_which_a_process_ended_is_worked_on_alone(tmp_path):
    """Two scans were at work when the whole job was killed: the next death blames one of them."""
    cohort = Cohort(tmp_path)
    job = Job("detect", 3, cohort.layout, {"a": 1}, None, "abc")
    for number in (1, 2):
        carry_out.Tries(job, "bucket-7").begin(a_scan(number))
    tries.settle(cohort.counts(), signal.SIGKILL)

    def deed(number: int) -> Done:
        time.sleep(0.02)
        at_work = json.loads(cohort.counts().read_text())
        return Done({"at_work": [name for name in at_work if at_work[name]["at_work"]]})

    cohort.deed = deed
    cohort.run(3)
    for number, record in enumerate(cohort.records()):
        alone = record["measures"]["at_work"] == [a_scan(number).scan_id]
        assert alone or number not in (1, 2)
        assert a_scan(number).scan_id in record["measures"]["at_work"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_killed_loses_no_scan_and_is_named(tmp_path, number):
    def deed(scan: int) -> None:
        if scan == 2:
            os.kill(os.getpid(), number)

    cohort = Cohort(tmp_path, deed)
    log = tmp_path / "logs" / "detect" / "7.log"
    cohort.watch(2, log)
    assert cohort.reasons() == [None, None, "crashed", None, None, None, None]
    message = cohort.records()[2]["message"]
    assert f"2 processes ended at it without a result (signal {number.value}" in message
    said = log.read_text()
    assert said.count(f"ERROR the process was killed (signal {number.value}") == 2
    assert said.count(f"{a_scan(2).scan_id}: the process at work on it ended (signal") == 1
    assert len(TABLE.read(cohort.layout.bucket("detect", 7))) == SCANS - 1
    # Nobody but the scan that killed its worker was blamed.
    assert list(json.loads(cohort.counts().read_text())) == [a_scan(2).scan_id]


def test_one_death_of_a_worker_may_be_of_another_cause(tmp_path):
    def deed(scan: int) -> None:
        if scan == 2 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    cohort = Cohort(tmp_path, deed)
    cohort.watch(2, tmp_path / "log")
    alone = Cohort(tmp_path / "alone")
    alone.run(1)
    assert cohort.records() == alone.records() and cohort.shard() == alone.shard()
    assert not cohort.counts().exists()


def test_a_worker_that_a_library_ends_ends_the_job_with_its_code(tmp_path):
    def deed(scan: int) -> None:
        if scan == 2:
            os._exit(3)

    with pytest.raises(SystemExit, match="3"):
        Cohort(tmp_path, deed).watch(2, tmp_path / "log")


def test_workers_end_with_the_process_that_started_them(tmp_path):
    cohort = Cohort(tmp_path)

    def deed(scan: int) -> None:
        (tmp_path / f"pid-{os.getpid()}").touch()
        time.sleep(60)

    cohort.deed = deed
    parent = multiprocessing.get_context("fork").Process(target=cohort.run, args=(2,))
    parent.start()
    until(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    parent.kill()
    parent.join()
    pids = [int(path.name.split("-")[1]) for path in tmp_path.glob("pid-*")]
    until(lambda: not any(map(alive, pids)))
    # Both were at work.
    assert len(json.loads(cohort.counts().read_text())) == 2


def until(reached: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_errors_are_the_same_in_another_process():
    import pickle

    fault = ScanError("coverage", "A part of it.", excluded=True)
    fault.measures = {"coverage": 0.4}
    again = pickle.loads(pickle.dumps(fault))
    assert (str(again), again.reason, again.excluded, again.measures) == (
        str(fault),
        "coverage",
        True,
        {"coverage": 0.4},
    )
    damaged = pickle.loads(pickle.dumps(DamagedFile(Path("a/b"), "EOFError", "make it again")))
    assert (damaged.path, damaged.fault) == (Path("a/b"), "EOFError")
    assert str(damaged) == "a/b: cannot be read (EOFError); make it again"


def test_workers_that_are_ended_leave_no_half_written_file(tmp_path):
    def deed(number: int) -> None:
        if number == 0:
            until(lambda: (tmp_path / "begun").exists())
            raise CMBurdenError("the model is gone")
        with whole_file(tmp_path / "result"):
            (tmp_path / "begun").touch()
            time.sleep(60)

    with pytest.raises(CMBurdenError, match="the model is gone"):
        Cohort(tmp_path, deed).run(2)
    assert (tmp_path / "begun").exists() and not list(tmp_path.glob(".part-*"))
