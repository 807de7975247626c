"""Sorts text in the order that people expect. Imports the standard library only."""

from __future__ import annotations

import re


def natural(text: str | None) -> tuple[tuple[int, int, str], ...]:
    """Sort key that compares runs of digits as numbers; None and the empty text come first.

    >>> sorted(["ses-10", "ses-2", "ses-b"], key=natural)
    ['ses-2', 'ses-10', 'ses-b']
    """
    parts = re.split(r"(\d+)", text or "")
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)
