"""Bins, patterns, Wilson intervals and the choice of scan, against published figures."""

import math

import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from cmburden.cohort import choose as burden
from cmburden.cohort import patterns
from cmburden.cohort.choose import choose_scan
from cmburden.cohort.patterns import pattern_of
from cmburden.core.errors import CMBurdenError
from cmburden.core.tables import PATTERN_LEVELS
from cmburden.follow.sessions import ordered, parse_time
from cmburden.stats import intervals
from cmburden.summary import bins


def test_wilson_gives_the_interval_that_ages_published():
    # AGES-Reykjavik: 218 of 1962 people, 11.1 % (9.8-12.6).
    low, high = intervals.wilson(218, 1962)
    assert round(100 * 218 / 1962, 1) == 11.1
    assert (round(100 * low, 1), round(100 * high, 1)) == (9.8, 12.6)


@pytest.mark.parametrize(
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 (score).
    ("positive", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_newcombes_table(positive, total, low, high):
    got = intervals.wilson(positive, total)
    assert (round(got[0], 4), round(got[1], 4)) == (low, high)


@pytest.mark.parametrize(("positive", "total"), [(0, 1), (1, 1), (7, 9), (500, 20000)])
def test_wilson_agrees_with_statsmodels(positive, total):
    assert intervals.wilson(positive, total) == pytest.approx(
        proportion_confint(positive, total, method="wilson"), abs=1e-12
    )


def test_wilson_of_nobody_is_unknown():
    assert all(math.isnan(end) for end in intervals.wilson(0, 0))


def test_bins_cover_the_schemes_of_the_field():
    assert bins.bin_labels([0, 1, 2, 5]) == ["0", "1", "2 to 4", ">=5"]
    assert bins.bin_labels([0, 1, 5, 10]) == ["0", "1 to 4", "5 to 9", ">=10"]
    counts = pd.Series([0, 1, 2, 4, 5, 99, None], dtype="Int64")
    labels = bins.binned(counts, [0, 1, 2, 5], bins.bin_labels([0, 1, 2, 5]))
    assert labels.tolist()[:6] == ["0", "1", "2 to 4", "2 to 4", ">=5", ">=5"]
    assert labels.isna().tolist() == [False] * 6 + [True]


def test_edges_must_rise():
    with pytest.raises(CMBurdenError, match=r"report\.bins: give rising lower edges"):
        bins.checked_edges([0, 2, 2], "report.bins")


@pytest.mark.parametrize(
    ("groups", "pattern"),
    [
        ([], "none"),
        (["lobar"], "strictly lobar"),
        (["lobar", "lobar", "infratentorial"], "mixed"),
        (["deep"], "strictly deep/infratentorial"),
        (["deep", "infratentorial"], "strictly deep/infratentorial"),
        (["unknown"], "not classifiable"),
        (["unknown", "unknown"], "not classifiable"),
        (["lobar", "unknown"], "not classifiable"),
        (["deep", "unknown"], "not classifiable"),
        (["lobar", "deep", "unknown"], "mixed"),
    ],
)
def test_a_microbleed_outside_of_every_region_leaves_the_pattern_open(groups, pattern):
    """Audit A7: unknown was mixed, lobar with unknown strictly lobar."""
    assert pattern_of(groups) == pattern
    assert pattern in PATTERN_LEVELS


@pytest.mark.parametrize(
    ("regions", "age", "item"),
    [
        ([], 70, False),
        (["frontal"], 70, False),
        (["frontal", "insula"], 70, True),
        (["frontal", "insula", "cerebellum"], 70, True),
        (["frontal", "cerebellum"], 70, False),
        (["cerebellum", "cerebellum"], 70, False),
        (["frontal", "insula", "brainstem"], 70, False),
        (["frontal", "insula", "thalamus"], 70, False),
        (["frontal", "insula"], 50, True),
        (["frontal", "insula"], 49.9, None),
        (["thalamus"], 49.9, None),
        (["frontal", "insula"], None, True),
        (["frontal", "insula", "unknown"], 70, None),
        (["frontal", "unknown"], 70, None),
        (["frontal", "thalamus", "unknown"], 70, False),
        (["unknown"], 70, False),
    ],
)
def test_boston_item_is_that_of_version_2(regions, age, item):
    """Audit A6: the cerebellum counts as neither, the brainstem is deep, the age is 50 or above."""
    assert patterns.boston_imaging(regions, age) is item


@pytest.mark.parametrize(
    ("region", "mm", "item"), [("thalamus", 25, False), ("frontal", 25, True), ("frontal", 3, True)]
)
def test_a_deep_macrohaemorrhage_excludes_and_a_lobar_one_counts(region, mm, item):
    """Audit A6: a macrohaemorrhage of 25 mm in the thalamus beside two lobar microbleeds."""
    lesions = pd.DataFrame(
        {
            "scan_id": ["a", "a", "a", "b"],
            "label": ["definite", "definite", "definite", "possible"],
            "region": ["frontal", "parietal", region, "thalamus"],
            "macrohaemorrhage": [False, False, mm > 10, False],
        }
    )
    people = pd.DataFrame({"scan_id": ["a", "b", None], "age": [70.0, None, 70.0]})
    assert patterns.boston_column(people, lesions) == [item, False, None]
    alone = lesions[lesions["region"] != "parietal"]
    if region == "frontal":
        assert patterns.boston_column(people, alone)[0] is True


def scan(scan_id, **more):
    return {"scan_id": scan_id, "session_id": None, "contrast": "GRE"} | more


def test_choice_of_scan_follows_the_rules_in_order():
    scans = [
        scan("old_swi", session_id="ses-2", contrast="SWI", slice_mm=1.0),
        scan("new_gre", session_id="ses-10", contrast="GRE", slice_mm=4.0),
        scan("new_swi_thick", session_id="ses-10", contrast="SWI", slice_mm=3.0),
        scan("new_swi_thin", session_id="ses-10", contrast="SWI", slice_mm=2.0),
    ]
    rules = ["most_recent_session", "swi_first", "thinnest_slice"]
    best, why = burden.choose_scan(scans, rules)
    assert best["scan_id"] == "new_swi_thin"
    assert why == "most_recent_session, then swi_first, then thinnest_slice"
    assert burden.choose_scan(scans, ["gre_first"])[0]["scan_id"] == "new_gre"
    assert burden.choose_scan(scans, ["first_session"])[0]["scan_id"] == "old_swi"


def test_dates_win_over_session_labels_and_unknown_loses():
    scans = [
        scan("a", session_id="ses-1", acq_time="2019-05-01T10:00:00", slice_mm=None),
        scan("b", session_id="ses-2", acq_time="2012-05-01T10:00:00", slice_mm=2.0),
    ]
    assert burden.choose_scan(scans, ["most_recent_session"])[0]["scan_id"] == "a"
    assert burden.choose_scan(scans, ["thinnest_slice"])[0]["scan_id"] == "b"


@pytest.mark.parametrize(
    ("one", "other", "best"),
    [
        ("2014-12-01T10:00:00", "2016-01-02T10:00:00", 2),
        ("2016-01-02T10:00:00", "2014-12-01T10:00:00", 1),
        # As text, the first of each pair would be the later.
        ("12/01/2014", "02/01/2016", 2),
        ("XXXX-XX-XXT09:09:46", "XXXX-XX-XXT08:00:00", 2),
        ("##-##-##T12:00", "##-##-##T11:00", 2),
        ("2014-12-01T10:00:00", "02/01/2016", 2),
        ("2016-01-02T10:00:00", None, 2),
        ("2014-12-01T12:00:00+09:00", "2014-12-01T10:00:00Z", 2),
        ("1800-01-05T23:00:00", "1800-01-05", 1),
    ],
)
def test_a_time_that_is_no_date_chooses_no_session(one, other, best):
    """As `longitudinal` orders the sessions."""
    scans = [
        {"scan_id": f"ses-{k}", "session_id": f"ses-{k}", "acq_time": time}
        for k, time in ((1, one), (2, other))
    ]
    assert choose_scan(scans, ["most_recent_session"])[0]["session_id"] == f"ses-{best}"
    times = {scan["session_id"]: parse_time(scan["acq_time"]) for scan in scans}
    assert ordered(times, times, {})[0][-1] == f"ses-{best}"


def test_ages_order_sessions_without_dates():
    scans = [
        {"scan_id": f"ses-{k}", "session_id": f"ses-{k}", "acq_time": "n/a", "age": age}
        for k, age in (("a", 75.0), ("b", 70.0))
    ]
    assert choose_scan(scans, ["most_recent_session"])[0]["session_id"] == "ses-a"
    assert choose_scan(scans, ["first_session"])[0]["session_id"] == "ses-b"


def test_a_tie_is_broken_by_scan_id_whatever_the_order():
    scans = [scan("b"), scan("a"), scan("c")]
    for order in (scans, scans[::-1]):
        best, why = burden.choose_scan(order, ["swi_first"])
        assert (best["scan_id"], why) == ("a", "first scan_id")
    assert burden.choose_scan(scans[:1], [])[1] == "only usable scan"


def test_unknown_rule_is_named():
    with pytest.raises(CMBurdenError, match="'nicest' unknown; choose among most_recent_session"):
        burden.choose_scan([scan("a")], ["nicest"])


@pytest.mark.parametrize(
    ("suffixes", "best", "why"),
    [
        (["T2starw", "MEGRE"], "b_T2starw", "thinnest_slice, then suffix order"),
        (["MEGRE", "T2starw"], "a_MEGRE", "thinnest_slice, then suffix order"),
        (["swi"], "a_MEGRE", "thinnest_slice, then first scan_id"),
        ([], "a_MEGRE", "thinnest_slice, then first scan_id"),
    ],
)
def test_the_order_of_suffixes_decides_where_no_rule_does(suffixes, best, why):
    scans = [
        scan("a_MEGRE", suffix="MEGRE", slice_mm=2.0),
        scan("b_T2starw", suffix="T2starw", slice_mm=2.0),
        scan("c_swi", suffix="swi", slice_mm=3.0),
    ]
    chosen, because = burden.choose_scan(scans, ["thinnest_slice"], suffixes)
    assert (chosen["scan_id"], because) == (best, why)
