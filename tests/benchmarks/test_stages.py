"""Seconds by stage on several cores: jobs side by side, what they cost, what differs."""

import dataclasses
import time
from pathlib import Path

import pytest

from cmburden.benchmarks import stages
from cmburden.core.errors import CMBurdenError


@dataclasses.dataclass(frozen=True)
class Sleeps:
    """A job that writes its end, and ends with a code."""

    path: Path
    code: int = 0

    def __call__(self) -> None:
        time.sleep(0.2)
        self.path.write_text("done")
        raise SystemExit(self.code)


@pytest.mark.slow
def test_jobs_run_side_by_side_and_a_failed_one_is_said(tmp_path):
    jobs = [Sleeps(tmp_path / str(number)) for number in range(2)]
    cost = stages._timed("detect", 2, jobs, 4)
    assert (cost.stage, cost.cores) == ("detect", 2) and cost.peak_mb > 5
    assert cost.seconds >= 0.2 / 4 and cost.cpu_seconds > 0
    assert all((tmp_path / str(number)).exists() for number in range(2))
    with pytest.raises(CMBurdenError, match=r"detect on 2 cores: a job ended with the codes \[3\]"):
        stages._timed("detect", 2, [Sleeps(tmp_path / "x", 3)], 4)


def test_contents_are_of_results_alone(tmp_path):
    for name in ("sub-1/a.nii.gz", "work/detect/b.parquet", "work/records/c.json", "logs/d.log"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert list(stages.contents(tmp_path)) == ["sub-1/a.nii.gz", "work/detect/b.parquet"]


def test_what_differs_is_said():
    cost = dataclasses.asdict(stages.StageCost("detect", 2, 3.24, 5.0, 900.4))
    result = {"costs": [cost], "files": 7, "differ": {"1": [], "2": []}}
    text = stages.markdown(result)
    assert "| detect | 2 | 3.2 | 5.0 | 900 |" in text
    assert "All 7 files of the scans are equal to the byte." in text
    text = stages.markdown(result | {"differ": {"1": [], "2": ["a", "b"]}})
    assert "2 cores: a, b" in text and "equal to the byte" not in text
