"""How a reader likes the pictures: kept beside the reader's decisions, for the next sitting.

The browser cannot keep them: each start of the review has another port, and so another origin.
"""

from __future__ import annotations

from typing import Any

from cmburden.core.files import read_json, write_json
from cmburden.core.numbers import is_number
from cmburden.core.paths import Layout
from cmburden.review.words import Refused

#: Settings of the page by their type.
_TYPES: dict[str, type] = {
    "second": str,
    "preset": int,
    "slab": int,
    "smooth": bool,
    "rings": bool,
}
#: Characters of a text, and the largest number.
_LONGEST, _MOST = 100, 1000


def of_reader(layout: Layout, reader: str) -> dict[str, Any]:
    """The settings that the reader had last; empty for a new reader or where they are damaged."""
    content = read_json(layout.hanging(reader))
    return content if isinstance(content, dict) and _fits(content) else {}


def keep(layout: Layout, reader: str, chosen: Any) -> None:
    """Keep the settings ``chosen``; raises :class:`Refused` if the page cannot have sent them."""
    if not isinstance(chosen, dict) or not _fits(chosen):
        raise Refused("no settings of the pictures")
    write_json(layout.hanging(reader), chosen)


def _fits(content: dict[str, Any]) -> bool:
    return all(_is_one(content[name], _TYPES.get(name)) for name in content)


def _is_one(value: Any, kind: type | None) -> bool:
    if kind is int:
        return is_number(value) and 0 <= value <= _MOST
    if kind is str:
        return isinstance(value, str) and len(value) <= _LONGEST
    return kind is bool and isinstance(value, bool)
