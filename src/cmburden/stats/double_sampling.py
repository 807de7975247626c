"""Estimates for a cohort of which a part was read: double sampling, stratified by an auxiliary.

The software's result is known of everybody (phase 1) and puts people into classes; readers know the
truth of a random part of each class (phase 2). With the two classes "called" and "not called" the
share is Tenenbein's (JASA 1970;65:1350): P(called) PPV + P(not called) (1 - NPV).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from cmburden.stats.intervals import Z95, t_quantile, wilson

#: Least share by which the software's word on a class is doubted, before readers say otherwise.
_LEAST_DOUBT = 0.02
#: The same where the reading is shared out: scans with many microbleeds, whose presence is clear,
#: are needed for the mean count.
_LEAST_DOUBT_OF_COUNTS = 0.05


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimate with its 95 % interval. ``effective``: the number of people of whom a simple
    random sample, read by the readers, would be as precise."""

    estimate: float
    ci_low: float
    ci_high: float
    effective: float


NOTHING = Estimate(math.nan, math.nan, math.nan, math.nan)


def variance(within: np.ndarray, total: float, read: np.ndarray, sizes: np.ndarray) -> float:
    """Variance of a stratified double-sampling mean (Cochran 1977, Sampling techniques, 12.2).

    ``within`` (classes,): variance of a value in each class; ``total``: in the population; ``read``
    and ``sizes`` (classes,): people read, and people of the cohort. Classes of nobody add nothing;
    a class of which nobody was read makes it infinite.

    Of people read in proportion it is Tenenbein's, pq (1 - K) / n + pq K / N, with K the squared
    correlation of truth and call. Here p is 0.2, sensitivity 0.8, specificity 0.9:

    >>> sizes, read, share = np.array([240, 760]), np.array([24, 76]), np.array([2 / 3, 1 / 19])
    >>> f"{variance(share * (1 - share), 0.16, read, sizes):.6f}"
    '0.000981'
    >>> k = (0.16 - 0.2 * 0.24) ** 2 / (0.16 * 0.24 * 0.76)
    >>> f"{0.16 * (1 - k) / 100 + 0.16 * k / 1000:.6f}"
    '0.000981'
    """
    some = sizes > 0
    if (read[some] == 0).any():
        return math.inf
    weight = sizes[some] / sizes.sum()
    unread = 1 / read[some] - 1 / sizes[some]
    return float(total / sizes.sum() + (weight**2 * within[some] * unread).sum())


def share(
    positive: np.ndarray,
    read: np.ndarray,
    sizes: np.ndarray,
    expected: np.ndarray | None = None,
) -> Estimate:
    """Share of positive people, of whom a part was read.

    ``positive``, ``read``, ``sizes`` (classes,): people read who are positive, people read, people
    of the cohort. The interval is Wilson's at the effective number of people (Franco, Little, Louis
    and Slud, J Surv Stat Methodol 2019;7:334), in whose variance each class has one person more: no
    class is certain for a few people alike. This person is positive with the share ``expected``
    (classes,) of the class, without it with that of all people read. NaN where a class with people
    has nobody read.

    All read is Wilson's interval, as nearly as the person more allows:

    >>> one = share(np.array([30, 3]), np.array([50, 150]), np.array([50, 150]))
    >>> f"{one.estimate:.3f} ({one.ci_low:.3f}-{one.ci_high:.3f}), {one.effective:.0f}"
    '0.165 (0.120-0.223), 200'
    >>> none = share(np.array([0, 0]), np.array([20, 30]), np.array([200, 800]))
    >>> none.estimate, none.ci_low, none.ci_high > 0.05
    (0.0, 0.0, True)
    """
    total = int(sizes.sum())
    if not total or (read[sizes > 0] == 0).any():
        return NOTHING
    weight = sizes / total
    estimate = float((weight * positive / np.maximum(read, 1)).sum())
    if expected is None:
        expected = np.full(len(sizes), (positive.sum() + 0.5) / (read.sum() + 1))
    doubted = (positive + np.clip(expected, _LEAST_DOUBT, 1 - _LEAST_DOUBT)) / (read + 1)
    middle = float((weight * doubted).sum())
    spread = variance(doubted * (1 - doubted), middle * (1 - middle), read, sizes)
    effective = min(middle * (1 - middle) / spread, float(total))
    low, high = wilson(estimate * effective, effective)
    return Estimate(estimate, max(low, 0.0), min(high, 1.0), effective)


def mean(
    values: np.ndarray, auxiliary: np.ndarray, classes: np.ndarray, read: np.ndarray
) -> Estimate:
    """Mean of a count of the readers', by the difference estimator within classes.

    ``values`` (k,): the readers' count of people read; ``auxiliary``, ``classes``, ``read`` (n,):
    the software's count, the class from 0, and whether read, of everybody. The estimate is the mean
    of the software plus that of the difference, each class weighted (Cochran 1977, 7.10 with a
    slope of 1: unbiased, whatever the counts). The interval is of t for the logarithm, since counts
    are skew. NaN where a class has nobody read, or where the estimate is not above 0.

    >>> software = np.array([0, 0, 2, 4.0])
    >>> e = mean(np.array([0, 3.0]), software, np.array([0, 0, 1, 1]), np.array([1, 0, 1, 0]) > 0)
    >>> e.estimate  # 1.5, and half of the people have one more
    2.0
    """
    count = int(classes.max()) + 1 if len(classes) else 0
    sizes = np.bincount(classes, minlength=count)
    drawn = np.bincount(classes[read], minlength=count)
    if not len(classes) or (drawn[sizes > 0] == 0).any() or not values.any():
        return NOTHING
    weight = sizes / sizes.sum()
    own = classes[read]
    difference = values - auxiliary[read]
    of_class = np.bincount(own, difference, count) / np.maximum(drawn, 1)
    estimate = float(auxiliary.mean() + (weight * of_class).sum())
    if not estimate > 0:
        return NOTHING
    per_read = (weight / np.maximum(drawn, 1))[own]
    centred = auxiliary[read] - auxiliary.mean()
    apart = difference - (weight * of_class).sum()
    total = float(auxiliary.var() + (per_read * apart * (apart + 2 * centred)).sum())
    within = _spread(difference - of_class[own], values, own, drawn)
    total = max(total, float((weight * within).sum()))
    error = math.sqrt(variance(within, total, drawn, sizes))
    freedom = max(int(drawn.sum()) - int((drawn > 0).sum()), 1)
    factor = math.exp(t_quantile(freedom) * error / estimate)
    effective = min(total / error**2, float(sizes.sum()))
    return Estimate(estimate, estimate / factor, estimate * factor, effective)


def _spread(
    centred: np.ndarray, values: np.ndarray, classes: np.ndarray, read: np.ndarray
) -> np.ndarray:
    """Variance of ``centred`` in each class, and no less than that of a presence as doubted."""
    spread = np.bincount(classes, centred**2, len(read)) / np.maximum(read - 1, 1)
    positive = np.bincount(classes, values > 0, len(read))
    overall = (positive.sum() + 0.5) / (read.sum() + 1)
    doubted = (positive + overall) / (read + 1)
    return np.maximum(spread, doubted * (1 - doubted))


# --- planning ---


def allocation(expected: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Share of the reading that each class gets: Neyman's (1934), by size times deviation.

    ``expected``, ``sizes`` (classes,): the share of positive people expected, and people.

    >>> allocation(np.array([0.5, 0.02]), np.array([100, 900])).round(2).tolist()
    [0.28, 0.72]
    """
    doubted = np.clip(expected, _LEAST_DOUBT, 1 - _LEAST_DOUBT_OF_COUNTS)
    parts = sizes * np.sqrt(doubted * (1 - doubted))
    return parts / parts.sum() if parts.sum() else np.zeros(len(sizes))


def planned_width(number: int, expected: np.ndarray, sizes: np.ndarray) -> float:
    """Width of the 95 % interval of the share that is expected of ``number`` people read.

    ``expected``, ``sizes`` (classes,) as in ``allocation``. NaN for fewer people than classes.
    """
    doubted = np.clip(expected, _LEAST_DOUBT, 1 - _LEAST_DOUBT)
    parts = allocation(expected, sizes)
    if number < int((sizes > 0).sum()):
        return math.nan
    read = np.minimum(np.maximum(number * parts, 1.0), sizes)
    middle = float((sizes * doubted).sum() / sizes.sum())
    spread = variance(doubted * (1 - doubted), middle * (1 - middle), read, sizes)
    return 2 * Z95 * math.sqrt(spread)


def number_to_read(width: float, expected: np.ndarray, sizes: np.ndarray) -> int | None:
    """Fewest people to read for a 95 % interval of the share of at most ``width``.

    ``expected``, ``sizes`` (classes,) as in ``allocation``. None where reading everybody is not
    enough: the cohort itself is then too small.

    >>> number_to_read(0.12, np.array([0.6, 0.04]), np.array([276, 724]))
    88
    >>> number_to_read(0.01, np.array([0.6, 0.04]), np.array([276, 724])) is None
    True
    """
    low, high = int((sizes > 0).sum()) - 1, int(sizes.sum())
    if high <= low or not planned_width(high, expected, sizes) <= width:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if planned_width(middle, expected, sizes) <= width:
            high = middle
        else:
            low = middle
    return high
