"""The term of the phase in the probability: a log likelihood ratio beside the model without phase.

The model of shape, place and scores is not fitted again: what it says of a candidate is the offset
of a logistic regression on the phase's measure, with two coefficients.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import optimize
from scipy.special import expit
from sklearn.model_selection import GroupKFold

from cmburden.verify.probability import logit, phase_term

#: Fewest candidates with phase, of microbleeds and of all else, and fewest people with either: less
#: fits no term. By choice.
LEAST_CANDIDATES, LEAST_PEOPLE = 20, 5
#: Inverse penalty on the squared coefficients: by it a perfect separation stays finite.
_PENALTY = 10.0


@dataclasses.dataclass(frozen=True)
class PhaseFit:
    """``term`` = {coefficient, intercept}; ``p`` (n,) the probabilities out of fold with it."""

    term: dict[str, float]
    p: np.ndarray


def fit_phase(
    p: np.ndarray,
    correlation: np.ndarray,
    truth: np.ndarray,
    weight: np.ndarray,
    person: np.ndarray,
) -> PhaseFit | None:
    """The term of the phase beside the probabilities ``p`` (n,), which are out of fold.

    ``correlation`` (n,) is NaN where there is no phase, ``truth`` bool, ``person`` whose scan it
    is. None where too few candidates have phase.
    """
    with_phase = np.isfinite(correlation)
    positive = int((with_phase & truth).sum())
    others = int((with_phase & ~truth).sum())
    people = len(np.unique(person[with_phase]))
    if min(positive, others) < LEAST_CANDIDATES or people < LEAST_PEOPLE:
        return None
    offset, measure = logit(p[with_phase]), correlation[with_phase]
    is_true, weights, groups = truth[with_phase], weight[with_phase], person[with_phase]
    joined = p.copy()
    of_fold = np.empty(len(offset))
    for train, test in GroupKFold(LEAST_PEOPLE).split(offset, groups=groups):
        term = _fit(offset[train], measure[train], is_true[train], weights[train])
        of_fold[test] = expit(offset[test] + phase_term(term, measure[test]))
    joined[with_phase] = of_fold
    return PhaseFit(_fit(offset, measure, is_true, weights), joined)


def _fit(
    offset: np.ndarray, measure: np.ndarray, truth: np.ndarray, weight: np.ndarray
) -> dict[str, float]:
    """The term by penalised maximum likelihood."""
    side = np.where(truth, 1.0, -1.0)

    def loss(values: np.ndarray) -> float:
        score = offset + values[0] * measure + values[1]
        return float(
            (weight * np.logaddexp(0, -side * score)).sum() + values @ values / _PENALTY / 2
        )

    fitted = optimize.minimize(loss, np.zeros(2), method="BFGS")
    coefficient, intercept = (round(float(value), 6) for value in fitted.x)
    return {"coefficient": coefficient, "intercept": intercept}
