"""Audit B3: an age of participants.tsv beside a later session is said, with the number of people.

`sess.py` of the audit: three people with sessions.tsv, two without; all chosen by the latest
session.
"""

import pandas as pd

from cmburden.cohort.participants import ages_of_another_session

PEOPLE = ["sub-1", "sub-2", "sub-3", "sub-4", "sub-5"]


def tables(chosen):
    """Five people of two sessions; sub-4 and sub-5 have no sessions.tsv."""
    participants = pd.DataFrame({"participant_id": PEOPLE, "session_id": chosen, "age": 70.0})
    both = [(person, session) for person in PEOPLE for session in ("ses-1", "ses-2")]
    scans = pd.DataFrame(both, columns=["participant_id", "session_id"])
    sessions = scans[scans["participant_id"] < "sub-4"].assign(age=[71.0, 76.5] * 3)
    return participants, scans, sessions


def test_ages_beside_the_latest_session_are_counted():
    (said,) = ages_of_another_session(*tables(["ses-2"] * 5))
    assert "unknown of 2 participant(s)" in said and "sub-4, sub-5" in said


def test_the_first_session_has_the_age_of_participants_tsv():
    assert ages_of_another_session(*tables(["ses-1"] * 5)) == []


def test_nobody_without_a_scan_or_an_age_is_counted():
    participants, scans, sessions = tables(["ses-2"] * 3 + [None, "ses-2"])
    participants.loc[4, "age"] = None
    assert ages_of_another_session(participants, scans, sessions) == []
    participants, scans, sessions = tables(["ses-2"] * 5)
    nobody = sessions.iloc[:0]
    (said,) = ages_of_another_session(participants, scans, nobody)
    assert "unknown of 5 participant(s)" in said


def test_an_age_that_sessions_tsv_lacks_is_unknown():
    participants, scans, sessions = tables(["ses-2"] * 5)
    sessions.loc[sessions["session_id"] == "ses-2", "age"] = None
    (said,) = ages_of_another_session(participants, scans, sessions)
    assert "unknown of 5" in said


def test_the_time_of_sessions_says_which_is_the_first():
    participants, scans, _ = tables(["ses-2"] * 5)
    times = {"ses-1": "2020-05-01", "ses-2": "2014-05-01"}
    sessions = scans.assign(age=None, acq_time=scans["session_id"].map(times))
    assert ages_of_another_session(participants, scans, sessions) == []
