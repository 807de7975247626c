"""The tables of a cohort that the estimates are computed from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Frames of the contracts of the same names, of one cohort.

    ``followed``: of `followed_sessions`. ``presence_errors``: errors of the detector on scans of
    the cohort that readers read, as ``correction.detector_errors`` takes ``reviews``.
    """

    scans: pd.DataFrame
    lesions: pd.DataFrame
    participants: pd.DataFrame
    rejected: pd.DataFrame
    pairs: pd.DataFrame
    changes: pd.DataFrame
    followed: pd.DataFrame
    presence_errors: Mapping[str, Any]
