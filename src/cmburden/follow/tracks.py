"""Which lesion of a session is which of another, and whether one that is not found was only missed.

Everything is in the participant's mid-space, in mm, and the same whatever the sessions' order.
"""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np

from cmburden.stats.matching import assign

#: Where a model's contract does not say: share of microbleeds that become candidates, and share of
#: candidates that are microbleeds.
DEFAULT_SENSITIVITY, DEFAULT_BASE_RATE = 0.9, 0.01
_LEAST_P = 1e-4


@dataclasses.dataclass(frozen=True)
class Rates:
    """What is known of a detector: ``sensitivity`` of its candidates (share of microbleeds that
    have one), ``base_rate`` of microbleeds among them where the probability was calibrated."""

    sensitivity: float
    base_rate: float

    @classmethod
    def of_contract(cls, contract: dict) -> Rates:
        """From ``metrics`` of the verifier's model.json; the defaults above where they lack.

        >>> metrics = {"sensitivity_of_candidates": 0.95, "candidates_per_scan": 100.0,
        ...            "microbleeds": 60, "scans": 40}
        >>> Rates.of_contract({"metrics": metrics}).base_rate
        0.01425
        """
        found = contract.get("metrics") or {}
        names = ("sensitivity_of_candidates", "candidates_per_scan", "microbleeds", "scans")
        if any(not found.get(name) for name in names):
            return cls(DEFAULT_SENSITIVITY, DEFAULT_BASE_RATE)
        sensitivity, candidates, microbleeds, scans = (float(found[name]) for name in names)
        return cls(sensitivity, sensitivity * microbleeds / (candidates * scans))


def link(
    positions: list[np.ndarray], spreads: list[np.ndarray], max_mm: float
) -> list[dict[int, int]]:
    """Tracks over sessions: for each, the session's number -> the lesion's row in it.

    ``positions[k]`` is (n, 3), ``spreads[k]`` (3, 3) the covariance of one position. For two
    sessions: the optimal assignment within ``max_mm`` (as many pairs as possible, of these the
    smallest sum of squared standardised distances). For more, the pairs of all assignments are
    joined, the nearest first, unless a track would then hold two lesions of a session.

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
        edges += [(round(float(cost[a, b]), 9), i, a, j, b) for a, b in assign(cost, within)]
    owner = {(k, row): {k: row} for k, own in enumerate(positions) for row in range(len(own))}
    for _, i, a, j, b in sorted(edges):
        one, other = owner[i, a], owner[j, b]
        if one is not other and not set(one) & set(other):
            one |= other
            for part in other.items():
                owner[part] = one
    tracks = {id(track): dict(sorted(track.items())) for track in owner.values()}
    return sorted(tracks.values(), key=lambda track: next(iter(track.items())))


@dataclasses.dataclass(frozen=True)
class Looked:
    """``probability`` that what is seen elsewhere is there too; ``candidate`` (row, or None) that
    speaks for it most, ``distance_mm`` from it."""

    probability: float
    candidate: int | None = None
    distance_mm: float | None = None


def look(
    at: np.ndarray, spread: np.ndarray, seen: float, candidates: np.ndarray, scores: np.ndarray,
    density: float, rates: Rates, *, prior: float, max_mm: float,
) -> Looked:  # fmt: skip
    """Probability that what another session shows at ``at`` is there in this one as well.

    By Bayes, with the likelihood ratio of integrated probabilistic data association (Musicki, Evans
    and Stankovic, IEEE Trans Autom Control 1994;39:1237): with s the sensitivity of candidates,

        ratio = (1 - s) + sum over candidates k of  s g(d_k) / density  (q l_k + 1 - q)

    where g is the normal density of a repeated position (covariance ``spread``), ``density`` the
    number of this scan's candidates a mm3 of brain (chance puts one there as well), l_k the
    likelihood ratio of the candidate's features, odds(p_k) / odds(base rate) by its calibrated
    probability p_k, and q = ``seen`` the probability of the lesion where it was found: a mimic is
    found at the same place again too, with a mimic's score. Without any candidate within ``max_mm``
    the ratio is 1 - s: a detector misses that share.

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
    speak = rates.sensitivity * normal / density * (seen * features + 1 - seen)
    ratio = 1 - rates.sensitivity + speak.sum()
    probability = float(prior * ratio / (prior * ratio + 1 - prior))
    if not len(near):
        return Looked(probability)
    best = int(near[np.argmax(speak)])
    return Looked(probability, best, float(far[best]))
