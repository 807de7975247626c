"""Precision at each threshold, from some candidates that readers judged.

Readers judge candidates chosen by the software's probability: those nearest to a threshold, a
random part, near misses. Given the probability, which ones were judged tells nothing more of them.
So the judged ones recalibrate the probability (logistic regression on its logit; Cox, Biometrika
1958;45:562), and the recalibrated probability speaks for the others.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import expit

from cmburden.stats.intervals import Z95, median_and_ends

#: Prior of intercept, slope and difference of SWI from GRE: normal with these means and deviations.
#: The software's probability is right by the prior mean; the deviations are wide (by choice).
PRIOR_MEAN, PRIOR_SD = np.array([0.0, 1.0, 0.0]), np.array([2.0, 0.5, 1.0])
#: Newton's method: most steps, and the step at which it has converged.
_STEPS, _TOLERANCE = 100, 1e-9
#: Logits are cut here: a probability of 0 or 1 is none that a network can know.
_MOST_LOGIT = 9.0
_DRAWS = 4000
#: Width of the bins of logits within which all candidates are alike: thousands of scans have tens
#: of thousands of candidates.
_BIN = 0.02


def logits(probability: np.ndarray) -> np.ndarray:
    """Logit of ``probability`` (n,), cut at both ends.

    >>> logits(np.array([0.0, 0.5, 1.0])).tolist()
    [-9.0, 0.0, 9.0]
    """
    with np.errstate(divide="ignore"):
        values = np.log(probability) - np.log1p(-probability)
    return np.clip(values, -_MOST_LOGIT, _MOST_LOGIT)


def _matrix(probability: np.ndarray, swi: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(probability)), logits(probability), swi])


@dataclasses.dataclass(frozen=True, eq=False)
class Recalibration:
    """Posterior of intercept, slope and difference of SWI: ``mode`` (3,), ``covariance`` (3, 3).

    ``effect`` is the design effect of the judged candidates, of which several may be one person's.
    """

    mode: np.ndarray
    covariance: np.ndarray
    effect: float

    def probability(self, probability: np.ndarray, swi: np.ndarray) -> np.ndarray:
        """Recalibrated probability (n,) of the software's ``probability``; ``swi`` (n,) bool."""
        return expit(_matrix(probability, swi) @ self.mode)


def recalibrate(
    probability: np.ndarray, swi: np.ndarray, real: np.ndarray, person: np.ndarray
) -> Recalibration:
    """Fit ``real`` (n,) bool on the logit of ``probability`` (n,).

    ``swi`` (n,) bool says which are of SWI, ``person`` (n,) whose each candidate is. The effect is
    the variance of the residuals summed by person over that of independent ones, at least 1 (Rao
    and Scott, Biometrics 1992;48:577).

    >>> p = np.repeat([0.2, 0.5, 0.8], 200)
    >>> real = np.concatenate([np.arange(200) < 200 * share for share in (0.2, 0.5, 0.8)])
    >>> fit = recalibrate(p, np.zeros(600), real, np.arange(600))
    >>> bool(np.abs(fit.mode - [0, 1, 0]).max() < 0.1), round(fit.effect, 1)
    (True, 1.0)
    """
    matrix, y, precision = _matrix(probability, swi), real.astype(float), np.diag(PRIOR_SD**-2.0)
    theta = PRIOR_MEAN.copy()
    for _ in range(_STEPS):
        p = expit(matrix @ theta)
        score = matrix.T @ (y - p) - precision @ (theta - PRIOR_MEAN)
        information = (matrix * (p * (1 - p))[:, None]).T @ matrix + precision
        step = np.linalg.solve(information, score)
        # The loss is convex; a step of the logistic part may overshoot far from the mode.
        theta = theta + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _TOLERANCE:
            break
    p = expit(matrix @ theta)
    information = (matrix * (p * (1 - p))[:, None]).T @ matrix + precision
    residual = np.bincount(np.unique(person, return_inverse=True)[1], y - p)
    expected = float((p * (1 - p)).sum())
    effect = max(1.0, float((residual**2).sum()) / expected) if expected else 1.0
    return Recalibration(theta, np.linalg.inv(information), effect)


@dataclasses.dataclass(frozen=True, eq=False)
class Cohort:
    """All candidates of a cohort: ``probability``, ``swi`` and ``verdict`` (n,).

    ``verdict`` is 1 for a microbleed, 0 for none, NaN where no reader judged.
    """

    probability: np.ndarray
    swi: np.ndarray
    verdict: np.ndarray

    def from_threshold(self, threshold: float) -> Cohort:
        """The candidates of at least ``threshold``."""
        part = self.probability >= threshold
        return Cohort(self.probability[part], self.swi[part], self.verdict[part])


def real_among(
    cohort: Cohort, fit: Recalibration, random: np.random.Generator, draws: int = _DRAWS
) -> np.ndarray:
    """Draws (draws,) of the number of microbleeds among the candidates of ``cohort``.

    Judged candidates count as they were judged. The number among the others is normal about its
    mean, with the binomial variance times the design effect, rounded and kept within its range.
    """
    unknown = np.isnan(cohort.verdict)
    number, known = int(unknown.sum()), float(np.nansum(cohort.verdict))
    if not number:
        return np.full(draws, known)
    theta = random.multivariate_normal(fit.mode, fit.covariance * fit.effect, draws)
    matrix, times = _binned(_matrix(cohort.probability[unknown], cohort.swi[unknown]))
    p = expit(theta @ matrix.T)
    mean, variance = p @ times, (p * (1 - p)) @ times
    drawn = mean + np.sqrt(variance * fit.effect) * random.standard_normal(draws)
    return known + np.clip(np.round(drawn), 0, number)


def expected_real(cohort: Cohort, fit: Recalibration) -> float:
    """Expected number of microbleeds among candidates, at the mode of the posterior."""
    unknown = np.isnan(cohort.verdict)
    guessed = fit.probability(cohort.probability[unknown], cohort.swi[unknown])
    return float(np.nansum(cohort.verdict) + guessed.sum())


def _binned(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (m, 3) with logits to ``_BIN``, and how often each stands for one of ``matrix``."""
    rounded = matrix.copy()
    rounded[:, 1] = np.round(rounded[:, 1] / _BIN) * _BIN
    return np.unique(rounded, axis=0, return_counts=True)


@dataclasses.dataclass(frozen=True)
class Point:
    """A threshold: candidates called, and what is to be expected of them with 95 % intervals.

    ``precision`` is a share, ``false_positives`` a number a scan; NaN where none is called.
    ``judged`` of the candidates called have a verdict.
    """

    threshold: float
    called: int
    judged: int
    precision: tuple[float, float, float]
    false_positives: tuple[float, float, float]


def point(
    cohort: Cohort, fit: Recalibration, threshold: float, scans: int, random: np.random.Generator
) -> Point:
    """What is to be expected at ``threshold`` in a cohort of ``scans`` scans."""
    called = cohort.from_threshold(threshold)
    number, judged = len(called.probability), int((~np.isnan(called.verdict)).sum())
    if not number:
        nothing = (np.nan, np.nan, np.nan)
        return Point(threshold, 0, 0, nothing, (0.0, 0.0, 0.0))
    real = real_among(called, fit, random)
    return Point(
        threshold,
        number,
        judged,
        median_and_ends(real / number),
        median_and_ends((number - real) / scans),
    )


def further_for_width(cohort: Cohort, fit: Recalibration, threshold: float, width: float) -> int:
    """How many more of the candidates called are to be judged for an interval of ``width``.

    They are judged in the order of their distance from ``threshold``. The width is that of the
    delta method: the posterior's variance with the information of the further ones, and the
    binomial variance of those that are left.
    """
    called = cohort.from_threshold(threshold)
    unknown = np.isnan(called.verdict)
    matrix = _matrix(called.probability[unknown], called.swi[unknown])
    matrix = matrix[np.argsort(called.probability[unknown], kind="stable")]
    p = expit(matrix @ fit.mode)
    weight, total = p * (1 - p), len(called.probability)
    information = np.linalg.inv(fit.covariance)
    for number in range(len(p) + 1):
        left = slice(number, None)
        gradient = weight[left] @ matrix[left]
        variance = gradient @ np.linalg.solve(information, gradient) + weight[left].sum()
        if 2 * Z95 * np.sqrt(variance * fit.effect) / max(total, 1) <= width:
            return number
        if number < len(p):
            information = information + weight[number] * np.outer(matrix[number], matrix[number])
    return len(p)
