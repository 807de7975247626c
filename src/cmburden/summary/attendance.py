"""Attrition: how many participants came how often, and why those with several sessions are not
compared."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from cmburden.summary.measures import Attended, NotCompared
from cmburden.summary.rows import Row, count, tally

ANOTHER_SEQUENCE = "sessions of another sequence"


def rows(
    scans: pd.DataFrame, visits: pd.DataFrame, consecutive: pd.DataFrame, names: set[str]
) -> Iterator[Row]:
    """Rows of the participants ``names``.

    ``scans``: `scans`; ``visits``: rows of `followed_sessions`; ``consecutive``: pairs of
    consecutive sessions.
    """
    images = scans[scans["participant_id"].isin(names) & scans["path"].notna()]
    sessions = images.groupby("participant_id")["session_id"].nunique(dropna=False)
    for number in range(1, int(sessions.max()) + 1 if len(sessions) else 1):
        yield count(Attended(str(number)), int((sessions >= number).sum()), len(names))
    reasons = _why_not(visits, consecutive)
    for reason, number in tally(pd.Series(reasons, dtype=object)):
        yield count(NotCompared(reason), number, visits["participant_id"].nunique())


def _why_not(visits: pd.DataFrame, consecutive: pd.DataFrame) -> list[str]:
    """The reason of each participant without a comparable pair.

    Sessions of another sequence where there is a pair, else the most frequent outcome of the
    sessions that were not followed.
    """
    compared = set(consecutive.loc[consecutive["comparable"].astype(bool), "participant_id"])
    paired = set(consecutive["participant_id"])
    reasons = []
    for name, of_person in visits.groupby("participant_id", sort=True):
        if name in compared:
            continue
        lost = tally(of_person.loc[of_person["status"] != "followed", "status"])
        other = f"sessions {lost[0][0]}" if lost else ANOTHER_SEQUENCE
        reasons.append(ANOTHER_SEQUENCE if name in paired else other)
    return reasons
