"""Names of estimates of participants and their burden."""

from __future__ import annotations

import dataclasses
from typing import Literal

from cmburden.summary.names import Measure

Which = Literal[
    "", "usable", "without usable scan", "with several sessions", "compared", "with a new lesion"
]
BostonWhich = Literal["below 50, left out", "not classifiable, left out", "of unknown age"]
Average = Literal["mean", "lower quartile", "median", "upper quartile", "maximum"]


@dataclasses.dataclass(frozen=True)
class Participants(Measure):
    """Number or share of participants: all of the stratum, or those named.

    >>> Participants().name, Participants("usable").name
    ('participants', 'participants usable')
    """

    TEMPLATE = "participants[ {which}]"
    which: Which = ""


@dataclasses.dataclass(frozen=True)
class MissingReason(Measure):
    """Number of participants without a usable scan, by reason code."""

    TEMPLATE = "participants missing reason={reason}"
    reason: str


@dataclasses.dataclass(frozen=True)
class ParticipantsByCount(Measure):
    """Number of participants with ``count`` definite microbleeds.

    >>> ParticipantsByCount.parse("participants count=3")
    ParticipantsByCount(count=3)
    """

    TEMPLATE = "participants count={count}"
    count: int


@dataclasses.dataclass(frozen=True)
class Presence(Measure):
    """Share of participants with a lesion. Without ``of``: as a published study defines presence.

    >>> Presence("definite").name
    'presence definite'
    """

    TEMPLATE = "presence[ {of}]"
    of: Literal["", "definite", "definite or possible", "macrohaemorrhage"] = ""


@dataclasses.dataclass(frozen=True)
class PresenceInGroup(Measure):
    """Share of participants with a definite microbleed in a MARS group."""

    TEMPLATE = "presence group={group}"
    group: str


@dataclasses.dataclass(frozen=True)
class BostonImaging(Measure):
    """Share of participants with at least 2 strictly lobar haemorrhagic lesions, the cerebellum not
    counted: part of the imaging item of the Boston criteria v2.0."""

    TEMPLATE = "at least 2 strictly lobar, cerebellum not counted"


@dataclasses.dataclass(frozen=True)
class BostonAge(Measure):
    """Number of participants in that item by what their age, or a lesion without region, makes of
    it."""

    TEMPLATE = "at least 2 strictly lobar: participants {which}"
    which: BostonWhich


@dataclasses.dataclass(frozen=True)
class PatternShare(Measure):
    """Share of participants with a pattern, of all usable ones or of those with a microbleed.

    >>> PatternShare("mixed").name, PatternShare("mixed", of="positive").name
    ('pattern=mixed', 'pattern of positive=mixed')
    """

    TEMPLATE = "pattern[ of {of}]={pattern}"
    pattern: str
    of: Literal["", "positive"] = ""


@dataclasses.dataclass(frozen=True)
class CountBin(Measure):
    """Share of participants whose number of definite microbleeds lies in a bin."""

    TEMPLATE = "bin={label}"
    label: str


@dataclasses.dataclass(frozen=True)
class AverageCount(Measure):
    """Average or largest number of definite microbleeds a participant.

    >>> AverageCount("mean").name, AverageCount("mean", of="those with a microbleed").name
    ('mean count', 'mean count of those with a microbleed')
    """

    TEMPLATE = "{average} count[ of {of}]"
    average: Average
    of: Literal["", "those with a microbleed"] = ""
