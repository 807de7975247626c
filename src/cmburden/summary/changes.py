"""Estimates of change by stratum: new, persisting and lost lesions, rates, ARIA-H-style categories.

Lesions and rates are of pairs of sessions with the same sequence. Other pairs are counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.stats.intervals import poisson_interval
from cmburden.summary import bins
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

#: Column of `pairs`: the number of its lesions.
_CHANGES = {
    "n_new": ChangedLesions("new"),
    "n_persisting": ChangedLesions("persisting"),
    "n_found_once": ChangedLesions("persisting", "found in one session only"),
    "n_lost": ChangedLesions("lost"),
    "n_not_comparable": ChangedLesions("not comparable"),
    "n_new_possible": ChangedLesions("new", "possible"),
}
#: Changes with a rate, and their column of `pairs`.
_RATED: tuple[tuple[Literal["new", "lost"], str], ...] = (("new", "n_new"), ("lost", "n_lost"))
_DRAWS = 1000
COUNTED = "counted, definite microbleeds in pairs of consecutive comparable sessions"
GARWOOD = "number over person-years, exact Poisson 95 % interval (Garwood 1936)"
CLUSTERED = f"number over person-years, percentile bootstrap over participants, {_DRAWS} draws"
EXPECTED = f"sum of 1 - p_missed over person-years, bootstrap over participants, {_DRAWS} draws"


def estimates(
    pairs: pd.DataFrame, followed: pd.DataFrame, participants: pd.DataFrame, config: dict[str, Any]
) -> list[Row]:
    """Rows of `summary`; none where nobody has several sessions.

    ``pairs``, ``participants``: of their contracts; ``followed``: of `followed_sessions`.
    """
    if followed.empty:
        return []
    labels = bins.bin_labels(config["longitudinal"]["bins"])
    rows = []
    for stratum, members in strata(participants, config["report"]["strata"]):
        names = set(members["participant_id"])
        visits = followed[followed["participant_id"].isin(names)]
        if visits.empty:
            continue
        people = visits["participant_id"].nunique()
        of_members = pairs[pairs["participant_id"].isin(names)]
        steps = of_members[of_members["consecutive"].astype(bool)]
        alike = steps[steps["comparable"].astype(bool)]
        rows += of_stratum(
            stratum,
            (
                *_sessions(visits, people),
                *_steps(steps, alike, people),
                *_rates(stratum.name, alike),
                *_since_baseline(of_members, labels),
            ),
        )
    return rows


def _sessions(visits: pd.DataFrame, people: int) -> Iterator[Row]:
    yield count(Participants("with several sessions"), people)
    for status, number in visits["status"].value_counts().sort_index().items():
        yield count(Sessions(str(status)), int(number), len(visits))


def _steps(steps: pd.DataFrame, alike: pd.DataFrame, people: int) -> Iterator[Row]:
    """Lesions by change, over pairs of consecutive sessions; ``alike`` are the comparable pairs."""
    yield count(SessionPairs(), len(steps))
    unlike = SessionPairs("of another sequence, not compared")
    yield count(unlike, len(steps) - len(alike), len(steps))
    compared = alike["participant_id"].nunique()
    yield share(Participants("compared"), compared, people)
    for column, measure in _CHANGES.items():
        number = int(alike[column].sum())
        yield row(measure, number, number, method=COUNTED)
    gained = alike.groupby("participant_id")["n_new"].sum()
    yield share(Participants("with a new lesion"), int((gained > 0).sum()), compared)


def _rates(stratum: str, alike: pd.DataFrame) -> Iterator[Row]:
    """Lesions a person-year, over comparable pairs of consecutive sessions with a time between."""
    timed = alike[alike["years"].notna()]
    yield count(SessionPairs("without a time between"), len(alike) - len(timed), len(alike))
    years = float(timed["years"].sum())
    yield row(PersonYears(), years or None, len(timed), method="sum over pairs with a time")
    for change, column in _RATED:
        number = int(timed[column].sum())
        rate = number / years if years else None
        low, high = poisson_interval(number, years)
        yield row(LesionRate(change), rate, number, None, GARWOOD, low, high)
        low, high = _bootstrap(f"{stratum} {column}", timed, column)
        yield row(LesionRate(change, "clustered"), rate, number, None, CLUSTERED, low, high)
    expected = float(timed["expected_new"].sum())
    low, high = _bootstrap(f"{stratum} expected", timed, "expected_new")
    yield row(
        LesionRate("new", "weighted by 1 - p_missed"),
        expected / years if years else None,
        int(timed["n_new"].sum()),
        method=EXPECTED,
        low=low,
        high=high,
    )


def _since_baseline(pairs: pd.DataFrame, labels: list[str]) -> Iterator[Row]:
    whole = pairs[pairs["since_baseline"].astype(bool) & pairs["last"].astype(bool)]
    whole = whole[whole["comparable"].astype(bool)]
    for label in labels:
        number = int((whole["aria_h_style"] == label).sum())
        yield share(AriaHStyle(label), number, len(whole))


def _bootstrap(seed: str, pairs: pd.DataFrame, column: str) -> tuple[float, float]:
    """95 % interval of the sum of ``column`` over the sum of years.

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
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)
