"""`cmburden status`: counts from records, the pace of the run at work, and when it will end."""

import os
import subprocess
import sys
import time

import pytest

from cmburden.benchmarks import pretend_tree as synthetic_manifest
from cmburden.core.files import locked
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.run import cli
from cmburden.run import status as progress

pytestmark = pytest.mark.slow

SCANS = 10


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Half of ten scans are preprocessed, one of them failed."""
    layout = Layout(tmp_path / "out")
    synthetic_manifest.write_manifest(layout.manifest, SCANS, 2)
    for number, scan in enumerate(read_scans(layout.manifest, tmp_path)[:5]):
        fate = ("failed", "truncated", None) if number == 4 else ("ok", None, None)
        record = Outcome("preprocess", scan.scan_id, *fate, seconds=10.0)
        record.write(layout.record("preprocess", scan.scan_id))
    return layout


def test_counts_by_stage_and_reason_where_nothing_runs(layout, capsys):
    assert cli.main(["status", str(layout.root)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "preprocess: 5 of 10 scans (50%)"
    assert said[1].split() == ["failed", "truncated", "1"]
    assert said[2].split() == ["ok", "4"]
    assert said[3] == "register: 0 of 10 scans (0%)"
    assert said[-1] == "No run is at work here."


def benchmark(layout: Layout, stage: str, unit: str, seconds: float) -> None:
    path = layout.benchmark(stage, unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t-\n")


def test_the_end_is_reckoned_from_whole_jobs(layout):
    """A record says 10 s; its job, with the start of Python and the pictures, took 40 s."""
    ids = [scan.scan_id for scan in read_scans(layout.manifest, layout.root)]
    for scan_id in ids[:5]:
        benchmark(layout, "preprocess", scan_id, 40)
    with locked(layout.lock):
        now = time.time()
        os.utime(layout.lock, (now - 100, now - 100))
        seen = progress.of(layout, now)
        # 5 jobs of 40 s in 100 s: two cores. 5 are left: 100 s, within a tenth.
        assert seen.left_s == pytest.approx((90, 110))
        said = progress.as_text(seen).splitlines()[-1]
        assert "what is left of preprocess takes 2 min to 2 min" in said
        assert said.endswith(
            "the time of register, detect, verify cannot be told before a first job of it has "
            "ended."
        )


def test_the_end_does_not_slide_as_the_run_goes_on(layout):
    """Of a run of constant pace the estimates of its middle name one end."""
    ids = [scan.scan_id for scan in read_scans(layout.manifest, layout.root)]
    began = time.time() - 1000
    ends = []
    with locked(layout.lock):
        os.utime(layout.lock, (began, began))
        for path in layout.record("preprocess", "x").parent.glob("*.json"):
            path.unlink()
        # A job after another, 60 s each; the record says 5 s.
        for number, scan_id in enumerate(ids[:8], start=1):
            Outcome("preprocess", scan_id, "ok", seconds=5.0).write(
                layout.record("preprocess", scan_id)
            )
            at = began + 60 * number
            os.utime(layout.record("preprocess", scan_id), (at, at))
            benchmark(layout, "preprocess", scan_id, 60)
            left = progress.of(layout, at).left_s
            assert left is not None
            ends.append((at + left[0], at + left[1]))
    for first, last in ends:
        assert first - 1 <= began + 600 <= last + 1


def test_a_bucket_at_work_tells_its_pace_before_its_job_ends(layout):
    ids = [scan.scan_id for scan in read_scans(layout.manifest, layout.root)]
    began = time.time() - 1000
    layout.run_config.write_text("buckets: 1\nthreads: 2\n")
    with locked(layout.lock):
        os.utime(layout.lock, (began, began))
        for number, scan_id in enumerate(ids[:6]):
            for stage in ("preprocess", "register", "detect"):
                Outcome(stage, scan_id, "ok", seconds=1.0).write(layout.record(stage, scan_id))
            at = began + 100 + 20 * number
            os.utime(layout.record("detect", scan_id), (at, at))
        cost = {stage.stage: stage.cost for stage in progress.of(layout).stages}
    # 20 s a scan of wall time, two threads.
    assert cost["detect"].mean == pytest.approx(40)
    assert cost["verify"] is None


def test_the_pace_is_that_of_this_run_and_of_late(layout):
    long_ago = time.time() - 9 * progress.WINDOW_S
    for path in layout.record("preprocess", "x").parent.glob("*.json"):
        os.utime(path, (long_ago, long_ago))
    with locked(layout.lock):
        os.utime(layout.lock, (long_ago - 60, long_ago - 60))
        seen = progress.of(layout)
        assert seen.window_s == pytest.approx(progress.WINDOW_S, abs=2)
        assert seen.left_s is None
        assert "no scan has ended" in progress.as_text(seen)


def test_records_of_other_scans_and_torn_ones_do_not_count(layout):
    Outcome("preprocess", "sub-gone_swi", "ok").write(layout.record("preprocess", "sub-gone_swi"))
    torn = next(layout.record("preprocess", "x").parent.glob("sub-S*.json"))
    torn.write_text("{")
    assert progress.of(layout).stages[0].ended == 4


def test_one_run_at_a_time(layout, capsys):
    with locked(layout.lock):
        assert cli.main(["retry", str(layout.root)]) == 2
    assert "another run is at work here" in capsys.readouterr().err


def test_a_reader_that_has_enough_ends_the_command_quietly(layout):
    """`cmburden status | head -1`: no traceback, the code of SIGPIPE."""
    command = (
        f"{sys.executable} -m cmburden.run.cli status {layout.root} | true; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() in ("141", "0")  # 0 where the reader had not ended yet
