"""Readers' words on a scan as a whole: what excludes it, and siderosis."""

import pandas as pd
import pytest

from cmburden.cohort import places, scan_words
from cmburden.core.tables import REVIEWS

SCAN = {"scan_id": "s", "status": "ok", "content_key": "k", "reason": None, "message": None}
SCAN |= {
    "stage": None,
    "log": None,
    "siderosis": None,
    "siderosis_place": None,
    "siderosis_foci": None,
}


def word(reader, quality=None, siderosis=None, key="k", **more):
    row = {"scan_id": "s", "reader": reader, "mode": "scan", "decision": "scan", "blinded": False}
    row |= {"ordering": "useful", "content_key": key, "quality": quality, "siderosis": siderosis}
    return row | more


def stated(*words):
    reviews = REVIEWS.frame(list(words))
    (row,) = scan_words.stated(pd.DataFrame([SCAN]), reviews).to_dict("records")
    return row


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([word("A", "unusable")], "excluded"),
        ([word("A", "unusable"), word("B", "usable")], "ok"),
        ([word("A", "unusable"), word("B", "usable"), word("C", "unusable")], "excluded"),
        ([word("A", "unusable"), word("consensus", "usable")], "ok"),
        ([word("A", "unusable", key="another image")], "ok"),
        ([word("A", siderosis="focal")], "ok"),
    ],
)
def test_the_majority_excludes_and_the_consensus_decides(words, status):
    assert stated(*words)["status"] == status


def test_who_and_why_stand_in_the_message():
    row = stated(word("B", "unusable"), word("A", "unusable", quality_reason="motion"))
    assert row["reason"] == "reader"
    assert row["message"].startswith("A (motion); B could not judge the scan. To do:")


def test_the_gravest_siderosis_stands():
    words = [word("A", siderosis="absent"), word("B", siderosis="focal", siderosis_place="left")]
    row = stated(*words)
    assert (row["siderosis"], row["siderosis_place"]) == ("focal", "left")
    words = [word(name, siderosis="focal", siderosis_foci=n) for name, n in (("A", 1), ("B", 2))]
    assert stated(*words)["siderosis_foci"] == 2


def place(**votes):
    return places.Place(places.Position((0.0, 0.0, 0.0), None, None, None), votes=votes).verdict()


def test_a_possible_microbleed_is_one_and_not_a_definite_one():
    one = place(A=places.POSSIBLE)
    assert (one.microbleed, one.reviewed_class) == (True, places.POSSIBLE)
    assert place(A=places.POSSIBLE, B=places.MICROBLEED).reviewed_class == places.POSSIBLE
    both = place(A=places.POSSIBLE, B=places.MICROBLEED, C=places.MICROBLEED)
    assert both.reviewed_class == places.MICROBLEED
    assert place(A=places.POSSIBLE, B="vessel").settled == "disputed"


def test_a_corrected_region_stands():
    at = places.Position((0.0, 0.0, 0.0), "insula", "lobar", "left")
    held = places.Position((0.0, 0.0, 0.0), "basal ganglia", "deep", "left")
    decision = places.Decision("A", "review", "accept", places.MICROBLEED, at.at, held, True)
    assert places.Place(at).with_vote(decision).moved == held
