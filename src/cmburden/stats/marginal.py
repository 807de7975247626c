"""Marginal (standardised) prevalences and Wald tests of a fitted model."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from cmburden.stats.intervals import t_quantile


def standardised(
    params: np.ndarray,
    covariance: np.ndarray,
    matrix: np.ndarray,
    weights: np.ndarray | None = None,
    freedom: float = np.inf,
) -> tuple[float, float, float]:
    """Mean probability of a logistic model over the rows of ``matrix`` (n, k), with 95 % interval.

    ``matrix`` holds the covariates of everybody with one of them set to a level (Lane and Nelder
    1982). The interval is of the logit, by the delta method.

    >>> mean, low, high = standardised(np.zeros(1), np.full((1, 1), 0.04), np.ones((5, 1)))
    >>> f"{mean:.3f} {low:.3f} {high:.3f}"
    '0.500 0.403 0.597'
    """
    mean = expit(matrix @ params)
    value = float(np.average(mean, weights=weights))
    slope = np.average(matrix * (mean * (1 - mean))[:, None], axis=0, weights=weights)
    error = float(np.sqrt(max(slope @ covariance @ slope, 0.0)))
    centre, half = logit(value), t_quantile(freedom) * error / (value * (1 - value))
    return value, float(expit(centre - half)), float(expit(centre + half))


def wald(
    params: np.ndarray, covariance: np.ndarray, places: np.ndarray, freedom: float = np.inf
) -> tuple[float, float]:
    """Chi-squared that the parameters at ``places`` (q,) are all 0, and its p value.

    With finite ``freedom`` the p value is of F = chi-squared / q with q and ``freedom`` degrees.

    >>> statistic, p = wald(np.array([0.0, 1.96]), np.eye(2), np.array([1]))
    >>> f"{statistic:.2f} {p:.3f}"
    '3.84 0.050'
    """
    part = params[places]
    statistic = float(part @ np.linalg.solve(covariance[np.ix_(places, places)], part))
    q = len(places)
    p = (
        stats.f.sf(statistic / q, q, freedom)
        if np.isfinite(freedom)
        else stats.chi2.sf(statistic, q)
    )
    return statistic, float(p)
