"""A regression as rows of `summary`: a row a term, and the fit as a whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from cmburden.stats.regression import Fit
from cmburden.summary.covariates import Design
from cmburden.summary.measures import Model, ModelFact
from cmburden.summary.names import Measure
from cmburden.summary.rows import Row, not_estimated, row

#: Ratio of both ends of an interval above which the participants tell nothing of a term.
WIDEST = 100.0


@dataclasses.dataclass(frozen=True)
class Regression:
    """How a model's rows are named and made, and its terms. ``events``: positive people."""

    ratio: Callable[[str], Measure]
    name: Model
    how: str
    design: Design
    events: int
    covariates: tuple[str, ...]

    @property
    def used(self) -> int:
        """Participants in the model."""
        return int(self.design.used.sum())

    def row(
        self,
        measure: Measure,
        estimate: float | None = None,
        low: float | None = None,
        high: float | None = None,
        method: str = "",
    ) -> Row:
        """An estimate of the model; infinite numbers are null."""
        return row(
            measure,
            _finite(estimate),
            self.events,
            self.used,
            method,
            _finite(low),
            _finite(high),
        )

    def ratios(self, fit: Fit) -> Iterator[Row]:
        """A row a term, and one for each covariate that is left out."""
        if self.design.problem:
            for name in self.covariates:
                yield self.row(self.ratio(name), method=not_estimated(self.design.problem))
            return
        for place in range(len(self.design.terms)):
            yield self.term(fit, place)
        for name, why in self.design.left_out:
            yield self.row(self.ratio(name), method=not_estimated(why))

    def term(self, fit: Fit, place: int) -> Row:
        """The row of a term, refused where its interval says nothing."""
        measure = self.ratio(self.design.terms[place])
        if fit.problem:
            return self.row(measure, method=not_estimated(fit.problem))
        value, low, high = fit.interval(place)
        if why := self._too_wide(fit, place):
            return self.row(measure, method=not_estimated(why))
        with np.errstate(over="ignore"):
            ratio, low, high = np.exp([value, low, high])
        terms = f"; terms: {', '.join(self.design.terms) or 'none'}"
        return self.row(measure, ratio, low, high, self.how + terms)

    def _too_wide(self, fit: Fit, place: int) -> str | None:
        """The sentence where an interval is wider than ``WIDEST``.

        A number is judged by the step of its ratio, or by two standard deviations if they are less.
        A profile interval away from 1 says the direction, and stays.
        """
        _, low, high = fit.interval(place)
        scale = min(1.0, 2 * float(self.design.matrix[:, place + 1].std()))
        one_sided = fit.limits is not None and (low > 0 or high < 0)
        if (high - low) * scale <= np.log(WIDEST) or one_sided:
            return None
        with np.errstate(over="ignore"):
            ends = np.exp([low, high])
        return (
            f"the interval would be {ends[0]:.2g} to {ends[1]:.2g}: these participants do not tell "
            "the term from the others"
        )

    def about(self, fit: Fit, usable: int) -> Iterator[Row]:
        """Observations, convergence and AIC."""
        problem = self.design.problem or fit.problem
        complete = "participants in the model, of the usable ones"
        observations = ModelFact(self.name, "observations")
        yield row(observations, self.used, self.used, usable, complete)
        method = not_estimated(problem) if problem else self.how
        converged = ModelFact(self.name, "converged")
        if fit.converged:
            yield self.row(converged, None if problem else 1.0, method=method)
        else:
            yield self.row(converged, 0.0, method=f"{self.how}: {fit.problem}")
        if np.isfinite(fit.aic) or problem:
            aic = None if problem else fit.aic
            yield self.row(ModelFact(self.name, "aic"), aic, method=method)
        if np.isfinite(fit.correlation):
            method = "exchangeable working correlation of the estimating equations"
            correlation = ModelFact(self.name, "correlation within site")
            yield self.row(correlation, fit.correlation, method=method)


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
