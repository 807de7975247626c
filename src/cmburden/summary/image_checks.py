"""Scans with outlying QC measures, and scans outside the acquisitions of the detector's tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.tables import QC

#: Robust z from which a measure is outlying (Iglewicz & Hoaglin 1993, "modified z-score").
OUTLYING = 3.5
#: With fewer scans of a kind the median absolute deviation is too uncertain to judge a scan.
LEAST_SCANS = 10
#: Median absolute deviation to standard deviation, for a normal distribution.
_MAD_TO_SD = 1.4826
_MEASURES = [column.name for column in QC]
#: Key of the contract's ``domain``: column of `scans`, and the words for it.
DOMAIN = {
    "field_strength_t": ("field_strength_t", "field strength"),
    "echo_time_s": ("echo_time_s", "echo time"),
    "in_plane_mm": ("voxel_x_mm", "in-plane voxel"),
    "slice_mm": ("slice_mm", "slice thickness"),
}
#: Share of an end of a range within which a value counts as inside. Sidecars and headers round:
#: 3 T is written 2.89 or 3.0.
_TOLERANCE = 0.05


def robust_z(scans: pd.DataFrame) -> pd.DataFrame:
    """Robust z of each QC measure of the scans read, within cohort and contrast.

    Distance from the median over 1.4826 times the median absolute deviation. NaN where a measure
    is missing or does not vary, and where fewer than 10 scans of the kind have a value. The index
    is that of ``scans`` with status ok.
    """
    read = scans[scans["status"] == "ok"]
    values = pd.DataFrame(
        read[_MEASURES].astype("Float64").to_numpy(dtype=float, na_value=np.nan),
        columns=_MEASURES,
        index=read.index,
    )
    by = [read["cohort"].astype(object), read["contrast"].astype(object)]
    deviation = values - values.groupby(by).transform("median")
    spread = _MAD_TO_SD * deviation.abs().groupby(by).transform("median")
    enough = values.groupby(by).transform("count") >= LEAST_SCANS
    return (deviation / spread.where(spread > 0)).where(enough)


def domain_of(contract: dict[str, Any] | None) -> dict[str, tuple[float, float]]:
    """Ranges of the contract's ``domain``: acquisitions that the model was tried on."""
    ranges = {}
    for key, given in ((contract or {}).get("domain") or {}).items():
        numbers = [v for v in given if isinstance(v, (int, float))] if key in DOMAIN else []
        if numbers:
            ranges[key] = (min(numbers), max(numbers))
    return ranges


def outside(scans: pd.DataFrame, ranges: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """True where a scan's value lies outside the range; null where the value is missing.

    A column a key of ``ranges``; rows as those of ``scans``. Values within 5 % of an end are
    inside.
    """
    columns = {}
    for key, (low, high) in ranges.items():
        value = scans[DOMAIN[key][0]].astype("Float64")
        beyond = (value < low * (1 - _TOLERANCE)) | (value > high * (1 + _TOLERANCE))
        columns[key] = beyond.astype("boolean").where(value.notna())
    return pd.DataFrame(columns, index=scans.index)
