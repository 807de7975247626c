"""Intervals of an evaluation at 0 and 1, against Wilson's by formula and published values."""

import math

import numpy as np
import pytest

from cmburden.evaluate import shares
from cmburden.stats.intervals import auc_interval

ONES = np.ones


@pytest.mark.parametrize(
    ("positive", "total", "low", "high"),
    [
        (54, 54, 0.934, 1.0),
        (13, 13, 0.772, 1.0),
        (26, 26, 0.871, 1.0),
        (28, 28, 0.879, 1.0),
        (10, 10, 0.722, 1.0),
        (9, 10, 0.596, 0.982),
        (0, 10, 0.0, 0.278),
    ],
)
def test_scans_have_wilsons_interval(positive, total, low, high):
    """Audit B1: `1.000 (1.000-1.000)` and `0.900 (0.889-1.000)`."""
    right = np.arange(total) < positive
    ends = shares.of_counts(right, ONES(total), np.arange(total))
    assert [round(end, 3) for end in ends] == [low, high]


def test_microbleeds_of_few_people_say_less():
    """Audit B1: 42 of 42 microbleeds are 13 people's, not 42 independent ones (0.916)."""
    numbers = np.array([1] * 7 + [2] * 2 + [5, 7, 9, 10])
    assert numbers.sum() == 42 and len(numbers) == 13
    low, high = shares.of_counts(numbers, numbers, np.arange(13))
    assert (round(low, 3), high) == (0.772, 1.0)
    assert shares.of_counts(numbers, numbers, np.arange(13))[0] < 0.916


def test_an_auc_of_1_is_no_certainty():
    low, high = auc_interval(1.0, 13, 17)
    assert low < 0.95 and high == 1
    narrow, _ = auc_interval(1.0, 1300, 1700)
    assert low < narrow < 1
    # Every end lies as far from the area as its own standard error says (Hanley and McNeil 1982).
    auc, n = 0.85, 50
    for end in auc_interval(auc, n, n):
        q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)
        variance = end * (1 - end) + (n - 1) * (q1 - end**2) + (n - 1) * (q2 - end**2)
        assert abs(auc - end) == pytest.approx(1.95996 * math.sqrt(variance) / n, rel=1e-4)
    assert all(math.isnan(end) for end in auc_interval(0.8, 0, 10))


def test_no_false_positive_has_an_upper_end():
    none = np.zeros(30, int)
    assert shares.rate(none, np.arange(30))[1] == pytest.approx(3.689 / 30, rel=1e-3)
    made = shares.at_zero({"fp": {"estimate": 0.0}}, {"fp": (0.0, 0.1)})
    assert made == {"fp": {"estimate": 0.0, "ci_low": 0.0, "ci_high": 0.1}}
    assert shares.at_zero({"fp": {"estimate": 0.2}}, {"fp": (0.0, 0.1)}) == {}
