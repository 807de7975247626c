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
