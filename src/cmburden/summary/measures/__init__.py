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

import functools

from cmburden.summary.measures.change import AriaHStyle as AriaHStyle
from cmburden.summary.measures.change import Attended as Attended
from cmburden.summary.measures.change import ChangedLesions as ChangedLesions
from cmburden.summary.measures.change import ConfirmedNew as ConfirmedNew
from cmburden.summary.measures.change import CumulativeIncidence as CumulativeIncidence
from cmburden.summary.measures.change import GroupRate as GroupRate
from cmburden.summary.measures.change import IncidenceRatio as IncidenceRatio
from cmburden.summary.measures.change import LesionRate as LesionRate
from cmburden.summary.measures.change import NotCompared as NotCompared
from cmburden.summary.measures.change import PersonYears as PersonYears
from cmburden.summary.measures.change import RateAtFalseNew as RateAtFalseNew
from cmburden.summary.measures.change import SessionPairs as SessionPairs
from cmburden.summary.measures.change import Sessions as Sessions
from cmburden.summary.measures.detector import ContractNumber as ContractNumber
from cmburden.summary.measures.detector import ContractPart as ContractPart
from cmburden.summary.measures.detector import CorrectedMean as CorrectedMean
from cmburden.summary.measures.detector import CorrectedPattern as CorrectedPattern
from cmburden.summary.measures.detector import CorrectionCheck as CorrectionCheck
from cmburden.summary.measures.detector import Counted as Counted
from cmburden.summary.measures.detector import DetectorRate as DetectorRate
from cmburden.summary.measures.detector import Likelihood as Likelihood
from cmburden.summary.measures.detector import Prevalence as Prevalence
from cmburden.summary.measures.detector import PrevalenceAt as PrevalenceAt
from cmburden.summary.measures.detector import Rate as Rate
from cmburden.summary.measures.images import DomainLimit as DomainLimit
from cmburden.summary.measures.images import FilesNotSearched as FilesNotSearched
from cmburden.summary.measures.images import ImageMeasure as ImageMeasure
from cmburden.summary.measures.images import OutsideDomain as OutsideDomain
from cmburden.summary.measures.images import Scans as Scans
from cmburden.summary.measures.images import ScansAtLimit as ScansAtLimit
from cmburden.summary.measures.images import ScansWith as ScansWith
from cmburden.summary.measures.images import ToCheckFirst as ToCheckFirst
from cmburden.summary.measures.images import UnknownDomain as UnknownDomain
from cmburden.summary.measures.lesions import Lesions as Lesions
from cmburden.summary.measures.lesions import LesionsInRegion as LesionsInRegion
from cmburden.summary.measures.models import CrudeRatio as CrudeRatio
from cmburden.summary.measures.models import Fact as Fact
from cmburden.summary.measures.models import LevelPresence as LevelPresence
from cmburden.summary.measures.models import Model as Model
from cmburden.summary.measures.models import ModelFact as ModelFact
from cmburden.summary.measures.models import PatternRatio as PatternRatio
from cmburden.summary.measures.models import Pooled as Pooled
from cmburden.summary.measures.models import Ratio as Ratio
from cmburden.summary.measures.models import RatioKind as RatioKind
from cmburden.summary.measures.models import SampleFact as SampleFact
from cmburden.summary.measures.models import TermTest as TermTest
from cmburden.summary.measures.people import AverageCount as AverageCount
from cmburden.summary.measures.people import BostonAge as BostonAge
from cmburden.summary.measures.people import BostonImaging as BostonImaging
from cmburden.summary.measures.people import Characteristic as Characteristic
from cmburden.summary.measures.people import CharacteristicLevel as CharacteristicLevel
from cmburden.summary.measures.people import CountBin as CountBin
from cmburden.summary.measures.people import MissingReason as MissingReason
from cmburden.summary.measures.people import Participants as Participants
from cmburden.summary.measures.people import ParticipantsByCount as ParticipantsByCount
from cmburden.summary.measures.people import PatternShare as PatternShare
from cmburden.summary.measures.people import Presence as Presence
from cmburden.summary.measures.people import PresenceInGroup as PresenceInGroup
from cmburden.summary.measures.people import StandardisedDifference as StandardisedDifference
from cmburden.summary.measures.people import StandardisedPresence as StandardisedPresence
from cmburden.summary.measures.people import TableOnePeople as TableOnePeople
from cmburden.summary.measures.people import Which as Which
from cmburden.summary.measures.reading import AgreementKind as AgreementKind
from cmburden.summary.measures.reading import Review as Review
from cmburden.summary.measures.reading import ReviewAgreement as ReviewAgreement
from cmburden.summary.measures.reading import ReviewKind as ReviewKind
from cmburden.summary.names import Measure

#: All families, in the order above.
FAMILIES: tuple[type[Measure], ...] = tuple(Measure.__subclasses__())


@functools.cache
def parse(name: str) -> Measure | None:
    """The measure with this name; None where no family has the name."""
    return next((one for family in FAMILIES if (one := family.parse(name)) is not None), None)
