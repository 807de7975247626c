"""Rows of `summary`, without their stratum."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cmburden.stats import intervals

WILSON = "share, Wilson 95 % interval"
COUNTED = "counted"


def row(measure, estimate, n, denominator=None, method=COUNTED, low=None, high=None):
    def number(value):
        return None if value is None or pd.isna(value) else float(value)

    return {
        "measure": measure,
        "estimate": number(estimate),
        "ci_low": number(low),
        "ci_high": number(high),
        "n": int(n),
        "denominator": None if denominator is None else int(denominator),
        "method": method,
    }


def share(measure: str, positive: int, total: int, method: str = WILSON) -> dict[str, Any]:
    """A share with Wilson's 95 % interval; null where there is nobody."""
    low, high = intervals.wilson(positive, total)
    return row(measure, positive / total if total else None, positive, total, method, low, high)


def count(measure: str, number: int, denominator: int | None = None) -> dict[str, Any]:
    return row(measure, number, number, denominator)


def tally(values: pd.Series) -> list[tuple[str, int]]:
    """Levels with their number, the most frequent first, ties by name."""
    counts = values.dropna().value_counts()
    return sorted(((str(k), int(v)) for k, v in counts.items()), key=lambda kv: (-kv[1], kv[0]))
