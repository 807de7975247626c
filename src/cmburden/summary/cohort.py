"""The tables of a cohort that the estimates are computed from."""

from __future__ import annotations

import dataclasses
import functools

import pandas as pd


@dataclasses.dataclass(frozen=True)
class ByReaders:
    """The participants of a cohort by the counts of readers.

    ``participants``: of the contract, with the readers' counts; those whose count is not settled
    have no usable scan, and a reason. ``lesions``: the readers' microbleeds, with the columns of
    `lesions` that the estimates read. ``part``: participants with a usable scan, by participant_id:
    contrast, ``reading_class`` (int), ``expected`` (probability of a microbleed), ``read`` (read
    free-hand, count settled), and ``stratified`` (the sample was drawn by the classes).
    """

    participants: pd.DataFrame
    lesions: pd.DataFrame
    part: pd.DataFrame

    @functools.cached_property
    def groups(self) -> dict[str, list[str]]:
        """MARS groups of the readers' microbleeds, by scan_id."""
        groups: dict[str, list[str]] = self.lesions.groupby("scan_id")["group"].agg(list).to_dict()
        return groups


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Frames of the contracts of the same names, of one cohort.

    ``followed``: of `followed_sessions`. ``by_readers``: None where readers settled no
    participant's count.
    """

    scans: pd.DataFrame
    lesions: pd.DataFrame
    participants: pd.DataFrame
    rejected: pd.DataFrame
    pairs: pd.DataFrame
    changes: pd.DataFrame
    followed: pd.DataFrame
    by_readers: ByReaders | None = None
