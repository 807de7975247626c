"""Which scans readers read, where they read a part: classes by the software, and their order.

A class holds the scans that the software holds to have a microbleed with a like probability. The
classes are those of the estimate by double sampling too (`stats.double_sampling`).
"""

from __future__ import annotations

import numpy as np

from cmburden.stats.double_sampling import allocation

#: Lower edges of the classes above 0: probability that a scan has a microbleed.
EDGES = (0.05, 0.2, 0.5, 0.8, 0.95)
#: Words of the classes, by rising probability.
CLASSES = (
    "no lesion",
    "below 0.05",
    "0.05 to 0.2",
    "0.2 to 0.5",
    "0.5 to 0.8",
    "0.8 to 0.95",
    "0.95 and above",
)
#: Share of the scans without any lesion of the software that are expected to have a microbleed,
#: where nobody has read such a scan. The contract has none; 0.015 in simulated cohorts.
MISSED = 0.02


def any_of(scan: np.ndarray, probability: np.ndarray, number: int) -> np.ndarray:
    """Probability that each of ``number`` scans has a microbleed, float (number,).

    ``scan`` (n,) int: the scan of each lesion, from 0; ``probability`` (n,): that it is one. The
    lesions of a scan count as independent.

    >>> any_of(np.array([0, 0, 2]), np.array([0.5, 0.5, 0.9]), 3).round(2).tolist()
    [0.75, 0.0, 0.9]
    """
    none = np.ones(number)
    np.multiply.at(none, scan, 1 - np.asarray(probability, float))
    return 1 - none


def class_of(probability: np.ndarray) -> np.ndarray:
    """Place in CLASSES of scans with these probabilities, int (n,).

    >>> class_of(np.array([0.0, 0.05, 0.3, 0.95])).tolist()
    [0, 2, 3, 6]
    """
    probability = np.asarray(probability, float)
    return np.where(probability > 0, 1 + np.digitize(probability, EDGES), 0)


def expected_of(probability: np.ndarray) -> np.ndarray:
    """``probability`` (n,), and MISSED where the software has no lesion."""
    return np.maximum(np.asarray(probability, float), MISSED)


def order(classes: np.ndarray, expected: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Scans in the order of reading, indices (n,): any first part is a stratified random sample.

    ``classes`` (n,) int; ``expected`` (n,): the probability of a microbleed; ``number`` (n,):
    a random number from 0 to 1 that belongs to the scan. A part of the order holds of each class
    about its share by Neyman's allocation, those scans with the smallest numbers.
    """
    if not len(classes):
        return np.zeros(0, int)
    count = int(classes.max()) + 1
    sizes = np.bincount(classes, minlength=count)
    mean = np.bincount(classes, expected, count) / np.maximum(sizes, 1)
    parts = allocation(mean, sizes)
    place = np.zeros(len(classes))
    for one in np.flatnonzero(sizes):
        members = np.flatnonzero(classes == one)
        members = members[np.argsort(number[members], kind="stable")]
        # The first of each class is read early: each class needs one.
        place[members] = (np.arange(len(members)) + 0.5) / parts[one]
    return np.lexsort((number, place))


def merged(classes: np.ndarray, read: np.ndarray) -> np.ndarray:
    """``classes`` (n,) from 0 on, those of which nobody is in ``read`` joined to the next below.

    ``read``: indices of scans. A lowest class without one is joined to the next above.

    >>> merged(np.array([0, 1, 2, 2]), np.array([0, 2])).tolist()
    [0, 0, 1, 1]
    >>> merged(np.array([0, 1, 2]), np.array([2])).tolist()
    [0, 0, 0]
    """
    present = np.unique(classes[read])
    return np.maximum(np.searchsorted(present, classes, side="right") - 1, 0)
