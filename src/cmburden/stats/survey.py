"""Shares and means of people who are clustered, weighted, or both."""

from __future__ import annotations

import math

import numpy as np

from cmburden.stats.intervals import Z95, clustered_wilson, t_quantile, wilson


def effective_number(weights: np.ndarray) -> float:
    """People of equal weights who say as much (Kish 1965).

    >>> effective_number(np.array([1.0, 1.0, 2.0]))
    2.6666666666666665
    """
    return float(weights.sum() ** 2 / (weights**2).sum())


def share(
    positive: np.ndarray, cluster: np.ndarray | None, weights: np.ndarray | None
) -> tuple[float, float, float]:
    """Weighted share of ``positive`` (n,) bool with its 95 % interval.

    ``cluster`` (n,): codes, None: all independent; ``weights`` (n,): None: all alike. The interval
    is Wilson's of the effective number of people: p (1 - p) over the linearised variance, with t
    quantiles of clusters - 1 (Korn and Graubard 1998, Surv Methodol 24:193). At 0 and 1, where no
    variance tells it, that of Kish over clusters. NaN of nobody.

    >>> positive = np.repeat([1.0, 0.0], [30, 70])
    >>> plain, weighted = wilson(30, 100), share(positive, None, np.ones(100))
    >>> f"{plain[0]:.3f} {plain[1]:.3f}; {weighted[1]:.3f} {weighted[2]:.3f}"
    '0.219 0.396; 0.218 0.398'
    """
    n = len(positive)
    if not n:
        return math.nan, math.nan, math.nan
    if weights is None:
        if cluster is None:
            return (float(positive.mean()), *wilson(float(positive.sum()), n))
        return (float(positive.mean()), *clustered_wilson(positive.astype(float), cluster))
    total = weights.sum()
    p = float(weights @ positive / total)
    place = np.arange(n) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    groups = int(place.max()) + 1
    effective = effective_number(np.bincount(place, weights))
    if groups > 1 and 0 < p < 1:
        residual = np.bincount(place, weights * (positive - p))
        variance = groups / (groups - 1) * float((residual**2).sum()) / total**2
        if variance > 0:
            effective = min(p * (1 - p) / variance, float(n))
        effective *= (Z95 / t_quantile(groups - 1)) ** 2
    return (p, *wilson(p * effective, effective))
