"""Rows of a table as plain Python values: None for missing, grouped by a column."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cmburden.core.schema import as_records


def plain(value: Any) -> Any:
    """``value``, or None where it is one of pandas' missing values."""
    return None if pd.isna(value) else value


def grouped(table: pd.DataFrame, column: str) -> dict[Any, list[dict[str, Any]]]:
    """Rows of ``table`` by the value of ``column``, in the table's order, None for missing.

    >>> table = pd.DataFrame({"scan_id": ["a", "b", "a"], "n": [1, 2, 3]})
    >>> grouped(table, "scan_id")["a"]
    [{'scan_id': 'a', 'n': 1}, {'scan_id': 'a', 'n': 3}]
    """
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in as_records(table):
        groups.setdefault(row[column], []).append(row)
    return groups
