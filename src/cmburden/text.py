"""Values of tables as the report and the statistics take them: natural order, None for missing."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from cmburden.tables import as_records


def natural(text: str | None) -> tuple[tuple[int, int, str], ...]:
    """Sort key that compares runs of digits as numbers; None and the empty text come first.

    >>> sorted(["ses-10", "ses-2", "ses-b"], key=natural)
    ['ses-2', 'ses-10', 'ses-b']
    """
    parts = re.split(r"(\d+)", text or "")
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


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
