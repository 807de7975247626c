"""Presence, count and pattern of microbleeds against covariates: rows of `summary`.

The model is logistic for presence, negative binomial and Poisson for counts, multinomial for the
pattern. A quantity that cannot be estimated is a row with the reason and no error, since cohorts
may be small or of one sex.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from cmburden.core.tables import PATTERNS
from cmburden.stats.intervals import Z95
from cmburden.stats.regression import (
    Fit,
    background_poisson,
    logistic,
    multinomial,
    negative_binomial,
    poisson,
)
from cmburden.summary.covariates import EVENTS_PER_TERM, Design, design
from cmburden.summary.measures import Model, ModelFact, PatternRatio, Ratio
from cmburden.summary.names import Measure
from cmburden.summary.rows import Row, of_stratum, row
from cmburden.summary.strata import EVERYBODY

#: Columns of `scans` that a model may take from the scan chosen.
_OF_SCAN = (
    "slice_mm",
    "voxel_x_mm",
    "voxel_y_mm",
    "field_strength_t",
    "echo_time_s",
    "repetition_time_s",
    "flip_angle_deg",
    "slice_gap_mm",
    "manufacturer",
    "scanner_model",
    "dimension",
    "image_kind",
    "snr",
    "brain_volume_ml",
    "coverage",
)


def table_of(participants: pd.DataFrame, scans: pd.DataFrame) -> pd.DataFrame:
    """Usable participants with the acquisition of the scan chosen; index from 0."""
    usable = participants[participants["scan_id"].notna() & participants["n_cmb"].notna()]
    columns = [name for name in _OF_SCAN if name not in usable]
    return usable.merge(scans[["scan_id", *columns]], on="scan_id", how="left")


def rows(
    participants: pd.DataFrame,
    scans: pd.DataFrame,
    covariates: list[str],
    false_positives: Mapping[str, float] | str = "nobody says how many",
) -> list[Row]:
    """All models' rows, of everybody.

    ``false_positives``: definite ones a scan by contrast, or the reason why they are missing.
    """
    people = _People(table_of(participants, scans), tuple(dict.fromkeys(covariates)))
    models = (*_presence(people), *_counts(people, false_positives), *_patterns(people))
    return of_stratum(EVERYBODY, models)


@dataclasses.dataclass(frozen=True)
class _People:
    """Usable participants, of ``table_of``, and the names of the covariates wanted."""

    table: pd.DataFrame
    covariates: tuple[str, ...]

    @property
    def counts(self) -> np.ndarray:
        """Definite microbleeds, int (n,)."""
        return self.table["n_cmb"].to_numpy(dtype=int)

    @property
    def patterns(self) -> np.ndarray:
        return self.table["pattern"].fillna(PATTERNS[0]).to_numpy(dtype=object)


@dataclasses.dataclass(frozen=True)
class _Model:
    """A regression: how its rows are named and made, and its terms. ``events``: positive people."""

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
                yield self.row(self.ratio(name), method=_not(self.design.problem))
            return
        adjusted = f"; terms: {', '.join(self.design.terms) or 'none'}"
        for place, term in enumerate(self.design.terms):
            if fit.problem:
                yield self.row(self.ratio(term), method=_not(fit.problem))
                continue
            value, error = float(fit.log_ratio[place]), float(fit.error[place])
            with np.errstate(over="ignore"):
                ratio, low, high = np.exp([value, value - Z95 * error, value + Z95 * error])
            yield self.row(self.ratio(term), ratio, low, high, self.how + adjusted)
        for name, why in self.design.left_out:
            yield self.row(self.ratio(name), method=_not(why))

    def about(self, fit: Fit, usable: int) -> Iterator[Row]:
        """Observations, convergence and AIC."""
        problem = self.design.problem or fit.problem
        complete = "participants with every covariate, of the usable ones"
        observations = ModelFact(self.name, "observations")
        yield row(observations, self.used, self.used, usable, complete)
        method = _not(problem) if problem else self.how
        converged = None if problem else 1.0
        yield self.row(ModelFact(self.name, "converged"), converged, method=method)
        if np.isfinite(fit.aic) or problem:
            aic = None if problem else fit.aic
            yield self.row(ModelFact(self.name, "aic"), aic, method=method)


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _not(why: str) -> str:
    return f"not estimated: {why}"


def _presence(people: _People) -> Iterator[Row]:
    positive = (people.counts > 0).astype(int)
    terms = design(people.table, positive, list(people.covariates))
    model = _Model(
        ratio=functools.partial(Ratio, "odds ratio presence"),
        name="presence",
        how="logistic regression, maximum likelihood, Wald 95 % interval",
        design=terms,
        events=int(positive[terms.used].sum()),
        covariates=people.covariates,
    )
    fit = Fit() if terms.problem else logistic(positive[terms.used], terms.matrix)
    yield from model.ratios(fit)
    yield from model.about(fit, len(people.table))


def _counts(people: _People, false_positives: Mapping[str, float] | str) -> Iterator[Row]:
    positive = (people.counts > 0).astype(int)
    terms = design(people.table, positive, list(people.covariates), two_sided=False)
    model = _Model(
        ratio=functools.partial(Ratio, "rate ratio count"),
        name="count",
        how="negative binomial regression (NB2), maximum likelihood, Wald 95 % interval",
        design=terms,
        events=int(positive[terms.used].sum()),
        covariates=people.covariates,
    )
    plain = dataclasses.replace(
        model,
        ratio=functools.partial(Ratio, "rate ratio count poisson"),
        name="count poisson",
        how="Poisson regression, Wald 95 % interval with sandwich (HC1) errors",
    )
    y = people.counts[terms.used]
    if terms.problem:
        wide = straight = Fit()
    else:
        straight = poisson(y, terms.matrix)
        wide = negative_binomial(y, terms.matrix)
    usable = len(people.table)
    yield from model.ratios(wide)
    yield from plain.ratios(straight)
    yield from model.about(wide, usable)
    yield from plain.about(straight, usable)
    yield from _dispersion(model, wide, straight)
    yield from _choice(model, plain, wide, straight)
    yield from _less_background(model, y, false_positives, people.table)


def _dispersion(model: _Model, wide: Fit, straight: Fit) -> Iterator[Row]:
    """Alpha of the negative binomial, and its likelihood ratio against Poisson."""
    alpha = ModelFact("count", "alpha")
    ratio = ModelFact("count", "likelihood ratio of alpha")
    p = ModelFact("count", "likelihood ratio of alpha p")
    problem = model.design.problem or wide.problem or straight.problem
    if problem:
        for measure in (alpha, ratio, p):
            yield model.row(measure, method=_not(problem))
        return
    method = "overdispersion: variance = mean + alpha mean^2; Wald interval of log alpha"
    estimate, low, high = wide.alpha
    yield model.row(alpha, estimate, low, high, method)
    statistic = max(2 * (wide.llf - straight.llf), 0.0)
    method = "twice the gain in log likelihood over Poisson"
    yield model.row(ratio, statistic, method=method)
    method = "half of chi-squared's tail (1 degree of freedom): alpha cannot be below 0"
    yield model.row(p, 0.5 * stats.chi2.sf(statistic, 1), method=method)


def _choice(model: _Model, plain: _Model, wide: Fit, straight: Fit) -> Iterator[Row]:
    """Which of both models AIC prefers; no row where Poisson has no fit."""
    if model.design.problem or straight.problem:
        return
    better = not wide.problem and wide.aic < straight.aic
    for one, chosen in ((model, better), (plain, not better)):
        measure = ModelFact(one.name, "chosen")
        yield one.row(measure, float(chosen), method="1: the lower AIC of both")


def _less_background(
    model: _Model, y: np.ndarray, false_positives: Mapping[str, float] | str, table: pd.DataFrame
) -> Iterator[Row]:
    """Rate ratios of true counts, the contract's false positives taken off."""
    less = dataclasses.replace(
        model,
        ratio=functools.partial(Ratio, "rate ratio count corrected"),
        how="Poisson quasi-likelihood of expected count = false positives a scan + rate, the "
        "former taken as known; Wald 95 % interval with sandwich errors",
    )
    if isinstance(false_positives, str):
        yield from less.ratios(Fit(problem=false_positives))
        return
    if model.design.problem:
        yield from less.ratios(Fit())
        return
    contrast = table["contrast"].to_numpy(dtype=object)[model.design.used]
    unknown = sorted(set(contrast) - set(false_positives))
    if unknown:
        why = f"nobody says how many false positives a scan of {', '.join(unknown)} has"
        yield from less.ratios(Fit(problem=why))
        return
    background = np.array([false_positives[name] for name in contrast])
    yield from less.ratios(background_poisson(y, model.design.matrix, background))


def _patterns(people: _People) -> Iterator[Row]:
    """Each pattern against none; a pattern of too few participants is left out of the model."""
    patterns = people.patterns
    numbers = {name: int((patterns == name).sum()) for name in PATTERNS}
    modelled = [name for name in PATTERNS[1:] if numbers[name] >= EVENTS_PER_TERM]
    codes = {name: number for number, name in enumerate([PATTERNS[0], *modelled])}
    inside = np.isin(patterns, list(codes))
    table = people.table[inside].reset_index(drop=True)
    outcome = np.array([codes[name] for name in patterns[inside]], dtype=int)
    terms = design(table, outcome, list(people.covariates))
    model = _Model(
        ratio=functools.partial(PatternRatio, ""),
        name="pattern",
        how="multinomial logistic regression against pattern 'none', maximum likelihood, "
        "Wald 95 % interval",
        design=terms,
        events=int((outcome[terms.used] > 0).sum()),
        covariates=people.covariates,
    )
    if terms.problem or not modelled:
        lacking = f"no pattern is that of {EVENTS_PER_TERM} participants or more"
        fit = Fit(problem=terms.problem or lacking)
    else:
        fit = multinomial(outcome[terms.used], terms.matrix)
    for name in PATTERNS[1:]:
        of_pattern = dataclasses.replace(model, ratio=functools.partial(PatternRatio, name))
        if name not in modelled:
            too_few = dataclasses.replace(of_pattern, events=numbers[name])
            why = f"{numbers[name]} participants have the pattern; {EVENTS_PER_TERM} are needed"
            for covariate in people.covariates:
                yield too_few.row(too_few.ratio(covariate), method=_not(why))
            continue
        part = fit
        if not fit.problem:
            place = codes[name] - 1
            part = Fit(fit.log_ratio[:, place], fit.error[:, place])
        events = int((outcome[terms.used] == codes[name]).sum())
        yield from dataclasses.replace(of_pattern, events=events).ratios(part)
    yield from model.about(fit, len(people.table))
