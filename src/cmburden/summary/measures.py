"""Names of the estimates: the column ``measure`` of `summary`, one dataclass a family of names.

A writer builds a name from its parts, and a reader gets the parts back. No other module composes or
splits such a name:

>>> MissingReason("no_scan").name
'participants missing reason=no_scan'
>>> MissingReason.parse("participants missing reason=no_scan")
MissingReason(reason='no_scan')
>>> MissingReason.parse("participants usable") is None
True
>>> parse("participants usable")
Participants(which='usable')

A name belongs to one family at most; ``FAMILIES`` lists them. The strata beside the names are in
``strata.Stratum``.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

from cmburden.summary.names import Measure

# --- participants ---

Which = Literal[
    "", "usable", "without usable scan", "with several sessions", "compared", "with a new lesion"
]


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
    """Share of participants with the imaging item of the Boston criteria 2.0."""

    TEMPLATE = "boston imaging"


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
    """Mean or median number of definite microbleeds a participant."""

    TEMPLATE = "{average} count"
    average: Literal["mean", "median"]


# --- lesions ---


@dataclasses.dataclass(frozen=True)
class Lesions(Measure):
    """Number of lesions with a label."""

    TEMPLATE = "lesions {label}"
    label: Literal["definite", "possible", "macrohaemorrhage"]


@dataclasses.dataclass(frozen=True)
class LesionsInRegion(Measure):
    """Number of definite microbleeds in a MARS region of one side."""

    TEMPLATE = "lesions region={region} hemisphere={hemisphere}"
    region: str
    hemisphere: str


# --- scans, files, and their checks ---


@dataclasses.dataclass(frozen=True)
class Scans(Measure):
    """Number of scans: all, those with a status, those with a status for one reason.

    >>> Scans("failed", "not_brain").name
    'scans status=failed reason=not_brain'
    """

    TEMPLATE = "scans[ status={status}[ reason={reason}]]"
    status: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class FilesNotSearched(Measure):
    """Number of files that are no scan, by reason code."""

    TEMPLATE = "files not searched reason={reason}"
    reason: str


@dataclasses.dataclass(frozen=True)
class ImageMeasure(Measure):
    """Median or range of a column of `scans`, or the number of scans with an outlying value.

    >>> ImageMeasure("qc", "snr", "median").name
    'qc snr median'
    """

    TEMPLATE = "{kind} {column} {statistic}"
    kind: Literal["acquisition", "qc"]
    column: str
    statistic: Literal["median", "min", "max", "outlying"]


@dataclasses.dataclass(frozen=True)
class OutsideDomain(Measure):
    """Number of scans outside the validated domain, by one key of the domain or by any."""

    TEMPLATE = "scans outside domain[={key}]"
    key: str = ""


@dataclasses.dataclass(frozen=True)
class UnknownDomain(Measure):
    """Number of scans without a value for a key of the validated domain."""

    TEMPLATE = "scans of unknown domain={key}"
    key: str


@dataclasses.dataclass(frozen=True)
class DomainLimit(Measure):
    """An end of the validated range of a key of the domain, in the key's unit."""

    TEMPLATE = "domain {key} {end}"
    key: str
    end: Literal["low", "high"]


@dataclasses.dataclass(frozen=True)
class ToCheckFirst(Measure):
    """Number of scans that a reader should look at first, for one reason or for any."""

    TEMPLATE = "scans to check first[ reason={reason}]"
    reason: str = ""


# --- the detector ---

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


# --- regression ---

RatioKind = Literal[
    "odds ratio presence",
    "rate ratio count",
    "rate ratio count poisson",
    "rate ratio count corrected",
]


@dataclasses.dataclass(frozen=True)
class Ratio(Measure):
    """Odds or rate ratio of a term of a regression.

    >>> Ratio("odds ratio presence", "age per decade").name
    'odds ratio presence: age per decade'
    """

    TEMPLATE = "{kind}: {term}"
    kind: RatioKind
    term: str


@dataclasses.dataclass(frozen=True)
class PatternRatio(Measure):
    """Relative risk ratio of a term for one pattern against none."""

    TEMPLATE = "relative risk ratio pattern={pattern}: {term}"
    pattern: str
    term: str


Model = Literal["presence", "count", "count poisson", "pattern"]
Fact = Literal[
    "observations",
    "converged",
    "aic",
    "chosen",
    "alpha",
    "likelihood ratio of alpha",
    "likelihood ratio of alpha p",
]


@dataclasses.dataclass(frozen=True)
class ModelFact(Measure):
    """A number about the fit of a regression as a whole."""

    TEMPLATE = "model {model}: {fact}"
    model: Model
    fact: Fact


# --- change over sessions ---


@dataclasses.dataclass(frozen=True)
class Sessions(Measure):
    """Number of sessions of participants with several, by status."""

    TEMPLATE = "sessions status={status}"
    status: str


@dataclasses.dataclass(frozen=True)
class SessionPairs(Measure):
    """Number of pairs of consecutive sessions, all or of a kind."""

    TEMPLATE = "session pairs[ {kind}]"
    kind: Literal["", "of another sequence, not compared", "without a time between"] = ""


@dataclasses.dataclass(frozen=True)
class PersonYears(Measure):
    """Sum of the times between compared sessions."""

    TEMPLATE = "person-years"


@dataclasses.dataclass(frozen=True)
class ChangedLesions(Measure):
    """Number of definite microbleeds with a change between two sessions, all or of a kind.

    >>> ChangedLesions("persisting", "found in one session only").name
    'lesions persisting, found in one session only'
    """

    TEMPLATE = "lesions {change}[, {kind}]"
    change: Literal["new", "persisting", "lost", "not comparable"]
    kind: Literal["", "found in one session only", "possible"] = ""


@dataclasses.dataclass(frozen=True)
class LesionRate(Measure):
    """New or lost lesions a person-year, by how the rate and its interval are made."""

    TEMPLATE = "{change} lesions per person-year[, {kind}]"
    change: Literal["new", "lost"]
    kind: Literal["", "clustered", "weighted by 1 - p_missed"] = ""


@dataclasses.dataclass(frozen=True)
class AriaHStyle(Measure):
    """Share of participants whose number of new lesions since baseline lies in a bin."""

    TEMPLATE = "aria-h-style new={label}"
    label: str


# --- review by readers ---

ReviewKind = Literal[
    "scans reviewed",
    "lesions settled",
    "lesions disputed",
    "lesions added",
    "ppv",
    "ppv possible",
    "presence",
    "sensitivity",
    "specificity",
    "lesion sensitivity",
    "false positives per scan",
]


@dataclasses.dataclass(frozen=True)
class Review(Measure):
    """Progress of the readers, and the detector's performance by their verdicts."""

    TEMPLATE = "review {kind}"
    kind: ReviewKind


@dataclasses.dataclass(frozen=True)
class ReviewAgreement(Measure):
    """Agreement of two readers, or of a reader with the software.

    >>> ReviewAgreement("icc count", "A", "software").name
    'review icc count: A / software'
    """

    TEMPLATE = "review {statistic}: {first} / {second}"
    statistic: Literal["kappa presence", "weighted kappa bins", "icc count"]
    first: str
    second: str


#: All families, in the order above.
FAMILIES: tuple[type[Measure], ...] = tuple(Measure.__subclasses__())


@functools.cache
def parse(name: str) -> Measure | None:
    """The measure with this name; None where no family has the name."""
    return next((one for family in FAMILIES if (one := family.parse(name)) is not None), None)
