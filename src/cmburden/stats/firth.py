"""Logistic regression by penalised likelihood (Firth 1993, Biometrika 80:27).

The penalty is half the logarithm of the information's determinant (Jeffreys' prior). The estimate
is finite where a term tells the outcome (separation), and less biased where events are few.
Intervals are of the profile penalised likelihood (Heinze and Schemper 2002, Stat Med 21:2409).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, log1p
from scipy.stats import chi2

#: Twice the fall of the log likelihood at an end of the 95 % interval.
_FALL = float(chi2.ppf(0.95, 1))
_STEPS, _HALVINGS, _LARGEST_STEP, _TOLERANCE = 200, 30, 5.0, 1e-9
#: Doublings of a step away from the estimate until an end of the interval is passed.
_DOUBLINGS = 12


@dataclasses.dataclass(frozen=True)
class FirthFit:
    """``params`` (k,), ``covariance`` (k, k), ``limits`` (k, 2) NaN where there is none.

    ``scores`` (n, k) are the modified ones. ``llf``: penalised log likelihood.
    """

    params: np.ndarray
    covariance: np.ndarray
    limits: np.ndarray
    scores: np.ndarray
    llf: float


@dataclasses.dataclass(frozen=True)
class _Data:
    y: np.ndarray
    matrix: np.ndarray
    weights: np.ndarray

    def information(self, mean: np.ndarray) -> np.ndarray:
        spread = self.weights * mean * (1 - mean)
        return self.matrix.T @ (self.matrix * spread[:, None])

    def likelihood(self, params: np.ndarray) -> float:
        """Penalised log likelihood."""
        linear = self.matrix @ params
        signed = np.where(self.y > 0, linear, -linear)
        # log expit(x) without overflow.
        logs = np.where(
            signed > 0,
            -log1p(np.exp(-np.abs(signed))),
            -np.abs(signed) - log1p(np.exp(-np.abs(signed))),
        )
        sign, determinant = np.linalg.slogdet(self.information(expit(linear)))
        if sign <= 0:
            return -np.inf
        return float((self.weights * logs).sum() + 0.5 * determinant)

    def scores(self, params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Modified scores (n, k) and the information (k, k)."""
        mean = expit(self.matrix @ params)
        information = self.information(mean)
        spread = self.weights * mean * (1 - mean)
        leverage = (
            np.einsum("ij,jk,ik->i", self.matrix, np.linalg.inv(information), self.matrix) * spread
        )
        residual = self.weights * (self.y - mean) + leverage * (0.5 - mean)
        return self.matrix * residual[:, None], information

    def maximum(self, params: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, float] | None:
        """Params that maximise the likelihood over the ``free`` ones (k,) bool; None: no maximum.

        ``params``: where the search starts, and the values of those that are not free.
        """
        best = self.likelihood(params)
        for _ in range(_STEPS):
            scores, information = self.scores(params)
            step = np.zeros(len(params))
            step[free] = np.linalg.solve(information[np.ix_(free, free)], scores.sum(axis=0)[free])
            step *= min(1.0, _LARGEST_STEP / max(np.abs(step).max(), 1e-300))
            if np.abs(step).max() < _TOLERANCE:
                return params, best
            for _ in range(_HALVINGS):
                value = self.likelihood(params + step)
                if value >= best - _TOLERANCE:
                    break
                step = step / 2
            else:
                return params, best
            params, best = params + step, value
        return None


def firth(
    y: np.ndarray,
    matrix: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    profile: bool = True,
) -> FirthFit | None:
    """The penalised fit of ``y`` (n,) 0 or 1 on ``matrix`` (n, k); None without a maximum.

    ``weights`` (n,): of the likelihood. ``profile``: make the limits, else they are NaN.
    Raises LinAlgError where columns are collinear.

    One 2 by 2 table: the log odds ratio with half a person added to each cell.

    >>> x = np.repeat([0.0, 1.0], [10, 10])
    >>> y = np.r_[np.zeros(10), np.repeat([0.0, 1.0], [4, 6])]
    >>> fit = firth(y, np.column_stack([np.ones(20), x]))
    >>> f"{fit.params[1]:.6f}", f"{np.log(6.5 * 10.5 / (4.5 * 0.5)):.6f}"
    ('3.412247', '3.412247')
    """
    rows, k = matrix.shape
    fitted = _Data(
        y.astype(float),
        matrix,
        np.ones(rows) if weights is None else weights * rows / weights.sum(),
    )
    with np.errstate(over="ignore", under="ignore"):
        peak = fitted.maximum(np.zeros(k), np.ones(k, bool))
        if peak is None:
            return None
        params, top = peak
        scores, information = fitted.scores(params)
        covariance = np.linalg.inv(information)
        limits = np.full((k, 2), np.nan)
        if profile:
            for place in range(1, k):
                step = float(np.sqrt(covariance[place, place]))
                limits[place] = [
                    _end(fitted, params, top, place, -step),
                    _end(fitted, params, top, place, step),
                ]
    return FirthFit(params, covariance, limits, scores, top)


def _end(fitted: _Data, params: np.ndarray, top: float, place: int, step: float) -> float:
    """The value beyond the estimate at which the profile has fallen; infinite: it never does."""
    free = np.ones(len(params), bool)
    free[place] = False
    start = params

    def above(value: float) -> float:
        nonlocal start
        fixed = start.copy()
        fixed[place] = value
        peak = fitted.maximum(fixed, free)
        if peak is None:
            return np.nan
        start = peak[0]
        return 2 * (peak[1] - top) + _FALL

    near = float(params[place])
    for _ in range(_DOUBLINGS):
        far = near + step
        height = above(far)
        if np.isnan(height):
            return float(np.inf * step)
        if height < 0:
            return float(brentq(above, near, far, xtol=1e-6))
        near, step = far, 2 * step
    return float(np.inf * step)
