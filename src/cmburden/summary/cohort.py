"""The tables of a cohort that the estimates are computed from."""

from __future__ import annotations

import dataclasses

import pandas as pd


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Frames of the contracts of the same names, of one cohort.

    ``followed``: of `followed_sessions`.
    """

    scans: pd.DataFrame
    lesions: pd.DataFrame
    participants: pd.DataFrame
    rejected: pd.DataFrame
    pairs: pd.DataFrame
    changes: pd.DataFrame
    followed: pd.DataFrame
