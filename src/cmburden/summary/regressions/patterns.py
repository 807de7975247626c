"""Each anatomical pattern against none, by multinomial regression."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from cmburden.core.tables import PATTERNS
from cmburden.stats.regression import Fit, multinomial
from cmburden.summary.measures import PatternRatio
from cmburden.summary.regressions.model import Regression
from cmburden.summary.regressions.people import People
from cmburden.summary.rows import Row, not_estimated
from cmburden.summary.terms import EVENTS_PER_TERM


def rows(people: People) -> Iterator[Row]:
    """Each pattern against none; a pattern of too few participants is left out of the model."""
    patterns = people.patterns
    numbers = {name: int((patterns == name).sum()) for name in PATTERNS}
    modelled = [name for name in PATTERNS[1:] if numbers[name] >= EVENTS_PER_TERM]
    codes = {name: number for number, name in enumerate([PATTERNS[0], *modelled])}
    inside = np.isin(patterns, list(codes))
    outcome = np.array([codes.get(name, 0) for name in patterns], dtype=int)
    terms = people.design(outcome, rows=inside)
    outcome = outcome[inside]
    model = Regression(
        ratio=functools.partial(PatternRatio, ""),
        name="pattern",
        how="multinomial logistic regression against pattern 'none', maximum likelihood, "
        "Wald 95 % interval" + people.words,
        design=terms,
        events=int((outcome[terms.used] > 0).sum()),
        covariates=people.covariates,
    )
    if terms.problem or not modelled:
        lacking = f"no pattern is that of {EVENTS_PER_TERM} participants or more"
        fit = Fit(problem=terms.problem or lacking)
    else:
        sample = people.sample.of(inside).of(terms.used)
        fit = multinomial(outcome[terms.used], terms.matrix, sample)
    for name in PATTERNS[1:]:
        of_pattern = dataclasses.replace(model, ratio=functools.partial(PatternRatio, name))
        if name not in modelled:
            too_few = dataclasses.replace(of_pattern, events=numbers[name])
            why = f"{numbers[name]} participants have the pattern; {EVENTS_PER_TERM} are needed"
            for covariate in people.covariates:
                yield too_few.row(too_few.ratio(covariate), method=not_estimated(why))
            continue
        part = fit
        if not fit.problem:
            place = codes[name] - 1
            part = dataclasses.replace(
                fit, log_ratio=fit.log_ratio[:, place], error=fit.error[:, place]
            )
        events = int((outcome[terms.used] == codes[name]).sum())
        yield from dataclasses.replace(of_pattern, events=events).ratios(part)
    yield from model.about(fit, len(people.table))
