"""One-to-one matching of predictions and microbleeds, in scanner millimetres."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

#: A centre this near is a hit, however small the lesion; half the slice thickness is not added.
HIT_MM = 3.0
#: Centres (m, 3) in scanner RAS mm, and radii (m,) in mm.
Lesions = tuple[np.ndarray, np.ndarray]


def reaches(
    predicted: np.ndarray, real: np.ndarray, radius: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
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


def only_near(points: np.ndarray, faint: Lesions, real: Lesions) -> np.ndarray:
    """Whether each of ``points`` (n, 3) lies at a faint microbleed and at no real one.

    Such a point is neither a hit nor a false positive. ``faint`` and ``real`` are centres (m, 3)
    and radii (m,), in mm.

    >>> some = np.array([[0, 0, 0.0], [9, 0, 0], [20, 0, 0]])
    >>> only_near(some, (some[:2], np.ones(2)), (some[1:2], np.ones(1)))
    array([ True, False, False])
    """
    (_, at_faint), (_, at_real) = reaches(points, *faint), reaches(points, *real)
    return np.any(at_faint, axis=1) & ~np.any(at_real, axis=1)


def hits_by_score(
    predicted: np.ndarray, real: np.ndarray, radius: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Whether each prediction adds a hit when predictions enter by falling score, bool (p,).

    At any threshold the number of marked predictions above the threshold is that of the pairs of
    the largest one-to-one matching (augmenting paths; the matchable sets are a matroid). One pass
    then gives the whole FROC curve. A second prediction on a lesion is a false positive. Ties keep
    their order.
    """
    marked = np.zeros(len(predicted), bool)
    if not len(predicted) or not len(real):
        return marked
    _, within = reaches(predicted, real, radius)
    owner: dict[int, int] = {}

    def place(candidate: int, tried: set[int]) -> bool:
        for lesion in np.flatnonzero(within[candidate]).tolist():
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
