"""Sorts text in the order that people expect, and joins sentences. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable


def natural(text: str | None) -> tuple[tuple[int, int, str], ...]:
    """Sort key that compares runs of digits as numbers; None and the empty text come first.

    >>> sorted(["ses-10", "ses-2", "ses-b"], key=natural)
    ['ses-2', 'ses-10', 'ses-b']
    """
    parts = re.split(r"(\d+)", text or "")
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


def joined(sentences: Iterable[str | None]) -> str | None:
    """The sentences as one text; None if there is none.

    >>> joined(["One.", None, "Two."])
    'One. Two.'
    """
    return " ".join(sentence for sentence in sentences if sentence) or None
