"""Ratios of the rate of new lesions by age, sex and contrast: Poisson regression, person-time as
offset."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

from cmburden.stats.intervals import t_quantile
from cmburden.summary.measures import IncidenceRatio
from cmburden.summary.rows import Row, row

METHOD = (
    "Poisson regression of new lesions with the logarithm of person-years as offset, mutually "
    "adjusted; sandwich errors (HC1), t 95 % interval"
)
#: Least number of participants with a new lesion a term.
_EVENTS_A_TERM = 5
_SEX, _CONTRAST, _AGE = "sex=M against F", "contrast=SWI against GRE", "age per decade"
_DECADE = 10
#: Largest standard error of a log ratio that is an estimate: its interval spans a factor of 1000.
_LARGEST_ERROR = 1.75


def rows(timed: pd.DataFrame, people: pd.DataFrame) -> Iterator[Row]:
    """A row a term. The contrast of the pairs is a term wherever there are both.

    ``timed``: comparable pairs of consecutive sessions with a time between; ``people``: rows of
    `participants`.
    """
    by_person = timed.groupby(["participant_id", "contrast"], as_index=False)
    sums = by_person[["n_new", "years"]].sum()
    known = people[["participant_id", "age", "sex"]].drop_duplicates("participant_id")
    table = sums.merge(known, on="participant_id").dropna(subset=["age", "sex"])
    table = table[table["sex"].isin(["F", "M"]) & (table["years"] > 0)].reset_index(drop=True)
    terms = {
        _CONTRAST: (table["contrast"] == "SWI").to_numpy(dtype=float),
        _AGE: table["age"].to_numpy(dtype=float) / _DECADE,
        _SEX: (table["sex"] == "M").to_numpy(dtype=float),
    }
    varying = {name: values for name, values in terms.items() if len(np.unique(values)) > 1}
    events, n = int((table["n_new"] > 0).sum()), len(table)
    fitted = _fit(table, varying) if events >= _EVENTS_A_TERM * len(varying) and varying else {}
    for name in terms:
        if name in fitted:
            yield row(IncidenceRatio(name), fitted[name][0], events, n, METHOD, *fitted[name][1:])
        elif name in varying or name != _CONTRAST:
            why = _why_not(name in varying, events, len(varying))
            yield row(IncidenceRatio(name), None, events, n, why)


def _why_not(varies: bool, events: int, terms: int) -> str:
    if not varies:
        return "not estimated: all participants with a known age and sex have one value"
    needed = _EVENTS_A_TERM * terms
    if events < needed:
        return f"not estimated: {events} participants have a new lesion; {needed} are needed"
    return "not estimated: the data do not separate the term from the others"


def _fit(
    table: pd.DataFrame, terms: dict[str, np.ndarray]
) -> dict[str, tuple[float, float, float]]:
    """Ratio and ends of its interval by term; terms that the data do not tell are left out."""
    from statsmodels.api import GLM, families

    matrix = np.column_stack([np.ones(len(table)), *terms.values()])
    n, k = matrix.shape
    who = pd.factorize(table["participant_id"])[0]
    if n <= k + 1 or np.linalg.matrix_rank(matrix) < k:
        return {}
    offset = np.log(table["years"].to_numpy(dtype=float))
    counts = table["n_new"].to_numpy(dtype=float)
    with warnings.catch_warnings():
        # statsmodels warns of a separation; the size of the error tells it.
        warnings.simplefilter("ignore")
        model = GLM(counts, matrix, family=families.Poisson(), offset=offset).fit()
    errors = _robust_errors(matrix, counts, model.fittedvalues, who)
    far = t_quantile(n - k) * errors
    made = {}
    for number, name in enumerate(terms, start=1):
        log_ratio, error = float(model.params[number]), float(errors[number])
        if not model.converged or not error < _LARGEST_ERROR:
            continue
        ends = np.exp([log_ratio, log_ratio - far[number], log_ratio + far[number]])
        made[name] = (float(ends[0]), float(ends[1]), float(ends[2]))
    return made


def _robust_errors(
    matrix: np.ndarray, counts: np.ndarray, fitted: np.ndarray, who: np.ndarray
) -> np.ndarray:
    """Sandwich errors (k,) of a Poisson regression, residuals summed by participant, times
    n / (n - k): statsmodels' HC1 is HC0 for some models (its issue 7798)."""
    n, k = matrix.shape
    bread = np.linalg.inv(matrix.T @ (matrix * fitted[:, None]))
    scores = np.zeros((who.max() + 1, k))
    np.add.at(scores, who, matrix * (counts - fitted)[:, None])
    covariance = bread @ (scores.T @ scores) @ bread * n / (n - k)
    return np.sqrt(np.diag(covariance))
