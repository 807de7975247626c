"""Regressions of presence, counts and patterns by statsmodels; what goes wrong is a sentence.

Matrices have a constant first and a column a term; ratios are exp of what is returned.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from cmburden.stats.intervals import Z95

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
    except (np.linalg.LinAlgError, ValueError, ArithmeticError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        return Fit(problem=f"the fit broke off ({said})")
    dispersion = None
    if alpha and not params[-1] > 1e-4:
        limit = "counts vary no more than Poisson's (alpha at its limit of 0): see Poisson"
        return Fit(problem=limit)
    if not found.mle_retvals.get("converged", False):
        return Fit(problem="the fit did not converge")
    if alpha:
        value, spread = params[-1], error[-1]
        params, error = params[:-1], error[:-1]
        ends = np.exp(np.log(value) + np.array([-1, 1]) * Z95 * spread / value)
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
    indistinct = "counts do not stand out from the false positives"
    try:
        with np.errstate(all="ignore"):
            b, error = _scoring(y, matrix, background, b, most)
    except np.linalg.LinAlgError:
        return Fit(problem=indistinct)
    if b is None:
        return Fit(problem="the fit did not converge")
    scaled = np.abs(b[1:]) * matrix[:, 1:].std(axis=0)
    if not np.isfinite(error).all() or (scaled > _SEPARATED).any():
        return Fit(problem=indistinct)
    return Fit(b[1:], error[1:])


def _scoring(y, matrix, background, b, most) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Coefficients and their sandwich errors; None where ``most`` steps are not enough."""

    def parts(b):
        rate = np.exp(np.clip(matrix @ b, -30, 30))
        mean = background + rate
        return matrix * rate[:, None], mean, float((mean - y * np.log(mean)).sum())

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
            inverse = np.linalg.inv(slope.T @ (slope / mean[:, None]))
            scores = slope * ((y - mean) / mean)[:, None]
            return b, np.sqrt(np.diag(inverse @ (scores.T @ scores) @ inverse))
    return None, None
