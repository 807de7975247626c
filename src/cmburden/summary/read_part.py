"""Burden by double sampling, where readers read a part: rows of `summary`.

The software's result is known of every participant, the readers' count of those whose chosen scan
was read free-hand. `stats.double_sampling` has the estimators, `reading` the classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from cmburden.core.tables import GROUPS, PATTERN_LEVELS
from cmburden.stats import double_sampling
from cmburden.summary import bins, reading
from cmburden.summary.cohort import ByReaders
from cmburden.summary.measures import (
    AverageCount,
    BostonImaging,
    CountBin,
    PatternShare,
    Presence,
    PresenceInGroup,
)
from cmburden.summary.names import Measure
from cmburden.summary.rows import Row, row

#: Fewest participants read of whom a stratum is estimated.
LEAST_READ = 10
_SHARE = "double sampling (Tenenbein 1970)"
_WILSON = "Wilson 95 % interval at the effective number"
_LOG_T = "mean of the software plus that of the differences; 95 % interval of t for the logarithm"
NO_POSSIBLE = "not estimated: readers settle each lesion, so that none is possible"

_NO_BOSTON = (
    "not estimated: the item leaves out people below 50 and those not classifiable, whom double "
    "sampling cannot tell among the unread; see counts=reviewed"
)


@dataclasses.dataclass(frozen=True)
class Part:
    """Usable participants of a stratum, in classes from 0, of whom some were read.

    ``classes``, ``expected``, ``called`` (n,): class, probability of a microbleed, and count by the
    software; ``read`` (n,) bool. ``truth``: rows of `participants` by the readers, and ``groups``:
    the MARS groups of their microbleeds, both of those read, in their order.
    """

    classes: np.ndarray
    expected: np.ndarray
    called: np.ndarray
    read: np.ndarray
    truth: pd.DataFrame
    groups: list[frozenset[str]]

    @property
    def about(self) -> str:
        return f"{len(self.truth)} of {len(self.classes)} participants read free-hand"

    def sums(self, values: np.ndarray, of_read: bool = True) -> np.ndarray:
        """Sum of ``values`` in each class, of those read or of everybody."""
        classes = self.classes[self.read] if of_read else self.classes
        return np.bincount(classes, values, int(self.classes.max()) + 1)

    def share(self, positive: np.ndarray, of_presence: bool = False) -> double_sampling.Estimate:
        """Share of participants; ``positive`` (read,) bool. ``of_presence``: the share of those
        with a microbleed, which the software's probability foretells."""
        sizes = self.sums(np.ones(len(self.classes)), of_read=False)
        expected = self.sums(self.expected, of_read=False) / sizes if of_presence else None
        return double_sampling.share(
            self.sums(positive.astype(float)), self.sums(np.ones(len(positive))), sizes, expected
        )

    def mean(self) -> double_sampling.Estimate:
        """Mean count of the readers'."""
        true = self.truth["n_cmb"].to_numpy(float)
        return double_sampling.mean(true, self.called, self.classes, self.read)


def part_of(usable: pd.DataFrame, by_readers: ByReaders) -> Part | None:
    """The part read of ``usable`` (rows of `participants`); None where nobody was read."""
    known = by_readers.part.loc[usable["participant_id"]]
    read = known["read"].to_numpy(bool)
    if not read.any():
        return None
    truth = by_readers.participants.set_index("participant_id").loc[known.index[read]]
    groups = by_readers.groups
    return Part(
        reading.merged(known["reading_class"].to_numpy(int), np.flatnonzero(read)),
        known["expected"].to_numpy(float),
        usable["n_cmb"].fillna(0).to_numpy(float),
        read,
        truth,
        [frozenset(groups.get(scan_id, ())) for scan_id in truth["scan_id"]],
    )


def presence(usable: pd.DataFrame, by_readers: ByReaders, measure: Measure) -> Row:
    """The share of participants with a microbleed as a row of ``measure``."""
    return _rows(usable, by_readers, lambda part: iter([_presence(part, measure)]), [measure])[0]


def burden(usable: pd.DataFrame, by_readers: ByReaders, edges: list[int]) -> list[Row]:
    """Rows of the shares and means of a stratum; ``usable``: its rows of `participants`."""
    names = [
        Presence("definite"),
        Presence("macrohaemorrhage"),
        *(PatternShare(pattern) for pattern in PATTERN_LEVELS),
        *(CountBin(label) for label in bins.bin_labels(edges)),
        *(PresenceInGroup(group) for group in GROUPS[:3]),
        AverageCount("mean"),
    ]
    rows = _rows(usable, by_readers, lambda part: _burden(part, edges), names)
    rows.append(row(Presence("definite or possible"), None, 0, len(usable), NO_POSSIBLE))
    rows.append(row(BostonImaging(), None, 0, len(usable), _NO_BOSTON))
    return rows


def crossed(usable: pd.DataFrame, by_readers: ByReaders) -> list[Row]:
    """Presence and mean count of a stratum by several variables."""
    names = [Presence("definite"), AverageCount("mean")]

    def both(part: Part) -> Iterator[Row]:
        yield _presence(part, Presence("definite"))
        yield _mean(part)

    return _rows(usable, by_readers, both, names)


def _rows(
    usable: pd.DataFrame,
    by_readers: ByReaders,
    estimates: Callable[[Part], Iterator[Row]],
    names: list[Measure],
) -> list[Row]:
    """``estimates`` of the part read, or a row of each of ``names`` that says why there is none."""
    part = part_of(usable, by_readers) if len(usable) else None
    n_read = len(part.truth) if part else 0
    if part is None or n_read < LEAST_READ:
        why = (
            f"not estimated: {n_read} of {len(usable)} participants read free-hand, of "
            f"{LEAST_READ} at least"
        )
        return [row(name, None, n_read, None, why) for name in names]
    return list(estimates(part))


def _burden(part: Part, edges: list[int]) -> Iterator[Row]:
    truth = part.truth
    yield _presence(part, Presence("definite"))
    large = (truth["n_macrohaemorrhage"].fillna(0) > 0).to_numpy(bool)
    yield _share(part, Presence("macrohaemorrhage"), large)
    for pattern in PATTERN_LEVELS:
        yield _share(part, PatternShare(pattern), (truth["pattern"] == pattern).to_numpy(bool))
    for label in bins.bin_labels(edges):
        yield _share(part, CountBin(label), (truth["cmb_bin"] == label).to_numpy(bool))
    for group in GROUPS[:3]:
        yield _share(part, PresenceInGroup(group), np.array([group in one for one in part.groups]))
    yield _mean(part)


def _presence(part: Part, measure: Measure) -> Row:
    positive = (part.truth["n_cmb"] > 0).to_numpy(bool)
    return _share(part, measure, positive, of_presence=True)


def _share(part: Part, measure: Measure, positive: np.ndarray, of_presence: bool = False) -> Row:
    """A row whose ``n`` is the number of people read who are positive, of those read."""
    result = part.share(positive, of_presence)
    method = f"{_SHARE}: {part.about}, by class of the software; {_WILSON}"
    number = int(positive.sum())
    return row(
        measure, result.estimate, number, len(positive), method, result.ci_low, result.ci_high
    )


def _mean(part: Part) -> Row:
    measure, result = AverageCount("mean"), part.mean()
    if np.isnan(result.estimate):
        why = f"not estimated: no microbleed in the {len(part.truth)} participants read free-hand"
        return row(measure, None, len(part.truth), len(part.truth), why)
    method = f"double sampling: {part.about}, {_LOG_T}"
    n = len(part.truth)
    return row(measure, result.estimate, n, n, method, result.ci_low, result.ci_high)
