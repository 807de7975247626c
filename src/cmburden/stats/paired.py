"""Differences of two detectors on the same lesions, which are clustered in participants."""

from __future__ import annotations

import math

import numpy as np

from cmburden.stats.intervals import t_quantile


def difference(
    before: np.ndarray, after: np.ndarray, person: np.ndarray
) -> tuple[float, float, float]:
    """Mean of ``after`` - ``before`` (n,) with its 95 % interval.

    ``person`` (n,) says whose each lesion is. The interval is that of the t distribution of people
    - 1 with the variance of the residuals summed by person (linearisation; Binder, Int Stat Rev
    1983;51:279), and no less than that of one lesion that differs: where all are alike no variance
    tells it. NaN of nobody; the ends are NaN of one person.

    >>> hit = np.tile([0.0, 1.0], 50)
    >>> [round(x, 2) for x in difference(hit, np.ones(100), np.repeat(np.arange(10), 10))]
    [0.5, 0.48, 0.52]
    """
    n = len(before)
    if not n:
        return math.nan, math.nan, math.nan
    change = after.astype(float) - before.astype(float)
    mean = float(change.mean())
    _, index = np.unique(person.astype(str), return_inverse=True)
    people = int(index.max()) + 1
    if people < 2:
        return mean, math.nan, math.nan
    residual = np.bincount(index, change - mean)
    variance = people / (people - 1) * float((residual**2).sum()) / n**2
    half = t_quantile(people - 1) * math.sqrt(max(variance, n**-2.0))
    return mean, mean - half, mean + half
