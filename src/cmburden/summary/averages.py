"""Estimates of the count a participant: its mean, quartiles and maximum.

Most people have no microbleed, so that a median of 0 says little. The mean of those with a
microbleed and the maximum stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd

from cmburden.stats.intervals import clustered_rate
from cmburden.summary.measures import AverageCount
from cmburden.summary.measures.people import Average
from cmburden.summary.rows import NOBODY, Row, row
from cmburden.summary.sampling import INDEPENDENT, Sampling

MEAN = "mean, t interval of its logarithm (95 %; delta method)"
NO_MEAN = "mean; no interval: every count is 0, and the interval of the presence says more"
QUANTILE = "quantile, linear between counts (Hyndman and Fan 1996, type 7); no interval"
WEIGHTED = "least count that the share of the weight does not exceed; no interval"
MAXIMUM = "largest count; no interval"
#: Quantiles by their name.
_QUANTILES: tuple[tuple[Average, float], ...] = (
    ("lower quartile", 0.25),
    ("median", 0.5),
    ("upper quartile", 0.75),
)


def mean(usable: pd.DataFrame, sampling: Sampling, measure: AverageCount) -> Row:
    """Mean count of ``usable`` participants with its interval; null where there is nobody."""
    people, counts = _counted(usable, sampling)
    n = len(counts)
    if not n:
        return row(measure, None, 0, 0, NOBODY)
    weights = sampling.weights_of(people)
    weights = np.ones(n) if weights is None else weights / weights.mean()
    # The residuals of a weighted mean are those of a ratio: weighted counts over weights.
    low, high = clustered_rate(weights * counts, weights, sampling.clusters_of(people))
    how = MEAN if counts.any() else NO_MEAN
    if sampling.cluster is not None:
        how += f"; clusters: {sampling.cluster_words}"
    average = float(weights @ counts / n)
    return row(measure, average, n, n, how + sampling.words_of_weights, low, high)


def rows(usable: pd.DataFrame, sampling: Sampling = INDEPENDENT) -> Iterator[Row]:
    """Mean, quartiles and maximum of ``usable`` participants, and the mean of those with a
    microbleed."""
    yield mean(usable, sampling, AverageCount("mean"))
    positive = (usable["n_cmb"] > 0).fillna(False).astype(bool)
    of_positive = AverageCount("mean", of="those with a microbleed")
    yield mean(usable[positive], sampling, of_positive)
    people, counts = _counted(usable, sampling)
    weights, n = sampling.weights_of(people), len(counts)
    how = QUANTILE if weights is None else f"{WEIGHTED}{sampling.words_of_weights}"
    rule: Literal["linear", "inverted_cdf"] = "linear" if weights is None else "inverted_cdf"
    for name, share in _QUANTILES:
        if n:
            value = np.quantile(counts, share, method=rule, weights=weights)
            yield row(AverageCount(name), value, n, n, how)
        else:
            yield row(AverageCount(name), None, 0, 0, NOBODY)
    largest, how = (counts.max(), MAXIMUM) if n else (None, NOBODY)
    yield row(AverageCount("maximum"), largest, n, n, how)


def _counted(usable: pd.DataFrame, sampling: Sampling) -> tuple[pd.DataFrame, np.ndarray]:
    """Participants with a count and a weight, and their definite microbleeds, int (n,)."""
    inside = sampling.has_weight(usable) & usable["n_cmb"].notna().to_numpy(dtype=bool)
    return usable[inside], usable.loc[inside, "n_cmb"].to_numpy(dtype=np.int64)
