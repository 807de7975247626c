"""Presence, count and pattern of microbleeds against covariates: rows of `summary`.

Logistic for presence; negative binomial beside Poisson for counts; multinomial for pattern. What
cannot be estimated is a row that says why, never an error: cohorts are small, or of one sex.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

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

#: Columns of `scans` that a model may take from the scan chosen.
_OF_SCAN = (
    "slice_mm", "voxel_x_mm", "voxel_y_mm", "field_strength_t", "echo_time_s", "snr",
    "brain_volume_ml", "coverage",
)  # fmt: skip


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
) -> Iterator[dict[str, Any]]:
    """All models' rows, stratum 'all'.

    ``false_positives``: definite ones a scan by contrast, or why they are not known.
    """
    table, covariates = table_of(participants, scans), list(dict.fromkeys(covariates))
    counts = table["n_cmb"].to_numpy(dtype=int)
    patterns = table["pattern"].fillna("none").to_numpy(dtype=object)
    for row in (
        *_presence(table, counts, covariates),
        *_counts(table, counts, covariates, false_positives),
        *_patterns(table, patterns, covariates),
    ):
        yield {"stratum": "all"} | row


@dataclasses.dataclass(frozen=True)
class _Model:
    """What rows of one model share."""

    ratio: str  # 'odds ratio presence'
    name: str  # 'presence'
    how: str
    design: Design
    events: int
    covariates: tuple[str, ...]

    @property
    def used(self) -> int:
        return int(self.design.used.sum())

    def row(self, measure, estimate=None, low=None, high=None, method="", n=None, denominator=None):
        return {
            "measure": measure,
            "estimate": _finite(estimate),
            "ci_low": _finite(low),
            "ci_high": _finite(high),
            "n": self.events if n is None else n,
            "denominator": self.used if denominator is None else denominator,
            "method": method,
        }

    def ratios(self, fit: Fit) -> Iterator[dict[str, Any]]:
        """A row a term, and one for each that is left out."""
        if self.design.problem:
            for name in self.covariates:
                measure = f"{self.ratio}: {name}"
                yield self.row(measure, method=f"not estimated: {self.design.problem}")
            return
        adjusted = f"; terms: {', '.join(self.design.terms) or 'none'}"
        for place, term in enumerate(self.design.terms):
            measure = f"{self.ratio}: {term}"
            if fit.problem:
                yield self.row(measure, method=f"not estimated: {fit.problem}")
                continue
            value, error = float(fit.log_ratio[place]), float(fit.error[place])
            with np.errstate(over="ignore"):
                ends = np.exp([value, value - Z95 * error, value + Z95 * error])
            yield self.row(measure, *ends, method=self.how + adjusted)
        for name, why in self.design.left_out:
            yield self.row(f"{self.ratio}: {name}", method=f"not estimated: {why}")

    def about(self, fit: Fit, usable: int) -> Iterator[dict[str, Any]]:
        """Observations, convergence and AIC."""
        problem = self.design.problem or fit.problem
        name = f"model {self.name}"
        complete = "participants with every covariate, of the usable ones"
        yield self.row(
            f"{name}: observations", self.used, method=complete, n=self.used, denominator=usable
        )
        method = f"not estimated: {problem}" if problem else self.how
        yield self.row(f"{name}: converged", None if problem else 1.0, method=method)
        if np.isfinite(fit.aic) or problem:
            yield self.row(f"{name}: aic", None if problem else fit.aic, method=method)


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _model(ratio, name, how, table, outcome, covariates, *, two_sided=True) -> _Model:
    made = design(table, outcome, covariates, two_sided=two_sided)
    events = int((outcome[made.used] > 0).sum())
    return _Model(ratio, name, how, made, events, tuple(covariates))


def _presence(table, counts, covariates) -> Iterator[dict[str, Any]]:
    positive = (counts > 0).astype(int)
    how = "logistic regression, maximum likelihood, Wald 95 % interval"
    model = _model("odds ratio presence", "presence", how, table, positive, covariates)
    made = model.design
    fit = Fit() if made.problem else logistic(positive[made.used], made.matrix)
    yield from model.ratios(fit)
    yield from model.about(fit, len(table))


def _counts(table, counts, covariates, false_positives) -> Iterator[dict[str, Any]]:
    positive = (counts > 0).astype(int)
    how = "negative binomial regression (NB2), maximum likelihood, Wald 95 % interval"
    model = _model(
        "rate ratio count", "count", how, table, positive, covariates, two_sided=False
    )  # fmt: skip
    plain = dataclasses.replace(
        model,
        ratio="rate ratio count poisson",
        name="count poisson",
        how="Poisson regression, Wald 95 % interval with sandwich (HC1) errors",
    )
    made, y = model.design, counts[model.design.used]
    if made.problem:
        wide = straight = Fit()
    else:
        straight = poisson(y, made.matrix)
        wide = negative_binomial(y, made.matrix)
    yield from model.ratios(wide)
    yield from plain.ratios(straight)
    yield from model.about(wide, len(table))
    yield from plain.about(straight, len(table))
    yield from _choice(model, plain, wide, straight)
    yield from _less_background(model, y, false_positives, table)


def _choice(model, plain, wide: Fit, straight: Fit) -> Iterator[dict[str, Any]]:
    """Alpha, its likelihood ratio, and which of both models AIC prefers."""
    problem = model.design.problem or wide.problem
    alpha, ratio = "model count: alpha", "model count: likelihood ratio of alpha"
    if problem or straight.problem:
        why = f"not estimated: {problem or straight.problem}"
        for name in (alpha, ratio, f"{ratio} p"):
            yield model.row(name, method=why)
    else:
        method = "overdispersion: variance = mean + alpha mean^2; Wald interval of log alpha"
        yield model.row(alpha, *wide.alpha, method=method)
        statistic = max(2 * (wide.llf - straight.llf), 0.0)
        method = "twice the gain in log likelihood over Poisson"
        yield model.row(ratio, statistic, method=method)
        method = "half of chi-squared's tail (1 degree of freedom): alpha cannot be below 0"
        yield model.row(f"{ratio} p", 0.5 * stats.chi2.sf(statistic, 1), method=method)
    if model.design.problem or straight.problem:
        return
    better = not problem and wide.aic < straight.aic
    for own, chosen in ((model, better), (plain, not better)):
        yield own.row(
            f"model {own.name}: chosen", float(chosen), method="1: the lower AIC of both"
        )  # fmt: skip


def _less_background(model, y, false_positives, table) -> Iterator[dict[str, Any]]:
    """Rate ratios of true counts, the contract's false positives taken off."""
    own = dataclasses.replace(
        model,
        ratio="rate ratio count corrected",
        how="Poisson quasi-likelihood of expected count = false positives a scan + rate, the "
        "former taken as known; Wald 95 % interval with sandwich errors",
    )
    if isinstance(false_positives, str):
        yield from own.ratios(Fit(problem=false_positives))
        return
    if model.design.problem:
        yield from own.ratios(Fit())
        return
    contrast = table["contrast"].to_numpy(dtype=object)[model.design.used]
    unknown = sorted(set(contrast) - set(false_positives))
    if unknown:
        why = f"nobody says how many false positives a scan of {', '.join(unknown)} has"
        yield from own.ratios(Fit(problem=why))
        return
    background = np.array([false_positives[name] for name in contrast])
    yield from own.ratios(background_poisson(y, model.design.matrix, background))


def _patterns(table, patterns, covariates) -> Iterator[dict[str, Any]]:
    how = (
        "multinomial logistic regression against pattern 'none', maximum likelihood, "
        "Wald 95 % interval"
    )
    numbers = {name: int((patterns == name).sum()) for name in PATTERNS}
    kept = [name for name in PATTERNS[1:] if numbers[name] >= EVENTS_PER_TERM]
    codes = {name: number for number, name in enumerate([PATTERNS[0], *kept])}
    inside = np.isin(patterns, list(codes))
    own = table[inside].reset_index(drop=True)
    outcome = np.array([codes[name] for name in patterns[inside]], dtype=int)
    model = _model("relative risk ratio pattern", "pattern", how, own, outcome, covariates)
    made = model.design
    if made.problem or not kept:
        lacking = f"no pattern is that of {EVENTS_PER_TERM} participants or more"
        fit = Fit(problem=made.problem or lacking)
    else:
        fit = multinomial(outcome[made.used], made.matrix)
    for name in PATTERNS[1:]:
        ratio = f"relative risk ratio pattern={name}"
        if name not in kept:
            why = f"{numbers[name]} participants have the pattern; {EVENTS_PER_TERM} are needed"
            for covariate in covariates:
                yield model.row(
                    f"{ratio}: {covariate}", method=f"not estimated: {why}", n=numbers[name]
                )
            continue
        part = fit
        if not fit.problem:
            place = codes[name] - 1
            part = Fit(fit.log_ratio[:, place], fit.error[:, place])
        events = int((outcome[made.used] == codes[name]).sum())
        yield from dataclasses.replace(model, ratio=ratio, events=events).ratios(part)
    yield from model.about(fit, len(table))
