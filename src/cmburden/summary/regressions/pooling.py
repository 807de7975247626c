"""Models of each cohort alone, and their random-effects pooling (two stages)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from cmburden.stats.intervals import Z95
from cmburden.stats.pooling import pool
from cmburden.stats.regression import Fit, negative_binomial
from cmburden.summary.measures import Pooled, Ratio, RatioKind
from cmburden.summary.regressions import presence
from cmburden.summary.regressions.counts import NEGATIVE_BINOMIAL
from cmburden.summary.regressions.model import Regression
from cmburden.summary.regressions.people import People
from cmburden.summary.rows import Row, not_estimated, of_stratum, row
from cmburden.summary.strata import EVERYBODY, Stratum

#: Exposures whose ratios are pooled.
EXPOSURES = ("age", "sex")
_KINDS: tuple[RatioKind, ...] = ("odds ratio presence", "rate ratio count")
_METHOD = (
    "random effects of the cohorts' own models: Paule-Mandel variance between cohorts, "
    "Hartung-Knapp interval"
)


@dataclasses.dataclass(frozen=True)
class _Estimate:
    """A cohort's row of a ratio, and the standard error of its logarithm."""

    row: Row
    error: float = np.inf


def rows(people: People) -> list[Row]:
    """Ratios of age and sex in each cohort, and pooled; nothing of a single cohort."""
    cohorts = sorted(people.table["cohort"].dropna().unique())
    if len(cohorts) < 2:
        return []
    every: list[Row] = []
    alone = {cohort: people.of_cohort(cohort) for cohort in cohorts}
    for kind in _KINDS:
        of_kind: dict[str, list[_Estimate]] = {}
        for cohort, of_cohort in alone.items():
            one = list(_of_cohort(of_cohort, kind))
            every += of_stratum(Stratum(cohort=cohort), [each.row for each in one])
            for each in one:
                if each.row["estimate"] is not None:
                    of_kind.setdefault(str(each.row["measure"]), []).append(each)
        for name, estimates in of_kind.items():
            measure = Ratio.parse(name)
            assert measure is not None
            every += of_stratum(EVERYBODY, _pooled(kind, measure.term, estimates, len(cohorts)))
    return every


def _of_cohort(people: People, kind: RatioKind) -> Iterator[_Estimate]:
    """The exposures in a cohort's own model."""
    design = people.of_presence if kind == "odds ratio presence" else people.of_count
    how, fit = NEGATIVE_BINOMIAL + people.words, Fit()
    if kind == "odds ratio presence":
        fitted = presence.odds(people, design)
        how, fit = fitted.how, fitted.fit
    elif not design.problem:
        sample = people.sample.of(design.used)
        fit = negative_binomial(people.counts[design.used], design.matrix, sample)
    model = Regression(
        ratio=functools.partial(Ratio, kind),
        name="presence",
        how=how,
        design=design,
        events=int(people.positive[design.used].sum()),
        covariates=people.covariates,
    )
    for exposure in EXPOSURES:
        block = design.block(exposure)
        if block is not None and not design.problem:
            for place in design.places(block):
                yield _Estimate(model.term(fit, int(place) - 1), _error(fit, int(place) - 1))
        elif exposure in people.wanted:
            why = design.problem or dict(design.left_out).get(exposure)
            if why:
                yield _Estimate(model.row(model.ratio(exposure), method=not_estimated(why)))


def _error(fit: Fit, place: int) -> float:
    """Standard error of a term's log ratio, infinite without one.

    A profile interval is not symmetric: its half width over the normal quantile stands for the
    error all the same.
    """
    if fit.problem:
        return np.inf
    if fit.limits is None:
        return float(fit.error[place])
    _, low, high = fit.interval(place)
    return (high - low) / (2 * Z95)


def _pooled(kind: RatioKind, term: str, estimates: list[_Estimate], cohorts: int) -> Iterator[Row]:
    """Mean, prediction interval and heterogeneity over the cohorts with an estimate."""
    n = sum(one.row["n"] for one in estimates)
    people = sum(one.row["denominator"] for one in estimates)
    mean = Pooled("mean", kind, term)
    whole = [one for one in estimates if np.isfinite(one.error)]
    if len(whole) < 2:
        why = f"{len(whole)} of {cohorts} cohorts has an estimate of it, and pooling needs two"
        yield row(mean, None, n, people, not_estimated(why))
        return
    effects = np.log([one.row["estimate"] for one in whole])
    result = pool(effects, np.array([one.error for one in whole]))
    of = f"{_METHOD}; {len(whole)} of {cohorts} cohorts"
    ratio, low, high = np.exp([result.mean, result.low, result.high])
    yield row(mean, ratio, n, people, of, low, high)
    predicted = Pooled("prediction interval of", kind, term)
    low, high = np.exp(result.predicted)
    if np.isfinite(low):
        method = f"95 % interval of the ratio in another cohort (Higgins 2009); {of}"
        yield row(predicted, ratio, n, people, method, low, high)
    else:
        why = "a prediction interval needs three cohorts"
        yield row(predicted, None, n, people, not_estimated(why))
    yield row(Pooled("I2 of", kind, term), result.i2, n, people, f"(Q - df) / Q, share; {of}")
    yield row(Pooled("tau2 of", kind, term), result.tau2, n, people, f"of log ratios; {of}")
    yield row(Pooled("Q of", kind, term), result.q, n, people, f"Cochran's Q; {of}")
