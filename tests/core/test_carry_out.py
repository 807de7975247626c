"""The skeleton of stages: records, shards and run files, and when a bucket stops."""

import json
from pathlib import Path

import pandas as pd
import pytest

from cmburden.core import carry_out
from cmburden.core.carry_out import Bucket, Done, Job, Late, measured
from cmburden.core.errors import REASONS, CMBurdenError, ScanError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.schema import Column, Table

TABLE = Table("t", "a row", ("scan_id",), (Column("scan_id", "str", "Scan"),))


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


class Network:
    device_name = "a device"


def run_bucket(job: Job, work, scans: int = 3, most: int | None = None, note=None) -> None:
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


def test_a_fault_of_the_machine_is_no_record(job):
    def work() -> Done:
        raise MemoryError

    with pytest.raises(MemoryError):
        carry_out.scan(job, a_scan(1), work)
    assert not job.layout.record("detect", a_scan(1).scan_id).exists()


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
            network()
        return Done(rows=TABLE.frame([{"scan_id": scan.scan_id}]))

    unit = Bucket(7, [a_scan(1), a_scan(2)], (), "")
    carry_out.bucket(job, unit, work, network, TABLE)
    assert len(loaded) == loads
    assert json.loads(job.layout.run_record("detect", "bucket-7").read_text())["device"] == device


def test_a_bucket_stops_after_failures_in_a_row(job):
    with pytest.raises(CMBurdenError, match=r"bucket 7: 2 scans failed in a row, last sub-2_"):
        run_bucket(job, faulty, most=2)
    assert not job.layout.bucket("detect", 7).exists()
    assert not job.layout.record("detect", a_scan(3).scan_id).exists()


def test_failures_that_are_not_in_a_row_stop_no_bucket(job):
    run_bucket(job, lambda n: faulty(n) if n % 2 else Done(rows=rows(n)), scans=5, most=2)
    assert [of_scan(job, n).status for n in range(1, 6)] == ["failed", "ok"] * 2 + ["failed"]


def test_a_note_makes_another_shard_of_equal_rows(job):
    shards = set()
    for note in (None, {"records": "1"}, {"records": "2"}, {"records": "2"}):
        run_bucket(job, lambda n: Done(rows=rows(n)), note=note)
        shards.add(job.layout.bucket("detect", 7).read_bytes())
    assert len(shards) == 3
