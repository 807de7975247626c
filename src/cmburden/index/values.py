"""Values of sidecars: an echo time, a field strength or a name, or a remark why not."""

from __future__ import annotations

import math
from typing import Any

from cmburden.core.foreign import printable

#: Echo times of GRE and SWI, s. Those of T2*-weighted images are 5 to 50 ms.
_ECHO_S = (0.001, 0.120)
#: Numbers that are taken as an echo time in milliseconds: some converters write them.
_ECHO_MS = (1.0, 120.0)
#: Field strengths of scanners for people, T: from portable ones to 11.7 T.
_FIELD_T = (0.05, 15.0)
#: Most letters of a value that a remark repeats.
_MOST_LETTERS = 30


def echo_time(value: Any) -> tuple[float | None, str | None]:
    """Echo time in s of ``EchoTime``, and a remark in a sentence.

    >>> echo_time(0.02), echo_time(20)
    ((0.02, None), (0.02, 'EchoTime 20 was taken as milliseconds.'))
    >>> echo_time("20 ms")
    (None, "EchoTime '20 ms' is no number of seconds.")
    """
    if value is None:
        return None, None
    seconds = number(value)
    if seconds is None:
        return None, f"EchoTime {shown(value)} is no number of seconds."
    if _ECHO_S[0] <= seconds <= _ECHO_S[1]:
        return seconds, None
    if _ECHO_MS[0] <= seconds <= _ECHO_MS[1]:
        return seconds / 1000, f"EchoTime {shown(value)} was taken as milliseconds."
    return None, f"EchoTime {shown(value)} is no echo time of GRE or SWI in seconds."


def field_strength(value: Any) -> tuple[float | None, str | None]:
    """Field strength in T of ``MagneticFieldStrength``, and a remark in a sentence.

    >>> field_strength(3)
    (3.0, None)
    >>> field_strength(30000)
    (None, 'MagneticFieldStrength 30000 is no field strength in tesla.')
    """
    if value is None:
        return None, None
    tesla = number(value)
    if tesla is None or not _FIELD_T[0] <= tesla <= _FIELD_T[1]:
        return None, f"MagneticFieldStrength {shown(value)} is no field strength in tesla."
    return tesla, None


def text(field: str, value: Any) -> tuple[str | None, str | None]:
    """A ``field`` such as Manufacturer as text, and a remark in a sentence."""
    if value is None or value == "":
        return None, None
    if isinstance(value, str):
        return printable(value), None
    return None, f"{field} {shown(value)} is no name."


def yes_or_no(field: str, value: Any) -> tuple[bool | None, str | None]:
    """The truth value of a ``field``, and a remark in a sentence.

    >>> yes_or_no("SkullStripped", True), yes_or_no("SkullStripped", "no")
    ((True, None), (None, "SkullStripped 'no' is neither true nor false."))
    """
    if value is None or isinstance(value, bool):
        return value, None
    return None, f"{field} {shown(value)} is neither true nor false."


def number(value: Any) -> float | None:
    """A finite number, also written as text without a unit; None of all else.

    >>> number("0.02"), number(True), number([0.02]), number(10**400), number(float("nan"))
    (0.02, None, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def shown(value: Any) -> str:
    """``value`` as a remark repeats it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits
        return "with too many digits"
    text = printable(text)
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
