"""Links lesions over sessions, and distinguishes a missed lesion from an absent one.

Everything is in the participant's mid-space, in mm, and the same for any order of the sessions.
"""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import Any

import numpy as np

from cmburden.stats.matching import assign

#: For a model's contract without these metrics: share of microbleeds that become candidates, and
#: share of candidates that are microbleeds. Unmeasured.
DEFAULT_SENSITIVITY, DEFAULT_BASE_RATE = 0.9, 0.01
#: Probabilities are clipped to this and to 1 minus this, so that their odds are finite.
_LEAST_P = 1e-4
#: Decimals of a standardised distance: the order of links does not hang on rounding errors.
_COST_DECIMALS = 9


@dataclasses.dataclass(frozen=True)
class Rates:
    """Rates of a detector.

    ``sensitivity`` is the share of microbleeds that have a candidate, ``base_rate`` the share of
    microbleeds among the candidates on which the probability was calibrated.
    """

    sensitivity: float
    base_rate: float

    @classmethod
    def of_contract(cls, contract: dict[str, Any]) -> Rates:
        """From ``metrics`` of the verifier's model.json; the defaults where a metric is missing.

        >>> metrics = {"sensitivity_of_candidates": 0.95, "candidates_per_scan": 100.0,
        ...            "microbleeds": 60, "scans": 40}
        >>> Rates.of_contract({"metrics": metrics}).base_rate
        0.01425
        """
        metrics = contract.get("metrics") or {}
        names = ("sensitivity_of_candidates", "candidates_per_scan", "microbleeds", "scans")
        if any(not metrics.get(name) for name in names):
            return cls(DEFAULT_SENSITIVITY, DEFAULT_BASE_RATE)
        sensitivity, candidates, microbleeds, scans = (float(metrics[name]) for name in names)
        return cls(sensitivity, sensitivity * microbleeds / (candidates * scans))


def link(
    positions: list[np.ndarray], spreads: list[np.ndarray], max_mm: float
) -> list[dict[int, int]]:
    """Tracks over sessions, each a map from the session's number to the lesion's row in it.

    ``positions[k]`` is (n, 3), ``spreads[k]`` (3, 3) the covariance of one position. Two sessions
    are linked by the optimal assignment within ``max_mm``: as many pairs as possible, and of these
    sets the one with the smallest sum of squared standardised distances. With more sessions, the
    pairs of all assignments are joined, the nearest first, unless a track would then hold two
    lesions of a session.

    >>> a, b = np.array([[0.0, 0, 0], [10, 0, 0]]), np.array([[11.0, 0, 0]])
    >>> link([a, b], [np.eye(3)] * 2, 5.0)
    [{0: 0}, {0: 1, 1: 0}]
    """
    edges = []
    for i, j in combinations(range(len(positions)), 2):
        apart = positions[i][:, None, :] - positions[j][None, :, :]
        precision = np.linalg.inv(spreads[i] + spreads[j])
        cost = np.einsum("abi,ij,abj->ab", apart, precision, apart)
        within = np.linalg.norm(apart, axis=2) <= max_mm
        edges += [
            (round(float(cost[a, b]), _COST_DECIMALS), i, a, j, b) for a, b in assign(cost, within)
        ]
    owner = {
        (k, row): {k: row} for k, centres in enumerate(positions) for row in range(len(centres))
    }
    for _, i, a, j, b in sorted(edges):
        one, other = owner[i, a], owner[j, b]
        if one is not other and not set(one) & set(other):
            one |= other
            for part in other.items():
                owner[part] = one
    tracks = {id(track): dict(sorted(track.items())) for track in owner.values()}
    return sorted(tracks.values(), key=lambda track: next(iter(track.items())))


@dataclasses.dataclass(frozen=True)
class Nearby:
    """A candidate near a place: its ``row`` and its distance from there."""

    row: int
    distance_mm: float


@dataclasses.dataclass(frozen=True)
class Looked:
    """``probability`` that a lesion of another session is in this one too.

    ``nearby`` is the rejected candidate that raises the probability most; None where none is near.
    """

    probability: float
    nearby: Nearby | None = None


def look(
    at: np.ndarray,
    spread: np.ndarray,
    seen: float,
    candidates: np.ndarray,
    scores: np.ndarray,
    density: float,
    rates: Rates,
    *,
    prior: float,
    max_mm: float,
) -> Looked:
    """Probability that a lesion that another session shows at ``at`` is in this session as well.

    By Bayes, with the likelihood ratio of integrated probabilistic data association (Musicki, Evans
    and Stankovic, IEEE Trans Autom Control 1994;39:1237). With s the sensitivity of candidates,

        ratio = (1 - s) + sum over candidates k of  s g(d_k) / density  (q l_k + 1 - q)

    g is the normal density of a repeated position (covariance ``spread``). ``density`` is the
    number of this scan's candidates a mm3 of brain: chance puts one at the place as well. l_k is
    the likelihood ratio of the candidate's features, odds(p_k) / odds(base rate) by its calibrated
    probability p_k. q = ``seen`` is the probability of the lesion in the session that shows it: a
    mimic is seen at the same place again too, with a mimic's score. Without any candidate within
    ``max_mm`` the ratio is 1 - s, the share that a detector misses.

    Parameters
    ----------
    at : array, shape (3,)
    spread : array, shape (3, 3)
        Covariance of the difference of the two positions, mm2.
    candidates, scores : arrays, shapes (n, 3) and (n,)
        This session's candidates that no other track holds, rejected ones too.
    density : float
        Candidates of this session a mm3 of brain.
    prior : float
        Probability of being there before this session's candidates are looked at.
    """
    apart = candidates - at if len(candidates) else np.zeros((0, 3))
    far = np.linalg.norm(apart, axis=1)
    near = np.flatnonzero(far <= max_mm)
    exponent = np.einsum("ni,ij,nj->n", apart[near], np.linalg.inv(spread), apart[near])
    normal = np.exp(-exponent / 2) / np.sqrt((2 * np.pi) ** 3 * np.linalg.det(spread))
    p = np.clip(scores[near], _LEAST_P, 1 - _LEAST_P)
    features = p / (1 - p) / (rates.base_rate / (1 - rates.base_rate))
    weight = rates.sensitivity * normal / density * (seen * features + 1 - seen)
    ratio = 1 - rates.sensitivity + weight.sum()
    probability = float(prior * ratio / (prior * ratio + 1 - prior))
    if not len(near):
        return Looked(probability)
    best = int(near[np.argmax(weight)])
    return Looked(probability, Nearby(best, float(far[best])))
