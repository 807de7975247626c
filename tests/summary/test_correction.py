"""Prevalence corrected for detector error: published examples, coverage, and when it is refused."""

import numpy as np
import pandas as pd
import pytest

from cmburden.core.tables import PARTICIPANTS
from cmburden.stats import intervals
from cmburden.stats.agreement import rogan_gladen
from cmburden.studies import correction as correction_study
from cmburden.summary import correction
from cmburden.summary.correction import DetectorError

COUNTS = {"positive_scans": 30, "positive_found": 27, "negative_scans": 30, "negative_clean": 25}
CONTRACT = {
    "id": "a-verifier",
    "thresholds": {"definite": 0.6, "possible": 0.3},
    "metrics": {"presence": {"GRE": COUNTS, "SWI": COUNTS}, "presence_possible": {"GRE": COUNTS}},
}


def people(gre=(20, 80), swi=(30, 70)):
    """Participants with and without a definite microbleed, GRE and SWI."""
    rows = [
        {
            "participant_id": f"sub-{contrast}{n}",
            "scan_id": f"{contrast}{n}",
            "n_scans": 1,
            "contrast": contrast,
            "n_cmb": int(n < with_),
            "n_possible": 1,
        }
        for contrast, (with_, without) in {"GRE": gre, "SWI": swi}.items()
        for n in range(with_ + without)
    ]
    return PARTICIPANTS.frame(rows)


def estimates(*args, **kwargs):
    rows = pd.DataFrame(list(correction.rows(*args, **kwargs)))
    assert not rows.duplicated(["stratum", "measure"]).any()
    return rows.set_index(["stratum", "measure"])


def test_rogan_gladen_of_published_examples():
    # Brucellosis in 150 cows, 23 positive, Se 96 %, Sp 89 %: R's epiR gives 5.1 % (0-13).
    assert round(100 * rogan_gladen(23 / 150, 0.96, 0.89), 1) == 5.1
    # Helicobacter at 1-4 years, 6 of 151, Se 96.4 %, Sp 92.7 % (Moujaber 2008, in epiR): 0 %.
    assert rogan_gladen(6 / 151, 0.964, 0.927) == 0


def test_intervals_are_the_apparent_ones_where_the_detector_is_perfect_and_well_known():
    perfect = DetectorError(10**7, 10**7, 10**7, 10**7, "an oracle")
    estimate, low, high = correction.corrected(218, 1962, perfect)
    expected = intervals.wilson(218, 1962)
    assert estimate == pytest.approx(0.1111, abs=1e-4)
    assert (low, high) == pytest.approx(expected, abs=1.5e-3)
    assert correction.lang_reiczigel(218, 1962, perfect) == pytest.approx(expected, abs=2e-3)


def test_a_smaller_validation_gives_a_wider_interval():
    def width(scans):
        error = DetectorError(int(0.9 * scans), scans, int(0.8 * scans), scans, "")
        _, low, high = correction.corrected(300, 1000, error)
        return high - low

    assert width(20) > width(100) > width(1000)
    # 30 of 30 is not certainty: the binomial bootstrap takes it for that.
    full = DetectorError(30, 30, 30, 30, "")
    _, low, _ = correction.corrected(300, 1000, full)
    assert low < correction.binomial_bootstrap(300, 1000, full)[0] - 0.02


def test_an_error_that_says_nothing_gives_no_interval_and_a_near_one_all_of_it():
    estimate, low, high = correction.corrected(50, 100, DetectorError(10, 20, 8, 20, ""))
    assert np.isnan([estimate, low, high]).all()
    _, low, high = correction.corrected(50, 100, DetectorError(11, 20, 10, 20, ""))
    assert (low, high) == (0, 1)


def test_rows_by_contrast_with_their_source():
    found = estimates(people(), CONTRACT)
    apparent = found.loc[("contrast=GRE", "prevalence apparent")]
    assert (apparent["n"], apparent["denominator"], apparent["estimate"]) == (20, 100, 0.2)
    row = found.loc[("contrast=GRE", "prevalence corrected")]
    assert row["estimate"] == pytest.approx((0.2 + 25 / 30 - 1) / (0.9 + 25 / 30 - 1))
    assert row["ci_low"] == 0 and 0.2 < row["ci_high"] < 0.4
    assert "27/30" in row["method"] and "contract of a-verifier" in row["method"]
    either = found.loc[("contrast=GRE", "prevalence apparent definite or possible")]
    assert either["estimate"] == 1
    missing = found.loc[("contrast=SWI", "prevalence corrected definite or possible")]
    assert pd.isna(missing["estimate"])
    assert missing["method"].startswith("not estimated: neither the verifier's contract")
    at = [m for s, m in found.index if s == "contrast=SWI" and " at sensitivity" in m]
    assert "prevalence corrected at sensitivity 0.90 specificity 0.83" in at and len(at) == 18
    assert estimates(people(), CONTRACT).equals(found)


def test_reviews_take_the_contracts_place_and_say_so():
    seen = {"presence": {"SWI": COUNTS | {"positive_found": 30}}}
    found = estimates(people(), CONTRACT, None, seen)
    row = found.loc[("contrast=SWI", "prevalence corrected")]
    assert "30/30" in row["method"] and "readers' review of this cohort" in row["method"]
    assert "27/30" in found.loc[("contrast=GRE", "prevalence corrected"), "method"]


@pytest.mark.parametrize(
    "contract",
    [
        None,
        {},
        {"metrics": {"presence": {"GRE": {"positive_scans": 3}}}},
        {"metrics": {"presence": {"GRE": COUNTS | {"positive_found": 31}}}},
        {"metrics": {"presence": {"GRE": COUNTS | {"negative_scans": 0, "negative_clean": 0}}}},
        {"metrics": {"presence": {"GRE": COUNTS | {"positive_found": 2.5}}}},
        {"metrics": {"presence": "high"}},
    ],
)
def test_contracts_that_do_not_say_it(contract):
    row = estimates(people(), contract).loc[("contrast=GRE", "prevalence corrected")]
    assert row["method"].startswith("not estimated: neither the verifier's contract (metrics.pres")
    assumed = ("contrast=GRE", "prevalence corrected at sensitivity 0.90 specificity 0.90")
    assert estimates(people(), contract).loc[assumed, "estimate"] == pytest.approx(0.125)


def test_another_threshold_makes_the_contracts_error_another_ones():
    found = estimates(people(), CONTRACT, {"definite": 0.8})
    method = found.loc[("contrast=GRE", "prevalence corrected"), "method"]
    assert method.startswith("not estimated: the contract's presence was measured at threshold 0.6")
    either = found.loc[("contrast=GRE", "prevalence corrected definite or possible"), "method"]
    assert either.startswith("Rogan-Gladen")
    same = estimates(people(), CONTRACT, {"definite": 0.6})
    assert same.loc[("contrast=GRE", "prevalence corrected"), "method"].startswith("Rogan-Gladen")


@pytest.mark.parametrize("gre", [(0, 3), (3, 0), (1, 0)])
def test_small_cohorts(gre):
    row = estimates(people(gre, (0, 0)), CONTRACT).loc[("contrast=GRE", "prevalence corrected")]
    assert 0 <= row["ci_low"] <= row["estimate"] <= row["ci_high"] <= 1
    assert list(correction.rows(people((0, 0), (0, 0)), CONTRACT)) == []


def test_the_corrected_interval_covers_and_the_apparent_one_does_not():
    # The full study (200 repetitions) is a command: docs/statistics.md.
    for row in correction_study.coverage(60, 2000, 100, seed=5):
        assert 0.85 <= row.covers["Jeffreys draws"] <= 1, row
        assert row.apparent_covers < 0.05, row
        assert abs(row.corrected - row.true) < 0.02 < row.apparent - row.true, row
