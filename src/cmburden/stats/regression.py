"""Regressions of presence, counts and patterns by statsmodels; a failed fit says why in a sentence.

Matrices have a constant first and a column a term. A ratio is the exponential of a log ratio.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from cmburden.stats.intervals import Z95

#: A log ratio per standard deviation above this means complete separation; the fit is reported as
#: not estimable. By eye.
_SEPARATED = 8.0
#: A dispersion of a negative binomial model below this is at its limit of 0. By eye.
_LEAST_ALPHA = 1e-4
_NO_ALPHA = (np.nan, np.nan, np.nan)
#: Fisher scoring: log rates are clipped here, a step is halved at most so often, a step may raise
#: the loss by this share (rounding), and coefficients have converged below this step.
_LARGEST_LOG_RATE = 30.0
_HALVINGS = 30
_LOSS_TOLERANCE = 1e-9
_STEP_TOLERANCE = 1e-8
#: Where the search for the dispersion starts: the moments' estimate within these bounds.
_STARTING_ALPHA = (0.01, 50.0)


@dataclasses.dataclass(frozen=True)
class Fit:
    """Log ratios and standard errors of the terms, (terms,) or (terms, outcomes).

    ``llf``: log likelihood; ``aic``: Akaike's criterion. ``alpha``: the dispersion of a negative
    binomial model with its 95 % interval, NaN for other models. ``problem``: a sentence why there
    is no fit; the arrays are then empty and the numbers NaN.
    """

    log_ratio: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    error: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    llf: float = np.nan
    aic: float = np.nan
    alpha: tuple[float, float, float] = _NO_ALPHA
    problem: str | None = None


def logistic(y: np.ndarray, matrix: np.ndarray) -> Fit:
    """Maximum likelihood, ``y`` bool (n,), ``matrix`` (n, 1 + terms) with a constant first."""
    from statsmodels.api import Logit

    return _fitted(lambda: Logit(y.astype(float), matrix).fit(disp=0, maxiter=100), matrix)


def poisson(y: np.ndarray, matrix: np.ndarray) -> Fit:
    """Maximum likelihood with sandwich errors, since counts vary more than Poisson's do.

    ``y`` int (n,), ``matrix`` (n, 1 + terms) with a constant first.
    """
    from statsmodels.api import Poisson

    return _fitted(
        lambda: Poisson(y.astype(float), matrix).fit(disp=0, maxiter=100, cov_type="HC1"), matrix
    )


def negative_binomial(y: np.ndarray, matrix: np.ndarray) -> Fit:
    """NB2 (variance = mean + alpha mean^2), maximum likelihood of ratios and alpha together.

    ``y`` int (n,), ``matrix`` (n, 1 + terms) with a constant first.
    """
    from statsmodels.api import NegativeBinomial

    def fit() -> Any:
        model = NegativeBinomial(y.astype(float), matrix, loglike_method="nb2")
        return model.fit(disp=0, method="bfgs", maxiter=500, start_params=_start(y, matrix))

    return _fitted(fit, matrix, alpha=True)


def _start(y: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Coefficients of the Poisson fit, then the dispersion by moments."""
    from statsmodels.api import Poisson

    params = Poisson(y.astype(float), matrix).fit(disp=0, maxiter=100).params
    mean = np.exp(matrix @ params)
    excess = ((y - mean) ** 2 - mean).sum() / (mean**2).sum()
    return np.append(params, np.clip(excess, *_STARTING_ALPHA))


def multinomial(codes: np.ndarray, matrix: np.ndarray) -> Fit:
    """Maximum likelihood of ``codes`` 0 ... k against 0; log ratios are (terms, k)."""
    from statsmodels.api import MNLogit

    return _fitted(lambda: MNLogit(codes, matrix).fit(disp=0, maxiter=100), matrix)


def _fitted(fit: Callable[[], Any], matrix: np.ndarray, *, alpha: bool = False) -> Fit:
    """A fit of statsmodels as ``Fit``; a problem of the fit becomes a sentence.

    ``alpha``: the last parameter is the dispersion of a negative binomial model.
    """
    from statsmodels.tools.sm_exceptions import PerfectSeparationError

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = fit()
            params, errors = np.asarray(result.params, float), np.asarray(result.bse, float)
            llf, aic = float(result.llf), float(result.aic)
    except PerfectSeparationError:
        return Fit(problem="a combination of the terms tells the outcome exactly (separation)")
    except (np.linalg.LinAlgError, ValueError, ArithmeticError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        return Fit(problem=f"the fit broke off ({reason})")
    if alpha and not params[-1] > _LEAST_ALPHA:
        limit = "counts vary no more than Poisson's (alpha at its limit of 0): see Poisson"
        return Fit(problem=limit)
    if not result.mle_retvals.get("converged", False):
        return Fit(problem="the fit did not converge")
    dispersion = _NO_ALPHA
    if alpha:
        dispersion = _wald_of_log(params[-1], errors[-1])
        params, errors = params[:-1], errors[:-1]
    if not (np.isfinite(params).all() and np.isfinite(errors).all()):
        return Fit(problem="the likelihood is flat: the terms cannot be told apart")
    if _separated(params[1:], matrix):
        return Fit(problem="a combination of the terms all but tells the outcome (separation)")
    return Fit(params[1:], errors[1:], llf, aic, dispersion)


def _wald_of_log(value: float, error: float) -> tuple[float, float, float]:
    """A positive number with the 95 % interval of its logarithm (delta method)."""
    low, high = np.exp(np.log(value) + np.array([-1, 1]) * Z95 * error / value)
    return float(value), float(low), float(high)


def _separated(terms: np.ndarray, matrix: np.ndarray) -> bool:
    """Whether a log ratio per standard deviation of its column means complete separation."""
    spread = matrix[:, 1:].std(axis=0)
    scaled = np.abs(terms) * (spread[:, None] if terms.ndim > 1 else spread)
    return bool((scaled > _SEPARATED).any())


def background_poisson(
    y: np.ndarray, matrix: np.ndarray, background: np.ndarray, most: int = 100
) -> Fit:
    """Log ratios of the true rate where counts hold ``background`` (n,) false ones on average.

    Expected count = background + exp(matrix b), by Poisson quasi-likelihood (Fisher scoring) with
    sandwich errors. A constant sensitivity to lesions is part of the constant. Ratios are then of
    true counts as long as sensitivity and background do not depend on the covariates. ``most``:
    steps of the scoring.
    """
    start = np.zeros(matrix.shape[1])
    # A tenth of the mean count stands in where there are as many counts as false positives.
    start[0] = np.log(max(y.mean() - background.mean(), 0.1 * max(y.mean(), 1e-6)))
    indistinct = "counts do not stand out from the false positives"
    try:
        with np.errstate(all="ignore"):
            scored = _scoring(y, matrix, background, start, most)
    except np.linalg.LinAlgError:
        return Fit(problem=indistinct)
    if scored is None:
        return Fit(problem="the fit did not converge")
    b, errors = scored
    if not np.isfinite(errors).all() or _separated(b[1:], matrix):
        return Fit(problem=indistinct)
    return Fit(b[1:], errors[1:])


@dataclasses.dataclass(frozen=True)
class _At:
    """Means and their slopes at coefficients, and the quasi-likelihood's loss there."""

    slope: np.ndarray  # (n, 1 + terms)
    mean: np.ndarray  # (n,)
    loss: float

    @classmethod
    def of(cls, b: np.ndarray, y: np.ndarray, matrix: np.ndarray, background: np.ndarray) -> Self:
        rate = np.exp(np.clip(matrix @ b, -_LARGEST_LOG_RATE, _LARGEST_LOG_RATE))
        mean = background + rate
        return cls(matrix * rate[:, None], mean, float((mean - y * np.log(mean)).sum()))

    def inverse_information(self) -> np.ndarray:
        return np.linalg.inv(self.slope.T @ (self.slope / self.mean[:, None]))


def _scoring(
    y: np.ndarray, matrix: np.ndarray, background: np.ndarray, b: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Coefficients and their sandwich errors; None where ``most`` steps are not enough."""
    at = _At.of(b, y, matrix, background)
    for _ in range(most):
        step = at.inverse_information() @ (at.slope.T @ ((y - at.mean) / at.mean))
        new = _At.of(b + step, y, matrix, background)
        for _ in range(_HALVINGS):
            if new.loss <= at.loss + _LOSS_TOLERANCE * abs(at.loss):
                break
            step = step / 2
            new = _At.of(b + step, y, matrix, background)
        b, at = b + step, new
        if np.abs(step).max() < _STEP_TOLERANCE:
            inverse = at.inverse_information()
            scores = at.slope * ((y - at.mean) / at.mean)[:, None]
            return b, np.sqrt(np.diag(inverse @ (scores.T @ scores) @ inverse))
    return None
