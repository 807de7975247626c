"""Names of what readers found."""

from __future__ import annotations

import dataclasses
from typing import Literal

from cmburden.summary.names import Measure

ReviewKind = Literal[
    "scans reviewed",
    "lesions settled",
    "lesions disputed",
    "lesions added",
    "ppv",
    "ppv possible",
    "participants settled",
    "presence settled",
    "presence sample",
    "presence",
    "sensitivity",
    "specificity",
    "lesion sensitivity",
    "false positives per scan",
]


AgreementKind = Literal[
    "kappa presence",
    "positive agreement",
    "negative agreement",
    "pabak presence",
    "weighted kappa bins",
    "icc count",
    "kappa pattern",
    "kappa lobar",
    "kappa deep",
    "kappa infratentorial",
    "lesion agreement",
    "ratio of counts",
    "lower limit of ratio",
    "upper limit of ratio",
]


@dataclasses.dataclass(frozen=True)
class Review(Measure):
    """Progress of the readers, and the detector's performance by their verdicts."""

    TEMPLATE = "review {kind}"
    kind: ReviewKind


@dataclasses.dataclass(frozen=True)
class ReviewAgreement(Measure):
    """Agreement of two readers, of a reader's two readings, or of a reader with the software.

    >>> ReviewAgreement("icc count", "A", "software").name
    'review icc count: A / software'
    """

    TEMPLATE = "review {statistic}: {first} / {second}"
    statistic: AgreementKind
    first: str
    second: str
