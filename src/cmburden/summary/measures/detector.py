"""Names of the detector's numbers and of what is corrected by them."""

from __future__ import annotations

import dataclasses
from typing import Literal

from cmburden.summary.names import Measure

#: The longest stands first: a name is read as the first that matches.
ContractPart = Literal["thresholds in use", "thresholds", "metrics"]


@dataclasses.dataclass(frozen=True)
class ContractNumber(Measure):
    """A number of a model's contract; 'thresholds in use' are those of the configuration.

    ``key``: the keys of the nested mappings, joined with spaces.

    >>> ContractNumber.parse("thresholds in use definite")
    ContractNumber(part='thresholds in use', key='definite')
    """

    TEMPLATE = "{part} {key}"
    part: ContractPart
    key: str


#: Lesions that make a scan positive: the definite ones, or the possible ones as well.
Counted = Literal["", "definite or possible"]


@dataclasses.dataclass(frozen=True)
class Prevalence(Measure):
    """Prevalence as detected, or corrected for the detector's measured error.

    >>> Prevalence("corrected", "definite or possible").name
    'prevalence corrected definite or possible'
    """

    TEMPLATE = "prevalence {stage}[ {of}]"
    stage: Literal["apparent", "corrected"]
    of: Counted = ""


@dataclasses.dataclass(frozen=True)
class PrevalenceAt(Measure):
    """Prevalence corrected at another number of false positives a scan, a multiple of 0.001.

    >>> PrevalenceAt(0.25).name
    'prevalence corrected at 0.250 false positives per scan'
    """

    TEMPLATE = "prevalence corrected[ {of}] at {false_positives:.3f} false positives per scan"
    false_positives: float
    of: Counted = ""


@dataclasses.dataclass(frozen=True)
class Likelihood(Measure):
    """Likelihood of the counts at that number of false positives a scan, over the largest one."""

    TEMPLATE = "relative likelihood[ {of}] of {false_positives:.3f} false positives per scan"
    false_positives: float
    of: Counted = ""


@dataclasses.dataclass(frozen=True)
class CorrectedMean(Measure):
    """Mean number of microbleeds a participant, corrected for the detector's error."""

    TEMPLATE = "mean count corrected[ {of}]"
    of: Counted = ""


@dataclasses.dataclass(frozen=True)
class CorrectedPattern(Measure):
    """Corrected share of participants with a pattern, of all or of those with a microbleed.

    >>> CorrectedPattern("mixed", "positive").name
    'corrected pattern of positive=mixed'
    """

    TEMPLATE = "corrected pattern[ of {of}]={pattern}"
    pattern: str
    of: Literal["", "positive"] = ""


#: 'sensitivity' is that to a microbleed, 'presence sensitivity' that to a scan with one. The floor
#: is the share of scans without a microbleed in which a lesion is called.
Rate = Literal[
    "sensitivity",
    "presence sensitivity",
    "specificity",
    "false positives per scan",
    "false-positive floor",
]


@dataclasses.dataclass(frozen=True)
class DetectorRate(Measure):
    """A figure of the detector, of scans like a population's."""

    TEMPLATE = "detector {rate}[ {of}]"
    rate: Rate
    of: Counted = ""


@dataclasses.dataclass(frozen=True)
class CorrectionCheck(Measure):
    """Whether the detector's figures can hold here: 0 they do, 1 not told, 2 warning, 3 refused."""

    TEMPLATE = "check of correction {what}[ {of}]"
    what: Literal[
        "floor", "mean", "age bands", "false positives", "false positives by age", "domain"
    ]
    of: Counted = ""
