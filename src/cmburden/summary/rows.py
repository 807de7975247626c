"""Rows of `summary`, without their stratum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from cmburden.stats import intervals
from cmburden.summary.names import Measure
from cmburden.summary.strata import Stratum

WILSON = "share, Wilson 95 % interval"
COUNTED = "counted"
NOBODY = "not estimated: the denominator is 0"
#: Method of an estimate that would pool both contrasts without adjustment.
POOLED = (
    "not estimated: holds GRE and SWI, which show microbleeds to different degrees; see the "
    "strata of one contrast"
)
#: A row by column of `summary`.
Row = dict[str, Any]


def not_estimated(why: str) -> str:
    """Method of a row without an estimate."""
    return f"not estimated: {why}"


def row(
    measure: Measure,
    estimate: float | None,
    n: int,
    denominator: int | None = None,
    method: str = COUNTED,
    low: float | None = None,
    high: float | None = None,
) -> Row:
    """An estimate with the ends of its 95 % interval; NaN and None are null."""
    return {
        "measure": measure.name,
        "estimate": _number(estimate),
        "ci_low": _number(low),
        "ci_high": _number(high),
        "n": int(n),
        "denominator": None if denominator is None else int(denominator),
        "method": method,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def share(measure: Measure, positive: int, total: int, method: str = WILSON) -> Row:
    """A share with Wilson's 95 % interval; not estimated where there is nobody."""
    if not total:
        return row(measure, None, positive, total, NOBODY)
    low, high = intervals.wilson(positive, total)
    return row(measure, positive / total, positive, total, method, low, high)


def count(measure: Measure, number: int, denominator: int | None = None) -> Row:
    """A number of people, scans or lesions; estimate and ``n`` are the same."""
    return row(measure, number, number, denominator)


def not_pooled(estimate: Row) -> Row:
    """The row without its estimate, unless a count or without one already."""
    if estimate["method"].startswith((COUNTED, "not estimated")):
        return estimate
    return estimate | {"estimate": None, "ci_low": None, "ci_high": None, "method": POOLED}


def of_stratum(stratum: Stratum, rows: Iterable[Row]) -> list[Row]:
    """``rows`` with the column ``stratum``."""
    return [{"stratum": stratum.name} | one for one in rows]


def tally(values: pd.Series) -> list[tuple[str, int]]:
    """Levels with their number, the most frequent first, ties by name."""
    counts = values.dropna().value_counts()
    return sorted(((str(k), int(v)) for k, v in counts.items()), key=lambda kv: (-kv[1], kv[0]))
