"""Parts of people, verdicts as labels, thresholds, and when a model is better: counted by hand."""

import numpy as np
import pandas as pd
import pytest

from cmburden.adapt import check, judged, parts, probability, report
from cmburden.adapt.check import DRAWN, EQUAL, NUMBER, OWN, Result, Row
from cmburden.adapt.plan import Schedule
from cmburden.core.errors import CMBurdenError
from cmburden.stats.paired import difference

NAN = (np.nan, np.nan, np.nan)


# --- who is for what ---


def test_each_scanner_is_in_each_part():
    strata = {f"sub-{n:02d}": ("A", "B")[n % 2] for n in range(40)}
    part = parts.deal(strata, 0)
    table = pd.crosstab(pd.Series(part), pd.Series(strata))
    assert table.loc["adapt"].tolist() == [10, 10]
    assert table.loc["check"].tolist() == [6, 6] and table.loc["calibrate"].tolist() == [4, 4]
    # The order of the rows decides nothing; another seed does.
    assert parts.deal(dict(reversed(strata.items())), 0) == part != parts.deal(strata, 1)


def test_sixteen_people_leave_five_to_check_on_and_fifteen_are_refused():
    part = parts.deal({f"sub-{n}": "A" for n in range(16)}, 0)
    assert sorted(part.values()).count("check") == 5
    with pytest.raises(CMBurdenError, match="15 participants with a scan that was read are too"):
        parts.deal({f"sub-{n}": "A" for n in range(15)}, 0)


def test_the_check_draws_with_what_was_not_learnt_from():
    assert Schedule().others == ("physics", "transplant")
    assert Schedule(renderer="physics").others == ("transplant", "plain")


# --- what readers judged ---


def places(*rows):
    columns = ("candidate_id", "microbleed", "reviewed_class", "settled")
    table = pd.DataFrame([dict(zip(columns, row, strict=True)) for row in rows])
    return table.assign(x_mm=0.0, y_mm=0.0, z_mm=10.0 * np.arange(len(rows)), diameter_mm=4.0)


def candidates(*rows):
    table = pd.DataFrame(rows, columns=["candidate_id", "label", "probability"])
    table["probability"] = table["probability"].astype("Float64")
    table["label"] = table["label"].astype("string")
    return table.assign(x_mm=50.0, y_mm=0.0, z_mm=0.0, diameter_mm=3.0)


def test_verdicts_are_labels_and_what_nobody_judged_is_left_out():
    judged_places = places(
        (0, True, "microbleed", "unanimous"),
        (1, True, "possible microbleed", "unanimous"),
        (2, False, "calcification", "majority"),
        (3, False, "not a microbleed", "majority"),
        (4, None, None, "disputed"),
    )
    found = candidates(
        (0, "definite", 0.9),
        (2, "definite", 0.8),
        (4, "possible", 0.2),
        (5, "definite", 0.7),
        (6, "rejected", 0.03),
        (7, "rejected", 0.001),
    )
    known = judged.known_of(found, judged_places)
    kinds = [one.kind for one in known]
    # The fourth place is disputed; candidates 5 and 6 nobody judged; 7 is background.
    assert kinds == ["microbleed", "faint", "calcification", "vessel", "faint", "faint", "faint"]
    assert [one.radius_mm for one in known] == [2.0, 4.0, 2.0, 2.0, 4.0, 3.5, 3.5]
    points = np.array([[0.0, 0, 2.9], [0, 0, 23.5], [50, 3.4, 0]])
    assert judged.near(points, known, ("microbleed",)).tolist() == [True, False, False]
    assert judged.near(points, known, ("faint",)).tolist() == [False, False, True]


def test_disputed_places_are_counted_and_no_labels():
    verdicts = judged.Verdicts(
        places(
            (0, True, "microbleed", "unanimous"),
            (1, None, None, "disputed"),
            (2, False, None, "majority"),
            (3, True, "possible microbleed", "majority"),
        )
    )
    assert verdicts.disputed == 1
    assert verdicts.confirmed["candidate_id"].tolist() == [0]
    assert verdicts.rejected["candidate_id"].tolist() == [2]


# --- probability ---


def test_as_many_are_called_and_expected_as_before():
    p = np.array([0.9, 0.6, 0.5, 0.2, 0.1])
    before = ["definite", "definite", "possible", "rejected"]
    chosen = probability._thresholds(p, before)
    assert [(p >= chosen[name]).sum() for name in ("definite", "possible")] == [2, 3]
    score = np.array([-3.0, 0.0, 2.0])
    shift = probability._intercept(score, 1.2)
    assert (1 / (1 + np.exp(-(score + shift)))).sum() == pytest.approx(1.2)
    # Nothing tells an intercept where all or nothing would be expected.
    assert probability._intercept(score, 0.0) == probability._intercept(score, 9.0) == 0.0


def test_the_slope_follows_what_separates_drawn_lesions_from_background():
    rng = np.random.default_rng(0)
    apart = probability._slope(rng.uniform(0.6, 0.9, 60), rng.uniform(0.05, 0.3, 300))
    mixed = probability._slope(rng.uniform(0.05, 0.9, 60), rng.uniform(0.05, 0.9, 300))
    assert mixed < 1 < apart
    assert probability._slope(np.zeros(0), np.ones(3)) == 1.0


# --- is it better? ---


def test_a_difference_is_wide_where_people_differ():
    before, after = np.zeros(40), np.repeat([1.0, 0.0], 20)
    alike = difference(before, after, np.tile(np.arange(10), 4))
    apart = difference(before, after, np.repeat(np.arange(10), 4))
    assert alike[0] == apart[0] == 0.5
    assert apart[2] - apart[1] > 2 * (alike[2] - alike[1]) > 0
    # Five of ten people: 0.5 plus or minus 2.262 times the standard error of a mean, 1/6.
    assert apart[1] == pytest.approx(0.5 - 2.262 / 6, abs=1e-3)


def row(what=DRAWN, point=EQUAL, number=30, people=6, change=(0.2, 0.1, 0.3), **more):
    before = more.get("before", (0.5, 0.4, 0.6))
    after = more.get("after", (before[0] + change[0], 0.5, 0.8))
    return Row(
        what, point, "GRE", more.get("group", "physics"), number, people, before, after, change
    )


SAME = {"before": [0.9, 0.8], "after": [0.9, 0.79]}


@pytest.mark.parametrize(
    ("rows", "forgetting", "said"),
    [
        ([row()], SAME, ""),
        ([row(number=9)], SAME, "too few drawn lesions to tell"),
        ([row(people=4)], SAME, "too few drawn lesions to tell"),
        ([row(change=(0.1, -0.05, 0.2))], SAME, "more of the drawn lesions are not detected"),
        ([row(point=OWN)], SAME, "too few drawn lesions"),
        ([row(), row(group="transplant", change=(-0.1, -0.2, 0.1))], SAME, "drawn by transplant"),
        (
            [row(), row(what=check.CONFIRMED, number=10, change=(-0.2, -0.3, 0))],
            SAME,
            "verdicts are met worse: -2 of the confirmed microbleeds, +0 of the rejected",
        ),
        ([row(), row(what=check.REJECTED, number=10, change=(-0.2, -0.3, 0))], SAME, ""),
        (
            [row(), row(what=NUMBER, point=OWN, before=(2.0, 1, 3), after=(4.0, 3, 5))],
            SAME,
            "GRE has 4.00 detections a scan, and 2.00 before",
        ),
        ([row()], {"before": [0.9, 0.8], "after": [0.9, 0.7]}, "10 points less of simulated"),
    ],
)
def test_what_is_not_better_is_said_in_a_sentence(rows, forgetting, said):
    against = list(check._against(rows, forgetting))
    assert len(against) == bool(said) and said in "".join(against)


def test_a_verdict_is_one_sentence():
    result = Result((row(), row(change=NAN, after=NAN)), ("it sees less",), (3, 4), SAME)
    assert report.verdict(result) == "The adapted models are not released: it sees less."
    assert "| 0.50 (0.40 to 0.60) | - | - |" in report.table(result)
    assert "+0.20 (+0.10 to +0.30)" in report.table(result)
