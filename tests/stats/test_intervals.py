"""Intervals of proportions: those of clustered observations."""

from __future__ import annotations

import numpy as np
import pytest

from cmburden.stats.intervals import clustered_wilson, wilson


def test_interval_of_clustered_lesions():
    """One lesion a person is Wilson's; in pairs of equals, that of half as many lesions."""
    alone = np.array([1.0, 1, 1, 0] * 25)
    assert clustered_wilson(alone, np.arange(100)) == pytest.approx(wilson(75, 100), abs=0.01)
    pairs = clustered_wilson(np.repeat(alone, 2), np.repeat(np.arange(100), 2))
    assert pairs == pytest.approx(wilson(75, 100), abs=0.01)


def test_agreement_of_all_lesions_of_two_people_is_that_of_two_people():
    """Audit B2: 100 lesions of two people, all alike, are no 100 observations."""
    low, high = clustered_wilson(np.ones(100), np.repeat([1, 2], 50))
    assert (low, high) == pytest.approx((0.342, 1), abs=0.001)
