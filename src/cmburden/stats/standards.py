"""Direct standardisation of a share, the interval of it, and standardised differences of groups."""

from __future__ import annotations

import math

import numpy as np

from cmburden.stats.intervals import Z95, wilson


def standardised_share(
    positive: np.ndarray, total: np.ndarray, weight: np.ndarray
) -> tuple[float, float, float]:
    """Directly standardised share with its 95 % interval.

    ``positive``, ``total``, ``weight`` (k,): of each cell, all totals above 0; weights need not add
    up to 1. The interval puts Wilson's intervals of the cells together (MOVER: Zou, Huang and
    Zhang, Comput Stat Data Anal 2009;53:1080; Yan and Su, Stat Biopharm Res 2010;2:329). It stays
    within 0 and 1 and has a width where no cell has a positive, or all have.

    Without weights to speak of (one cell) it is Wilson's interval:

    >>> share, low, high = standardised_share(np.array([218]), np.array([1962]), np.array([3.0]))
    >>> f"{share:.3f} {low:.3f} {high:.3f}"
    '0.111 0.098 0.126'
    >>> share, low, high = standardised_share(np.zeros(2), np.array([20, 20]), np.array([1.0, 1.0]))
    >>> (share, low, round(high, 3))
    (0.0, 0.0, 0.114)
    """
    weight = weight / weight.sum()
    shares = positive / total
    ends = np.array([wilson(float(p), float(n)) for p, n in zip(positive, total, strict=True)])
    estimate = float(weight @ shares)
    below = math.sqrt(float((weight**2) @ (shares - ends[:, 0]) ** 2))
    above = math.sqrt(float((weight**2) @ (ends[:, 1] - shares) ** 2))
    return estimate, max(estimate - below, 0.0), min(estimate + above, 1.0)


def difference_of_numbers(one: np.ndarray, other: np.ndarray) -> float:
    """Standardised difference of the means of two groups (Austin, Stat Med 2009;28:3083).

    The difference in units of the root of the mean of both variances. NaN where a group has fewer
    than two values, or nobody differs but the groups do.

    >>> difference_of_numbers(np.array([1.0, 3.0]), np.array([0.0, 2.0]))
    0.7071067811865475
    """
    if min(len(one), len(other)) < 2:
        return math.nan
    apart = float(one.mean() - other.mean())
    spread = math.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)
    if spread == 0:
        return 0.0 if apart == 0 else math.nan
    return apart / spread


def difference_of_levels(one: np.ndarray, other: np.ndarray) -> float:
    """Standardised difference of a variable of k levels, at least 0 (Yang and Dalton, SAS Global
    Forum 2012, paper 335).

    ``one``, ``other`` (k,): numbers of people by level. For two levels it is Austin's
    |p1 - p2| / sqrt((p1 (1 - p1) + p2 (1 - p2)) / 2). NaN where a group is empty or where the
    groups share no level.

    >>> half = difference_of_levels(np.array([30, 70]), np.array([50, 50]))
    >>> f"{half:.4f} {0.2 / math.sqrt((0.21 + 0.25) / 2):.4f}"
    '0.4170 0.4170'
    """
    if not one.sum() or not other.sum():
        return math.nan
    used = (one + other) > 0
    first, second = one[used] / one.sum(), other[used] / other.sum()
    if len(first) == 1:
        return 0.0
    if not (first * second).any():
        return math.nan
    apart = (first - second)[1:]
    covariance = (_covariance(first) + _covariance(second)) / 2
    # A level that only one group has leaves the covariance regular; rounding alone may not.
    return math.sqrt(max(float(apart @ np.linalg.pinv(covariance, hermitian=True) @ apart), 0.0))


def difference_interval(difference: float, one: int, other: int) -> tuple[float, float]:
    """95 % interval of a standardised difference of means of groups of two sizes (Hedges and Olkin,
    Statistical Methods for Meta-Analysis, 1985, p. 86).

    >>> low, high = difference_interval(0.5, 50, 50)
    >>> f"{low:.3f} {high:.3f}"
    '0.102 0.898'
    """
    if math.isnan(difference) or not one or not other:
        return math.nan, math.nan
    error = math.sqrt((one + other) / (one * other) + difference**2 / (2 * (one + other)))
    return difference - Z95 * error, difference + Z95 * error


def _covariance(shares: np.ndarray) -> np.ndarray:
    """Covariance of the shares of a multinomial, without the first level."""
    rest = shares[1:]
    return np.diag(rest) - np.outer(rest, rest)
