"""Bins of counts and bands of age, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from cmburden.core.errors import CMBurdenError


def checked_edges(edges: Sequence[float], key: str) -> list[float]:
    """``edges`` if they rise strictly; else CMBurdenError names the config ``key`` to mend."""
    if not edges or any(low >= high for low, high in pairwise(edges)):
        raise CMBurdenError(f"config {key}: give rising lower edges, not {list(edges)}")
    return list(edges)


def bin_labels(edges: Sequence[int]) -> list[str]:
    """Labels of count bins by their lower edges. No spreadsheet takes them for dates.

    >>> bin_labels([0, 1, 2, 5])
    ['0', '1', '2 to 4', '>=5']
    """
    return _labels(edges, " to ")


def _labels(edges: Sequence[int], between: str) -> list[str]:
    labels = []
    for low, high in pairwise(edges):
        labels.append(f"{low}" if high - low == 1 else f"{low}{between}{high - 1}")
    return [*labels, f">={edges[-1]}"]


def age_band_labels(edges: Sequence[int]) -> list[str]:
    """Labels of age bands; a first edge of 0 reads as "below the next".

    >>> age_band_labels([0, 50, 60])
    ['<50', '50-59', '>=60']
    """
    labels = _labels(edges, "-")
    if len(edges) > 1 and edges[0] == 0:
        labels[0] = f"<{edges[1]}"
    return labels


def binned(values: pd.Series, edges: Sequence[float], labels: Sequence[str]) -> pd.Series:
    """Label of each value's bin; null where the value is null or below the first edge."""
    numbers = values.astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    place = np.searchsorted(np.asarray(edges, float), numbers, side="right") - 1
    names = np.array([*labels, None], dtype=object)
    place[np.isnan(numbers) | (place < 0)] = len(labels)
    return pd.Series(names[place], index=values.index, dtype="string")
