"""Presence, count and pattern of microbleeds against covariates: rows of `summary` (statsmodels).

Logistic for presence; negative binomial beside Poisson for counts; multinomial for pattern. What
cannot be estimated is a row that says why, never an error: cohorts are small, or of one sex.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from cmburden.covariates import EVENTS_PER_TERM, Design, design
from cmburden.tables import PATTERNS

_Z = 1.959963984540054
#: Columns of `scans` that a model may take from the scan chosen.
_OF_SCAN = (
    "slice_mm", "voxel_x_mm", "voxel_y_mm", "field_strength_t", "echo_time_s", "snr",
    "brain_volume_ml", "coverage",
)  # fmt: skip
#: Beyond this a log ratio per standard deviation is no finding but two groups that never mix.
_SEPARATED = 8.0


@dataclasses.dataclass(frozen=True)
class Fit:
    """Log ratios and standard errors of the terms, (terms,) or (terms, outcomes); AIC.

    ``problem``: why it is none. ``alpha``: estimate and interval of the negative binomial's.
    """

    log_ratio: np.ndarray | None = None
    error: np.ndarray | None = None
    llf: float = np.nan
    aic: float = np.nan
    alpha: tuple[float, float, float] | None = None
    problem: str | None = None


# --- fits ---


def logistic(y: np.ndarray, matrix: np.ndarray) -> Fit:
    """Maximum likelihood, ``y`` bool (n,), ``matrix`` (n, 1 + terms) with a constant first."""
    from statsmodels.api import Logit

    return _fitted(lambda: Logit(y.astype(float), matrix).fit(disp=0, maxiter=100), matrix)


def poisson(y: np.ndarray, matrix: np.ndarray) -> Fit:
    """Maximum likelihood with the sandwich's errors: counts vary more than Poisson's do."""
    from statsmodels.api import Poisson

    return _fitted(
        lambda: Poisson(y.astype(float), matrix).fit(disp=0, maxiter=100, cov_type="HC1"), matrix
    )


def negative_binomial(y: np.ndarray, matrix: np.ndarray) -> Fit:
    """NB2 (variance = mean + alpha mean^2), maximum likelihood of ratios and alpha together."""
    from statsmodels.api import NegativeBinomial

    def fit():
        model = NegativeBinomial(y.astype(float), matrix, loglike_method="nb2")
        return model.fit(disp=0, method="bfgs", maxiter=500, start_params=_start(y, matrix))

    return _fitted(fit, matrix, alpha=True)


def _start(y: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    from statsmodels.api import Poisson

    params = Poisson(y.astype(float), matrix).fit(disp=0, maxiter=100).params
    mean = np.exp(matrix @ params)
    excess = ((y - mean) ** 2 - mean).sum() / (mean**2).sum()
    return np.append(params, np.clip(excess, 0.01, 50.0))


def multinomial(codes: np.ndarray, matrix: np.ndarray) -> Fit:
    """Maximum likelihood of ``codes`` 0 ... k against 0; log ratios are (terms, k)."""
    from statsmodels.api import MNLogit

    return _fitted(lambda: MNLogit(codes, matrix).fit(disp=0, maxiter=100), matrix)


def _fitted(fit: Callable[[], Any], matrix: np.ndarray, *, alpha: bool = False) -> Fit:
    """A statsmodels fit as ours; whatever goes wrong in it becomes a sentence."""
    from statsmodels.tools.sm_exceptions import PerfectSeparationError

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = fit()
            params, error = np.asarray(found.params, float), np.asarray(found.bse, float)
            llf, aic = float(found.llf), float(found.aic)
    except PerfectSeparationError:
        return Fit(problem="a combination of the terms tells the outcome exactly (separation)")
    except (np.linalg.LinAlgError, ValueError, FloatingPointError) as error:
        return Fit(problem=f"the fit broke off ({str(error).splitlines()[0]})")
    if not found.mle_retvals.get("converged", False):
        return Fit(problem="the fit did not converge")
    dispersion = None
    if alpha:
        value, spread = params[-1], error[-1]
        params, error = params[:-1], error[:-1]
        if not (value > 1e-4 and np.isfinite(spread)):
            return Fit(
                llf=llf,
                problem="counts vary no more than Poisson's (alpha at its limit of 0): see Poisson",
            )
        ends = np.exp(np.log(value) + np.array([-1, 1]) * _Z * spread / value)
        dispersion = (float(value), float(ends[0]), float(ends[1]))
    if not (np.isfinite(params).all() and np.isfinite(error).all()):
        return Fit(problem="the likelihood is flat: the terms cannot be told apart")
    spread = matrix[:, 1:].std(axis=0)
    terms = params[1:]
    scaled = np.abs(terms) * (spread[:, None] if terms.ndim > 1 else spread)
    if (scaled > _SEPARATED).any():
        return Fit(problem="a combination of the terms all but tells the outcome (separation)")
    return Fit(terms, error[1:], llf, aic, dispersion)


def background_poisson(
    y: np.ndarray, matrix: np.ndarray, background: np.ndarray, most: int = 100
) -> Fit:
    """Log ratios of the true rate where counts hold ``background`` (n,) false ones on average.

    Expected count = background + exp(matrix b), by Poisson quasi-likelihood (Fisher scoring) with
    the sandwich's errors. A constant sensitivity to lesions is part of the constant; so ratios are
    of true counts as long as sensitivity and background do not depend on the covariates.
    """
    b = np.zeros(matrix.shape[1])
    b[0] = np.log(max(y.mean() - background.mean(), 0.1 * max(y.mean(), 1e-6)))

    def parts(b):
        rate = np.exp(np.clip(matrix @ b, -30, 30))
        mean = background + rate
        loss = float((mean - y * np.log(mean)).sum())
        return matrix * rate[:, None], mean, loss

    try:
        slope, mean, loss = parts(b)
        for _ in range(most):
            inverse = np.linalg.inv(slope.T @ (slope / mean[:, None]))
            step = inverse @ (slope.T @ ((y - mean) / mean))
            for _ in range(30):
                new = parts(b + step)
                if new[2] <= loss + 1e-9 * abs(loss):
                    break
                step = step / 2
            b, (slope, mean, loss) = b + step, new
            if np.abs(step).max() < 1e-8:
                break
        else:
            return Fit(problem="the fit did not converge")
        inverse = np.linalg.inv(slope.T @ (slope / mean[:, None]))
    except np.linalg.LinAlgError:
        return Fit(problem="the fit broke off: counts do not stand out from the false positives")
    scores = slope * ((y - mean) / mean)[:, None]
    error = np.sqrt(np.diag(inverse @ (scores.T @ scores) @ inverse))
    if not np.isfinite(error).all() or (np.abs(b[1:]) * matrix[:, 1:].std(axis=0) > 8).any():
        return Fit(problem="counts do not stand out from the false positives")
    return Fit(b[1:], error[1:])


# --- rows of `summary` ---


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
    table = table_of(participants, scans)
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
                ends = np.exp([value, value - _Z * error, value + _Z * error])
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
    if isinstance(false_positives, str) or model.design.problem:
        yield from own.ratios(Fit(problem=str(false_positives)))
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
