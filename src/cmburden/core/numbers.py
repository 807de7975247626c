"""Whether a value from a file is a number: not a text, not true or false, not NaN, not infinite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any


def is_number(value: Any) -> bool:
    """True for an int or a float that arithmetic in double precision can use.

    Comparisons with NaN are all false, so that NaN passes every test of a range.

    >>> is_number(0.5), is_number(True), is_number("0.5"), is_number(float("nan"))
    (True, False, False, False)
    >>> is_number(10**400)
    False
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_share(value: Any) -> bool:
    """True for a number from 0 to 1, such as a probability.

    >>> is_share(1), is_share(1.1), is_share(float("nan"))
    (True, False, False)
    """
    return is_number(value) and 0 <= value <= 1


def not_finite(content: Any, name: str = "") -> Iterator[str]:
    """Dotted names of the numbers in nested dictionaries and lists that are NaN or infinite.

    >>> list(not_finite({"a": [1, float("nan")], "b": {"c": 2}}))
    ['a.1']
    """
    if isinstance(content, dict):
        for key, value in content.items():
            yield from not_finite(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, (list, tuple)):
        for place, value in enumerate(content):
            yield from not_finite(value, f"{name}.{place}" if name else str(place))
    elif not isinstance(content, bool) and isinstance(content, (int, float)):
        yield from () if is_number(content) else (name,)
