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
    """Prevalence corrected with a fixed sensitivity and specificity, multiples of 0.01.

    >>> PrevalenceAt(0.8, 0.95).name
    'prevalence corrected at sensitivity 0.80 specificity 0.95'
    """

    TEMPLATE = (
        "prevalence corrected[ {of}] at sensitivity {sensitivity:.2f} specificity {specificity:.2f}"
    )
    sensitivity: float
    specificity: float
    of: Counted = ""


@dataclasses.dataclass(frozen=True)
class DetectorRate(Measure):
    """Sensitivity or specificity of the detector for presence in a scan."""

    TEMPLATE = "detector {rate}[ {of}]"
    rate: Literal["sensitivity", "specificity"]
    of: Counted = ""
