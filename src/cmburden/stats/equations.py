"""Generalised estimating equations of people in groups, by statsmodels (Liang and Zeger 1986)."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from cmburden.stats.regression import Fit, separated


def exchangeable(
    y: np.ndarray,
    matrix: np.ndarray,
    groups: np.ndarray,
    outcome: Literal["presence", "count"],
    weights: np.ndarray | None = None,
) -> Fit:
    """Logistic (presence) or Poisson (count) ratios; people of a group are correlated alike.

    ``y`` (n,), ``matrix`` (n, 1 + terms) with a constant first, ``groups`` (n,) int. Errors are
    sandwich ones with the correction of Mancl and DeRouen (2001) for few groups (without it where
    people have ``weights`` (n,)), and t quantiles with groups - 1 degrees of freedom.
    """
    from statsmodels.genmod.cov_struct import Exchangeable
    from statsmodels.genmod.families import Binomial, Poisson
    from statsmodels.genmod.generalized_estimating_equations import GEE

    family = Binomial() if outcome == "presence" else Poisson()
    kind = "bias_reduced" if weights is None else "robust"
    order = np.argsort(groups, kind="stable")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            model = GEE(
                y[order].astype(float),
                matrix[order],
                groups[order],
                family=family,
                cov_struct=Exchangeable(),
                weights=None if weights is None else weights[order],
            )
            result = model.fit(maxiter=100, cov_type=kind)
            params = np.asarray(result.params, float)
            covariance = np.asarray(result.cov_params(), float)
    except (np.linalg.LinAlgError, ValueError, ArithmeticError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        return Fit(problem=f"the estimating equations broke off ({reason})")
    errors = np.sqrt(np.diag(covariance))
    if not (np.isfinite(params).all() and np.isfinite(errors).all()) or not result.converged:
        return Fit(problem="the estimating equations did not converge", converged=False)
    if separated(params[1:], matrix):
        return Fit(problem="a combination of the terms all but tells the outcome (separation)")
    return Fit(
        params[1:],
        errors[1:],
        params=params,
        covariance=covariance,
        freedom=max(len(np.unique(groups)) - 1.0, 1.0),
        correlation=float(model.cov_struct.dep_params),
    )
