"""Negative binomial counts of microbleeds, called by a detector that misses some and adds others.

A person of mean count mu has NB2(mu, alpha) microbleeds (variance = mu + alpha mu^2). Each is
called with probability s. The called ones are NB2(s mu, alpha): a thinned negative binomial is one.
False positives are NB2(f, phi). A count is the sum of both, so that its likelihood is their
convolution.

What a validation says of s, f and phi enters as its own likelihood: its microbleeds are binomial,
its false positives a scan negative binomial.

Parameters, in this order: coefficients of log mu (terms,), log alpha, then for each group of scans
(a contrast) logit s, log f and log phi, then coefficients of the log ratio of the cohort's false
positives to the validation's, which are fixed at 0 unless freed.

Priors: prevalence at the mean of the covariates uniform in (0, 1); Jeffreys' of s (binomial) and of
f (Poisson); normal ones of the rest, see the constants.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import special

#: Normal priors, mean and standard deviation: of a log rate ratio a unit; of the logarithm of alpha
#: (counts of microbleeds have an alpha of 1 to 10); of the logarithm of phi; of a log ratio of
#: false positives where one is free.
RATIO_SD = 2.0
_LOG_ALPHA = (np.log(3.0), 1.5)
_LOG_PHI = (np.log(0.5), 1.0)
_SHIFT_SD = 2.0
#: Jeffreys' priors: exponents of s and 1 - s on the scale of the logit, of f on that of the log.
_JEFFREYS = 0.5
#: Logarithms of means and dispersions are held within these: exp of more overflows a likelihood.
LARGEST_LOG = 12.0
#: Elements of an array that are computed at a time.
_CHUNK = 2_000_000
#: Step of the gradient's differences, for the curvature.
STEP = 1e-4


@dataclasses.dataclass(frozen=True)
class Validation:
    """Scans of known truth of a group: ``found`` of ``microbleeds``, and false positives.

    ``scans_with``: int (most + 1,), scans with each number of false positives. Microbleeds of one
    person are alike: their numbers may be divided by a design effect.
    """

    microbleeds: float
    found: float
    scans_with: tuple[int, ...]

    @property
    def scans(self) -> int:
        return sum(self.scans_with)

    @property
    def false_positives(self) -> float:
        """False positives a scan."""
        return float(np.dot(np.arange(len(self.scans_with)), self.scans_with)) / self.scans


@dataclasses.dataclass(frozen=True)
class Observed:
    """Counts int (n,), design (n, terms) with a constant first, group of each scan int (n,).

    ``shifts`` (n, q): covariates of the log ratio of false positives. ``cluster`` (n,): people of a
    cluster are alike (twins, a family); None: all are independent.
    """

    counts: np.ndarray
    matrix: np.ndarray
    group: np.ndarray
    shifts: np.ndarray | None = None
    cluster: np.ndarray | None = None


def negative_binomial(
    count: np.ndarray, log_mean: np.ndarray, alpha: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """Log probability of ``count`` under NB2; ``steps``: sum over j < count of log(1 + alpha j)."""
    return (
        steps
        + count * log_mean
        - (count + 1 / alpha) * np.log1p(alpha * np.exp(log_mean))
        - special.gammaln(count + 1.0)
    )


def _steps(alpha: np.ndarray, most: int) -> np.ndarray:
    """Sums over j < k of log(1 + alpha j), (draws, most + 1), for ``alpha`` (draws,)."""
    logs = np.log1p(alpha[:, None] * np.arange(most))
    return np.concatenate([np.zeros((len(alpha), 1)), np.cumsum(logs, axis=1)], axis=1)


def log_likelihood(
    count: int, mean: float, alpha: float, sensitivity: float, false_positives: float, phi: float
) -> float:
    """Log probability of ``count`` lesions called in a scan of a person of mean count ``mean``.

    >>> round(log_likelihood(0, 0.5, 2.0, 1.0, 1e-300, 1.0), 6)  # -log(1 + 2 * 0.5) / 2
    -0.346574
    """
    k = np.arange(count + 1)
    parts = [
        negative_binomial(
            number, np.log(rate), np.array(size), _steps(np.array([size]), count)[0][number]
        )
        for number, rate, size in (
            (k, sensitivity * mean, alpha),
            (count - k, false_positives, phi),
        )
    ]
    return float(special.logsumexp(parts[0] + parts[1]))


def prevalence(mean: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Share of people with a microbleed, of those with NB2 counts.

    >>> float(prevalence(np.array(0.5), np.array(1.0)).round(4))
    0.3333
    """
    return -np.expm1(-np.log1p(alpha * mean) / alpha)


class Model:
    """The posterior of the parameters, given the counts and a validation a group."""

    def __init__(self, observed: Observed, validations: Sequence[Validation]):
        n, self.terms = observed.matrix.shape
        shifts = np.zeros((n, 0)) if observed.shifts is None else observed.shifts
        self.groups, self.free_shifts = len(validations), shifts.shape[1]
        self.validations = tuple(validations)
        self.centre = observed.matrix.mean(axis=0)
        table = np.column_stack([observed.counts, observed.group, observed.matrix, shifts])
        rows, self.place, self.times = np.unique(
            table, axis=0, return_inverse=True, return_counts=True
        )
        self.place = self.place.ravel()
        self.counts, self.group = rows[:, 0].astype(int), rows[:, 1].astype(int)
        self.matrix = rows[:, 2 : 2 + self.terms]
        self.shifts = rows[:, 2 + self.terms :]
        self.cluster = observed.cluster
        # A pair is a row with the number k of its lesions that are real.
        self.row = np.repeat(np.arange(len(rows)), self.counts + 1)
        self.start = np.concatenate([[0], np.cumsum(self.counts + 1)[:-1]])
        self.real = np.arange(len(self.row)) - self.start[self.row]
        self.false = self.counts[self.row] - self.real
        self.size = self.terms + 1 + 3 * self.groups + self.free_shifts
        self.most = int(self.counts.max(initial=0))

    # --- places of the parameters ---

    @property
    def alpha_at(self) -> int:
        return self.terms

    def group_at(self, group: int) -> int:
        """Place of logit s of a group; log f and log phi follow."""
        return self.terms + 1 + 3 * group

    @property
    def shift_at(self) -> int:
        return self.terms + 1 + 3 * self.groups

    def start_at(self) -> np.ndarray:
        """Parameters that the search starts from, by moments."""
        theta = np.zeros(self.size)
        less, found = 0.0, 0.0
        for group, known in enumerate(self.validations):
            of_it = self.times[self.group == group].sum()
            rate = known.false_positives + _JEFFREYS / known.scans
            share = (known.found + _JEFFREYS) / (known.microbleeds + 2 * _JEFFREYS)
            at = self.group_at(group)
            theta[at : at + 3] = special.logit(share), np.log(rate), _LOG_PHI[0]
            less += of_it * rate
            found += of_it * share
        total = float(self.times @ self.counts)
        # A tenth of the counts stands in where there are as many false positives as counts.
        rate = max(total - less, 0.1 * max(total, 1.0)) / max(found, 1e-9)
        theta[0] = np.log(rate)
        theta[self.alpha_at] = _LOG_ALPHA[0]
        return theta

    # --- log posterior ---

    def log_posterior(self, thetas: np.ndarray) -> np.ndarray:
        """(draws,) of ``thetas`` (draws, parameters), but for a constant."""
        step = max(1, _CHUNK // max(len(self.row), 1))
        parts = [
            self._cohort(thetas[at : at + step]) @ self.times for at in range(0, len(thetas), step)
        ]
        return np.concatenate(parts) + self._known(thetas)

    def _rates(self, thetas: np.ndarray) -> tuple[np.ndarray, ...]:
        """Log means of called real and of false lesions a row, (draws, rows), alpha and phi."""
        first = self.group_at(0)
        logit, log_f, log_phi = (
            thetas[:, first + number : self.shift_at : 3] for number in range(3)
        )
        log_s = -np.log1p(np.exp(-logit))
        real = thetas[:, : self.terms] @ self.matrix.T + log_s[:, self.group]
        false = log_f[:, self.group] + thetas[:, self.shift_at :] @ self.shifts.T
        alpha = np.exp(thetas[:, self.alpha_at])
        return (
            np.clip(real, -3 * LARGEST_LOG, LARGEST_LOG),
            np.clip(false, -3 * LARGEST_LOG, LARGEST_LOG),
            alpha,
            np.exp(log_phi),
        )

    def _pairs(self, thetas: np.ndarray) -> np.ndarray:
        """Log probability of each pair, (draws, pairs)."""
        real, false, alpha, phi = self._rates(thetas)
        # Powers and logarithms are taken by row, not by pair.
        a, p = alpha[:, None], phi[:, self.group]
        none = -np.log1p(a * np.exp(real)) / a - np.log1p(p * np.exp(false)) / p
        up_real = real - np.log1p(a * np.exp(real))
        up_false = false - np.log1p(p * np.exp(false))
        log_factorial = special.gammaln(np.arange(self.most + 1) + 1.0)
        real_steps = _steps(alpha, self.most) - log_factorial
        pairs = (none + self.counts * up_false)[:, self.row]
        pairs += self.real * (up_real - up_false)[:, self.row] + real_steps[:, self.real]
        for group in range(self.groups):
            of_it = self.group[self.row] == group
            steps = _steps(phi[:, group], self.most) - log_factorial
            pairs[:, of_it] += steps[:, self.false[of_it]]
        return pairs

    def _cohort(self, thetas: np.ndarray) -> np.ndarray:
        """Log likelihood of each row, (draws, rows)."""
        pairs = self._pairs(thetas)
        most = np.maximum.reduceat(pairs, self.start, axis=1)
        return np.log(np.add.reduceat(np.exp(pairs - most[:, self.row]), self.start, axis=1)) + most

    def _known(self, thetas: np.ndarray) -> np.ndarray:
        """Log likelihood of the validations, and log priors, (draws,)."""
        alpha = np.exp(thetas[:, self.alpha_at])
        level = thetas[:, : self.terms] @ self.centre
        # Uniform prevalence: its density on the scale of the log mean.
        total = level - (1 / alpha + 1) * np.log1p(alpha * np.exp(level))
        total = total - 0.5 * (thetas[:, 1 : self.terms] ** 2).sum(axis=1) / RATIO_SD**2
        total = total - 0.5 * ((thetas[:, self.alpha_at] - _LOG_ALPHA[0]) / _LOG_ALPHA[1]) ** 2
        total = total - 0.5 * (thetas[:, self.shift_at :] ** 2).sum(axis=1) / _SHIFT_SD**2
        for group, known in enumerate(self.validations):
            at = self.group_at(group)
            logit, log_f, log_phi = thetas[:, at], thetas[:, at + 1], thetas[:, at + 2]
            found, missed = known.found + _JEFFREYS, known.microbleeds - known.found + _JEFFREYS
            total = total - found * np.log1p(np.exp(-logit)) - missed * np.log1p(np.exp(logit))
            total = total + _JEFFREYS * log_f - 0.5 * ((log_phi - _LOG_PHI[0]) / _LOG_PHI[1]) ** 2
            number = np.arange(len(known.scans_with))
            steps = _steps(np.exp(log_phi), len(number) - 1)
            of_scan = negative_binomial(number, log_f[:, None], np.exp(log_phi)[:, None], steps)
            total = total + of_scan @ np.array(known.scans_with, float)
        return total

    # --- gradient ---

    def scores(self, theta: np.ndarray) -> np.ndarray:
        """Gradient of each row's log likelihood, (rows, parameters)."""
        pairs = self._pairs(theta[None])[0]
        most = np.maximum.reduceat(pairs, self.start)
        weight = np.exp(pairs - most[self.row])
        weight /= np.add.reduceat(weight, self.start)[self.row]
        real, false, alpha, phi = (part[0] for part in self._rates(theta[None]))
        result = np.zeros((len(self.counts), self.size))
        mean_real = np.add.reduceat(weight * self.real, self.start)
        by_real, by_alpha = self._slopes(
            weight, mean_real, self.real, real, np.full_like(real, alpha)
        )
        by_false, by_phi = self._slopes(
            weight, self.counts - mean_real, self.false, false, phi[self.group]
        )
        result[:, : self.terms] = by_real[:, None] * self.matrix
        result[:, self.alpha_at] = by_alpha
        for group in range(self.groups):
            at, of_it = self.group_at(group), self.group == group
            result[of_it, at] = by_real[of_it] * special.expit(-theta[at])
            result[of_it, at + 1] = by_false[of_it]
            result[of_it, at + 2] = by_phi[of_it]
        result[:, self.shift_at :] = by_false[:, None] * self.shifts
        return result

    def _slopes(
        self,
        weight: np.ndarray,
        expected: np.ndarray,
        number: np.ndarray,
        log_mean: np.ndarray,
        alpha: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Slopes of rows by the log mean and by log alpha; ``expected`` number given the count."""
        mean = np.exp(log_mean)
        excess = 1 + alpha * mean
        j = np.arange(self.most)
        levels = np.unique(alpha)
        sums = np.concatenate(
            [
                np.zeros((len(levels), 1)),
                np.cumsum(levels[:, None] * j / (1 + levels[:, None] * j), axis=1),
            ],
            axis=1,
        )
        which = np.searchsorted(levels, alpha)
        steps = np.add.reduceat(weight * sums[which[self.row], number], self.start)
        by_alpha = steps + np.log(excess) / alpha - (alpha * expected + 1) * mean / excess
        return (expected - mean) / excess, by_alpha

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        return self.times @ self.scores(theta) + self._known_gradient(theta)

    def _known_gradient(self, theta: np.ndarray) -> np.ndarray:
        """Of validations and priors by central differences: they are cheap."""
        steps = STEP * np.eye(self.size)
        ends = self._known(np.concatenate([theta + steps, theta - steps]))
        return (ends[: self.size] - ends[self.size :]) / (2 * STEP)
