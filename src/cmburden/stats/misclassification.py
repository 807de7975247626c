"""Shares of categories that a detector confuses, from called categories and scans of known ones."""

from __future__ import annotations

import dataclasses

import numpy as np

#: Dirichlet priors: of the true shares, and of each row of the matrix, divided by its columns.
_PRIOR_OF_SHARES = 0.5
_PRIOR_OF_ROW = 1.0
#: Draws of the matrix, steps to the most likely shares of each, and steps of the Gibbs sampler.
DRAWS = 2000
_CLIMBS = 40
_STEPS = 10
_LEAST = 1e-300


@dataclasses.dataclass(frozen=True)
class TrueShares:
    """Draws of the true shares (draws, categories); ``fit``: posterior predictive p.

    ``fit`` is the probability that called numbers of such a cohort lie as far from what shares and
    matrix expect as the cohort's do. A small one: no shares explain the cohort with this matrix.
    """

    draws: np.ndarray
    fit: float


def true_shares(
    called: np.ndarray, known: np.ndarray, random: np.random.Generator, draws: int = DRAWS
) -> TrueShares:
    """``draws`` of the posterior of true shares, given numbers of people by called category.

    ``called`` int (columns,); ``known`` int (categories, columns): scans of known truth, by true
    and called category. Rows of the matrix are drawn from their Dirichlet distributions, and kept
    in proportion to the likelihood that the cohort has with them at its most likely shares. Shares
    are then drawn given the matrix, by a Gibbs sampler with the true category of each called person
    as missing (Joseph, Gyorkos and Coupal, Am J Epidemiol 1995;141:263). No share is ever negative.

    >>> perfect = np.diag([500, 500])
    >>> result = true_shares(np.array([700, 300]), perfect, np.random.default_rng(1))
    >>> result.draws.mean(axis=0).round(2).tolist()
    [0.7, 0.3]
    """
    categories, columns = known.shape
    prior = np.broadcast_to(known + _PRIOR_OF_ROW / columns, (draws, categories, columns))
    matrix = _dirichlet(random, prior)
    shares = np.full((draws, categories), 1 / categories)
    for _ in range(_CLIMBS):
        split = _expected(shares, matrix, called)
        shares = _normal(split + _PRIOR_OF_SHARES)
    log_likelihood = np.log(np.einsum("dt,dtc->dc", shares, matrix) + _LEAST) @ called
    weight = np.exp(log_likelihood - log_likelihood.max())
    points = (random.random() + np.arange(draws)) / draws
    chosen = np.searchsorted(np.cumsum(weight) / weight.sum(), points).clip(max=draws - 1)
    shares, matrix = shares[chosen], matrix[chosen]
    for _ in range(_STEPS):
        joint = shares[:, :, None] * matrix
        split = np.zeros_like(shares)
        for column, number in enumerate(called):
            split += random.multinomial(int(number), _normal(joint[:, :, column] + _LEAST))
        shares = _dirichlet(random, _PRIOR_OF_SHARES + split)
    return TrueShares(shares, float(_further(called, shares, matrix, random).mean()))


def _expected(shares: np.ndarray, matrix: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Expected people of each true category, (draws, categories)."""
    joint = shares[:, :, None] * matrix
    result: np.ndarray = (joint / (joint.sum(axis=1, keepdims=True) + _LEAST)) @ called
    return result


def _dirichlet(random: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """Draws along the last axis."""
    return _normal(random.gamma(weights) + _LEAST)


def _normal(weights: np.ndarray) -> np.ndarray:
    """``weights`` that add up to 1 along the last axis."""
    result: np.ndarray = weights / weights.sum(axis=-1, keepdims=True)
    return result


def _further(
    called: np.ndarray, shares: np.ndarray, matrix: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Whether people drawn anew lie further from what is expected than ``called`` do (draws,)."""
    expected = _normal(np.einsum("dt,dtc->dc", shares, matrix) + _LEAST)
    total = int(called.sum())
    again = random.multinomial(total, expected)

    def distance(numbers: np.ndarray) -> np.ndarray:
        result: np.ndarray = ((numbers - total * expected) ** 2 / (total * expected)).sum(axis=1)
        return result

    return distance(again) >= distance(called)
