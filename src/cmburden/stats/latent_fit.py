"""Draws of the posterior of latent counts: its mode, its curvature, and importance sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import optimize

from cmburden.stats.latent import LARGEST_LOG, RATIO_SD, STEP, Model, prevalence

#: Importance sampling: degrees of freedom of the proposals, draws, rounds at most, and the share of
#: draws that must be effective to end the rounds.
_PROPOSAL_DF = 5
DRAWS = 2000
_ROUNDS = 4
_ENOUGH = 0.3
#: Loss of parameters whose likelihood overflows.
_NO_LIKELIHOOD = 1e12


@dataclasses.dataclass(frozen=True)
class Posterior:
    """``draws`` (draws, parameters) of equal weight, the ``mode``, and the log posterior there.

    ``effective``: effective number of the proposals behind the draws.
    """

    model: Model
    mode: np.ndarray
    height: float
    draws: np.ndarray
    effective: float

    @property
    def alpha(self) -> np.ndarray:
        return np.exp(self.draws[:, self.model.alpha_at])

    def ratio(self, term: int) -> np.ndarray:
        """Draws of the rate ratio of a column of the design."""
        return np.exp(self.draws[:, term])

    def draws_of_ratios(self) -> np.ndarray:
        """Draws of the rate ratios of all columns but the constant, (draws, terms - 1)."""
        result: np.ndarray = np.exp(self.draws[:, 1 : self.model.terms])
        return result

    def averages(
        self, rows: np.ndarray, random: np.random.Generator, weights: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws of prevalence and mean count of the people that ``rows`` (people, terms) are of.

        The people are a sample: they have random weights (Rubin 1981, Ann Stat 9:130), times
        ``weights`` (people,) if there are any.
        """
        distinct, place, times = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
        mean = np.exp(np.minimum(self.draws[:, : self.model.terms] @ distinct.T, LARGEST_LOG))
        weight = random.gamma(times, size=(len(self.draws), len(times)))
        if weights is not None:
            weight *= np.bincount(place.ravel(), weights, len(times)) / times
        weight /= weight.sum(axis=1, keepdims=True)
        present = prevalence(mean, self.alpha[:, None])
        return (weight * present).sum(axis=1), (weight * mean).sum(axis=1)


class FitError(Exception):
    """The posterior has no mode that the search finds; the message says why."""


def mode(
    model: Model, fixed: Mapping[int, float] | None = None, start: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """The most probable parameters, and the log posterior there; ``fixed`` by place.

    The coefficients of the log ratio of false positives are fixed at 0 unless ``fixed`` is given.
    ``start``: parameters that the search starts from. Raises ``FitError``.
    """
    held, free = _held(model, fixed, start)

    def loss(part: np.ndarray) -> tuple[float, np.ndarray]:
        theta = held.copy()
        theta[free] = np.clip(part, -3 * LARGEST_LOG, LARGEST_LOG)
        with np.errstate(all="ignore"):
            value = float(model.log_posterior(theta[None])[0])
            slope = model.gradient(theta)[free]
        if not np.isfinite(value):
            return _NO_LIKELIHOOD, np.zeros(len(part))
        return -value, -slope

    result = optimize.minimize(loss, held[free], jac=True, method="L-BFGS-B")
    theta = held.copy()
    theta[free] = result.x
    if not np.isfinite(result.fun) or result.fun >= _NO_LIKELIHOOD:
        raise FitError("the latent counts have no most probable value")
    return theta, -float(result.fun)


def _held(
    model: Model, fixed: Mapping[int, float] | None, start: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Parameters to start from, and which of them are free (indices)."""
    if fixed is None:
        fixed = {model.shift_at + number: 0.0 for number in range(model.free_shifts)}
    theta = model.start_at() if start is None else start.copy()
    for place, value in fixed.items():
        theta[place] = value
    return theta, np.array([place for place in range(model.size) if place not in fixed])


def posterior(
    model: Model,
    random: np.random.Generator,
    fixed: Mapping[int, float] | None = None,
    number: int = DRAWS,
) -> Posterior:
    """``number`` draws of the posterior; ``fixed``: as ``mode`` takes. Raises ``FitError``.

    With clusters the draws are stretched about the mode to the sandwich's covariance (open-faced
    sandwich: Shaby, J Am Stat Assoc 2014;109:1397).
    """
    theta, height = mode(model, fixed)
    _, free = _held(model, fixed)
    information = _information(model, theta, free)
    covariance = _inverse(information)
    draws, effective = _sampled(model, random, theta, free, covariance, number)
    if model.cluster is not None:
        stretch = _stretch(_sandwich(model, theta, free, covariance), covariance)
        draws[:, free] = theta[free] + (draws[:, free] - theta[free]) @ stretch.T
    return Posterior(model, theta, height, draws, effective)


def _information(model: Model, theta: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Minus the curvature of the log posterior at ``theta``, of the free parameters."""
    rows = []
    for place in free:
        step = np.zeros(model.size)
        step[place] = STEP
        rows.append(model.gradient(theta + step)[free] - model.gradient(theta - step)[free])
    curvature = -np.array(rows) / (2 * STEP)
    return (curvature + curvature.T) / 2


def _inverse(information: np.ndarray) -> np.ndarray:
    """Covariance; a direction that is flat or bends upwards gets the variance of a wide prior."""
    values, vectors = np.linalg.eigh(information)
    least = 1 / (2 * RATIO_SD) ** 2
    return (vectors / np.maximum(values, least)) @ vectors.T


def _sampled(
    model: Model,
    random: np.random.Generator,
    theta: np.ndarray,
    free: np.ndarray,
    covariance: np.ndarray,
    number: int,
) -> tuple[np.ndarray, float]:
    """``number`` draws by importance sampling, and the effective number of proposals.

    The proposals are multivariate t; each round takes its centre and spread from the last one's.
    """
    centre, size = theta[free], len(free)
    effective, proposals, weight = 0.0, np.empty((0, 0)), np.empty(0)
    for _ in range(_ROUNDS):
        factor = np.linalg.cholesky(covariance + 1e-10 * np.eye(size))
        normal = random.standard_normal((number, size))
        width = np.sqrt(_PROPOSAL_DF / random.chisquare(_PROPOSAL_DF, number))
        proposals = np.tile(theta, (number, 1))
        proposals[:, free] = centre + (normal * width[:, None]) @ factor.T
        square = (normal**2).sum(axis=1) * width**2
        with np.errstate(all="ignore"):
            log_weight = model.log_posterior(proposals)
        log_weight += 0.5 * (_PROPOSAL_DF + size) * np.log1p(square / _PROPOSAL_DF)
        log_weight[~np.isfinite(log_weight)] = -np.inf
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        effective = 1 / float((weight**2).sum())
        if effective >= _ENOUGH * number:
            break
        if effective > 2 * size:
            centre = weight @ proposals[:, free]
            around = proposals[:, free] - centre
            covariance = (around * weight[:, None]).T @ around
        else:
            covariance = 1.5 * covariance
    # Systematic resampling: as few repeats as the weights allow.
    points = (random.random() + np.arange(number)) / number
    chosen = np.searchsorted(np.cumsum(weight), points).clip(max=number - 1)
    return proposals[chosen], effective


def _sandwich(
    model: Model, theta: np.ndarray, free: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """Covariance of the free parameters where people of a cluster are alike."""
    assert model.cluster is not None
    names, index = np.unique(model.cluster.astype(str), return_inverse=True)
    scores = model.scores(theta)[:, free][model.place]
    sums = np.array([np.bincount(index, column, len(names)) for column in scores.T])
    clusters = len(names)
    between = sums @ sums.T * clusters / max(clusters - 1, 1)
    independent = scores.T @ scores
    # Validations and priors keep their own information.
    known = np.linalg.inv(covariance) - independent
    values, vectors = np.linalg.eigh(known)
    known = (vectors * np.maximum(values, 0)) @ vectors.T
    return covariance @ (between + known) @ covariance


def _stretch(wanted: np.ndarray, has: np.ndarray) -> np.ndarray:
    """The matrix that stretches draws of covariance ``has`` to ``wanted``."""

    def root(matrix: np.ndarray, power: float) -> np.ndarray:
        values, vectors = np.linalg.eigh(matrix)
        return (vectors * np.maximum(values, 1e-12) ** power) @ vectors.T

    return root(wanted, 0.5) @ root(has, -0.5)
