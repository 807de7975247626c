"""The table that treatment monitoring asks for: grades, baseline, warnings."""

from cmburden.report import monitoring


def pair(first, second, n_new, *, years, since=True, consecutive=True, comparable=True):
    return {
        "scan_id_1": first,
        "scan_id_2": second,
        "n_new": n_new,
        "years": years,
        "since_baseline": since,
        "consecutive": consecutive,
        "comparable": comparable,
        "difference": None if comparable else "echo time 20, 30 ms",
    }


def scan(name, **more):
    return {"scan_id": name, "session_id": name, "contrast": "GRE"} | more


def lesions(number, group="lobar"):
    return [{"label": "definite", "macrohaemorrhage": False, "group": group}] * number


PAIRS = [
    pair("a", "b", 3, years=1.0),
    pair("a", "c", 11, years=2.0, consecutive=False),
    pair("b", "c", 8, years=1.0, since=False),
]
SCANS = {"a": scan("a"), "b": scan("b", siderosis="focal", siderosis_place="left"), "c": scan("c")}


def test_a_row_a_visit_with_grades_since_baseline_and_since_the_last():
    first, second, third = monitoring._visits(PAIRS, SCANS, {"a": lesions(5), "b": lesions(8)})
    assert (first.baseline, first.definite, first.since_baseline) == ("above 4", 5, "")
    assert first.groups == "5 lobar, 0 deep, 0 infratentorial"
    assert (second.since_baseline, second.since_last) == ("3, mild", "3, mild")
    assert (third.since_baseline, third.since_last) == ("11, severe", "8, moderate")
    assert [one.siderosis for one in (first, second)] == ["not assessed", "focal, left"]


def test_the_overall_grade_is_the_worse_of_microbleeds_and_siderosis():
    focal = {"siderosis": "focal", "siderosis_place": "left"}
    scans = {
        "a": scan("a", siderosis="absent", siderosis_foci=0.0),
        "b": scan("b", **focal, siderosis_foci=2.0),
        "c": scan("c", **focal, siderosis_foci=1.0),
    }
    first, second, third = monitoring._visits(PAIRS, scans, {})
    assert (first.siderosis, first.foci, first.overall) == ("absent", "", "")
    assert (second.siderosis, second.foci) == ("focal, 2 foci, left", "2, moderate")
    # 3 new microbleeds are mild, 11 severe; 1 focus is mild.
    assert (second.overall, third.foci, third.overall) == ("moderate", "1, mild", "severe")
    unread = monitoring._visits(PAIRS, scans | {"a": scan("a")}, {})
    assert (unread[1].foci, unread[1].overall) == ("not assessed", "not assessed")
    other = [pair("a", "b", 9, years=1, comparable=False)]
    assert monitoring._visits(other, scans, {})[1].overall == "not graded"


def test_another_sequence_is_not_graded_and_swi_is_warned_of():
    scans = {"a": scan("a", contrast="SWI"), "b": scan("b", contrast="SWI")}
    first, second = monitoring._visits([pair("a", "b", 9, years=1, comparable=False)], scans, {})
    assert second.since_baseline == "not graded"
    assert first.warnings == ["SWI: the grades are defined on GRE"]
    assert second.warnings[0].startswith("another sequence than at baseline (echo time")


def test_the_safety_table_counts_people_by_visit_and_arm():
    visits = {"sub-1": monitoring._visits(PAIRS, SCANS, {})}
    rows = monitoring._safety(visits, {"sub-1": "active"}, ["none", "mild", "moderate", "severe"])
    assert [(row.visit, row.arm, row.people, row.grades, row.not_graded) for row in rows] == [
        ("b", "active", 1, [0, 1, 0, 0], 0),
        ("c", "active", 1, [0, 0, 0, 1], 0),
    ]
