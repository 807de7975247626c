"""Incidence: lesions a person-year, by group, confirmed, at assumed errors; cumulative incidence.

A detector that misses a microbleed at first, or takes a mimic for one later, calls lesions new that
are not. The rows here say what the rate would be without these, as far as readers or an assumption
tell.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd

from cmburden.core.rows import grouped
from cmburden.core.tables import GROUPS
from cmburden.stats.intervals import (
    clustered_rate,
    clustered_wilson,
    poisson_interval,
    product_interval,
)
from cmburden.stats.survival import cumulative_incidence
from cmburden.summary.measures import (
    ConfirmedNew,
    CumulativeIncidence,
    GroupRate,
    LesionRate,
    PersonYears,
    RateAtFalseNew,
    SessionPairs,
)
from cmburden.summary.names import Measure
from cmburden.summary.rows import Row, count, row

GARWOOD = "number over person-years, exact Poisson 95 % interval (Garwood 1936)"
CLUSTERED = (
    "number over person-years, t interval of its logarithm (95 %) with participants as clusters; "
    "without a lesion the exact Poisson interval"
)
EXPECTED = "sum of 1 - p_missed over person-years, interval as of the clustered rate"
CONFIRMED = (
    "rate of the lesions called new times the share of these that readers confirm; intervals "
    "combined by MOVER (Zou and Donner 2008); a confirmed lesion may have been missed before"
)
SHARE_CONFIRMED = "share, Wilson 95 % interval with participants as clusters (Rao and Scott 1992)"
ASSUMED = "number less the assumed false ones, over person-years; interval of the clustered rate"
CUMULATIVE = (
    "1 - product-limit estimate, the lesion dated at the session that shows it; 95 % interval "
    "of Wilson on the effective sample size (Rothman 1978)"
)
NO_TIME = "not estimated: no compared pair has a time between its sessions"
#: Assumed false new lesions a pair of sessions, of the sensitivity analysis.
FALSE_NEW = ("0.01", "0.02", "0.05", "0.1", "0.2")
#: Times of the cumulative incidence, years.
YEARS = ("1", "2", "3", "5")
#: Changes that have a rate, and their column of `pairs`.
_RATED: tuple[tuple[Literal["new", "lost"], str], ...] = (("new", "n_new"), ("lost", "n_lost"))
_PAIR = ["participant_id", "scan_id_1", "scan_id_2"]


@dataclasses.dataclass(frozen=True)
class Incidence:
    """What the rows are made of, of one cohort or of some of its people.

    ``compared``: comparable pairs of consecutive sessions, with the columns ``new_GROUP``,
    ``judged`` and ``confirmed``, numbers of lesions called new. ``courses``: participant_id,
    contrast, ``years`` to the first session with a new lesion or to the last compared one, and
    ``event``; of participants whose first pair of sessions is compared and has a time.
    """

    compared: pd.DataFrame
    courses: pd.DataFrame

    @classmethod
    def of(cls, pairs: pd.DataFrame, changes: pd.DataFrame) -> Incidence:
        """From the tables of the same names."""
        compared = pairs[pairs["consecutive"].astype(bool) & pairs["comparable"].astype(bool)]
        counted = (changes["change"] == "new") & (changes["label"] == "definite")
        new = changes[counted & ~changes["macrohaemorrhage"].astype(bool)]
        numbers = {f"new_{group}": new["group"] == group for group in GROUPS}
        numbers["judged"] = new["confirmed"].notna()
        numbers["confirmed"] = new["confirmed"].fillna(False).astype(bool)
        by_pair = new[_PAIR].assign(**numbers).groupby(_PAIR, as_index=False).sum()
        joined = compared.merge(by_pair, on=_PAIR, how="left")
        joined[list(numbers)] = joined[list(numbers)].fillna(0).astype(int)
        return cls(joined, _courses(joined))

    def only(self, names: set[str], contrast: str | None) -> Incidence:
        """Of the participants ``names``, and of one contrast if given."""
        return Incidence(
            *(_only(table, names, contrast) for table in (self.compared, self.courses))
        )

    @property
    def timed(self) -> pd.DataFrame:
        return self.compared[self.compared["years"].notna()]


def _only(table: pd.DataFrame, names: set[str], contrast: str | None) -> pd.DataFrame:
    inside = table["participant_id"].isin(names)
    return table[inside if contrast is None else inside & (table["contrast"] == contrast)]


def rows(incidence: Incidence) -> Iterator[Row]:
    """Rows of the pairs with a time between their sessions."""
    compared, timed = incidence.compared, incidence.timed
    n_untimed = len(compared) - len(timed)
    yield count(SessionPairs("without a time between"), n_untimed, len(compared))
    years = float(timed["years"].sum())
    how = "sum over pairs with a time" if years else NO_TIME
    yield row(PersonYears(), years or None, len(timed), method=how)
    yield from _rates(timed, years)
    for group in GROUPS:
        yield _clustered(GroupRate(group), timed, timed[f"new_{group}"])
    yield from _confirmed(timed)
    for assumed in FALSE_NEW:
        yield _at_false_new(assumed, timed, years)
    yield from _cumulative(incidence.courses)


def _rates(timed: pd.DataFrame, years: float) -> Iterator[Row]:
    for change, column in _RATED:
        number = int(timed[column].sum())
        low, high = poisson_interval(number, years)
        rate, how = (number / years, GARWOOD) if years else (None, NO_TIME)
        yield row(LesionRate(change), rate, number, None, how, low, high)
        yield _clustered(LesionRate(change, "clustered"), timed, timed[column])
    weighted = LesionRate("new", "weighted by 1 - p_missed")
    yield _clustered(weighted, timed, timed["expected_new"], EXPECTED) | {
        "n": int(timed["n_new"].sum())
    }


def _clustered(
    measure: Measure, timed: pd.DataFrame, numbers: pd.Series, method: str = CLUSTERED
) -> Row:
    """Rate of ``numbers`` of the pairs ``timed``, participants as clusters."""
    years, total = float(timed["years"].sum()), float(numbers.sum())
    if not years:
        return row(measure, None, int(total), method=NO_TIME)
    return row(measure, total / years, int(total), None, method, *_ends(timed, numbers))


def _ends(timed: pd.DataFrame, numbers: pd.Series) -> tuple[float, float]:
    years = timed["years"].to_numpy(dtype=float)
    if not numbers.sum():
        return poisson_interval(0, float(years.sum()))
    who = timed["participant_id"].to_numpy()
    return clustered_rate(numbers.to_numpy(dtype=float), years, who)


def _confirmed(timed: pd.DataFrame) -> Iterator[Row]:
    """Share of new lesions that readers confirm, and the rate of these."""
    positive, n = int(timed["confirmed"].sum()), int(timed["judged"].sum())
    rated = LesionRate("new", "confirmed by readers")
    if not n:
        why = "not estimated: no reader judged a lesion called new; review the later sessions of "
        why += "pairs with a new lesion"
        yield row(ConfirmedNew(), None, 0, 0, why)
        yield row(rated, None, 0, method=why)
        return
    # A row a judged lesion: those of a pair that are confirmed, then the others.
    numbers = np.column_stack([timed["confirmed"], timed["judged"] - timed["confirmed"]]).ravel()
    right = np.repeat(np.tile([1.0, 0.0], len(timed)), numbers)
    who = np.repeat(timed["participant_id"].to_numpy(), timed["judged"])
    part = (positive / n, *clustered_wilson(right, who))
    yield row(ConfirmedNew(), part[0], positive, n, SHARE_CONFIRMED, part[1], part[2])
    # A lesion that was judged lies in a pair with a time: there are person-years.
    whole = (float(timed["n_new"].sum() / timed["years"].sum()), *_ends(timed, timed["n_new"]))
    low, high = product_interval(whole, part)
    yield row(rated, whole[0] * part[0], positive, n, CONFIRMED, low, high)


def _at_false_new(assumed: str, timed: pd.DataFrame, years: float) -> Row:
    """The rate were ``assumed`` lesions a pair called new that are not."""
    measure, number = RateAtFalseNew(assumed), int(timed["n_new"].sum())
    if not years:
        return row(measure, None, number, method=NO_TIME)
    false = float(assumed) * len(timed)
    if number <= false:
        why = f"not estimated: {number} lesions are called new in {len(timed)} pairs, no more than "
        return row(measure, None, number, method=f"{why}the false ones assumed")
    low, high = (end - false / years for end in _ends(timed, timed["n_new"]))
    return row(measure, (number - false) / years, number, None, ASSUMED, max(low, 0.0), high)


def _cumulative(courses: pd.DataFrame) -> Iterator[Row]:
    time, event = courses["years"].to_numpy(dtype=float), courses["event"].to_numpy(dtype=bool)
    for years in YEARS:
        made = cumulative_incidence(time, event, float(years))
        how = CUMULATIVE
        if math.isnan(made.estimate):
            how = f"not estimated: nobody without a new lesion was followed for {years} years"
        yield row(
            CumulativeIncidence(years),
            made.estimate,
            made.events,
            made.at_risk,
            how,
            made.low,
            made.high,
        )


def _courses(compared: pd.DataFrame) -> pd.DataFrame:
    """``Incidence.courses``."""
    columns = [*_PAIR, "contrast", "since_baseline", "years", "n_new"]
    rows = []
    for name, pairs in grouped(compared[columns], "participant_id").items():
        first = next((pair for pair in pairs if pair["since_baseline"]), None)
        years, event = _course(pairs, first["scan_id_1"]) if first else (0.0, False)
        if first and years:
            rows.append((name, first["contrast"], years, event))
    return pd.DataFrame(rows, columns=["participant_id", "contrast", "years", "event"])


def _course(pairs: list[dict[str, Any]], first: str) -> tuple[float, bool]:
    """Years from the scan ``first`` to the first session with a new lesion, or to the last compared
    session without one.

    ``pairs``: a participant's compared ones, in any order. The course ends before a pair without a
    time, and where sessions are not compared.
    """
    from_scan = {pair["scan_id_1"]: pair for pair in pairs}
    years, at = 0.0, first
    while (pair := from_scan.get(at)) is not None and pair["years"] is not None:
        years, at = years + pair["years"], pair["scan_id_2"]
        if pair["n_new"]:
            return years, True
    return years, False
