"""Mean, quartiles and maximum of the counts, against what a sample's values say."""

import numpy as np
import pandas as pd
import pytest

from cmburden.stats.intervals import mean_count
from cmburden.studies.averages import coverage
from cmburden.summary import averages
from cmburden.summary.sampling import Sampling


def people_of(counts):
    names = [f"sub-{k}" for k in range(len(counts))]
    return pd.DataFrame({"participant_id": names, "n_cmb": pd.array(counts, dtype="Int64")})


def rows(*counts):
    people = people_of(counts)
    return {row["measure"]: row for row in averages.rows(people)}


@pytest.mark.parametrize("n", [30, 100, 500])
def test_the_interval_of_a_mean_covers_at_small_samples(n):
    """Audit B7: percentile bootstrap covers 86.7 % at 30, 92.2 % at 100, counts of alpha 5."""
    assert 0.92 <= coverage(n, mean=1.0, alpha=5.0, repetitions=1000) <= 0.985


def test_a_median_of_0_has_quartiles_maximum_and_mean_of_the_positive_beside_it():
    """Audit B7: `0.0 (0.0-0.0)` says nothing."""
    found = rows(0, 0, 0, 0, 0, 1, 3, 8)
    assert found["median count"]["estimate"] == 0 and found["median count"]["ci_low"] is None
    assert found["lower quartile count"]["estimate"] == 0
    assert found["upper quartile count"]["estimate"] == 1.5
    assert found["maximum count"]["estimate"] == 8
    positive = found["mean count of those with a microbleed"]
    assert (positive["estimate"], positive["n"]) == (4, 3)
    assert positive["ci_low"] < 4 < positive["ci_high"]


@pytest.mark.parametrize("counts", [(0,) * 10, (1,) * 10, (5,), (0, 1), (2, 2)])
def test_no_interval_of_width_zero(counts):
    mean = rows(*counts)["mean count"]
    if any(counts):
        assert mean["ci_low"] < mean["estimate"] < mean["ci_high"]
    else:
        assert mean["estimate"] == 0 and mean["ci_low"] is None and "no interval" in mean["method"]


def test_nobody_has_no_average():
    for row in rows().values():
        assert row["estimate"] is None and row["n"] == 0
        assert row["method"].startswith("not estimated: ")


def test_people_of_a_cluster_who_are_alike_count_once():
    counts = np.array([0, 3, 1, 0, 7, 2, 0, 0, 4, 1])
    twice, family = np.repeat(counts, 2), np.repeat(np.arange(10), 2)
    assert mean_count(twice, family) == pytest.approx(mean_count(counts))
    assert mean_count(twice)[0] > mean_count(counts)[0]


def test_a_weight_of_2_is_two_people_and_a_person_without_a_weight_is_out():
    counts = [0, 0, 0, 3, 1, 5]
    people, twice = people_of(counts), people_of([0, 0, 0, 0, 3, 3, 1, 5])
    names = people["participant_id"]
    weights = pd.Series([2.0, 1.0, 1.0, 2.0, 1.0], index=names[:5])
    made = {row["measure"]: row for row in averages.rows(people, Sampling(weights=weights))}
    assert made["mean count"]["estimate"] == pytest.approx(np.mean([0, 0, 0, 0, 3, 3, 1]))
    assert made["mean count"]["n"] == 5 and made["maximum count"]["estimate"] == 3
    equal = Sampling(weights=pd.Series(7.0, index=twice["participant_id"]), weight_words="seven")
    alike = {row["measure"]: row for row in averages.rows(twice, equal)}
    plain = rows(0, 0, 0, 0, 3, 3, 1, 5)
    for end in ("estimate", "ci_low", "ci_high"):
        assert alike["mean count"][end] == pytest.approx(plain["mean count"][end])
    assert alike["mean count"]["method"].endswith("; seven")
