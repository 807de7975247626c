"""Intervals of an evaluation that have a width at 0 and 1, where a bootstrap has none.

Shares of lesions, candidates and scans are clustered in participants: Wilson's interval on the
effective number of cases (Rao and Scott 1992).
"""

from __future__ import annotations

import math

import numpy as np

from cmburden.stats.intervals import clustered_wilson, poisson_interval

Estimate = dict[str, float]
#: Lower and upper end.
Ends = tuple[float, float]


def of_counts(positive: np.ndarray, total: np.ndarray, person: np.ndarray) -> Ends:
    """95 % interval of sum(positive) / sum(total), numbers of cases of scans (n,) of ``person``.

    >>> ones = np.ones(54, int)
    >>> low, high = of_counts(ones, ones, np.arange(54))
    >>> f"{low:.3f} {high:.3f}"
    '0.934 1.000'
    """
    part, whole = positive.astype(int), total.astype(int)
    numbers = np.column_stack([part, whole - part]).ravel()
    right = np.repeat(np.tile([1.0, 0.0], len(part)), numbers)
    return clustered_wilson(right, np.repeat(person, whole))


def estimate(positive: np.ndarray, total: np.ndarray, person: np.ndarray) -> Estimate:
    """The share with its interval, NaN without a case."""
    whole = float(total.sum())
    low, high = of_counts(positive, total, person)
    share = float(positive.sum()) / whole if whole else math.nan
    return {"estimate": share, "ci_low": low, "ci_high": high}


def f1(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, person: np.ndarray) -> Ends:
    """95 % interval of F1 = 2 J / (1 + J), J = TP / (TP + FP + FN) a share of all cases.

    >>> ones, none = np.ones(10, int), np.zeros(10, int)
    >>> low, high = f1(ones, none, none, np.arange(10))
    >>> f"{low:.3f} {high:.3f}"  # J: Wilson of 10 of 10, 0.722
    '0.839 1.000'
    """
    low, high = (2 * end / (1 + end) for end in of_counts(tp, tp + fp + fn, person))
    return low, high


def mean_of_two(first: tuple[float, float, float], second: tuple[float, float, float]) -> Ends:
    """95 % interval of the mean of two independent shares, each (estimate, low, high).

    Method of variance estimates recovery (Zou and Donner, Stat Med 2008;27:1693); exact ends of two
    shares of 1 stay at 1.

    >>> low, high = mean_of_two((1.0, 0.8, 1.0), (1.0, 0.9, 1.0))
    >>> f"{low:.3f} {high:.3f}"
    '0.888 1.000'
    """
    middle = (first[0] + second[0]) / 2
    low = math.hypot(first[0] - first[1], second[0] - second[1]) / 2
    high = math.hypot(first[2] - first[0], second[2] - second[0]) / 2
    return middle - low, middle + high


def rate(number: np.ndarray, person: np.ndarray) -> Ends:
    """Exact Poisson interval (Garwood) of false positives a scan; a participant counts as one scan.

    ``number`` (n,) of scans of ``person`` (n,).
    """
    return poisson_interval(int(number.sum()), float(len(np.unique(person))))


def with_ends(made: dict[str, Estimate], ends: dict[str, Ends]) -> dict[str, Estimate]:
    """``made`` with other ends of some intervals."""
    changed = {
        name: {"estimate": made[name]["estimate"], "ci_low": low, "ci_high": high}
        for name, (low, high) in ends.items()
    }
    return made | changed


def at_zero(made: dict[str, Estimate], ends: dict[str, Ends]) -> dict[str, Estimate]:
    """The estimates of ``ends`` that are 0, with these ends."""
    none = {name: one for name, one in ends.items() if made[name]["estimate"] == 0}
    return {name: one for name, one in with_ends(made, none).items() if name in none}


def wider(bootstrap: Estimate, ends: Ends) -> Estimate:
    """The estimate with the outer ends of two intervals: the bootstrap knows of a threshold that
    each draw chooses, the other does not collapse."""
    low = np.fmin(bootstrap["ci_low"], ends[0])
    high = np.fmax(bootstrap["ci_high"], ends[1])
    return {"estimate": bootstrap["estimate"], "ci_low": float(low), "ci_high": float(high)}
