"""Agreement of counts and decisions with the truth or with each other, each with its source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from cmburden.stats.intervals import QUANTILES, clustered_wilson, t_quantile, wilson

#: Limits of agreement lie so many standard deviations from the bias (Bland and Altman 1999, Stat
#: Methods Med Res 8:135); rounded as there, so not ``intervals.Z95``.
_LIMITS_SD = 1.96
#: Levels of a presence.
_TWO = 2
#: Draws of a posterior.
_DRAWS = 4000
#: Error variance below this share of the variance between subjects is rounding.
_NO_ERROR = 1e-12


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimate with its 95 % interval; NaN where there is none. ``n``: subjects."""

    estimate: float
    ci_low: float
    ci_high: float
    n: int


def auc(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """Area under the ROC curve by ranks (Hanley and McNeil 1982), ties counted half.

    NaN where there are no positives or no negatives. Not scikit-learn's ``roc_auc_score``, which
    gives the same (a test compares) but takes 70 times as long, in each draw of the bootstrap.

    >>> auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    of_all, is_positive = np.asarray(scores, float), np.asarray(positive, bool)
    n1, n0 = int(is_positive.sum()), int((~is_positive).sum())
    if not n1 or not n0:
        return math.nan
    negatives = np.sort(of_all[~is_positive])
    below = np.searchsorted(negatives, of_all[is_positive], side="left")
    upto = np.searchsorted(negatives, of_all[is_positive], side="right")
    return float((below + upto).sum() / (2 * n1 * n0))


def icc(ratings: np.ndarray) -> Estimate:
    """ICC(2,1): two-way random effects, absolute agreement, single rating.

    Shrout and Fleiss 1979, Psychol Bull 86:420; the interval as in McGraw and Wong 1996.
    ``ratings``: (subjects, raters), without missing values. ``n``: subjects. NaN where nothing
    varies.
    """
    ratings = np.asarray(ratings, float)
    n, k = ratings.shape
    if n < 2 or k < 2:
        return Estimate(math.nan, math.nan, math.nan, n)
    grand = ratings.mean()
    between = k * ((ratings.mean(axis=1) - grand) ** 2).sum() / (n - 1)
    raters = n * ((ratings.mean(axis=0) - grand) ** 2).sum() / (k - 1)
    residual = (
        ratings - ratings.mean(axis=1, keepdims=True) - ratings.mean(axis=0, keepdims=True) + grand
    )
    error = (residual**2).sum() / ((n - 1) * (k - 1))
    below = between + (k - 1) * error + k * (raters - error) / n
    if not below > 0:
        return Estimate(math.nan, math.nan, math.nan, n)
    value = float((between - error) / below)
    # Where raters differ by a constant at most, F has no upper end.
    if not error > _NO_ERROR * between:
        return Estimate(value, math.nan, math.nan, n)
    # Degrees of freedom by Satterthwaite, of the sum of squares that ICC(2,1) divides by.
    ratio = raters / error
    rest = n * (1 + (k - 1) * value) - k * value
    freedom = (
        (k - 1)
        * (n - 1)
        * (k * value * ratio + rest) ** 2
        / ((n - 1) * (k * value * ratio) ** 2 + rest**2)
    )
    _, above = QUANTILES
    upper = stats.f.ppf(above, n - 1, freedom)
    lower = stats.f.ppf(above, freedom, n - 1)
    spread = k * raters + (k * n - k - n) * error
    return Estimate(
        value,
        float(n * (between - upper * error) / (upper * spread + n * between)),
        float(n * (lower * between - error) / (spread + n * lower * between)),
        n,
    )


def kappa(
    first: Sequence[Any],
    second: Sequence[Any],
    weights: str | None = None,
    levels: Sequence[Any] | None = None,
) -> Estimate:
    """Cohen's kappa of two readers' ratings, with a 95 % interval.

    ``weights``: None, 'linear' or 'quadratic' over the ranks of ``levels`` (given in their order;
    without them, the sorted values that occur). Cohen 1960, 1968. The interval of two levels is
    that of its posterior (``_drawn``). Of more levels it has the standard error of
    Fleiss, Cohen and Everitt 1969, Psychol Bull 72:323 (statsmodels) and is cut at -1 and 1; where
    all agree this error is 0, and the lower end is that of the agreement by Wilson
    (``_all_agree``). NaN where chance alone agrees fully.

    Raises
    ------
    ValueError
        Where the ratings differ in number, or one is none of ``levels``.
    """
    # Imported here: most commands do not need statsmodels.
    from statsmodels.stats.inter_rater import cohens_kappa

    first, second = list(first), list(second)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} ratings: give one of each a subject")
    ordered = sorted(set(first) | set(second)) if levels is None else list(levels)
    place = {level: number for number, level in enumerate(ordered)}
    if unknown := sorted({str(v) for v in (*first, *second) if v not in place}):
        raise ValueError(f"ratings {unknown} are none of {ordered}")
    table = np.zeros((len(ordered), len(ordered)))
    np.add.at(table, ([place[v] for v in first], [place[v] for v in second]), 1)
    if _chance_agrees_fully(table):
        return Estimate(math.nan, math.nan, math.nan, len(first))
    value = float(cohens_kappa(table, wt=weights, return_results=False))
    if len(ordered) == _TWO:
        low, high = _drawn(table, value)
    elif np.trace(table) == table.sum():
        low, high = _all_agree(table), 1.0
    elif np.count_nonzero(table.sum(axis=0)) == 1 or np.count_nonzero(table.sum(axis=1)) == 1:
        # A reader who gives one rating only has a kappa of 0, with an error of 0.
        low = high = math.nan
    else:
        result = cohens_kappa(table, wt=weights)
        low, high = float(max(result.kappa_low, -1)), float(min(result.kappa_upp, 1))
    return Estimate(value, low, high, len(first))


def _all_agree(table: np.ndarray) -> float:
    """Lower end of kappa where all agree: Wilson's of the agreement, corrected for chance.

    The disagreement that may have been missed has the weight that disagreement by chance has, so
    that weights cancel.
    """
    n = table.sum()
    by_chance = float((table.sum(axis=1) * table.sum(axis=0)).sum() / n**2)
    low, _ = wilson(n, n)
    return float((low - by_chance) / (1 - by_chance))


def _drawn(table: np.ndarray, kappa: float) -> tuple[float, float]:
    """Ends of the interval of ``kappa`` of a 2 x 2 table of counts, from its posterior.

    The four shares have Jeffreys' prior (Dirichlet, 1/2 each; Basu, Banerjee and Sen 2000,
    Biometrics 56:577). Where all agree the upper end is 1, as Brown, Cai and DasGupta (2001) have
    that of a binomial share. Its ends lie within 0.06 of those of Donner and Eliasziw's
    goodness-of-fit interval (1992, Stat Med 11:1511), and it needs no equal shares of both readers.
    """
    shares = np.random.default_rng(0).dirichlet(table.ravel() + 0.5, _DRAWS)
    agree = shares[:, 0] + shares[:, 3]
    first, second = shares[:, 0] + shares[:, 1], shares[:, 0] + shares[:, 2]
    by_chance = first * second + (1 - first) * (1 - second)
    low, high = np.quantile((agree - by_chance) / (1 - by_chance), QUANTILES)
    n_agree = np.trace(table)
    high = 1.0 if n_agree == table.sum() else max(float(high), kappa)
    return (-1.0 if not n_agree else min(float(low), kappa)), high


@dataclasses.dataclass(frozen=True)
class Binary:
    """Agreement of two readers on a presence, beside kappa.

    ``positive`` and ``negative``: Cicchetti and Feinstein 1990 (J Clin Epidemiol 43:551).
    ``pabak``: kappa at a prevalence of one half without bias (Byrt, Bishop and Carlin 1993, J Clin
    Epidemiol 46:423). ``n`` of an estimate: subjects that it rests on.
    """

    positive: Estimate
    negative: Estimate
    pabak: Estimate


def binary(first: Sequence[bool], second: Sequence[bool]) -> Binary:
    """Positive and negative agreement, and PABAK; NaN where nobody is positive, or negative.

    Feinstein and Cicchetti's paradox (1990): 0.85 agree, kappa is 0.70 or 0.32.

    >>> yes, no = [True], [False]
    >>> one = binary(yes * 80 + yes * 10 + no * 5 + no * 5, yes * 80 + no * 10 + yes * 5 + no * 5)
    >>> [round(e.estimate, 2) for e in (one.positive, one.negative, one.pabak)]
    [0.91, 0.4, 0.7]
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    agree = int((a == b).sum())
    low, high = wilson(agree, len(a))
    middle = 2 * agree / len(a) - 1 if len(a) else math.nan
    return Binary(
        specific_agreement(a, b),
        specific_agreement(~a, ~b),
        Estimate(middle, 2 * low - 1, 2 * high - 1, len(a)),
    )


def specific_agreement(
    first: np.ndarray, second: np.ndarray, cluster: np.ndarray | None = None
) -> Estimate:
    """Of what either reader holds for positive, 2 both / (2 both + one): Dice's index, or F1.

    ``first``, ``second`` (n,) bool; ``cluster`` (n,): the participant, where a participant has
    several. The index rises with both / (both + one), a binomial share, so that Wilson's ends of
    the share, clustered where there are clusters, are the ends.

    >>> e = specific_agreement(np.array([True] * 10), np.array([True] * 10))
    >>> f"{e.estimate:.2f} ({e.ci_low:.2f}-{e.ci_high:.2f}), {e.n}"
    '1.00 (0.84-1.00), 10'
    """
    either = first | second
    both = (first & second)[either]
    if not len(both):
        return Estimate(math.nan, math.nan, math.nan, 0)
    if cluster is None:
        ends = wilson(int(both.sum()), len(both))
    else:
        ends = clustered_wilson(both.astype(float), cluster[either])
    middle, low, high = (2 * s / (1 + s) for s in (float(both.mean()), *ends))
    return Estimate(middle, low, high, len(both))


def weighted_kappa(table: np.ndarray, weights: str = "quadratic") -> float:
    """Cohen's weighted kappa of a square table of counts (rows one reader, columns the other).

    ``weights``: 'quadratic' (disagreement grows with the square of the distance) or 'linear'.
    Cohen 1968, Psychol Bull 70:213 (statsmodels). NaN where chance alone agrees fully.
    """
    from statsmodels.stats.inter_rater import cohens_kappa

    if _chance_agrees_fully(table):
        return math.nan
    return float(cohens_kappa(table, wt=weights, return_results=False))


def _chance_agrees_fully(table: np.ndarray) -> bool:
    """Whether both readers give a single and the same rating, or none: kappa is then 0 / 0."""
    expected = np.outer(table.sum(axis=1), table.sum(axis=0))
    return bool(expected.sum() == np.trace(expected))


def bland_altman(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    """Bias of ``first`` against ``second`` and 95 % limits of agreement (Bland and Altman 1986)."""
    difference = np.asarray(first, float) - np.asarray(second, float)
    bias = float(difference.mean()) if len(difference) else math.nan
    spread = float(difference.std(ddof=1)) if len(difference) > 1 else math.nan
    return {"bias": bias, "lower": bias - _LIMITS_SD * spread, "upper": bias + _LIMITS_SD * spread}


@dataclasses.dataclass(frozen=True)
class LogCounts:
    """Ratio of two readers' counts plus one: the geometric mean with its interval, and the 95 %
    limits of agreement of a scan."""

    ratio: Estimate
    lower: float
    upper: float


def log_counts(first: Sequence[int], second: Sequence[int]) -> LogCounts:
    """Bland and Altman's comparison of log(count + 1), as ratios (1999; see ``bland_altman``).

    Differences of counts grow with the count; those of logarithms do not. The interval of the mean
    is that of t. NaN without two scans; no interval where no two scans differ.

    >>> result = log_counts([1, 3, 0, 7], [0, 1, 0, 3])
    >>> f"{result.ratio.estimate:.2f}, limits {result.lower:.2f} to {result.upper:.2f}"
    '1.68, limits 0.85 to 3.32'
    """
    a, b = (np.log1p(np.asarray(v, float)) for v in (first, second))
    limits = bland_altman(a.tolist(), b.tolist())
    n, bias = len(a), limits["bias"]
    low = high = math.nan
    spread = (limits["upper"] - bias) / _LIMITS_SD
    if n > 1 and spread > 0:
        half = t_quantile(n - 1) * spread / math.sqrt(n)
        low, high = math.exp(bias - half), math.exp(bias + half)
    ratio = Estimate(math.exp(bias), low, high, n)
    return LogCounts(ratio, math.exp(limits["lower"]), math.exp(limits["upper"]))


def rogan_gladen(apparent: float, sensitivity: float, specificity: float) -> float:
    """True prevalence from the apparent one (Rogan and Gladen 1978), held within 0 and 1.

    NaN where the test is uninformative (sensitivity + specificity <= 1).

    >>> round(rogan_gladen(0.51, 0.95, 0.57), 3)
    0.154
    """
    information = sensitivity + specificity - 1
    if not information > 0:
        return math.nan
    return float(np.clip((apparent + specificity - 1) / information, 0, 1))


def calibration_bins(p: np.ndarray, bins: int = 10) -> np.ndarray:
    """Number of the bin of each of ``p`` (n,), 0 to ``bins`` - 1.

    Bins are of equal width. An upper edge belongs to the bin below.
    """
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], np.asarray(p, float))


def expected_calibration_error(
    p: np.ndarray,
    truth: np.ndarray,
    least: float = 0.02,
    bins: int = 10,
    weight: np.ndarray | None = None,
) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015) of the probabilities from ``least`` on.

    The mean over candidates of the distance between their bin's mean probability and its share of
    true ones. Clear negatives dominate in number and would make the error look smaller than it is,
    so they are left out. ``p``, ``truth`` and ``weight`` (how often each counts) are (n,). NaN
    without a probability from ``least`` on.

    >>> round(expected_calibration_error(np.array([0.9, 0.9, 0.3]), np.array([1, 0, 0])), 3)
    0.367
    """
    p, truth = np.asarray(p, float), np.asarray(truth, float)
    weight = np.ones(len(p)) if weight is None else np.asarray(weight, float)
    judged = p >= least
    p, truth, weight = p[judged], truth[judged], weight[judged]
    if not weight.sum() > 0:
        return math.nan
    number = calibration_bins(p, bins)
    expected, observed = (np.bincount(number, weight * values, bins) for values in (p, truth))
    return float(np.abs(expected - observed).sum() / weight.sum())


def calibration_error_by_chance(
    p: np.ndarray, seed: int, least: float = 0.02, bins: int = 10, draws: int = 1000
) -> tuple[float, float]:
    """Mean and 95th percentile of the expected calibration error of a calibrated model.

    Truths are drawn independently with the probabilities ``p`` (n,). Their error is above zero,
    since few candidates miss their share by chance (Kumar et al., NeurIPS 2019).
    """
    p = np.asarray(p, float)
    p = p[p >= least]
    if not len(p):
        return math.nan, math.nan
    random = np.random.default_rng(seed)
    errors = [
        expected_calibration_error(p, random.random(len(p)) < p, least, bins) for _ in range(draws)
    ]
    return float(np.mean(errors)), float(np.quantile(errors, 0.95))
