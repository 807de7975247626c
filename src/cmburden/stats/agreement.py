"""Agreement of counts and decisions with the truth or with each other, each with its source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from cmburden.stats.intervals import QUANTILES

#: Limits of agreement lie so many standard deviations from the bias (Bland and Altman 1999, Stat
#: Methods Med Res 8:135); rounded as there, so not ``intervals.Z95``.
_LIMITS_SD = 1.96
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
    """Cohen's kappa of two readers' ratings, with the large-sample interval.

    ``weights``: None, 'linear' or 'quadratic' over the ranks of ``levels`` (given in their order;
    without them, the sorted values that occur). Cohen 1960, 1968; standard error by Fleiss, Cohen
    and Everitt 1969, Psychol Bull 72:323 (statsmodels). NaN where chance alone agrees fully; the
    interval is cut at -1 and 1.

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
    result = cohens_kappa(table, wt=weights)
    return Estimate(
        float(result.kappa),
        float(max(result.kappa_low, -1)),
        float(min(result.kappa_upp, 1)),
        len(first),
    )


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
