"""Rate ratios of true counts, by the model of latent counts."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.stats import latent, latent_fit
from cmburden.stats.intervals import median_and_ends
from cmburden.summary.covariates import Design
from cmburden.summary.detector_figures import NO_FIGURES
from cmburden.summary.guards import Checked
from cmburden.summary.measures import Ratio
from cmburden.summary.names import Measure
from cmburden.summary.rows import Row, not_estimated

_HOW = (
    "latent counts: negative binomial microbleeds, each called with the detector's sensitivity, "
    "plus negative binomial false positives that do not depend on the terms; posterior median and "
    "95 % interval"
)
#: Draws of the posterior, and values that a numeric column has at most.
_DRAWS = 1000
_LEVELS = 50
_ratio = functools.partial(Ratio, "rate ratio count corrected")


class CountModel(Protocol):
    """A regression of counts, as far as its terms are needed here."""

    @property
    def design(self) -> Design: ...
    @property
    def covariates(self) -> tuple[str, ...]: ...
    def row(
        self,
        measure: Measure,
        estimate: float | None = None,
        low: float | None = None,
        high: float | None = None,
        method: str = "",
    ) -> Row:
        """The model's row of an estimate."""
        ...


def rows(
    model: CountModel,
    counts: np.ndarray,
    errors: Mapping[tuple[str, str], Checked] | str,
    table: pd.DataFrame,
    cluster: np.ndarray | None = None,
) -> Iterator[Row]:
    """A row a term, and one for each covariate that is left out.

    ``counts`` (used,) of the rows of ``table`` that the model's design uses; ``errors``: the
    detector's, checked (``correction.detector_errors``), or why there are none. ``cluster``:
    (used,), or None.
    """
    terms = model.design
    if terms.problem:
        for name in model.covariates:
            yield model.row(_ratio(name), method=not_estimated(terms.problem))
        return
    contrast = table["contrast"].to_numpy(dtype=object)[terms.used]
    checked = _checked(sorted(set(contrast)), errors)
    drawn: Any = (
        checked if isinstance(checked, str) else _draws(model, counts, checked, contrast, cluster)
    )
    for place, term in enumerate(terms.terms):
        if isinstance(drawn, str) or isinstance(checked, str):
            yield model.row(_ratio(term), method=not_estimated(str(drawn)))
            continue
        ratio, low, high = median_and_ends(drawn.ratio(place + 1))
        warnings = dict.fromkeys(
            f"{name} {sentence}" for name, one in checked.items() for sentence in one.warnings
        )
        method = "; ".join([_HOW, f"terms: {', '.join(terms.terms)}", *warnings])
        yield model.row(_ratio(term), ratio, low, high, method)
    for name, why in terms.left_out:
        yield model.row(_ratio(name), method=not_estimated(why))


def _checked(
    contrasts: list[str], errors: Mapping[tuple[str, str], Checked] | str
) -> dict[str, Checked] | str:
    """The checked figures of each contrast; a sentence where one has none that hold."""
    if isinstance(errors, str):
        return errors
    result = {}
    for name in contrasts:
        one = errors.get(("definite", name), Checked(None, why=NO_FIGURES))
        if one.refusal or one.figures is None:
            return f"{name}: {one.refusal}"
        result[name] = one
    return result


def _draws(
    model: CountModel,
    counts: np.ndarray,
    checked: dict[str, Checked],
    contrast: np.ndarray,
    cluster: np.ndarray | None,
) -> latent_fit.Posterior | str:
    names = list(checked)
    group = np.array([names.index(name) for name in contrast], dtype=int)
    validations = [one.figures.validation for one in checked.values() if one.figures is not None]
    observed = latent.Observed(counts, _coarse(model.design.matrix), group, cluster=cluster)
    random = np.random.default_rng(seed_of("rate ratio count corrected"))
    try:
        return latent_fit.posterior(latent.Model(observed, validations), random, number=_DRAWS)
    except latent_fit.FitError as error:
        return str(error)


def _coarse(matrix: np.ndarray) -> np.ndarray:
    """``matrix`` with its numeric columns rounded to some ``_LEVELS`` values.

    The likelihood is one of distinct rows. Ages are then whole years.
    """
    result = matrix.copy()
    for column in result.T:
        if len(np.unique(column)) > _LEVELS:
            step = float(np.ptp(column)) / _LEVELS
            column[:] = np.round(column / step) * step
    return result
