"""Names of the estimates of regressions."""

from __future__ import annotations

import dataclasses
from typing import Literal

from cmburden.summary.names import Measure

RatioKind = Literal[
    "odds ratio presence",
    "prevalence ratio presence",
    "rate ratio count",
    "rate ratio count poisson",
    "rate ratio count corrected",
]


@dataclasses.dataclass(frozen=True)
class Ratio(Measure):
    """Odds, prevalence or rate ratio of a term of a regression.

    >>> Ratio("odds ratio presence", "age per decade").name
    'odds ratio presence: age per decade'
    """

    TEMPLATE = "{kind}: {term}"
    kind: RatioKind
    term: str


@dataclasses.dataclass(frozen=True)
class CrudeRatio(Measure):
    """The ratio of a covariate's term with contrast as the only other covariate."""

    TEMPLATE = "crude {kind}: {term}"
    kind: RatioKind
    term: str


@dataclasses.dataclass(frozen=True)
class PatternRatio(Measure):
    """Relative risk ratio of a term for one pattern against none."""

    TEMPLATE = "relative risk ratio pattern={pattern}: {term}"
    pattern: str
    term: str


@dataclasses.dataclass(frozen=True)
class LevelPresence(Measure):
    """People of a level with a definite microbleed, of those in the presence model; or adjusted.

    >>> LevelPresence("adjusted prevalence", "sex", "M").name
    'adjusted prevalence at level: sex=M'
    """

    TEMPLATE = "{how} at level: {covariate}={level}"
    how: Literal["positive", "adjusted prevalence"]
    covariate: str
    level: str


@dataclasses.dataclass(frozen=True)
class TermTest(Measure):
    """A test of several parameters of a model at once: its chi-squared and p value."""

    TEMPLATE = "test {model} {hypothesis}: {number}"
    model: Literal["presence", "count"]
    hypothesis: str
    number: Literal["chi-squared", "p"]


@dataclasses.dataclass(frozen=True)
class Pooled(Measure):
    """A ratio pooled over the models of single cohorts, or a number about the pooling."""

    TEMPLATE = "pooled {number} {kind}: {term}"
    number: Literal["mean", "prediction interval of", "I2 of", "tau2 of", "Q of"]
    kind: RatioKind
    term: str


Model = Literal["presence", "prevalence ratio", "count", "count poisson", "pattern"]
Fact = Literal[
    "observations",
    "converged",
    "aic",
    "chosen",
    "alpha",
    "likelihood ratio of alpha",
    "likelihood ratio of alpha p",
    "correlation within site",
]


@dataclasses.dataclass(frozen=True)
class ModelFact(Measure):
    """A number about the fit of a regression as a whole."""

    TEMPLATE = "model {model}: {fact}"
    model: Model
    fact: Fact


@dataclasses.dataclass(frozen=True)
class SampleFact(Measure):
    """A number about clusters and weights of the participants."""

    TEMPLATE = "sample {fact}"
    fact: Literal[
        "clusters",
        "participants of the largest cluster",
        "participants without a weight",
        "smallest weight",
        "largest weight",
        "effective participants",
    ]
