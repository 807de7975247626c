"""Participants by the counts of readers: views of the cohort, the sample, and second readings."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cmburden.cohort import readers_agreement, readers_counts, reviewed, second_readings
from cmburden.cohort.verdicts import Verdicts
from cmburden.core.tables import FREE_HAND_SAMPLE, PARTICIPANTS, REVIEWS
from cmburden.summary import counted, estimates, read_part
from cmburden.summary.cohort import ByReaders, Cohort
from cmburden.summary.sampling import sampling_of
from cmburden.summary.strata import Stratum

SAMPLING = {"cluster": None, "weights": None, "usable_weights": False}
CONFIG = {"report": {"bins": [0, 1, 2, 5], "counts": "automatic", "strata": []} | SAMPLING}
NOTHING = FREE_HAND_SAMPLE.frame([])


def place(scan, group, lesion_id=None, microbleed=True, kind=None, **more):
    return {
        "scan_id": scan,
        "participant_id": scan.split("_")[0],
        "lesion_id": lesion_id,
        "label": "definite" if lesion_id else None,
        "region": "frontal" if group else None,
        "group": group,
        "hemisphere": "left",
        "microbleed": microbleed,
        "reviewed_class": kind,
        "free_hand": False,
        "settled": "one reader",
        "votes": "{}",
    } | more


def people(numbers, reviewed_numbers, contrast="GRE", still_open=0):
    ids = [f"sub-{n:03d}" for n in range(len(numbers))]
    return PARTICIPANTS.frame(
        pd.DataFrame(
            {
                "participant_id": ids,
                "scan_id": [f"{one}_x" for one in ids],
                "contrast": contrast,
                "cohort": "one",
                "n_scans": 1,
                "n_cmb": pd.array(numbers, "Int64"),
                "n_possible": pd.array([0] * len(ids), "Int64"),
                "n_macrohaemorrhage": pd.array([0] * len(ids), "Int64"),
                "n_cmb_reviewed": pd.array(reviewed_numbers, "Int64"),
                "n_review_open": pd.array([still_open] * len(ids), "Int64"),
            }
        )
    )


def verdicts_of(places, free_hand=()):
    readings = pd.DataFrame(
        [
            {"scan_id": one, "reader": "A", "n_cmb": 0, "free_hand": True, "judged": False}
            for one in free_hand
        ],
        columns=["scan_id", "reader", "n_cmb", "free_hand", "judged"],
    )
    counts = pd.DataFrame({"scan_id": ["x"]})
    names = list(place("a_b", None))
    return Verdicts(pd.DataFrame(places, columns=names), readings, counts, [])


def lesions_of(rows):
    """Rows of `lesions`: scan, number, probability, group."""
    return pd.DataFrame(
        [
            {
                "scan_id": scan,
                "lesion_id": number,
                "probability": p,
                "group": group,
                "label": "definite",
                "macrohaemorrhage": False,
                "region": "frontal",
                "hemisphere": "left",
                "mni_x": 1.0,
                "mni_y": 2.0,
                "mni_z": 3.0,
            }
            for scan, number, p, group in rows
        ]
    )


def cohort_of(participants, lesions, verdicts, sample=NOTHING):
    participants = readers_counts.with_pattern(participants, verdicts)
    none = pd.DataFrame()
    by = readers_counts.by_readers(participants, lesions, verdicts, sample, CONFIG)
    return Cohort(none, lesions, participants, *[none] * 4, by)


def rows_of(cohort, counts):
    view = counted.views(cohort)[counts]
    sampling = sampling_of(view.cohort.participants, CONFIG["report"])
    rows = estimates._by_stratum(view, CONFIG, sampling)
    return {(row["stratum"], row["measure"]): row for row in rows}


@pytest.fixture
def three():
    """Readers: a lobar and an added deep microbleed; a rejection and a haemorrhage; unread."""
    places = [
        place("sub-000_x", "lobar", 1),
        place("sub-000_x", "deep"),
        place("sub-001_x", "lobar", 1, microbleed=False, kind="haemorrhage"),
    ]
    lesions = lesions_of([(f"sub-00{n}_x", 1, 0.9, "lobar") for n in range(3)])
    return cohort_of(people([1, 1, 1], [2, 0, None]), lesions, verdicts_of(places))


def test_reviewed_counts_reach_pattern_bins_groups_and_regions(three):
    """Audit A8: after a complete review the report still reported the software."""
    automatic, reviewed_rows = rows_of(three, "automatic"), rows_of(three, "reviewed")
    gre = "contrast=GRE"
    stratum = Stratum(cohort="one", contrast="GRE").name
    assert gre in stratum
    for measure, before, after in (
        ("presence definite", (3, 3), (1, 2)),
        ("pattern=mixed", (0, 3), (1, 2)),
        ("presence group=deep", (0, 3), (1, 2)),
        ("presence macrohaemorrhage", (0, 3), (1, 2)),
        ("bin=2 to 4", (0, 3), (1, 2)),
        ("lesions definite", (3, None), (2, None)),
    ):
        for rows, expected in ((automatic, before), (reviewed_rows, after)):
            row = rows[stratum, measure]
            assert (row["n"], row["denominator"]) == expected, measure
    assert reviewed_rows[stratum, "mean count"]["estimate"] == 1.0
    either = reviewed_rows[stratum, "presence definite or possible"]
    assert either["estimate"] is None and either["method"].startswith("not estimated: readers")


def test_who_is_not_settled_is_not_usable_and_has_a_reason(three):
    """Audit A8: a participant without the readers' word is neither positive nor negative."""
    rows = rows_of(three, "reviewed")
    assert rows["all", "participants usable"]["n"] == 2
    assert rows["all", "participants missing reason=not_read"]["n"] == 1
    disputed = people([1, 1], [1, None], still_open=1)
    cohort = cohort_of(disputed, lesions_of([("sub-000_x", 1, 0.9, "lobar")]), verdicts_of([]))
    rows = rows_of(cohort, "reviewed")
    assert rows["all", "participants missing reason=count_not_settled"]["n"] == 1
    assert three.participants["pattern_reviewed"].tolist()[:2] == ["mixed", "none"]
    assert pd.isna(three.participants["pattern_reviewed"].iloc[2])


def test_without_a_review_there_is_one_view(three):
    alone = dataclasses.replace(three, by_readers=None)
    assert list(counted.views(alone)) == ["automatic"]
    wanted = {"report": {"counts": "reviewed"}}
    assert counted.chosen(counted.views(alone), wanted) == "automatic"
    assert counted.chosen(counted.views(three), wanted) == "reviewed"
    assert not len(PARTICIPANTS.frame([])) and "combined" not in counted.views(three)


def read_cohort():
    """200 people: 50 called, of whom 40 of 50 have one; of the others 6 of 150. 50 were read."""
    true = [1] * 40 + [0] * 10 + [1] * 6 + [0] * 144
    called = [1] * 50 + [0] * 150
    read = [*range(0, 50, 2), *range(50, 200, 6)]
    numbers = [true[n] if n in read else None for n in range(200)]
    lesions = lesions_of([(f"sub-{n:03d}_x", 1, 0.7, "lobar") for n in range(50)])
    places = [place(f"sub-{n:03d}_x", "lobar", 1 if n < 50 else None) for n in read if true[n]]
    hand = [f"sub-{n:03d}_x" for n in read]
    return cohort_of(people(called, numbers), lesions, verdicts_of(places, hand))


def test_a_part_read_is_weighted_by_class():
    """Audit A2: double sampling, where one scan in 2 of the called and in 6 of the others is read.

    The readers' own sample has 42 % with a microbleed, the cohort 23 %.
    """
    cohort = read_cohort()
    rows = rows_of(cohort, "combined")
    row = rows["cohort=one & contrast=GRE", "presence definite"]
    assert (row["n"], row["denominator"]) == (21, 50)
    assert row["estimate"] == pytest.approx(0.25 * 20 / 25 + 0.75 * 1 / 25)
    assert 0 < row["ci_low"] < row["estimate"] < row["ci_high"] < 0.5
    assert row["method"].startswith("double sampling")
    lobar = rows["cohort=one & contrast=GRE", "pattern=strictly lobar"]
    assert lobar["estimate"] == pytest.approx(row["estimate"])
    assert rows["cohort=one & contrast=GRE", "lesions definite"]["method"].startswith("counted by")
    few = read_part.burden(cohort.participants.iloc[:8], cohort.by_readers, [0, 1])
    assert few[0]["estimate"] is None and "4 of 8 participants read" in few[0]["method"]


def test_unread_scans_are_not_negative():
    """Audit A8, A2: `review presence` counted scans, and unread ones as without a microbleed."""
    cohort = read_cohort()
    rows = {
        row["measure"]: row for row in reviewed._presence(cohort.participants, cohort.by_readers)
    }
    assert rows["review presence settled"]["denominator"] == 50
    assert "the others are not like them" in rows["review presence settled"]["method"]
    assert rows["review presence sample"]["n"] == 21
    assert rows["review presence"]["estimate"] == pytest.approx(0.23)
    # Where the sample is stratified, its plain share is no prevalence.
    sample = readers_counts.frame_of(
        cohort.participants, cohort.lesions, verdicts_of([]), 0, NOTHING
    )
    drawn = cohort.by_readers.part.assign(stratified=True)
    by = dataclasses.replace(cohort.by_readers, part=drawn)
    rows = {row["measure"]: row for row in reviewed._presence(cohort.participants, by)}
    assert rows["review presence sample"]["estimate"] is None
    assert len(sample) == 200


def test_the_sample_is_kept_and_grows(three):
    frame = readers_counts.frame_of(
        three.participants.iloc[:2], three.lesions, verdicts_of([]), 3, NOTHING
    )
    assert frame["expected"].tolist() == [0.9, 0.9] and frame["number"].between(0, 1).all()
    fewer = three.lesions.assign(probability=0.1)
    grown = readers_counts.frame_of(three.participants, fewer, verdicts_of([]), 4, frame)
    assert grown.iloc[:2].equals(frame)
    assert grown["reading_class"].tolist()[2] == 2
    # A review of all lesions of these scans makes the classes; of a part of them, none.
    places = [place("sub-000_x", "lobar", 1, microbleed=True)]
    places += [place(f"sub-00{n}_x", "lobar", 1, microbleed=False) for n in (1, 2)]
    after = readers_counts.frame_of(
        three.participants, three.lesions, verdicts_of(places), 3, NOTHING
    )
    assert after["expected"].tolist() == [1.0, 0.0, 0.0]
    part = readers_counts.frame_of(
        three.participants, three.lesions, verdicts_of(places[:2]), 3, NOTHING
    )
    assert part["expected"].tolist() == [0.9, 0.9, 0.9]


def test_readers_agree_by_lesion_group_and_pattern_and_with_themselves():
    """Audit section 4.11: agreement by pattern, by group and by lesion; a reader's two readings."""
    votes = [("microbleed", "microbleed"), ("microbleed", "vessel"), ("microbleed", "microbleed")]
    groups = ["lobar", "deep", "lobar"]
    places = pd.DataFrame(
        [
            place(f"s{n}_x", group, 1, votes=f'{{"B1": "{a}", "B1Again": "{b}"}}')
            for n, (group, (a, b)) in enumerate(zip(groups, votes, strict=True))
        ]
    )
    reading = {"free_hand": False, "judged": True}
    readings = pd.DataFrame(
        [
            {"scan_id": f"s{n}_x", "reader": name, "n_cmb": number} | reading
            for name, numbers in (("B1", (1, 1, 1)), ("B1Again", (1, 0, 1)))
            for n, number in enumerate(numbers)
        ]
    )
    verdicts = Verdicts(places, readings, pd.DataFrame(), [])
    scans = pd.DataFrame({"scan_id": [f"s{n}_x" for n in range(3)], "n_cmb": [1, 1, 1]})
    rows = {
        row["measure"]: row
        for row in readers_agreement.rows_again(
            scans, places.assign(macrohaemorrhage=False), [verdicts], [0, 1, 2]
        )
    }
    assert all(name.endswith(": B1 / B1Again") for name in rows)
    lesion = rows["review lesion agreement: B1 / B1Again"]
    assert lesion["estimate"] == pytest.approx(2 * 2 / (2 * 2 + 1)) and lesion["n"] == 3
    assert rows["review positive agreement: B1 / B1Again"]["estimate"] == pytest.approx(0.8)
    assert rows["review kappa lobar: B1 / B1Again"]["estimate"] == 1
    assert rows["review kappa lobar: B1 / B1Again"]["ci_low"] < 0.9
    assert rows["review kappa pattern: B1 / B1Again"]["estimate"] == pytest.approx(0.4)
    ratio = rows["review ratio of counts: B1 / B1Again"]["estimate"]
    assert ratio == pytest.approx(np.exp(np.log(2) / 3))


def test_a_second_reading_has_no_vote():
    base = {"mode": "review", "decision": "read", "blinded": False, "ordering": "scan"}
    table = REVIEWS.frame(
        [base | {"scan_id": "s", "reader": name, "content_key": "k"} for name in ("B1", "B1Again")]
    )
    assert second_readings.first_readings(table)["reader"].tolist() == ["B1"]
    assert not len(second_readings.first_readings(REVIEWS.frame([])))


def test_errors_of_a_sample_by_class_are_weighted():
    """Audit A2: of 10 called people all are read, of 90 others 9; 1 of these has a microbleed.

    Unweighted the sensitivity would be 8 of 9; each of the others stands for 10, so that 8 of 18
    are found.
    """
    ids = [f"sub-{n:02}" for n in range(100)]
    called = (np.arange(100) < 10).astype(int)
    read = np.arange(100) < 19
    part = pd.DataFrame(
        {
            "contrast": "GRE",
            "reading_class": (~called).astype(int),
            "read": read,
            "stratified": True,
        },
        index=pd.Index(ids, name="participant_id"),
    )
    real = np.isin(np.arange(100), [*range(8), 10])
    scans = pd.DataFrame(
        {
            "scan_id": ids,
            "participant_id": ids,
            "n_cmb": called,
            "n_cmb_reviewed": pd.array(np.where(read, real, 0), dtype="Int64"),
        }
    )
    readings = pd.DataFrame({"scan_id": np.array(ids)[read], "free_hand": True})
    columns = ["scan_id", "participant_id", "label", "microbleed", "free_hand"]
    wrong = [(ids[n], ids[n], "definite", False, True) for n in (8, 9)]
    places = pd.DataFrame(wrong, columns=columns)
    by = ByReaders(pd.DataFrame(), pd.DataFrame(), part)
    rows = {one["measure"]: one for one in reviewed._errors(scans, places, readings, by)}
    assert rows["review sensitivity"]["estimate"] == pytest.approx(8 / 18)
    assert rows["review specificity"]["estimate"] == pytest.approx(80 / 82)
    assert (rows["review sensitivity"]["n"], rows["review sensitivity"]["denominator"]) == (8, 9)
    assert rows["review false positives per scan"]["estimate"] == pytest.approx(2 / 100)
    assert "weighted by the class" in rows["review specificity"]["method"]
