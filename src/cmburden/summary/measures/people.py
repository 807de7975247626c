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


@dataclasses.dataclass(frozen=True)
class StandardisedPresence(Measure):
    """Share of participants with a definite microbleed, standardised by age and sex."""

    TEMPLATE = "presence definite, age-sex standardised"


@dataclasses.dataclass(frozen=True)
class Characteristic(Measure):
    """A statistic of a numeric variable in Table 1, of the participants of the stratum.

    >>> Characteristic("mean", "age").name
    'characteristic mean of age'
    """

    TEMPLATE = "characteristic {statistic} of {variable}"
    statistic: Literal["mean", "sd", "median", "q1", "q3", "min", "max", "missing"]
    variable: str


@dataclasses.dataclass(frozen=True)
class CharacteristicLevel(Measure):
    """Share of participants with a level of a variable in Table 1, of those with a value.

    >>> CharacteristicLevel("sex", "F").name
    'characteristic share with sex=F'
    """

    TEMPLATE = "characteristic share with {variable}={level}"
    variable: str
    level: str


@dataclasses.dataclass(frozen=True)
class TableOnePeople(Measure):
    """Number of participants in a column of Table 1."""

    TEMPLATE = "characteristic participants"


@dataclasses.dataclass(frozen=True)
class StandardisedDifference(Measure):
    """Standardised difference of a variable between included and excluded participants."""

    TEMPLATE = "standardised difference of {variable}"
    variable: str
