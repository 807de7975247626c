"""Counts against covariates: negative binomial, Poisson, and with false positives taken off."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from scipy import stats

from cmburden.stats.equations import exchangeable
from cmburden.stats.regression import Fit, negative_binomial, poisson
from cmburden.summary import corrected_ratios
from cmburden.summary.correction import DetectorErrors
from cmburden.summary.measures import ModelFact, Ratio
from cmburden.summary.regressions.model import Regression
from cmburden.summary.regressions.people import People
from cmburden.summary.rows import Row, not_estimated

NEGATIVE_BINOMIAL = "negative binomial regression (NB2), maximum likelihood, Wald 95 % interval"


def rows(people: People, errors: DetectorErrors | str) -> Iterator[Row]:
    """The models of counts. ``errors``: the detector's, checked, or why they are missing."""
    terms = people.of_count
    model = Regression(
        ratio=functools.partial(Ratio, "rate ratio count"),
        name="count",
        how=NEGATIVE_BINOMIAL + people.words,
        design=terms,
        events=int(people.positive[terms.used].sum()),
        covariates=people.covariates,
    )
    plain = dataclasses.replace(
        model,
        ratio=functools.partial(Ratio, "rate ratio count poisson"),
        name="count poisson",
        how=_how_of_poisson(people),
    )
    y = people.counts[terms.used]
    if terms.problem:
        wide = straight = Fit()
    elif len(set(y.tolist())) < 2:
        wide = straight = Fit(problem=f"all participants of the model have the same count, {y[0]}")
    else:
        sample = people.sample.of(terms.used)
        if people.site == "gee" and sample.cluster is not None:
            straight = exchangeable(y, terms.matrix, sample.cluster, "count", sample.weights)
        else:
            straight = poisson(y, terms.matrix, sample)
        wide = negative_binomial(y, terms.matrix, sample)
    usable = len(people.table)
    yield from model.ratios(wide)
    yield from plain.ratios(straight)
    yield from model.about(wide, usable)
    yield from plain.about(straight, usable)
    yield from _dispersion(model, wide, straight)
    yield from _choice(model, plain, wide, straight)
    cluster = people.sample.of(terms.used).cluster
    yield from corrected_ratios.rows(model, y, errors, people.table, cluster)


def _how_of_poisson(people: People) -> str:
    if people.site == "gee":
        return (
            "Poisson regression by estimating equations, exchangeable within site, 95 % interval "
            "with sandwich errors (Mancl-DeRouen) and t quantiles"
            + people.sampling.words_of_weights
        )
    if people.sample.simple:
        return (
            "Poisson regression, 95 % interval with sandwich (HC3) errors and t quantiles"
            + people.words
        )
    return "Poisson regression, 95 % interval" + people.words


def _dispersion(model: Regression, wide: Fit, straight: Fit) -> Iterator[Row]:
    """Alpha of the negative binomial, and its likelihood ratio against Poisson."""
    alpha = ModelFact("count", "alpha")
    ratio = ModelFact("count", "likelihood ratio of alpha")
    p = ModelFact("count", "likelihood ratio of alpha p")
    problem = model.design.problem or wide.problem or straight.problem
    if not problem and not np.isfinite(wide.llf - straight.llf):
        problem = "a likelihood ratio needs independent participants of equal weights"
    if problem:
        for measure in (alpha, ratio, p):
            yield model.row(measure, method=not_estimated(problem))
        return
    method = "overdispersion: variance = mean + alpha mean^2; Wald interval of log alpha"
    estimate, low, high = wide.alpha
    yield model.row(alpha, estimate, low, high, method)
    statistic = max(2 * (wide.llf - straight.llf), 0.0)
    method = "twice the gain in log likelihood over Poisson"
    yield model.row(ratio, statistic, method=method)
    method = "half of chi-squared's tail (1 degree of freedom): alpha cannot be below 0"
    yield model.row(p, 0.5 * stats.chi2.sf(statistic, 1), method=method)


def _choice(model: Regression, plain: Regression, wide: Fit, straight: Fit) -> Iterator[Row]:
    """Which of both models AIC prefers; no row where Poisson has no fit."""
    if model.design.problem or straight.problem or not np.isfinite(straight.aic):
        return
    better = not wide.problem and wide.aic < straight.aic
    for one, chosen in ((model, better), (plain, not better)):
        measure = ModelFact(one.name, "chosen")
        yield one.row(measure, float(chosen), method="1: the lower AIC of both")
