"""Direct standardisation and standardised differences, against published and independent values."""

import math

import numpy as np
import pytest

from cmburden.stats.intervals import wilson
from cmburden.stats.standards import (
    difference_interval,
    difference_of_levels,
    difference_of_numbers,
    standardised_share,
)

# Fleiss, Statistical Methods for Rates and Proportions, 2nd ed. 1981, p. 249: Down's syndrome by
# age of the mother and order of birth; the first-born, and the standard (all births).
EVENTS = np.array([107, 141, 60, 40, 39, 25])
BIRTHS = np.array([230061, 329449, 114920, 39487, 14208, 3052])
STANDARD = np.array([319933, 931318, 786511, 488235, 237863, 61313])


def test_the_standardised_rate_of_fleiss():
    """Crude 56.3, standardised 92.3 of 100,000; the interval beside that of R's epitools."""
    share, low, high = standardised_share(EVENTS, BIRTHS, STANDARD)
    assert round(1e5 * EVENTS.sum() / BIRTHS.sum(), 1) == 56.3
    assert round(1e5 * share, 1) == 92.3
    # An independent computation: the gamma interval of Fay and Feuer 1997 by scipy.
    from scipy.stats import gamma

    weight = STANDARD / STANDARD.sum()
    variance = float((weight**2 * EVENTS / BIRTHS**2).sum())
    most = float((weight / BIRTHS).max())
    ends = (
        gamma.ppf(0.025, share**2 / variance, scale=variance / share),
        gamma.ppf(
            0.975,
            (share + most) ** 2 / (variance + most**2),
            scale=(variance + most**2) / (share + most),
        ),
    )
    assert (low, high) == pytest.approx(ends, rel=0.02)


def test_with_one_cell_it_is_wilson_and_never_without_width():
    one = np.array([1.0])
    assert standardised_share(np.array([0]), np.array([9]), one)[1:] == pytest.approx(wilson(0, 9))
    for positive in ([0, 0, 0], [5, 6, 7]):
        _, low, high = standardised_share(
            np.array(positive), np.array([5, 6, 7]), np.array([1.0, 2.0, 3.0])
        )
        assert 0 <= low < high <= 1


def test_the_interval_covers_the_truth():
    random = np.random.default_rng(20261127)
    total = np.array([8, 15, 30, 25, 12, 6])
    truth = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5])
    weight = np.array([5.0, 4.0, 3.0, 3.0, 2.0, 1.0])
    right = float(weight @ truth / weight.sum())
    hits = 0
    for _ in range(600):
        _, low, high = standardised_share(random.binomial(total, truth), total, weight)
        hits += low <= right <= high
    assert 0.93 <= hits / 600 <= 0.99


def test_a_difference_of_two_levels_is_austins():
    """Austin 2009: (p1 - p2) / sqrt((p1 (1 - p1) + p2 (1 - p2)) / 2)."""
    got = difference_of_levels(np.array([30.0, 70.0]), np.array([20.0, 180.0]))
    assert got == pytest.approx(0.2 / math.sqrt((0.21 + 0.09) / 2))


def test_a_difference_of_three_levels_is_that_of_whitened_shares():
    """Independently: the length of the difference after Cholesky's factor of the covariance."""
    one, other = np.array([20.0, 30.0, 50.0]), np.array([25.0, 50.0, 25.0])
    first, second = one / 100, other / 100

    def covariance(shares):
        return np.diag(shares[:2]) - np.outer(shares[:2], shares[:2])

    factor = np.linalg.cholesky((covariance(first) + covariance(second)) / 2)
    whitened = np.linalg.solve(factor, (first - second)[:2])
    assert difference_of_levels(one, other) == pytest.approx(np.linalg.norm(whitened))


def test_differences_that_cannot_be_estimated_are_not_numbers():
    assert math.isnan(difference_of_numbers(np.array([1.0]), np.array([1.0, 2.0])))
    assert math.isnan(difference_of_numbers(np.array([1.0, 1.0]), np.array([2.0, 2.0])))
    assert difference_of_numbers(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0
    assert math.isnan(difference_of_levels(np.zeros(2), np.array([1.0, 2.0])))
    assert math.isnan(difference_of_levels(np.array([3.0, 0.0]), np.array([0.0, 2.0])))
    assert difference_of_levels(np.array([3.0, 0.0]), np.array([4.0, 0.0])) == 0
    assert all(map(math.isnan, difference_interval(math.nan, 5, 5)))
