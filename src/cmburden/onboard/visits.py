"""Labels of sessions from ADNI's and AIBL's codes of visits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from cmburden.onboard.joins import Key, keys_of
from cmburden.onboard.parts import Source

#: Codes of the first visit: baseline and the visits of screening before it.
_FIRST = {"bl", "sc", "scmri", "4_bl", "4_sc"}


def label(code: str) -> str | None:
    """Session label of VISCODE2; None where the code does not count months since baseline.

    ADNI4's own codes count from the entry into ADNI4, which is no baseline for people of ADNI 1
    to 3.

    >>> label("bl"), label("sc"), label("m06"), label("m120"), label("4_m12"), label("v03")
    ('M000', 'M000', 'M006', 'M120', None, None)
    """
    text = code.strip().casefold()
    if text in _FIRST:
        return "M000"
    found = re.fullmatch(r"m(\d{1,3})", text)
    return f"M{int(found[1]):03d}" if found else None


def months(label_of_session: str | None) -> int | None:
    """Months since baseline of a session label.

    >>> months("ses-M006"), months("20110708")
    (6, None)
    """
    found = re.fullmatch(r"(?:ses-)?M(\d{3})", label_of_session or "")
    return int(found[1]) if found else None


def agreed(pairs: Iterable[tuple[Key, str]]) -> dict[Key, str]:
    """Session label by key; a key with two labels has none."""
    labels: dict[Key, set[str]] = {}
    for key, name in pairs:
        labels.setdefault(key, set()).add(name)
    return {key: names.pop() for key, names in labels.items() if len(names) == 1}


def session_of(source: Source, sessions: Mapping[Key, str]) -> str | None:
    """The label that ``sessions`` has for a series, by the key of most trust."""
    return next((sessions[key] for key in keys_of(source) if key in sessions), None)
