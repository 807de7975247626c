"""Tables of counts: fixture F8 of A4 and LEARN, its faults, and a user's own."""

import dataclasses

import pytest
from read_images import image

from cmburden.core.errors import CMBurdenError
from cmburden.onboard import counts
from cmburden.onboard.parts import Count

HEADER = (
    "SUBSTUDY,BID,VISCODE,STUDYDATE_DAYS_CONSENT,STUDYDATE_DAYS_T0,"
    "Definite.MCH,Lobar,Deep,Definite.SS"
)
F8 = (
    "A4,B90000001,4,30,-20,2,2,0,0",
    "LEARN,B90000002,1,25,0,0,0,0,1",
    "A4,B90000003,4,31,-19,,,,",
)


def images(*people, **source):
    return [image(person, None, **source) for person in people]


def scan(run, session, date):
    """A scan of B1 with the download's name of its visit."""
    one = image("B1", None, run=run, date=date)
    return dataclasses.replace(one, source=dataclasses.replace(one.source, session=session))


PEOPLE = images("B90000001", "B90000002", "B90000003")


def table(tmp_path, *rows, header=HEADER):
    path = tmp_path / "imaging_MRI_reads.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def test_f8_counts_and_a_row_without_count_is_not_read(tmp_path):
    told = counts.of_table(table(tmp_path, *F8), PEOPLE)
    assert told.counts == (
        Count("sub-B90000001_T2starw", 2, 2, 0),
        Count("sub-B90000002_T2starw", 0, 0, 0),
    )
    assert told.counted == {"Definite.SS": 1, "not read": 1}
    assert told.findings == () and told.seen["SUBSTUDY"] == {"A4": 2, "LEARN": 1}


def test_people_without_scan_and_scans_without_reading_are_told(tmp_path):
    told = counts.a4(table(tmp_path, *F8), images("B90000001", "B90000009"))
    assert len(told.counts) == 1
    assert told.counted == {"no series": 2, "not read": 1}
    assert "B90000002, B90000003" in told.remarks[0]


def test_several_scans_take_the_readings_of_their_visits_or_of_their_order(tmp_path):
    path = table(tmp_path, "A4,B1,66,500,450,3,3,0,0", "A4,B1,4,30,-20,1,1,0,0")
    for sessions, dates in (
        (("4", "66"), (None, None)),
        ((None, None), ("2015-01-01", "2017-01-01")),
    ):
        two = [
            scan(run, session, date)
            for run, session, date in zip((1, 2), sessions, dates, strict=True)
        ]
        assert [one.n_cmb for one in counts.a4(path, two).counts] == [1, 3]
    told = counts.a4(path, [scan(1, None, None), scan(2, None, None)])
    assert told.counts == () and told.counted["several series"] == 1
    assert "B1: 2 reading(s), 2 scan(s)" in told.remarks[0]
    told = counts.a4(path, [scan(1, "9", None), scan(2, "10", None)])
    assert told.counts == ()


def test_faults_of_counts_are_told_at_once(tmp_path):
    rows = ["A4,B90000001,4,1,1,2.5,0,0,0", "A4,B90000002,4,1,1,1,1,1,0", "A4,B90000003,4,1,1,x,,,"]
    with pytest.raises(CMBurdenError) as error:
        counts.a4(table(tmp_path, *rows), PEOPLE)
    first, second, third = str(error.value).splitlines()
    assert "line 2: n_cmb is '2.5'" in first and "line 4: n_cmb is 'x'" in third
    assert "line 3: lobar and deep microbleeds are more than the 1" in second


def test_another_release_and_other_people_stop(tmp_path):
    path = table(tmp_path, *F8, header=HEADER.replace("Definite.SS", "SS"))
    with pytest.raises(CMBurdenError, match=r"Definite\.SS are missing"):
        counts.a4(path, PEOPLE)
    with pytest.raises(CMBurdenError, match="none of its 3 rows fits a scan"):
        counts.a4(table(tmp_path, *F8), images("B1"))


def test_a_users_own_counts(tmp_path):
    path = table(
        tmp_path,
        "B90000001,3,n/a",
        "B90000002,0,0",
        "B90000003,,",
        header="participant_id,count,lobar",
    )
    told = counts.of_table(path, PEOPLE)
    assert told.counts == (Count("sub-B90000001_T2starw", 3), Count("sub-B90000002_T2starw", 0, 0))
    assert told.counted == {"not read": 1}
    twice = table(tmp_path, "B90000001,3", "B90000001,4", header="participant_id,n_cmb")
    with pytest.raises(CMBurdenError, match="lines 2 and 3: are both of sub-B90000001_T2starw"):
        counts.of_table(twice, PEOPLE)
