"""Tests of several parameters at once: levels of a term, a bend of age, age by contrast.

The adjusted prevalence by age comes from the model in which age may bend.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np

from cmburden.stats import spline
from cmburden.stats.marginal import standardised, wald
from cmburden.stats.regression import Fit, negative_binomial
from cmburden.summary.covariates import Design
from cmburden.summary.measures import LevelPresence, TermTest
from cmburden.summary.regressions import presence
from cmburden.summary.regressions.people import People
from cmburden.summary.rows import Row, not_estimated, row
from cmburden.summary.terms import EVENTS_PER_TERM

#: Knots of the spline of age, where events allow and where they are fewer (Harrell 2015).
_KNOTS = (4, 3)
#: Ages at which the adjusted prevalence is given: tens of years within these quantiles.
_AGE_STEP, _AGE_QUANTILES = 10, (0.02, 0.98)
_WALD = "Wald test"


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """A model that tests are made of."""

    model: Literal["presence", "count"]
    people: People
    design: Design

    @property
    def room(self) -> int:
        """Terms that events allow beside those of the design."""
        positive = self.people.positive[self.design.used]
        numbers = [int(positive.sum())]
        if self.model == "presence":
            numbers.append(len(positive) - numbers[0])
        return min(numbers) // EVENTS_PER_TERM - len(self.design.terms)

    def fit(self, design: Design) -> tuple[Fit, str]:
        if self.model == "presence":
            fitted = presence.odds(self.people, design, intervals=False)
            return fitted.fit, fitted.how
        sample = self.people.sample.of(design.used)
        fit = negative_binomial(self.people.counts[design.used], design.matrix, sample)
        return fit, "negative binomial regression (NB2)" + self.people.words

    def test(self, hypothesis: str, fitted: tuple[Fit, str], places: np.ndarray) -> Iterator[Row]:
        fit, how = fitted
        n, of = int(self.people.positive[self.design.used].sum()), int(self.design.used.sum())
        problem = fit.problem
        statistic: float | None = None
        p: float | None = None
        if not problem:
            try:
                statistic, p = wald(fit.params, fit.covariance, places, fit.freedom)
            except np.linalg.LinAlgError:
                problem = "the parameters cannot be told apart"
        degrees = f"{_WALD} of {len(places)} parameter(s); {how}"
        method = not_estimated(problem) if problem else degrees
        yield row(TermTest(self.model, hypothesis, "chi-squared"), statistic, n, of, method)
        yield row(TermTest(self.model, hypothesis, "p"), p, n, of, method)


def rows(people: People) -> Iterator[Row]:
    """Tests of both outcomes, and prevalence by age."""
    if not people.of_presence.problem:
        yield from _of_outcome(_Outcome("presence", people, people.of_presence))
    if not people.of_count.problem:
        yield from _of_outcome(_Outcome("count", people, people.of_count))


def _of_outcome(outcome: _Outcome) -> Iterator[Row]:
    design = outcome.design
    several = [block for block in design.blocks if block.size > 1]
    if several:
        fitted = outcome.fit(design)
        for block in several:
            hypothesis = f"{block.covariate} all levels alike"
            yield from outcome.test(hypothesis, fitted, design.places(block))
    yield from _bend_of_age(outcome)
    yield from _age_by_contrast(outcome)


def _with(design: Design, columns: np.ndarray) -> tuple[Design, np.ndarray]:
    """``design`` with more columns (rows, q), and their places."""
    first = design.matrix.shape[1]
    names = tuple(f"more {number}" for number in range(columns.shape[1]))
    wider = dataclasses.replace(
        design, matrix=np.column_stack([design.matrix, columns]), terms=(*design.terms, *names)
    )
    return wider, np.arange(first, first + columns.shape[1])


def _bend_of_age(outcome: _Outcome) -> Iterator[Row]:
    design, block = outcome.design, outcome.design.block("age")
    if block is None or block.values is not None:
        return
    age = block.columns[:, 0]
    number = next((knots for knots in _KNOTS if outcome.room >= knots - 2), 0)
    at = spline.knots(age, number) if number else np.empty(0)
    if len(at) < min(_KNOTS):
        return
    wider, places = _with(design, spline.bends(age, at))
    fitted = outcome.fit(wider)
    yield from outcome.test("age straight", fitted, places)
    fit, how = fitted
    if outcome.model != "presence" or fit.problem:
        return
    years = outcome.people.table.loc[design.used, "age"].to_numpy(dtype=float)
    weights = outcome.people.sample.of(design.used).weights
    low, high = np.quantile(years, _AGE_QUANTILES)
    of_age = int(design.places(block)[0])
    positive = outcome.people.positive[design.used]
    for year in range(int(np.ceil(low / _AGE_STEP)) * _AGE_STEP, int(high) + 1, _AGE_STEP):
        place = (year - years.mean()) / 10
        matrix = wider.matrix.copy()
        matrix[:, of_age] = place
        matrix[:, places] = spline.bends(np.array([place]), at)
        estimate, *ends = standardised(fit.params, fit.covariance, matrix, weights, fit.freedom)
        method = (
            f"prevalence at the age, standardised to the other covariates of all participants of "
            f"the model; age as a restricted cubic spline of {len(at)} knots; {how}"
        )
        measure = LevelPresence("adjusted prevalence", "age", str(year))
        yield row(measure, estimate, int(positive.sum()), len(positive), method, *ends)


def _age_by_contrast(outcome: _Outcome) -> Iterator[Row]:
    design = outcome.design
    age, contrast = design.block("age"), design.block("contrast")
    if age is None or age.values is not None or contrast is None or outcome.room < 1:
        return
    wider, places = _with(design, age.columns * contrast.columns)
    yield from outcome.test("age alike in GRE and SWI", outcome.fit(wider), places)
