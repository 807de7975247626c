"""What a reader says beside yes and no, checked as the page sent it."""

from __future__ import annotations

import math
from typing import Any

from cmburden.core.numbers import is_number
from cmburden.core.tables import CERTAINTIES, HEMISPHERES, QUALITIES, SIDEROSES
from cmburden.space.regions import BY_NAME

#: Characters. Chosen so that a decision stays below the server's limit of a request.
_LONGEST = 2000
#: Seconds. A case that stayed on the screen for longer was not read for so long.
_LONGEST_S = 3600.0
#: Foci of siderosis. Severe ARIA-H begins with three.
_MOST_FOCI = 99


class Refused(Exception):
    """A request that the page cannot have sent; ``str`` gives the reason."""


def text(said: Any, what: str) -> str | None:
    """Free text of the reader; None for none."""
    if said is None or said == "":
        return None
    if not isinstance(said, str) or len(said) > _LONGEST:
        raise Refused(f"{what} is text of at most {_LONGEST} characters")
    if any("\ud800" <= character <= "\udfff" for character in said):
        raise Refused(f"{what} holds half a character (a lone surrogate)")
    return said


def certainty(sent: dict[str, Any]) -> str | None:
    """How certain the reader is of a microbleed; None is definite."""
    return _level(sent.get("certainty"), CERTAINTIES, "certainty")


def region(sent: dict[str, Any]) -> dict[str, str] | None:
    """Columns of a region that the reader named; None where the atlas's stands."""
    name = _level(sent.get("region"), tuple(BY_NAME), "region")
    if name is None:
        return None
    side = _level(sent.get("hemisphere"), HEMISPHERES, "hemisphere") or "unknown"
    return {
        "region": name,
        "group": BY_NAME[name].group,
        "hemisphere": side,
        "region_from": "reader",
    }


def seconds(sent: Any) -> float | None:
    """How long the case was on the screen; None if the page does not say, or for an hour."""
    if sent is None:
        return None
    if not is_number(sent) or not math.isfinite(sent) or sent < 0:
        raise Refused("seconds is no time")
    return round(float(sent), 2) if sent <= _LONGEST_S else None


def of_scan(sent: dict[str, Any]) -> dict[str, Any]:
    """Columns of a word on a scan as a whole."""
    return {
        "mode": "scan",
        "decision": "scan",
        "quality": _level(sent.get("quality"), QUALITIES, "quality"),
        "quality_reason": text(sent.get("quality_reason"), "a reason"),
        "siderosis": _level(sent.get("siderosis"), SIDEROSES, "siderosis"),
        "siderosis_foci": _foci(sent),
        "siderosis_place": text(sent.get("siderosis_place"), "a place"),
    }


def _foci(sent: dict[str, Any]) -> int | None:
    """The number of foci of siderosis; 0 where the reader sees none, None where it is not said."""
    number = sent.get("siderosis_foci")
    is_absent = sent.get("siderosis") == SIDEROSES[0]
    if number is None:
        return 0 if is_absent else None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _MOST_FOCI:
        raise Refused(f"foci of siderosis are a number from 0 to {_MOST_FOCI}")
    if bool(number) == is_absent or sent.get("siderosis") is None:
        raise Refused("foci are counted where siderosis is seen: name its kind, or leave them away")
    return number


def _level(said: Any, levels: tuple[str, ...], what: str) -> str | None:
    if said is None or said == "":
        return None
    if said not in levels:
        raise Refused(f"unknown {what}")
    return str(said)
