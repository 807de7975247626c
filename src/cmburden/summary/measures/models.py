"""Names of the estimates of regressions."""

from __future__ import annotations

import dataclasses
from typing import Literal

from cmburden.summary.names import Measure

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
