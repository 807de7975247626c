"""Estimates of change by stratum: lesions new, persisting and lost, rates per person-year, ARIA-H-
style categories. Only pairs of sessions with the same sequence count; the others are counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.stats.intervals import poisson_interval
from cmburden.summary import bins as summary_bins
from cmburden.summary import strata
from cmburden.summary.rows import count, row, share

_DRAWS = 1000
COUNTED = "counted, definite microbleeds in pairs of consecutive comparable sessions"
GARWOOD = "number over person-years, exact Poisson 95 % interval (Garwood 1936)"
CLUSTERED = f"number over person-years, percentile bootstrap over participants, {_DRAWS} draws"
EXPECTED = f"sum of 1 - p_missed over person-years, bootstrap over participants, {_DRAWS} draws"


def estimates(
    pairs: pd.DataFrame, followed: pd.DataFrame, participants: pd.DataFrame, config: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of `summary`; none where nobody has several sessions."""
    if followed.empty:
        return []
    rows = []
    for stratum, members in strata.strata(participants, config["report"]["strata"]):
        names = set(members["participant_id"])
        own = pairs[pairs["participant_id"].isin(names)]
        visits = followed[followed["participant_id"].isin(names)]
        if visits.empty:
            continue
        bins = summary_bins.bin_labels(config["longitudinal"]["bins"])
        for estimate in _of_stratum(stratum, own, visits, bins):
            rows.append({"stratum": stratum} | estimate)
    return rows


def _of_stratum(stratum: str, pairs, visits, bins: list[str]) -> Iterator[dict[str, Any]]:
    people = visits["participant_id"].nunique()
    yield count("participants with several sessions", people)
    for status, number in visits["status"].value_counts().sort_index().items():
        yield count(f"sessions status={status}", int(number), len(visits))
    steps = pairs[pairs["consecutive"].astype(bool)]
    alike = steps["comparable"].astype(bool)
    yield count("session pairs", len(steps))
    yield count("session pairs of another sequence, not compared", int((~alike).sum()), len(steps))
    steps = steps[alike]
    compared = steps["participant_id"].nunique()
    yield share("participants compared", compared, people)
    for words, column in (
        ("lesions new", "n_new"), ("lesions persisting", "n_persisting"),
        ("lesions persisting, found in one session only", "n_found_once"),
        ("lesions lost", "n_lost"), ("lesions not comparable", "n_not_comparable"),
        ("lesions new, possible", "n_new_possible"),
    ):  # fmt: skip
        number = int(steps[column].sum())
        yield row(words, number, number, method=COUNTED)
    gained = steps.groupby("participant_id")["n_new"].sum()
    yield share("participants with a new lesion", int((gained > 0).sum()), compared)

    timed = steps[steps["years"].notna()]
    yield count("session pairs without a time between", len(steps) - len(timed), len(steps))
    years = float(timed["years"].sum())
    yield row("person-years", years or None, len(timed), method="sum over pairs with a time")
    for words, column in (("new", "n_new"), ("lost", "n_lost")):
        number = int(timed[column].sum())
        rate = number / years if years else None
        name = f"{words} lesions per person-year"
        yield row(name, rate, number, None, GARWOOD, *poisson_interval(number, years))
        low, high = _bootstrap(f"{stratum} {column}", timed, column)
        yield row(f"{name}, clustered", rate, number, None, CLUSTERED, low, high)
    expected = float(timed["expected_new"].sum())
    low, high = _bootstrap(f"{stratum} expected", timed, "expected_new")
    yield row(
        "new lesions per person-year, weighted by 1 - p_missed",
        expected / years if years else None, int(timed["n_new"].sum()), None, EXPECTED, low, high,
    )  # fmt: skip

    whole = pairs[pairs["since_baseline"].astype(bool) & pairs["last"].astype(bool)]
    whole = whole[whole["comparable"].astype(bool)]
    for label in bins:
        yield share(
            f"aria-h-style new={label}", int((whole["aria_h_style"] == label).sum()), len(whole)
        )


def _bootstrap(seed: str, pairs: pd.DataFrame, column: str) -> tuple[float, float]:
    """Interval of the sum of ``column`` over that of years; a participant's pairs come together."""
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
