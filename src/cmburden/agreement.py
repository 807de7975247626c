"""Measures of agreement between a count or a decision and the truth, each with its source."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def auc(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """Area under the ROC curve by ranks (Hanley and McNeil 1982), ties counted half.

    NaN where there are no positives or no negatives.

    >>> auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    scores, positive = np.asarray(scores, float), np.asarray(positive, bool)
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return math.nan
    order = np.sort(scores[~positive])
    below = np.searchsorted(order, scores[positive], side="left")
    upto = np.searchsorted(order, scores[positive], side="right")
    return float((below + upto).sum() / (2 * n1 * n0))


def icc_2_1(ratings: np.ndarray) -> float:
    """ICC(2,1): two-way random effects, absolute agreement, single rating.

    ``ratings`` has shape (subjects, raters). Shrout and Fleiss 1979, Psychol Bull 86:420.
    NaN where nothing varies.
    """
    ratings = np.asarray(ratings, float)
    n, k = ratings.shape
    if n < 2:
        return math.nan
    grand = ratings.mean()
    between = k * ((ratings.mean(axis=1) - grand) ** 2).sum() / (n - 1)
    raters = n * ((ratings.mean(axis=0) - grand) ** 2).sum() / (k - 1)
    total = ((ratings - grand) ** 2).sum()
    error = (total - between * (n - 1) - raters * (k - 1)) / ((n - 1) * (k - 1))
    below = between + (k - 1) * error + k * (raters - error) / n
    return float((between - error) / below) if below > 0 else math.nan


def weighted_kappa(table: np.ndarray, weights: str = "quadratic") -> float:
    """Cohen's weighted kappa of a square table of counts (rows one reader, columns the other).

    ``weights``: 'quadratic' (disagreement grows with the square of the distance) or 'linear'.
    Cohen 1968, Psychol Bull 70:213. NaN where chance alone agrees fully.
    """
    table = np.asarray(table, float)
    size = len(table)
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    cost = distance**2 if weights == "quadratic" else distance
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    chance = (cost * expected).sum()
    return float(1 - (cost * table).sum() / chance) if chance > 0 else math.nan


def bland_altman(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    """Bias of ``first`` against ``second`` and 95 % limits of agreement (Bland and Altman 1986)."""
    difference = np.asarray(first, float) - np.asarray(second, float)
    bias = float(difference.mean()) if len(difference) else math.nan
    spread = float(difference.std(ddof=1)) if len(difference) > 1 else math.nan
    return {"bias": bias, "lower": bias - 1.96 * spread, "upper": bias + 1.96 * spread}


def rogan_gladen(apparent: float, sensitivity: float, specificity: float) -> float:
    """True prevalence from the apparent one (Rogan and Gladen 1978), held within 0 and 1.

    NaN where the test tells nothing (sensitivity + specificity <= 1).

    >>> round(rogan_gladen(0.51, 0.95, 0.57), 3)
    0.154
    """
    information = sensitivity + specificity - 1
    if not information > 0:
        return math.nan
    return float(np.clip((apparent + specificity - 1) / information, 0, 1))
