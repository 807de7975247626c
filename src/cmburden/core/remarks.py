"""Remarks of several stages on one scan, in one cell of a table, and apart again."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Stands between two remarks in a cell. No remark holds it.
SEPARATOR = " | "


def join(remarks: Iterable[str | None]) -> str | None:
    """The remarks in one text, in their order, each once; None without any.

    A remark may be a text that holds several, as this function gives it.

    >>> join([None, "No sidecar.", "No T1w.", "No sidecar."])
    'No sidecar. | No T1w.'
    """
    pieces = [piece for text in remarks if text for piece in text.split(SEPARATOR)]
    parts = [" ".join(piece.replace("|", "/").split()) for piece in pieces]
    return SEPARATOR.join(dict.fromkeys(part for part in parts if part)) or None


def split(text: str | None) -> list[str]:
    """The remarks that :func:`join` put into ``text``.

    >>> split("No sidecar. | No T1w."), split(None)
    (['No sidecar.', 'No T1w.'], [])
    """
    return text.split(SEPARATOR) if text else []


def kind(remark: str) -> str:
    """What remarks of one kind have in common: the part before a colon, without numbers.

    >>> kind("The T1w was not used: its correlation is 0.31."), kind("EchoTime 40 is in ms.")
    ('The T1w was not used', 'EchoTime … is in ms')
    """
    return re.sub(r"(?<!\w)\d+(?:\.\d+)?(?!\w)", "…", remark.partition(":")[0]).rstrip(". ")
