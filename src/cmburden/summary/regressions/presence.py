"""Presence against covariates: odds ratios, prevalence ratios, and prevalences by level."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Literal

import numpy as np

from cmburden.stats.equations import exchangeable
from cmburden.stats.marginal import standardised
from cmburden.stats.regression import Fit, logistic, penalised, poisson
from cmburden.stats.sandwich import Sample
from cmburden.summary.covariates import Design
from cmburden.summary.measures import LevelPresence, Ratio
from cmburden.summary.regressions.model import WIDEST, Regression
from cmburden.summary.regressions.people import People
from cmburden.summary.rows import Row, count, not_estimated
from cmburden.summary.terms import Block

#: Participants of the smallest outcome a term below which maximum likelihood is biased away from 1.
FEW_EVENTS = 10
_MAXIMUM_LIKELIHOOD = "logistic regression, maximum likelihood, Wald 95 % interval"
_PENALISED = "logistic regression, penalised likelihood (Firth), "
_MODIFIED_POISSON = "modified Poisson regression (Zou 2004), 95 % interval"
_ADJUSTED = "prevalence standardised to the covariates of all participants of the model: "


@dataclasses.dataclass(frozen=True)
class PresenceFit:
    """A fit of presence and how it was made."""

    fit: Fit
    how: str


def rows(people: People) -> Iterator[Row]:
    """The models of presence."""
    design = people.of_presence
    fitted = odds(people, design)
    model = Regression(
        ratio=functools.partial(Ratio, "odds ratio presence"),
        name="presence",
        how=fitted.how,
        design=design,
        events=int(people.positive[design.used].sum()),
        covariates=people.covariates,
    )
    yield from model.ratios(fitted.fit)
    yield from model.about(fitted.fit, len(people.table))
    relative = prevalence(people, design)
    of_ratio = dataclasses.replace(
        model,
        ratio=functools.partial(Ratio, "prevalence ratio presence"),
        name="prevalence ratio",
        how=relative.how,
    )
    yield from of_ratio.ratios(relative.fit)
    yield from of_ratio.about(dataclasses.replace(relative.fit, aic=np.nan), len(people.table))
    yield from _levels(people, model, fitted)


def odds(people: People, design: Design, *, intervals: bool = True) -> PresenceFit:
    """Odds ratios; by penalised likelihood where events are few or a term tells presence.

    Without ``intervals`` no width decides, and no profile is made.
    """
    if design.problem:
        return PresenceFit(Fit(), _MAXIMUM_LIKELIHOOD + people.words)
    y = people.positive[design.used]
    sample = people.sample.of(design.used)
    if people.site == "gee" and sample.cluster is not None:
        return _by_equations(y, design, sample, people, "presence")
    smallest = int(min(y.sum(), len(y) - y.sum()))
    if smallest >= FEW_EVENTS * len(design.terms):
        fit = logistic(y, design.matrix, sample)
        if not fit.problem and (not intervals or fit.widest <= np.log(WIDEST)):
            return PresenceFit(fit, _MAXIMUM_LIKELIHOOD + people.words)
    fit = penalised(y, design.matrix, sample, profile=intervals)
    kind = "Wald" if fit.limits is None else "profile"
    return PresenceFit(fit, f"{_PENALISED}{kind} 95 % interval{people.words}")


def prevalence(people: People, design: Design) -> PresenceFit:
    """Prevalence ratios."""
    how = _MODIFIED_POISSON + (people.words or " with sandwich (HC3) errors and t quantiles")
    if people.why_fixed and people.sample.simple:
        how = f"{_MODIFIED_POISSON} with sandwich (HC3) errors and t quantiles{people.why_fixed}"
    if design.problem:
        return PresenceFit(Fit(), how)
    y = people.positive[design.used]
    sample = people.sample.of(design.used)
    if people.site == "gee" and sample.cluster is not None:
        return _by_equations(y, design, sample, people, "count")
    return PresenceFit(poisson(y, design.matrix, sample), how)


def _by_equations(
    y: np.ndarray,
    design: Design,
    sample: Sample,
    people: People,
    outcome: Literal["presence", "count"],
) -> PresenceFit:
    assert sample.cluster is not None
    what = "logistic" if outcome == "presence" else "modified Poisson (Zou 2004)"
    fit = exchangeable(y, design.matrix, sample.cluster, outcome, sample.weights)
    errors = "sandwich errors (Mancl-DeRouen)" if sample.weights is None else "sandwich errors"
    return PresenceFit(
        fit,
        f"{what} regression by estimating equations, exchangeable within site, 95 % interval "
        f"with {errors} and t quantiles{people.sampling.words_of_weights}",
    )


def _levels(people: People, model: Regression, fitted: PresenceFit) -> Iterator[Row]:
    """Positive people and adjusted prevalence at each level of each nominal covariate.

    Their crude share would pool GRE and SWI.
    """
    design = model.design
    if design.problem:
        return
    positive = people.positive[design.used] > 0
    weights = people.sample.of(design.used).weights
    for block in design.blocks:
        if block.values is None:
            continue
        for level in block.levels:
            members = block.values == level
            adjusted = LevelPresence("adjusted prevalence", block.covariate, level)
            n, of = int(positive[members].sum()), int(members.sum())
            yield count(LevelPresence("positive", block.covariate, level), n, of)
            if why := _no_adjusted(design, block, fitted.fit):
                row = model.row(adjusted, method=not_estimated(why))
            else:
                matrix = design.matrix.copy()
                matrix[:, design.places(block)] = block.at(level)
                fit = fitted.fit
                value, low, high = standardised(
                    fit.params, fit.covariance, matrix, weights, fit.freedom
                )
                row = model.row(adjusted, value, low, high, _ADJUSTED + fitted.how)
            yield row | {"n": n, "denominator": of}


def _no_adjusted(design: Design, block: Block, fit: Fit) -> str | None:
    """Why there is no adjusted prevalence of a covariate's levels."""
    if fit.problem:
        return fit.problem
    nested = [one.covariate for one in design.blocks if one.references]
    if block.references:
        return f"each level of {block.covariate} lies within one contrast"
    if block.covariate == "contrast" and nested:
        return f"each level of {', '.join(nested)} lies within one contrast"
    return None
