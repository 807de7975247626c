"""Estimates of the count a participant: its mean, quartiles and maximum.

Most people have no microbleed, so that a median of 0 says little. The mean of those with a
microbleed and the maximum stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from cmburden.stats.intervals import mean_count
from cmburden.summary.measures import AverageCount
from cmburden.summary.measures.people import Average
from cmburden.summary.rows import NOBODY, Row, row

MEAN = "mean, t interval of its logarithm (95 %; delta method)"
NO_MEAN = "mean; no interval: every count is 0, and the interval of the presence says more"
QUANTILE = "quantile, linear between counts (Hyndman and Fan 1996, type 7); no interval"
MAXIMUM = "largest count; no interval"
#: Quantiles by their name.
_QUANTILES: tuple[tuple[Average, float], ...] = (
    ("lower quartile", 0.25),
    ("median", 0.5),
    ("upper quartile", 0.75),
)


def mean(counts: np.ndarray, measure: AverageCount) -> Row:
    """Mean of ``counts`` (n,) with its interval; null where there is nobody."""
    n = len(counts)
    if not n:
        return row(measure, None, 0, 0, NOBODY)
    low, high = mean_count(counts)
    return row(measure, counts.mean(), n, n, MEAN if counts.any() else NO_MEAN, low, high)


def rows(usable: pd.DataFrame) -> Iterator[Row]:
    """Mean, quartiles and maximum of ``usable`` participants, and the mean of those with a
    microbleed."""
    counts = counts_of(usable)
    n, positive = len(counts), counts[counts > 0]
    yield mean(counts, AverageCount("mean"))
    yield mean(positive, AverageCount("mean", of="those with a microbleed"))
    for name, share in _QUANTILES:
        value, how = (np.quantile(counts, share), QUANTILE) if n else (None, NOBODY)
        yield row(AverageCount(name), value, n, n, how)
    largest, how = (counts.max(), MAXIMUM) if n else (None, NOBODY)
    yield row(AverageCount("maximum"), largest, n, n, how)


def counts_of(usable: pd.DataFrame) -> np.ndarray:
    """Definite microbleeds of participants with a count, int (n,)."""
    return usable["n_cmb"].dropna().to_numpy(dtype=np.int64)
