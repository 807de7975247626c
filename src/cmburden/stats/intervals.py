"""Confidence intervals of proportions and rates."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, t

#: 97.5th percentile of the standard normal: distance of an end of the 95 % interval from the
#: estimate, in standard errors.
Z95 = 1.959963984540054
#: Probabilities of the ends of a 95 % interval, and the same in per cent.
QUANTILES = (0.025, 0.975)
PERCENTILES = (2.5, 97.5)


def t_quantile(freedom: float) -> float:
    """97.5th percentile of Student's t; that of the normal where ``freedom`` is infinite.

    >>> f"{t_quantile(10):.4f}", t_quantile(math.inf) == Z95
    ('2.2281', True)
    """
    return float(t.ppf(QUANTILES[1], freedom)) if math.isfinite(freedom) else Z95


def median_and_ends(draws: np.ndarray) -> tuple[float, float, float]:
    """Median of draws (n,) of a posterior with the ends of the 95 % interval.

    >>> median_and_ends(np.arange(101.0))
    (50.0, 2.5, 97.5)
    """
    low, high = np.percentile(draws, PERCENTILES)
    return float(np.median(draws)), float(low), float(high)


#: Least degrees of freedom of the interval of a mean count: with fewer the ends say nothing.
_LEAST_FREEDOM = 4


def wilson(positive: float, total: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (Wilson 1927; Newcombe 1998, method 3).

    NaN if ``total`` is 0. statsmodels' ``proportion_confint`` agrees within rounding (a test
    compares the two). Its ends at no and at all positives are not always exactly 0 and 1, and the
    last bits would change in `summary.parquet`. The AGES study's 218 of 1962:

    >>> low, high = wilson(218, 1962)
    >>> f"{low:.3f} {high:.3f}"
    '0.098 0.126'
    """
    if total <= 0:
        return math.nan, math.nan
    share, z2 = positive / total, Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    # The ends are exactly 0 and 1 at no and all positives; rounding would miss them.
    low = 0.0 if positive == 0 else middle - half
    high = 1.0 if positive == total else middle + half
    return low, high


def clustered_wilson(positive: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of lesions that are clustered in participants.

    ``positive`` (n,): 1 or 0 for each lesion; ``cluster`` (n,): its participant. The interval is
    that of n / deff lesions (Rao and Scott, Biometrics 1992;48:577). The design effect deff is the
    variance of the ratio estimate over that of independent lesions, at least 1. Where all are alike
    no variance tells it: a person then counts as one lesion. NaN if n is 0.

    >>> low, high = clustered_wilson(np.repeat([1.0, 0.0], 50), np.repeat([1, 2, 3, 4], 25))
    >>> low < 0.15 < 0.85 < high  # as few as four people say little
    True
    >>> low, _ = clustered_wilson(np.ones(100), np.repeat([1, 2], 50))
    >>> f"{low:.3f}"  # that of 2 of 2
    '0.342'
    """
    n = len(positive)
    if not n:
        return math.nan, math.nan
    fraction = float(np.mean(positive))
    _, index = np.unique(cluster.astype(str), return_inverse=True)
    m = int(index.max()) + 1
    effect = n / m
    if 1 < m < n and 0 < fraction < 1:
        residual = np.bincount(index, positive - fraction)
        variance = m / (m - 1) * float((residual**2).sum()) / n**2
        effect = max(1.0, variance / (fraction * (1 - fraction) / n))
    return wilson(fraction * n / effect, n / effect)


def poisson_interval(number: int, exposure: float) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson rate (Garwood, Biometrika 1936;28:437).

    NaN without exposure. The ends are quantiles of chi2. statsmodels' ``confint_poisson`` takes
    quantiles of gamma, which agree within rounding (a test compares the two), but not in the bits
    of `summary.parquet`.

    >>> low, high = poisson_interval(10, 1.0)
    >>> f"{low:.3f} {high:.3f}"
    '4.795 18.390'
    >>> poisson_interval(0, 2.0)[0], round(poisson_interval(0, 1.0)[1], 3)
    (0.0, 3.689)
    """
    if exposure <= 0:
        return math.nan, math.nan
    below, above = QUANTILES
    low = chi2.ppf(below, 2 * number) / 2 if number else 0.0
    return float(low / exposure), float(chi2.ppf(above, 2 * number + 2) / 2 / exposure)


def mean_count(counts: np.ndarray, cluster: np.ndarray | None = None) -> tuple[float, float]:
    """95 % interval of the mean of skewed counts (n,) of people: that of ``clustered_rate``, a
    person an exposure of 1.

    >>> low, high = mean_count(np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 6]))
    >>> f"{low:.2f} {high:.2f}"  # residuals of variance 3.56
    '0.19 5.24'
    """
    return clustered_rate(counts, np.ones(len(counts)), cluster)


def clustered_rate(
    counts: np.ndarray, exposure: np.ndarray, cluster: np.ndarray | None = None
) -> tuple[float, float]:
    """95 % interval of sum(counts) / sum(exposure): t interval of its logarithm (delta method).

    ``counts`` (n,) and ``exposure`` (n,) of people; ``cluster`` (n,) their cluster, each person's
    own without it. The variance is that of the clusters' residuals, and no less than Poisson's:
    equal counts are no certainty. The degrees of freedom are the clusters with a count above 0,
    less 1, since zeros say next to nothing of the variance (``python -m cmburden.studies.averages``
    has the coverage). NaN where every count is 0: the rate then has no logarithm.
    """
    total, whole = float(np.sum(counts)), float(np.sum(exposure))
    if not total or not whole:
        return math.nan, math.nan
    rate = total / whole
    names = np.arange(len(counts)) if cluster is None else cluster.astype(str)
    _, index = np.unique(names, return_inverse=True)
    m = int(index.max()) + 1
    variance = total / whole**2
    if m > 1:
        residual = np.bincount(index, counts - rate * exposure)
        variance = max(variance, m / (m - 1) * float((residual**2).sum()) / whole**2)
    positive = int((np.bincount(index, counts) > 0).sum())
    far = t_quantile(max(positive - 1, _LEAST_FREEDOM)) * math.sqrt(variance) / rate
    return rate * math.exp(-far), rate * math.exp(far)


def product_interval(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> tuple[float, float]:
    """95 % interval of the product of two independent estimates, each (estimate, low, high).

    Estimates are at least 0. Method of variance estimates recovery on logarithms (Zou and Donner,
    Stat Med 2008;27:1693). An estimate of 0 gives 0 and the product of the upper ends. NaN where an
    end is missing.

    >>> low, high = product_interval((0.3, 0.2, 0.45), (0.8, 0.7, 0.88))
    >>> f"{low:.3f} {high:.3f}"
    '0.157 0.364'
    """
    ends = np.array([first, second], dtype=float)
    if not np.isfinite(ends).all():
        return math.nan, math.nan
    if (ends[:, 0] <= 0).any():
        return 0.0, float(ends[:, 2].prod())
    with np.errstate(divide="ignore"):  # a lower end of 0 is far away
        logs = np.log(ends)
    estimate = float(logs[:, 0].sum())
    low = estimate - float(np.hypot(*(logs[:, 0] - logs[:, 1])))
    high = estimate + float(np.hypot(*(logs[:, 2] - logs[:, 0])))
    return math.exp(low), math.exp(high)


def auc_interval(auc: float, positive: int, negative: int) -> tuple[float, float]:
    """95 % interval of an area under the ROC curve of ``positive`` and ``negative`` cases.

    Score interval of Newcombe (Stat Med 2006;25:559, method 5): the areas whose standard error by
    Hanley and McNeil, with the mean of both numbers in place of each, reaches ``auc``. It has a
    width at 0 and 1. NaN where a kind of case is missing.

    >>> low, high = auc_interval(1.0, 13, 17)
    >>> 0.8 < low < 0.95 and high == 1
    True
    >>> low, high = auc_interval(0.8, 40, 60)
    >>> low < 0.8 < high
    True
    """
    if math.isnan(auc) or min(positive, negative) < 1:
        return math.nan, math.nan
    mean = (positive + negative) / 2 - 1

    def distance(theta: float) -> float:
        spread = 1 + mean * (1 - theta) / (2 - theta) + mean * theta / (1 + theta)
        variance = theta * (1 - theta) * spread / (positive * negative)
        return (auc - theta) ** 2 - Z95**2 * variance

    tiny = 1e-12
    inner = min(max(auc, tiny), 1 - tiny)
    low = brentq(distance, tiny, inner) if distance(tiny) > 0 else 0.0
    high = brentq(distance, inner, 1 - tiny) if distance(1 - tiny) > 0 else 1.0
    return float(low), float(high)
