"""Estimates of change by stratum: lesions new, persisting and lost, rates per person-year, and
ARIA-H-style categories.

Only pairs of sessions with the same sequence are compared; the numbers of other pairs are given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.stats.intervals import poisson_interval
from cmburden.summary.bins import bin_labels
from cmburden.summary.rows import count, row, share
from cmburden.summary.strata import strata

#: Of the bootstrap.
_DRAWS = 1000
#: Ends of a 95 % percentile interval.
_PERCENTILES = (2.5, 97.5)
COUNTED = "counted, definite microbleeds in pairs of consecutive comparable sessions"
GARWOOD = "number over person-years, exact Poisson 95 % interval (Garwood 1936)"
CLUSTERED = f"number over person-years, percentile bootstrap over participants, {_DRAWS} draws"
EXPECTED = f"sum of 1 - p_missed over person-years, bootstrap over participants, {_DRAWS} draws"


#: Measure of `summary` and the column of `pairs` that it sums up.
_SUMS = {
    "lesions new": "n_new",
    "lesions persisting": "n_persisting",
    "lesions persisting, found in one session only": "n_found_once",
    "lesions lost": "n_lost",
    "lesions not comparable": "n_not_comparable",
    "lesions new, possible": "n_new_possible",
}


def estimates(
    pairs: pd.DataFrame, followed: pd.DataFrame, participants: pd.DataFrame, config: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of `summary`; none if nobody has several sessions.

    ``pairs`` and ``participants`` are the cohort's tables, ``followed`` rows of
    `followed_sessions`.
    """
    if followed.empty:
        return []
    bins = bin_labels(config["longitudinal"]["bins"])
    rows = []
    for stratum, members in strata(participants, config["report"]["strata"]):
        names = set(members["participant_id"])
        of_stratum = pairs[pairs["participant_id"].isin(names)]
        visits = followed[followed["participant_id"].isin(names)]
        if visits.empty:
            continue
        consecutive = of_stratum[of_stratum["consecutive"].astype(bool)]
        compared = consecutive[consecutive["comparable"].astype(bool)]
        for estimate in (
            *_sessions(visits, consecutive),
            *_numbers(visits, compared),
            *_rates(stratum, compared),
            *_categories(of_stratum, bins),
        ):
            rows.append({"stratum": stratum} | estimate)
    return rows


def _sessions(visits: pd.DataFrame, consecutive: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """How many sessions were followed, and how many pairs of them can be compared."""
    yield count("participants with several sessions", visits["participant_id"].nunique())
    for status, number in visits["status"].value_counts().sort_index().items():
        yield count(f"sessions status={status}", int(number), len(visits))
    yield count("session pairs", len(consecutive))
    n_other = int((~consecutive["comparable"].astype(bool)).sum())
    yield count("session pairs of another sequence, not compared", n_other, len(consecutive))


def _numbers(visits: pd.DataFrame, compared: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Lesions by change, and participants with a new one, over consecutive comparable pairs."""
    n_compared = compared["participant_id"].nunique()
    yield share("participants compared", n_compared, visits["participant_id"].nunique())
    for measure, column in _SUMS.items():
        number = int(compared[column].sum())
        yield row(measure, number, number, method=COUNTED)
    n_new = compared.groupby("participant_id")["n_new"].sum()
    yield share("participants with a new lesion", int((n_new > 0).sum()), n_compared)


def _rates(stratum: str, compared: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Lesions per person-year, over consecutive comparable pairs with a time between."""
    timed = compared[compared["years"].notna()]
    n_untimed = len(compared) - len(timed)
    yield count("session pairs without a time between", n_untimed, len(compared))
    years = float(timed["years"].sum())
    yield row("person-years", years or None, len(timed), method="sum over pairs with a time")
    for words, column in (("new", "n_new"), ("lost", "n_lost")):
        number = int(timed[column].sum())
        rate = number / years if years else None
        name = f"{words} lesions per person-year"
        yield row(name, rate, number, None, GARWOOD, *poisson_interval(number, years))
        low, high = _bootstrap(f"{stratum} {column}", timed, column)
        yield row(f"{name}, clustered", rate, number, None, CLUSTERED, low, high)
    low, high = _bootstrap(f"{stratum} expected", timed, "expected_new")
    yield row(
        "new lesions per person-year, weighted by 1 - p_missed",
        float(timed["expected_new"].sum()) / years if years else None,
        int(timed["n_new"].sum()),
        method=EXPECTED,
        low=low,
        high=high,
    )


def _categories(pairs: pd.DataFrame, bins: list[str]) -> Iterator[dict[str, Any]]:
    """Participants by ARIA-H-style category, from the first to the last session."""
    whole = pairs[pairs["since_baseline"].astype(bool) & pairs["last"].astype(bool)]
    whole = whole[whole["comparable"].astype(bool)]
    for label in bins:
        number = int((whole["aria_h_style"] == label).sum())
        yield share(f"aria-h-style new={label}", number, len(whole))


def _bootstrap(seed: str, pairs: pd.DataFrame, column: str) -> tuple[float, float]:
    """Percentile interval of the sum of ``column`` over the sum of years.

    Participants are drawn, each with all pairs. NaN without pairs.
    """
    if pairs.empty:
        return math.nan, math.nan
    sums = pairs.groupby("participant_id")[[column, "years"]].sum().to_numpy(dtype=float)
    random = np.random.default_rng(seed_of("changes", seed))
    rates = []
    for _ in range(_DRAWS):
        number, years = sums[random.integers(len(sums), size=len(sums))].sum(axis=0)
        rates.append(number / years)
    low, high = np.percentile(rates, _PERCENTILES)
    return float(low), float(high)
