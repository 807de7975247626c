"""Crude ratios: each covariate of a model alone, with contrast, of the same participants."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import pandas as pd

from cmburden.stats.regression import Fit, negative_binomial, poisson
from cmburden.summary.covariates import Design
from cmburden.summary.measures import CrudeRatio, RatioKind
from cmburden.summary.regressions import presence
from cmburden.summary.regressions.counts import NEGATIVE_BINOMIAL
from cmburden.summary.regressions.model import Regression
from cmburden.summary.regressions.people import People
from cmburden.summary.rows import Row

_Fitting = Callable[[People, Design], presence.PresenceFit]


def rows(people: People) -> Iterator[Row]:
    """Crude odds, prevalence and rate ratios of the covariates of the adjusted models."""
    of_presence: dict[RatioKind, _Fitting] = {
        "odds ratio presence": presence.odds,
        "prevalence ratio presence": presence.prevalence,
    }
    yield from _of_model(people, people.of_presence, of_presence, two_sided=True)
    yield from _of_model(people, people.of_count, {"rate ratio count": _rates}, two_sided=False)


def _of_model(
    people: People, adjusted: Design, fittings: dict[RatioKind, _Fitting], *, two_sided: bool
) -> Iterator[Row]:
    if adjusted.problem:
        return
    same = dataclasses.replace(people, table=people.table[adjusted.used].reset_index(drop=True))
    for of_adjusted in adjusted.blocks:
        covariate = of_adjusted.covariate
        alone = [] if covariate == "contrast" else [covariate]
        design = same.design(same.positive, alone, two_sided=two_sided)
        block = design.block(covariate)
        if design.problem or block is None:
            continue
        for kind, fitting in fittings.items():
            fitted = fitting(same, design)
            model = Regression(
                ratio=functools.partial(CrudeRatio, kind),
                name="presence",
                how=f"crude: {fitted.how}",
                design=design,
                events=int(same.positive[design.used].sum()),
                covariates=(covariate,),
            )
            for place in design.places(block):
                yield model.term(fitted.fit, int(place) - 1)


def _rates(people: People, design: Design) -> presence.PresenceFit:
    """Rate ratios by the negative binomial, by Poisson where that has none."""
    sample, y = people.sample.of(design.used), people.counts[design.used]
    if len(pd.unique(y)) < 2:
        return presence.PresenceFit(Fit(problem="all have the same count"), NEGATIVE_BINOMIAL)
    fit = negative_binomial(y, design.matrix, sample)
    if not fit.problem:
        return presence.PresenceFit(fit, NEGATIVE_BINOMIAL + people.words)
    how = "Poisson regression, 95 % interval with sandwich errors and t quantiles, since "
    return presence.PresenceFit(poisson(y, design.matrix, sample), how + fit.problem + people.words)
