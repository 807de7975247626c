"""Which prediction is which microbleed: one to one, in scanner millimetres."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

#: A centre this near is a hit, however small the lesion; half the slice thickness is not added.
HIT_MM = 3.0


def reaches(predicted: np.ndarray, real: np.ndarray, radius: np.ndarray) -> tuple:
    """Distances (predicted x real, mm) and where they are within max(3 mm, radius of the lesion).

    ``predicted`` has shape (p, 3), ``real`` (r, 3), both scanner RAS in mm; ``radius`` (r,), NaN
    where unknown.
    """
    distance = np.linalg.norm(predicted[:, None, :] - real[None, :, :], axis=2)
    return distance, distance <= np.fmax(HIT_MM, radius)[None, :]


def hungarian(predicted: np.ndarray, real: np.ndarray, radius: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (predicted, real) of the matching with the most hits, of these the nearest.

    >>> hungarian(np.array([[0, 0, 0.0], [2, 0, 0]]), np.array([[2.5, 0, 0]]), np.array([1.0]))
    [(1, 0)]
    """
    if not len(predicted) or not len(real):
        return []
    return assign(*reaches(predicted, real, radius))


def assign(cost: np.ndarray, within: np.ndarray) -> list[tuple[int, int]]:
    """One-to-one pairs (row, column) among those ``within``: as many as possible, of these the
    cheapest. ``cost`` (n, m) is not negative.

    >>> cost = np.array([[1.0, 2.0], [1.5, 9.0]])
    >>> assign(cost, cost < 5)
    [(0, 1), (1, 0)]
    """
    # A miss costs more than all hits together, so as many hits as possible come first.
    dear = 1.0 + cost[within].sum() if within.any() else 1.0
    rows, columns = linear_sum_assignment(np.where(within, cost, dear))
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if within[i, j]]


def only_near(points: np.ndarray, faint: tuple, real: tuple) -> np.ndarray:
    """Which ``points`` (n, 3) lie at a faint microbleed and at none that counts: neither right nor
    wrong. ``faint`` and ``real`` are centres (m, 3) and radii (m,).

    >>> some = np.array([[0, 0, 0.0], [9, 0, 0], [20, 0, 0]])
    >>> only_near(some, (some[:2], np.ones(2)), (some[1:2], np.ones(1)))
    array([ True, False, False])
    """
    near, counts = (reaches(points, *these)[1].any(1) for these in (faint, real))
    return near & ~counts


def hits_by_score(
    predicted: np.ndarray, real: np.ndarray, radius: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """For each prediction, whether it adds a hit when predictions are let in by falling score.

    At any threshold the predictions above it that are marked are as many as the largest one-to-one
    matching has pairs (augmenting paths; the matchable sets are a matroid): so one pass gives the
    whole FROC curve. A second prediction on a lesion adds none and is a false positive. Ties keep
    their order.
    """
    marked = np.zeros(len(predicted), bool)
    if not len(predicted) or not len(real):
        return marked
    _, within = reaches(predicted, real, radius)
    owner: dict[int, int] = {}

    def place(candidate: int, tried: set[int]) -> bool:
        for lesion in np.flatnonzero(within[candidate]):
            if lesion in tried:
                continue
            tried.add(lesion)
            if lesion not in owner or place(owner[lesion], tried):
                owner[lesion] = candidate
                return True
        return False

    for candidate in np.argsort(-scores, kind="stable"):
        marked[candidate] = place(int(candidate), set())
    return marked
