"""Random-effects pooling of the estimates of several cohorts, by statsmodels.

The variance between cohorts is Paule and Mandel's (1982); the interval of the mean is Hartung,
Knapp, Sidik and Jonkman's (IntHout et al. 2014, BMC Med Res Methodol 14:25), never narrower than
without their factor; the prediction interval is Higgins, Thompson and Spiegelhalter's (2009).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import t

from cmburden.stats.intervals import QUANTILES

#: A prediction interval has k - 2 degrees of freedom.
_FEWEST_TO_PREDICT = 3


@dataclasses.dataclass(frozen=True)
class Pooled:
    """Mean effect with its 95 % interval, and heterogeneity. ``i2`` is a share.

    ``predicted``: ends of the 95 % interval of the effect in another cohort, NaN of two cohorts.
    """

    mean: float
    low: float
    high: float
    tau2: float
    i2: float
    q: float
    predicted: tuple[float, float]


def pool(effects: np.ndarray, errors: np.ndarray) -> Pooled:
    """Pool ``effects`` (k,) with standard ``errors`` (k,), k of 2 or more.

    >>> same = pool(np.array([0.5, 0.5, 0.5]), np.array([0.1, 0.1, 0.1]))
    >>> f"{same.mean:.3f} {same.i2:.3f} {same.tau2:.3f}"
    '0.500 0.000 0.000'
    """
    from statsmodels.stats.meta_analysis import combine_effects

    k = len(effects)
    with np.errstate(divide="ignore", invalid="ignore"):  # of equal effects
        result = combine_effects(effects, errors**2, method_re="iterated", use_t=True)
    tau2 = max(float(result.tau2), 0.0)
    weights = 1 / (errors**2 + tau2)
    mean = float((weights * effects).sum() / weights.sum())
    scale = max(1.0, float((weights * (effects - mean) ** 2).sum() / (k - 1)))
    error = float(np.sqrt(scale / weights.sum()))
    low, high = mean + error * t.ppf(QUANTILES, k - 1)
    q = float(result.q)
    predicted = (np.nan, np.nan)
    if k >= _FEWEST_TO_PREDICT:
        spread = np.sqrt(tau2 + error**2)
        ends = mean + spread * t.ppf(QUANTILES, k - 2)
        predicted = (float(ends[0]), float(ends[1]))
    i2 = max(0.0, (q - (k - 1)) / q) if q > 0 else 0.0
    return Pooled(mean, float(low), float(high), tau2, i2, q, predicted)
