"""`cmburden status`: counts from records, the pace of the run at work, and when it will end."""

import os
import time

import pytest

from cmburden.benchmarks import pretend_tree as synthetic_manifest
from cmburden.core.files import locked
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.run import cli
from cmburden.run import status as progress

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


def test_the_end_is_what_is_left_at_the_pace_of_the_run(layout):
    with locked(layout.lock):
        now = time.time()
        os.utime(layout.lock, (now - 100, now - 100))
        found = progress.of(layout, now)
        # 5 scans of 10 s in 100 s: half a second of work a second.
        usual = sum(progress.USUAL_S[stage] for stage in ("register", "detect", "verify"))
        assert found.left_s == pytest.approx((5 * 10 + SCANS * usual) / 0.5)
        assert "5 results in the last 2 min; at this pace the scans end in" in progress.as_text(
            found
        )


def test_the_pace_is_that_of_this_run_and_of_late(layout):
    long_ago = time.time() - 9 * progress.WINDOW_S
    for path in layout.record("preprocess", "x").parent.glob("*.json"):
        os.utime(path, (long_ago, long_ago))
    with locked(layout.lock):
        os.utime(layout.lock, (long_ago - 60, long_ago - 60))
        found = progress.of(layout)
        assert found.window_s == pytest.approx(progress.WINDOW_S, abs=2)
        assert found.left_s is None
        assert "no scan has ended" in progress.as_text(found)


def test_records_of_other_scans_and_torn_ones_do_not_count(layout):
    Outcome("preprocess", "sub-gone_swi", "ok").write(layout.record("preprocess", "sub-gone_swi"))
    torn = next(layout.record("preprocess", "x").parent.glob("sub-S*.json"))
    torn.write_text("{")
    assert progress.of(layout).stages[0].ended == 4


def test_one_run_at_a_time(layout, capsys):
    with locked(layout.lock):
        assert cli.main(["retry", str(layout.root)]) == 2
    assert "another run is at work here" in capsys.readouterr().err
