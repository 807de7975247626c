"""Estimates of change by stratum: lesions new, persisting and lost, and ARIA-H-style categories.

Only pairs of sessions with the same sequence are compared. Pairs with different sequences are
counted. A pair is of the contrast of its scans, not of the scan that stands for the participant.
GRE and SWI are not pooled: a stratum that holds pairs of both has counts only. `incidence` has the
rates, `incidence_ratios` their regression, with contrast as a term, and `attendance` who came and
who was not compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pandas as pd

from cmburden.summary import attendance, incidence, incidence_ratios
from cmburden.summary.bins import bin_labels
from cmburden.summary.cohort import Cohort
from cmburden.summary.incidence import Incidence
from cmburden.summary.measures import (
    AriaHStyle,
    ChangedLesions,
    Participants,
    SessionPairs,
    Sessions,
)
from cmburden.summary.rows import COUNTED, Row, count, not_pooled, of_stratum, row, share
from cmburden.summary.strata import EVERYBODY, Stratum, strata

CALLED = f"{COUNTED}, definite microbleeds in pairs of consecutive comparable sessions"
COMPARED = f"{COUNTED}, as a share; no interval: the study's design decides who is compared"

#: Measure of `summary` and the column of `pairs` that it sums up.
_SUMS = {
    ChangedLesions("new"): "n_new",
    ChangedLesions("persisting"): "n_persisting",
    ChangedLesions("persisting", "found in one session only"): "n_found_once",
    ChangedLesions("lost"): "n_lost",
    ChangedLesions("not comparable"): "n_not_comparable",
    ChangedLesions("new", "possible"): "n_new_possible",
}


@dataclasses.dataclass(frozen=True)
class _Followed:
    """What was followed of a stratum's people.

    ``pairs``: all of theirs; ``consecutive``: those of consecutive sessions; ``compared``: these
    where comparable, by `incidence`. ``visits``: rows of `followed_sessions`.
    """

    pairs: pd.DataFrame
    consecutive: pd.DataFrame
    incidence: Incidence
    visits: pd.DataFrame

    @property
    def compared(self) -> pd.DataFrame:
        return self.incidence.compared

    @property
    def pooled(self) -> bool:
        """Pairs of both contrasts are compared."""
        return self.compared["contrast"].nunique() > 1


def estimates(cohort: Cohort, config: dict[str, Any]) -> list[Row]:
    """Rows of `summary`; none if nobody has several sessions."""
    if cohort.followed.empty:
        return []
    labels = bin_labels(config["longitudinal"]["bins"])
    people = _by_contrast_of_pairs(cohort.participants, cohort.pairs)
    whole = Incidence.of(cohort.pairs, cohort.changes)
    rows = []
    for stratum, members in strata(people, config["report"]["strata"]):
        names = set(members["participant_id"])
        followed = _followed(cohort, whole, stratum, names)
        if followed.visits.empty:
            continue
        of_people = (
            *_sessions(followed),
            *attendance.rows(cohort.scans, followed.visits, followed.consecutive, names),
            *_numbers(followed),
            *incidence.rows(followed.incidence),
            *_categories(followed.pairs, labels),
        )
        if followed.pooled:
            of_people = tuple(map(not_pooled, of_people))
        rows += of_stratum(stratum, of_people)
    ratios = incidence_ratios.rows(whole.timed, cohort.participants)
    return [*rows, *of_stratum(EVERYBODY, ratios)]


def _by_contrast_of_pairs(participants: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """A row a participant and contrast of the pairs; that of the chosen scan without a pair."""
    of_pairs = pairs.loc[pairs["contrast"].notna(), ["participant_id", "contrast"]]
    others = participants[~participants["participant_id"].isin(of_pairs["participant_id"])]
    contrasts = pd.concat([of_pairs.drop_duplicates(), others[["participant_id", "contrast"]]])
    return participants.drop(columns="contrast").merge(contrasts, on="participant_id")


def _followed(cohort: Cohort, whole: Incidence, stratum: Stratum, names: set[str]) -> _Followed:
    contrast = stratum["contrast"] if "contrast" in stratum.variables else None
    pairs = cohort.pairs[cohort.pairs["participant_id"].isin(names)]
    if contrast:
        pairs = pairs[pairs["contrast"].isna() | (pairs["contrast"] == contrast)]
    visits = cohort.followed[cohort.followed["participant_id"].isin(names)]
    consecutive = pairs[pairs["consecutive"].astype(bool)]
    return _Followed(pairs, consecutive, whole.only(names, contrast), visits)


def _sessions(followed: _Followed) -> Iterator[Row]:
    """How many sessions were followed, and how many pairs of them can be compared."""
    visits, consecutive = followed.visits, followed.consecutive
    yield count(Participants("with several sessions"), visits["participant_id"].nunique())
    for status, number in visits["status"].value_counts().sort_index().items():
        yield count(Sessions(str(status)), int(number), len(visits))
    yield count(SessionPairs(), len(consecutive))
    n_other = int((~consecutive["comparable"].astype(bool)).sum())
    unlike = SessionPairs("of another sequence, not compared")
    yield count(unlike, n_other, len(consecutive))


def _numbers(followed: _Followed) -> Iterator[Row]:
    """Lesions by change, and participants with a new one, over consecutive comparable pairs."""
    compared = followed.compared
    n_compared = compared["participant_id"].nunique()
    n_followed = followed.visits["participant_id"].nunique()
    yield row(Participants("compared"), n_compared / n_followed, n_compared, n_followed, COMPARED)
    for measure, column in _SUMS.items():
        number = int(compared[column].sum())
        yield row(measure, number, number, method=CALLED)
    n_new = compared.groupby("participant_id")["n_new"].sum()
    yield share(Participants("with a new lesion"), int((n_new > 0).sum()), n_compared)


def _categories(pairs: pd.DataFrame, labels: list[str]) -> Iterator[Row]:
    """Participants by ARIA-H-style category, from the first to the last session."""
    whole = pairs[pairs["since_baseline"].astype(bool) & pairs["last"].astype(bool)]
    whole = whole[whole["comparable"].astype(bool)]
    for label in labels:
        number = int((whole["aria_h_style"] == label).sum())
        yield share(AriaHStyle(label), number, len(whole))
