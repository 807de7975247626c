"""The benchmark of a training: rates of what it draws and learns, with a clock that is known."""

import pytest
import torch

from cmburden.benchmarks import training
from cmburden.train.detector import TrainingPlan


@pytest.mark.slow
def test_rates_are_counts_over_seconds(monkeypatch):
    """The clock goes on by a second whenever it is read."""
    now = iter(range(10_000))
    clock = type("Clock", (), {"monotonic": staticmethod(lambda: next(now))})
    monkeypatch.setattr(training, "time", clock)
    monkeypatch.setattr(training.detector, "step", lambda *arguments: None)
    monkeypatch.setattr(training, "_SLABS", 1)
    plan = TrainingPlan(steps=5, batch=2, channels=4)
    row = training.measure(training.made_up(), plan, torch.device("cpu"), 3)
    assert (row.patches_a_second, row.steps_a_second, row.workers) == (6, 5, 0)
    assert 0 <= row.waiting < 1
    assert "| 2 | 600 | 5.00 | 25% |" in training.text([training.Measured(2, 600.2, 5.0, 0.25)])
