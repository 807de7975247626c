"""Regressions of presence, counts and patterns by statsmodels; a failed fit says why in a sentence.

Matrices have a constant first and a column a term. A ratio is the exponential of a log ratio.
Participants may have weights and be clustered (``sandwich.Sample``): the likelihood is then a
weighted one, and errors are sandwich ones.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from cmburden.stats import firth
from cmburden.stats.intervals import Z95, t_quantile
from cmburden.stats.sandwich import SIMPLE, Sample, of_sample

#: A log ratio per standard deviation above this means complete separation; the fit is reported as
#: not estimable. By eye.
_SEPARATED = 8.0
#: A dispersion of a negative binomial model below this is at its limit of 0. By eye.
_LEAST_ALPHA = 1e-3
_NO_ALPHA = (np.nan, np.nan, np.nan)
#: A sandwich error below this is none: the counts do not vary about the model.
_LEAST_ERROR = 1e-7
#: Newton's method: a step is halved at most so often, and may raise the loss by this share
#: (rounding).
_HALVINGS = 30
_LOSS_TOLERANCE = 1e-9
#: Newton's method with numeric derivatives: most steps, and the step at which it has converged.
_NEWTON_STEPS, _NEWTON_TOLERANCE = 30, 1e-6
#: Where the search for the dispersion starts: the moments' estimate within these bounds.
_STARTING_ALPHA = (0.01, 50.0)
#: Step of a numeric derivative of scores, as a share of a parameter of 1 or more.
_DERIVATIVE_STEP = 1e-5
#: People times cubed columns above which a profile takes more than about 10 s.
_MOST_PROFILING = 3e7
_SEPARATION = "a combination of the terms all but tells the outcome (separation)"
_NOT_CONVERGED = "the fit did not converge"
_NO_VARIATION = "counts do not vary about the model, so that no error can be told"
_EMPTY = np.empty(0)


@dataclasses.dataclass(frozen=True)
class Fit:
    """Log ratios and standard errors of the terms, (terms,) or (terms, outcomes).

    ``llf``: log likelihood; ``aic``: Akaike's criterion; both NaN where participants have weights
    or are clustered. ``alpha``: the dispersion of a negative binomial model with its 95 % interval,
    NaN for other models. ``params`` (1 + terms,) and ``covariance``: with the constant, empty for a
    multinomial model. ``freedom``: degrees of freedom of the t quantile; infinite: the normal one.
    ``limits`` (terms, 2): ends of profile intervals in the place of Wald's. ``correlation``: within
    a group, of a model by estimating equations. ``problem``: a sentence why there is no fit; the
    arrays are then empty and the numbers NaN. ``converged``: False where the search did not end.
    """

    log_ratio: np.ndarray = dataclasses.field(default_factory=lambda: _EMPTY)
    error: np.ndarray = dataclasses.field(default_factory=lambda: _EMPTY)
    llf: float = np.nan
    aic: float = np.nan
    alpha: tuple[float, float, float] = _NO_ALPHA
    problem: str | None = None
    params: np.ndarray = dataclasses.field(default_factory=lambda: _EMPTY)
    covariance: np.ndarray = dataclasses.field(default_factory=lambda: _EMPTY)
    freedom: float = np.inf
    limits: np.ndarray | None = None
    correlation: float = np.nan
    converged: bool = True

    @property
    def quantile(self) -> float:
        """Distance of an end of a Wald interval from the estimate, in standard errors."""
        return t_quantile(self.freedom)

    def interval(self, place: int) -> tuple[float, float, float]:
        """Log ratio of a term with the ends of its 95 % interval."""
        value, half = float(self.log_ratio[place]), self.quantile * float(self.error[place])
        if self.limits is None:
            return value, value - half, value + half
        low, high = self.limits[place]
        return value, float(low), float(high)

    @property
    def widest(self) -> float:
        """Logarithm of the largest ratio of both ends of an interval; 0 without terms."""
        ends = [self.interval(place)[1:] for place in range(len(self.log_ratio))]
        return max((high - low for low, high in ends), default=0.0)


def logistic(y: np.ndarray, matrix: np.ndarray, sample: Sample = SIMPLE) -> Fit:
    """Maximum likelihood, ``y`` bool (n,), ``matrix`` (n, 1 + terms) with a constant first."""
    from statsmodels.api import Logit

    model = Logit(y.astype(float), matrix)
    return _fitted(model, matrix, sample, lambda: model.fit(disp=0, maxiter=100))


def penalised(
    y: np.ndarray, matrix: np.ndarray, sample: Sample = SIMPLE, *, profile: bool = True
) -> Fit:
    """Firth's logistic regression, with profile intervals; a sandwich where the sample has one.

    Wald intervals without ``profile``, and where the profiles would take minutes. ``y`` bool
    (n,), ``matrix`` (n, 1 + terms) with a constant first.
    """
    try:
        profile = (
            profile and sample.simple and matrix.shape[0] * matrix.shape[1] ** 3 <= _MOST_PROFILING
        )
        fit = firth.firth(y, matrix, sample.weights, profile=profile)
    except np.linalg.LinAlgError:
        return Fit(problem="the likelihood is flat: the terms cannot be told apart")
    if fit is None:
        return Fit(problem=_NOT_CONVERGED, converged=False)
    covariance, freedom, limits = fit.covariance, np.inf, fit.limits[1:] if profile else None
    if not sample.simple:
        covariance, freedom = of_sample(fit.scores, fit.covariance, sample, None)
    error = np.sqrt(np.diag(covariance))[1:]
    return Fit(
        fit.params[1:],
        error,
        params=fit.params,
        covariance=covariance,
        freedom=freedom,
        limits=limits,
    )


def poisson(y: np.ndarray, matrix: np.ndarray, sample: Sample = SIMPLE) -> Fit:
    """Maximum likelihood with sandwich errors (HC3) and t quantiles.

    Counts vary more than Poisson's do, and a presence (0 or 1) less: ratios of a presence are then
    prevalence ratios (Zou 2004, Am J Epidemiol 159:702). ``y`` int or bool (n,), ``matrix`` (n, 1 +
    terms) with a constant first.
    """
    from statsmodels.api import Poisson

    model = Poisson(y.astype(float), matrix)
    return _fitted(model, matrix, sample, lambda: model.fit(disp=0, maxiter=100), robust=True)


def negative_binomial(y: np.ndarray, matrix: np.ndarray, sample: Sample = SIMPLE) -> Fit:
    """NB2 (variance = mean + alpha mean^2), maximum likelihood of ratios and alpha together.

    ``y`` int (n,), ``matrix`` (n, 1 + terms) with a constant first.
    """
    from statsmodels.api import NegativeBinomial

    model = NegativeBinomial(y.astype(float), matrix, loglike_method="nb2")

    def fit() -> Any:
        start = _start(y, matrix)
        # BFGS may end 1e-4 from the maximum. Newton's method goes all the way, or astray.
        try:
            exact = model.fit(disp=0, method="newton", maxiter=50, start_params=start)
            if exact.mle_retvals["converged"] and exact.params[-1] > 0 and exact.llf < 0:
                return exact
        except (np.linalg.LinAlgError, ValueError, ArithmeticError):
            pass
        return model.fit(disp=0, method="bfgs", maxiter=500, start_params=start)

    return _fitted(model, matrix, sample, fit, alpha=True)


def _start(y: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Coefficients of the Poisson fit, then the dispersion by moments."""
    from statsmodels.api import Poisson

    params = Poisson(y.astype(float), matrix).fit(disp=0, maxiter=100).params
    mean = np.exp(matrix @ params)
    excess = ((y - mean) ** 2 - mean).sum() / (mean**2).sum()
    return np.append(params, np.clip(excess, *_STARTING_ALPHA))


def multinomial(codes: np.ndarray, matrix: np.ndarray, sample: Sample = SIMPLE) -> Fit:
    """Maximum likelihood of ``codes`` 0 ... k against 0; log ratios are (terms, k)."""
    from statsmodels.api import MNLogit

    model = MNLogit(codes, matrix)
    return _fitted(model, matrix, sample, lambda: model.fit(disp=0, maxiter=100))


def _fitted(
    model: Any,
    matrix: np.ndarray,
    sample: Sample,
    fit: Callable[[], Any],
    *,
    alpha: bool = False,
    robust: bool = False,
) -> Fit:
    """A fit of statsmodels as ``Fit``; a problem of the fit becomes a sentence.

    ``alpha``: the last parameter is the dispersion of a negative binomial model. ``robust``: errors
    are sandwich ones whatever the sample.
    """
    from statsmodels.tools.sm_exceptions import PerfectSeparationError

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = fit()
            at = _Estimate.of(model, result, sample, robust)
    except PerfectSeparationError:
        return Fit(problem=_SEPARATION)
    except (np.linalg.LinAlgError, ValueError, ArithmeticError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        return Fit(problem=f"the fit broke off ({reason})")
    params, covariance = at.params, at.covariance
    if alpha and not params.ravel()[-1] > _LEAST_ALPHA:
        limit = "counts vary no more than Poisson's (alpha at its limit of 0): see Poisson"
        return Fit(problem=limit)
    if not result.mle_retvals.get("converged", False):
        return Fit(problem=_NOT_CONVERGED, converged=False)
    errors = np.sqrt(np.diag(covariance)).reshape(params.shape, order="F")
    dispersion = _NO_ALPHA
    if alpha:
        dispersion = _wald_of_log(params[-1], errors[-1])
        params, errors, covariance = params[:-1], errors[:-1], covariance[:-1, :-1]
    if not (np.isfinite(params).all() and np.isfinite(errors).all()):
        return Fit(problem="the likelihood is flat: the terms cannot be told apart")
    if separated(params[1:], matrix):
        return Fit(problem=_SEPARATION)
    if (errors[1:] < _LEAST_ERROR).any():
        return Fit(problem=_NO_VARIATION)
    return Fit(
        params[1:],
        errors[1:],
        at.llf,
        at.aic,
        dispersion,
        params=params if params.ndim == 1 else _EMPTY,
        covariance=covariance if params.ndim == 1 else _EMPTY,
        freedom=at.freedom,
    )


@dataclasses.dataclass(frozen=True)
class _Estimate:
    """``params`` as statsmodels shapes them; ``covariance`` of the parameters column by column."""

    params: np.ndarray
    covariance: np.ndarray
    freedom: float
    llf: float
    aic: float

    @classmethod
    def of(cls, model: Any, result: Any, sample: Sample, robust: bool) -> Self:
        params = np.asarray(result.params, float)
        llf, aic = float(result.llf), float(result.aic)
        if sample.simple and not robust:
            return cls(params, np.asarray(result.cov_params(), float), np.inf, llf, aic)
        flat = params.ravel(order="F")
        weights = np.ones(len(model.endog))
        if not sample.simple:
            llf = aic = np.nan  # The likelihood of dependent people is another.
        if sample.weights is not None:
            weights = sample.weights * len(weights) / sample.weights.sum()
            flat = _weighted(model, flat, weights)
        scores = _scores(model, flat) * weights[:, None]
        bread = np.linalg.inv(_information(model, flat, weights))
        leverage = None
        if robust:
            mean = np.exp(model.exog @ flat)
            leverage = np.einsum("ij,jk,ik->i", model.exog, bread, model.exog) * mean
        covariance, freedom = of_sample(scores, bread, sample, leverage)
        return cls(flat.reshape(params.shape, order="F"), covariance, freedom, llf, aic)


def _scores(model: Any, flat: np.ndarray) -> np.ndarray:
    return np.asarray(model.score_obs(flat), float).reshape(len(model.endog), len(flat))


def _information(model: Any, flat: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Minus the derivative of the weighted scores (k, k), by central differences."""
    derivative = np.empty((len(flat), len(flat)))
    for place in range(len(flat)):
        step = np.zeros(len(flat))
        step[place] = _DERIVATIVE_STEP * max(1.0, abs(flat[place]))
        above, below = (weights @ _scores(model, flat + sign * step) for sign in (1, -1))
        derivative[place] = (below - above) / (2 * step[place])
    return (derivative + derivative.T) / 2


def _weighted(model: Any, flat: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Parameters that maximise the weighted likelihood, by Newton's method from ``flat``.

    Raises ArithmeticError where the search does not end.
    """

    def likelihood(at: np.ndarray) -> float:
        each = np.asarray(model.loglikeobs(at), float).reshape(len(weights), -1).sum(axis=1)
        return float(weights @ each)

    best = likelihood(flat)
    value = best
    for _ in range(_NEWTON_STEPS):
        information = _information(model, flat, weights)
        step = np.linalg.solve(information, weights @ _scores(model, flat))
        for _ in range(_HALVINGS):
            value = likelihood(flat + step)
            if value >= best - _LOSS_TOLERANCE * abs(best):
                break
            step = step / 2
        flat, best = flat + step, value
        if np.abs(step).max() < _NEWTON_TOLERANCE:
            return flat
    raise ArithmeticError("the weighted likelihood has no maximum near the unweighted one")


def _wald_of_log(value: float, error: float) -> tuple[float, float, float]:
    """A positive number with the 95 % interval of its logarithm (delta method)."""
    with np.errstate(over="ignore", under="ignore"):
        low, high = np.exp(np.log(value) + np.array([-1, 1]) * Z95 * error / value)
    return float(value), float(low), float(high)


def separated(terms: np.ndarray, matrix: np.ndarray) -> bool:
    """Whether a log ratio per standard deviation of its column means complete separation."""
    spread = matrix[:, 1:].std(axis=0)
    scaled = np.abs(terms) * (spread[:, None] if terms.ndim > 1 else spread)
    return bool((scaled > _SEPARATED).any())
