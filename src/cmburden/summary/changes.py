"""Estimates of change by stratum: lesions new, persisting and lost, rates per person-year, and
ARIA-H-style categories.

Only pairs of sessions with the same sequence are compared. Pairs with different sequences are
counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.stats.intervals import PERCENTILES, poisson_interval
from cmburden.summary.bins import bin_labels
from cmburden.summary.measures import (
    AriaHStyle,
    ChangedLesions,
    LesionRate,
    Participants,
    PersonYears,
    SessionPairs,
    Sessions,
)
from cmburden.summary.rows import Row, count, of_stratum, row, share
from cmburden.summary.strata import strata

#: Of the bootstrap.
_DRAWS = 1000
COUNTED = "counted, definite microbleeds in pairs of consecutive comparable sessions"
GARWOOD = "number over person-years, exact Poisson 95 % interval (Garwood 1936)"
CLUSTERED = f"number over person-years, percentile bootstrap over participants, {_DRAWS} draws"
EXPECTED = f"sum of 1 - p_missed over person-years, bootstrap over participants, {_DRAWS} draws"

#: Measure of `summary` and the column of `pairs` that it sums up.
_SUMS = {
    ChangedLesions("new"): "n_new",
    ChangedLesions("persisting"): "n_persisting",
    ChangedLesions("persisting", "found in one session only"): "n_found_once",
    ChangedLesions("lost"): "n_lost",
    ChangedLesions("not comparable"): "n_not_comparable",
    ChangedLesions("new", "possible"): "n_new_possible",
}
#: Changes that have a rate, and their column of `pairs`.
_RATED: tuple[tuple[Literal["new", "lost"], str], ...] = (("new", "n_new"), ("lost", "n_lost"))


def estimates(
    pairs: pd.DataFrame, followed: pd.DataFrame, participants: pd.DataFrame, config: dict[str, Any]
) -> list[Row]:
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
        of_members = pairs[pairs["participant_id"].isin(names)]
        visits = followed[followed["participant_id"].isin(names)]
        if visits.empty:
            continue
        consecutive = of_members[of_members["consecutive"].astype(bool)]
        compared = consecutive[consecutive["comparable"].astype(bool)]
        rows += of_stratum(
            stratum,
            (
                *_sessions(visits, consecutive),
                *_numbers(visits, compared),
                *_rates(stratum.name, compared),
                *_categories(of_members, bins),
            ),
        )
    return rows


def _sessions(visits: pd.DataFrame, consecutive: pd.DataFrame) -> Iterator[Row]:
    """How many sessions were followed, and how many pairs of them can be compared."""
    yield count(Participants("with several sessions"), visits["participant_id"].nunique())
    for status, number in visits["status"].value_counts().sort_index().items():
        yield count(Sessions(str(status)), int(number), len(visits))
    yield count(SessionPairs(), len(consecutive))
    n_other = int((~consecutive["comparable"].astype(bool)).sum())
    unlike = SessionPairs("of another sequence, not compared")
    yield count(unlike, n_other, len(consecutive))


def _numbers(visits: pd.DataFrame, compared: pd.DataFrame) -> Iterator[Row]:
    """Lesions by change, and participants with a new one, over consecutive comparable pairs."""
    n_compared = compared["participant_id"].nunique()
    yield share(Participants("compared"), n_compared, visits["participant_id"].nunique())
    for measure, column in _SUMS.items():
        number = int(compared[column].sum())
        yield row(measure, number, number, method=COUNTED)
    n_new = compared.groupby("participant_id")["n_new"].sum()
    yield share(Participants("with a new lesion"), int((n_new > 0).sum()), n_compared)


def _rates(stratum: str, compared: pd.DataFrame) -> Iterator[Row]:
    """Lesions per person-year, over consecutive comparable pairs with a time between."""
    timed = compared[compared["years"].notna()]
    n_untimed = len(compared) - len(timed)
    yield count(SessionPairs("without a time between"), n_untimed, len(compared))
    years = float(timed["years"].sum())
    yield row(PersonYears(), years or None, len(timed), method="sum over pairs with a time")
    for change, column in _RATED:
        number = int(timed[column].sum())
        rate = number / years if years else None
        low, high = poisson_interval(number, years)
        yield row(LesionRate(change), rate, number, None, GARWOOD, low, high)
        low, high = _bootstrap(f"{stratum} {column}", timed, column)
        yield row(LesionRate(change, "clustered"), rate, number, None, CLUSTERED, low, high)
    low, high = _bootstrap(f"{stratum} expected", timed, "expected_new")
    yield row(
        LesionRate("new", "weighted by 1 - p_missed"),
        float(timed["expected_new"].sum()) / years if years else None,
        int(timed["n_new"].sum()),
        method=EXPECTED,
        low=low,
        high=high,
    )


def _categories(pairs: pd.DataFrame, bins: list[str]) -> Iterator[Row]:
    """Participants by ARIA-H-style category, from the first to the last session."""
    whole = pairs[pairs["since_baseline"].astype(bool) & pairs["last"].astype(bool)]
    whole = whole[whole["comparable"].astype(bool)]
    for label in bins:
        number = int((whole["aria_h_style"] == label).sum())
        yield share(AriaHStyle(label), number, len(whole))


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
    low, high = np.percentile(rates, PERCENTILES)
    return float(low), float(high)
