"""Deals the participants to three parts: to adapt to, to calibrate on, and to check on."""

from __future__ import annotations

from collections.abc import Mapping

from cmburden.core.errors import CMBurdenError
from cmburden.core.keys import hash_of

ADAPT, CALIBRATE, CHECK = PARTS = ("adapt", "calibrate", "check")
#: What a participant is for, in turns: half to adapt to, three of ten to check on.
_TURNS = (ADAPT, CHECK, ADAPT, CALIBRATE, ADAPT, CHECK, ADAPT, CALIBRATE, ADAPT, CHECK)
#: Fewest participants: five are then left to check on, the least for an interval by people.
LEAST_PEOPLE = 16


def deal(strata: Mapping[str, str], seed: int) -> dict[str, str]:
    """The part of each participant. ``strata`` names a stratum (scanner, contrast) for each.

    The parts have their share of each stratum; the order within one depends on ids alone.

    Raises
    ------
    CMBurdenError
        Where there are too few participants.
    """
    if len(strata) < LEAST_PEOPLE:
        raise CMBurdenError(
            f"{len(strata)} participants with a scan that was read are too few to adapt to: "
            f"{LEAST_PEOPLE} are needed, half to adapt to, the others to calibrate and check on; "
            "run more scans, or measure with cmburden insert"
        )
    order = sorted(strata, key=lambda label: (strata[label], hash_of("part", seed, label)))
    return {label: _TURNS[number % len(_TURNS)] for number, label in enumerate(order)}
