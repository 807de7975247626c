"""Decisions on disk, and the verdicts, counts and figures that follow from them."""

import copy
import os
import signal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmburden.cohort import readers_counts
from cmburden.cohort import reviewed as measures
from cmburden.cohort import verdicts as settle
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.schema import as_records
from cmburden.core.tables import CANDIDATES, FREE_HAND_SAMPLE, PARTICIPANTS, REVIEWED, REVIEWS
from cmburden.review import store
from cmburden.review.store import Store
from cmburden.stats.intervals import wilson
from cmburden.summary.cohort import Cohort

SCAN = "sub-01_T2starw"
BASE = {
    "mode": "review",
    "blinded": True,
    "ordering": "random",
    "content_key": "k",
    "region": "frontal",
    "group": "lobar",
    "hemisphere": "left",
}


def decision(candidate=None, at=None, to=None, scan=SCAN, **more) -> dict:
    """A decision on a candidate shown ``at`` (RAS mm), moved ``to``; or a mark ``to``."""
    row = BASE | {"scan_id": scan, "candidate_id": candidate} | more
    held = to or at
    if held:
        row |= dict(zip(("x_mm", "y_mm", "z_mm"), map(float, held), strict=True))
    if at:
        row |= dict(zip(("shown_x_mm", "shown_y_mm", "shown_z_mm"), map(float, at), strict=True))
    return row


def accept(candidate, at, **more):
    return decision(candidate, at, decision="accept", **({"class": "microbleed"} | more))


def reject(candidate, at, kind=None, **more):
    return decision(candidate, at, decision="reject", **({"class": kind} | more))


def mark(number, to, **more):
    return decision(to=to, mark_id=number, decision="add", **({"class": "microbleed"} | more))


# --- on disk ---


def test_last_decision_stands_and_undo_brings_back_the_one_before(tmp_path):
    own = Store(Layout(tmp_path), "A")
    own.decide(accept(1, (0, 0, 0)))
    own.decide(reject(1, (0, 0, 0), "vessel"))
    own.decide(accept(2, (9, 0, 0)))
    assert [(d["candidate_id"], d["class"]) for d in own.standing()] == [
        (1, "vessel"),
        (2, "microbleed"),
    ]
    assert own.undo()["candidate_id"] == 2
    assert own.undo()["class"] == "vessel"
    assert [d["class"] for d in own.standing()] == ["microbleed"]
    own.undo()
    assert own.undo() is None and own.standing() == []


def test_a_removed_mark_is_gone_and_undo_returns_it(tmp_path):
    own = Store(Layout(tmp_path), "A")
    own.decide(mark(None, (1, 1, 1)))
    own.decide(mark(1, (1, 1, 1)), removed=True)
    assert own.standing() == []
    own.undo()
    assert [d["mark_id"] for d in own.standing()] == [1]
    own.decide(mark(1, (1, 1, 1)), removed=True)
    own.decide(mark(None, (2, 2, 2)))
    assert [d["mark_id"] for d in own.standing()] == [2]


def test_numbers_of_candidates_are_no_key_of_decisions(tmp_path):
    """Other weights give candidate 1's number to another place: both decisions stand."""
    own = Store(Layout(tmp_path), "A")
    own.decide(accept(1, (0, 0, 0)))
    own.decide(reject(1, (30, 0, 0)))
    assert len(own.standing()) == 2


def test_decisions_survive_sigkill(tmp_path):
    child = os.fork()
    if not child:
        own = Store(Layout(tmp_path), "A")
        for n in range(1, 21):
            own.decide(accept(n, (10 * n, 0, 0)))
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(Store(Layout(tmp_path), "A").standing()) == 20


def test_export_holds_all_readers_and_is_left_alone_where_nothing_changed(tmp_path):
    layout = Layout(tmp_path)
    assert store.export(layout) is None
    one, other = Store(layout, "B"), Store(layout, "A")
    one.decide(accept(1, (0, 0, 0)))
    other.decide(reject(1, (0, 0, 0), note="thin"))
    path = store.export(layout)
    table = REVIEWS.read(path)
    assert table["reader"].tolist() == ["A", "B"] and table["note"].tolist()[0] == "thin"
    os.utime(path, (1, 1))
    store.export(layout)
    assert path.stat().st_mtime == 1
    one.undo()
    store.export(layout)
    assert REVIEWS.read(path)["reader"].tolist() == ["A"]
    # A's file is on another machine now: the decisions stay.
    other.close()
    for file in other.path.parent.glob("A.sqlite*"):
        file.unlink()
    one.decide(accept(1, (0, 0, 0)))
    store.export(layout)
    assert REVIEWS.read(path)["reader"].tolist() == ["A", "B"]


@pytest.mark.parametrize("name", ["", "../x", "a b", "a/b", "é", "x" * 33])
def test_a_reader_is_letters_and_digits(tmp_path, name):
    with pytest.raises(CMBurdenError, match="letters and digits"):
        Store(Layout(tmp_path), name)


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = Layout(tmp_path).reader_file("A")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(CMBurdenError, match="restore it"):
        Store(Layout(tmp_path), "A")


# --- verdicts ---


def candidates(*places, scan=SCAN) -> pd.DataFrame:
    """Candidates of a scan: (at, label) each, numbered from 1."""
    rows = [
        {
            "scan_id": scan,
            "candidate_id": number,
            **dict(zip(("x_mm", "y_mm", "z_mm"), map(float, at), strict=True)),
            "p_cnn": 0.5,
            "diameter_mm": 3.0,
            "probability": 0.7,
            "label": label,
            "region": "frontal",
            "group": "lobar",
            "hemisphere": "left",
        }
        for number, (at, label) in enumerate(places, start=1)
    ]
    return CANDIDATES.frame(rows).assign(lesion_id=None)


def scans(*ids, n_cmb=0, n_possible=0, key="k") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "scan_id": i,
                "participant_id": i.split("_")[0],
                "contrast": "GRE",
                "status": "ok",
                "content_key": key,
                "n_cmb": n_cmb,
                "n_possible": n_possible,
            }
            for i in ids or (SCAN,)
        ]
    )


def settled(found, *decisions, of=None) -> settle.Verdicts:
    """Verdicts of (reader, decision) pairs."""
    rows = [row | {"reader": reader} for reader, row in decisions]
    return settle.settle(REVIEWS.frame(rows), found, scans() if of is None else of)


TWO = [((0, 0, 0), "definite"), ((20, 0, 0), "possible"), ((40, 0, 0), "rejected")]


def test_one_reader_settles_what_was_judged_and_the_rest_stays_open():
    verdicts = settled(candidates(*TWO), ("A", accept(1, (0, 0, 0))))
    assert verdicts.places["settled"].tolist() == ["one reader", "open"]
    row = verdicts.counts.iloc[0]
    assert (row["n_readers"], row["n_reviewed"], row["n_review_open"]) == (0, 1, 1)
    assert pd.isna(row["n_cmb_reviewed"]) and not len(verdicts.readings)


def test_counts_of_a_scan_that_is_judged_wholly():
    verdicts = settled(
        candidates(*TWO),
        ("A", accept(1, (0, 0, 0))),
        ("A", reject(2, (20, 0, 0), "vessel")),
        ("A", mark(1, (0, 30, 0))),
        ("A", accept(3, (40, 0, 0))),
    )
    assert verdicts.counts.iloc[0]["n_cmb_reviewed"] == 3  # one of them missed, one a near miss
    assert verdicts.readings[["reader", "n_cmb"]].values.tolist() == [["A", 3]]
    assert verdicts.places["reviewed_class"].tolist() == [
        "microbleed",
        "vessel",
        "microbleed",
        "microbleed",
    ]


def test_two_readers_agree_dispute_and_consensus_settles():
    both = [
        ("A", accept(1, (0, 0, 0))),
        ("B", accept(1, (0, 0, 0))),
        ("A", accept(2, (20, 0, 0))),
        ("B", reject(2, (20, 0, 0), "vessel")),
    ]
    verdicts = settled(candidates(*TWO), *both)
    assert verdicts.places["settled"].tolist() == ["agreed", "disputed"]
    assert pd.isna(verdicts.counts.iloc[0]["n_cmb_reviewed"])
    assert verdicts.readings["n_cmb"].tolist() == [2, 1]
    verdicts = settled(candidates(*TWO), *both, ("consensus", reject(2, (20, 0, 0), "vessel")))
    assert verdicts.places["settled"].tolist() == ["agreed", "consensus"]
    assert verdicts.places["n_votes"].tolist() == [2, 2]
    assert verdicts.counts.iloc[0]["n_cmb_reviewed"] == 1
    assert set(verdicts.readings["reader"]) == {"A", "B"}


def test_a_majority_of_three_settles():
    votes = [("A", accept(1, (0, 0, 0))), ("B", accept(1, (0, 0, 0))), ("C", reject(1, (0, 0, 0)))]
    place = settled(candidates(TWO[0]), *votes).places.iloc[0]
    assert (place["settled"], place["microbleed"]) == ("majority", True)


def test_mimics_named_differently_are_no_dispute():
    place = settled(
        candidates(TWO[0]),
        ("A", reject(1, (0, 0, 0), "vessel")),
        ("B", reject(1, (0, 0, 0), "calcification")),
    ).places.iloc[0]
    assert (place["settled"], place["microbleed"]) == ("agreed", False)
    assert place["reviewed_class"] is None


def test_marks_of_two_readers_on_one_lesion_are_one_place():
    verdicts = settled(
        candidates(),
        ("A", mark(1, (5, 5, 5))),
        ("B", mark(1, (6, 6, 5))),
        ("B", mark(2, (9, 9, 9))),
    )
    assert verdicts.places["n_votes"].tolist() == [2, 1]


def test_decisions_find_their_lesion_after_other_weights():
    """Renumbered, moved by 1 mm; one no longer seen stays the readers', a rejected one goes."""
    found = candidates(((21, 0, 0), "definite"), ((0, 0, 1), "possible"))
    verdicts = settled(
        found,
        ("A", accept(1, (0, 0, 0))),
        ("A", reject(2, (20, 0, 0), "vessel")),
        ("A", accept(3, (60, 0, 0))),
        ("A", reject(4, (80, 0, 0))),
    )
    assert verdicts.places["candidate_id"].tolist()[:2] == [1, 2]
    assert verdicts.places["microbleed"].tolist() == [False, True, True]
    assert verdicts.counts.iloc[0]["n_cmb_reviewed"] == 2


def test_a_former_rejection_counts_where_another_reader_marks_a_lesion():
    """A rejected a candidate that this run has no more; B marks a lesion 1 mm beside it."""
    verdicts = settled(
        candidates(),
        ("A", reject(1, (0, 0, 0), "vessel")),
        ("B", mark(1, (1, 0, 0))),
    )
    assert verdicts.places["settled"].tolist() == ["disputed"]
    assert verdicts.places["n_votes"].tolist() == [2]


def test_a_lesion_judged_before_and_after_other_weights_counts_once():
    verdicts = settled(
        candidates(((1, 0, 0), "definite")),
        ("A", accept(1, (0, 0, 0))),
        ("A", accept(1, (1, 0, 0))),
    )
    assert len(verdicts.places) == 1 and verdicts.counts.iloc[0]["n_cmb_reviewed"] == 1


def test_a_moved_lesion_lies_where_the_reader_put_it():
    moved = decision(1, (0, 0, 0), (2, 1, 0), decision="accept", region="insula", group="lobar")
    place = settled(candidates(TWO[0]), ("A", moved | {"class": "microbleed"})).places.iloc[0]
    assert (place["x_mm"], place["y_mm"], place["region"]) == (2, 1, "insula")


def test_free_hand_reading_says_no_where_nothing_was_marked():
    read = decision(decision="read", mode="free-hand")
    verdicts = settled(candidates(*TWO), ("A", mark(1, (1, 0, 0), mode="free-hand")), ("A", read))
    assert verdicts.places["microbleed"].tolist() == [True, False]
    assert verdicts.places["free_hand"].tolist() == [True, False]
    assert verdicts.counts.iloc[0]["n_cmb_reviewed"] == 1
    # Without lesions and marks it is a scan of 0, not of an unknown number.
    assert settled(candidates(), ("A", read)).counts.iloc[0]["n_cmb_reviewed"] == 0


def test_a_replaced_scan_sets_its_decisions_aside():
    verdicts = settled(candidates(*TWO), ("A", accept(1, (0, 0, 0))), of=scans(key="other"))
    assert verdicts.outdated == [SCAN] and not len(verdicts.counts)


def test_order_of_decisions_changes_nothing():
    rows = [
        ("A", accept(1, (0, 0, 0))),
        ("B", reject(1, (0, 0, 0))),
        ("A", mark(1, (5, 20, 0))),
        ("B", mark(1, (5, 22, 0))),
        ("consensus", accept(1, (0, 0, 0))),
    ]
    first = settled(candidates(*TWO), *rows)
    again = settled(candidates(*TWO), *reversed(rows))
    pd.testing.assert_frame_equal(REVIEWED.frame(first.places), REVIEWED.frame(again.places))


# --- verdicts, whatever the decisions ---

#: A scan full of candidates and decisions: many are within 3 mm of several others.
POINT = st.tuples(*[st.integers(-4, 4)] * 3)
LABEL = st.sampled_from(["definite", "possible", "rejected"])
CROWD = st.lists(st.tuples(POINT, LABEL), max_size=6, unique_by=lambda pair: pair[0])
CLASS = st.sampled_from([None, "vessel", "border"])
DECISION = st.one_of(
    st.builds(accept, st.integers(1, 9), POINT),
    st.builds(lambda n, at, to: accept(n, at, to=to), st.integers(1, 9), POINT, POINT),
    st.builds(reject, st.integers(1, 9), POINT, CLASS),
    st.builds(mark, st.integers(1, 9), POINT),
    st.builds(lambda n, to: mark(n, to, mode="free-hand"), st.integers(1, 9), POINT),
    st.just(decision(decision="read", mode="free-hand")),
)
READERS = st.sampled_from(["A", "B", "C", "consensus"])
DECISIONS = st.lists(st.tuples(READERS, DECISION), max_size=12)


def rows_of(found, decided) -> tuple[list[dict], list[dict]]:
    """Rows of `candidates` and of `reviews`."""
    rows = [dict.fromkeys(REVIEWS.names) | row | {"reader": reader} for reader, row in decided]
    return as_records(candidates(*found)), rows


def described(places: settle.Places) -> list[tuple]:
    return [(p.position, p.moved, dict(p.votes), p.marked_by, p.verdict()) for p in places]


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(CROWD, DECISIONS, st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing_in_a_crowd(found, decided, random):
    seen, rows = rows_of(found, decided)
    before = described(settle.places_of(seen, rows))
    random.shuffle(seen)
    random.shuffle(rows)
    assert described(settle.places_of(seen, rows)) == before


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(CROWD, DECISIONS)
def test_rows_are_left_as_they_are_and_settled_alike_again(found, decided):
    seen, rows = rows_of(found, decided)
    copies = copy.deepcopy((seen, rows))
    before = described(settle.places_of(seen, rows))
    assert (seen, rows) == copies
    assert described(settle.places_of(seen, rows)) == before


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(CROWD, DECISIONS)
def test_every_reader_has_one_vote_at_a_place_and_every_lesion_is_a_place(found, decided):
    seen, rows = rows_of(found, decided)
    places = settle.places_of(seen, rows)
    lesions = [row["candidate_id"] for row in seen if row["label"] != "rejected"]
    of_lesions = [place.candidate["candidate_id"] for place in places if place.is_lesion]
    assert of_lesions == lesions
    for reader in "ABC":
        votes = [place.votes[reader] for place in places if reader in place.votes]
        judged = [v for v in votes if v != settle.NOT_MARKED]
        assert len(judged) <= sum(r["reader"] == reader and r["decision"] != "read" for r in rows)
        if reader in settle.free_hand_readers(rows):
            assert len(votes) == len(places)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(CROWD, DECISIONS)
def test_consensus_that_confirms_the_verdicts_changes_none(found, decided):
    seen, rows = rows_of(found, [pair for pair in decided if pair[0] != "consensus"])
    before = settle.places_of(seen, rows)
    verdicts = {
        place.candidate["candidate_id"]: place.verdict().microbleed
        for place in before
        if place.is_lesion
    }
    confirmed = [
        ("consensus", (accept if verdicts[number] else reject)(number, at))
        for number, (at, _) in enumerate(found, start=1)
        if verdicts.get(number) is not None
    ]
    after = settle.places_of(seen, rows + rows_of([], confirmed)[1])
    assert [p.verdict().microbleed for p in after] == [p.verdict().microbleed for p in before]


#: For each of some lesions far apart: who judged it, and whether as a microbleed.
VOTES = st.lists(st.dictionaries(st.sampled_from("ABC"), st.booleans()), min_size=1, max_size=5)
#: mm by which a candidate of the next run lies elsewhere: below 3 mm in all.
SHIFT = st.tuples(*[st.floats(-1.5, 1.5)] * 3)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(VOTES, st.data())
def test_lesions_apart_get_the_majority_of_their_votes_after_other_weights(votes, data):
    """Whoever the readers are, however the run numbers its candidates, up to 3 mm elsewhere."""
    order = data.draw(st.permutations(range(len(votes))))
    centres = [(20.0 * k, 0.0, 0.0) for k in range(len(votes))]
    shifted = [tuple(np.add(centres[k], data.draw(SHIFT))) for k in order]
    decided = [
        (reader, (accept if yes else reject)(k + 1, centres[k]))
        for k, of_lesion in enumerate(votes)
        for reader, yes in of_lesion.items()
    ]
    places = settle.places_of(*rows_of([(at, "definite") for at in shifted], decided))
    assert len(places) == len(votes)
    for k, place in zip(order, places, strict=True):
        yes, no = (list(votes[k].values()).count(vote) for vote in (True, False))
        assert place.verdict().microbleed == (None if yes == no else yes > no)
        assert set(place.votes) == set(votes[k])


# --- figures ---


def cohort_of_readings():
    """Four scans read free-hand: found and real; missed; wrongly called; clean and called so."""
    ids = [f"sub-0{n}_T2starw" for n in range(1, 5)]
    read = decision(decision="read", mode="free-hand")
    of = pd.concat([scans(i, n_cmb=n) for i, n in zip(ids, (1, 0, 1, 0), strict=True)])
    called = [candidates(((0, 0, 0), "definite"), scan=i) for i in (ids[0], ids[2])]
    found = pd.concat(called)
    rows = [("A", read | {"scan_id": i}) for i in ids]
    rows += [("A", mark(1, (0, 1, 0), scan=i, mode="free-hand")) for i in ids[:2]]
    verdicts = settled(found, *rows, of=of)
    reviews = REVIEWS.frame([row | {"reader": r} for r, row in rows])
    of = of.merge(verdicts.counts, on="scan_id").assign(n_macrohaemorrhage=0)
    return (
        verdicts,
        of,
        {(row["stratum"], row["measure"]): row for row in figures(verdicts, reviews, of, found)},
    )


CONFIG = {"report": {"bins": [0, 1, 2, 5]}}


def figures(verdicts, reviews, of, found, sample=None) -> list[dict]:
    """Rows of `summary` of scans ``of``, each the chosen one of a participant."""
    lesions = found[["scan_id", "label", "probability", "group"]].assign(
        lesion_id=1, macrohaemorrhage=False, mni_x=0.0, mni_y=0.0, mni_z=0.0
    )
    names = ("scan_id", "participant_id", "contrast", "n_cmb", "n_possible")
    counts = ("n_macrohaemorrhage", "n_readers", "n_reviewed", "n_review_open", "n_cmb_reviewed")
    people = PARTICIPANTS.frame(of[[*names, *counts]].assign(n_scans=1))
    people = readers_counts.with_pattern(people, verdicts)
    sample = FREE_HAND_SAMPLE.frame([]) if sample is None else sample
    none = pd.DataFrame()
    cohort = Cohort(
        scans=of,
        lesions=lesions,
        participants=people,
        rejected=none,
        pairs=none,
        changes=none,
        followed=none,
        by_readers=readers_counts.by_readers(people, lesions, verdicts, sample, CONFIG),
    )
    return measures.rows(verdicts, [], reviews, cohort, CONFIG)


def test_sensitivity_and_specificity_of_the_cohort_itself():
    *_, rows = cohort_of_readings()
    for stratum in ("all", "contrast=GRE"):
        row = rows[stratum, "review sensitivity"]
        assert (row["estimate"], row["n"], row["denominator"]) == (0.5, 1, 2)
        assert (row["ci_low"], row["ci_high"]) == wilson(1, 2)
        assert rows[stratum, "review specificity"]["estimate"] == 0.5
    assert rows["all", "review lesion sensitivity"]["estimate"] == 0.5
    assert rows["all", "review false positives per scan"]["estimate"] == 0.25
    assert rows["all", "review ppv"]["estimate"] == 0.5
    assert rows["all", "review kappa presence: A / software"]["estimate"] == 0


def test_ppv_says_when_it_is_no_fair_sample():
    three = [((20 * n, 0, 0), "definite") for n in range(3)]
    rows = [("A", accept(1, (0, 0, 0), ordering="useful"))]
    verdicts = settled(candidates(*three), *rows)
    reviews = REVIEWS.frame([row | {"reader": r} for r, row in rows])
    of = scans(n_cmb=3).merge(verdicts.counts, on="scan_id").assign(n_macrohaemorrhage=0)
    rows_of = figures(verdicts, reviews, of, candidates(*three))
    ppv = next(r for r in rows_of if r["measure"] == "review ppv" and r["stratum"] == "all")
    assert (ppv["n"], ppv["denominator"]) == (1, 1)
    assert "1 of 3" in ppv["method"] and "not a fair sample" in ppv["method"]
