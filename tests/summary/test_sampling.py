"""Clusters and weights of the participants, and what is said of a bad column."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from summary.test_regressions import tables

from cmburden.core import config
from cmburden.core.errors import CMBurdenError
from cmburden.core.tables import ALL, FOLLOWED_SESSIONS
from cmburden.summary import estimates
from cmburden.summary.cohort import Cohort
from cmburden.summary.measures import Presence
from cmburden.summary.sampling import sampling_of

PLAIN = {"cluster": None, "weights": None, "usable_weights": False}


def people(**columns):
    return tables(200, **columns)[0]


@pytest.mark.parametrize(
    ("settings", "columns", "words"),
    [
        (
            {"cluster": "household"},
            {},
            r"report\.cluster: no column 'household' .* has participant_id",
        ),
        ({"cluster": "family"}, {"family": None}, "report.cluster: nobody has a value of 'family'"),
        ({"weights": "w"}, {}, "report.weights: no column 'w'"),
        (
            {"weights": "w"},
            {"w": [-1.0, *[1.0] * 199]},
            r"1 participant\(s\) have a 'w' .*sub-0000: -1",
        ),
        ({"weights": "w"}, {"w": ["high"] * 200}, r"200 participant\(s\) have a 'w'"),
        ({"weights": "w"}, {"w": [np.inf] * 200}, r"200 participant\(s\) have a 'w'"),
        ({"weights": "w"}, {"w": 0.0}, "all weights in 'w' are 0 or missing"),
    ],
)
def test_a_column_that_cannot_be_used_is_one_sentence(settings, columns, words):
    with pytest.raises(CMBurdenError, match=words):
        sampling_of(people(**columns), PLAIN | settings)


def test_shares_and_means_of_twins_and_weights():
    table = people(n_cmb=np.repeat([1, 0], [60, 140]))
    table["pair"] = np.arange(200) // 2
    table["w"] = np.where(np.arange(200) < 100, 1.0, 3.0)
    plain = sampling_of(table, PLAIN)
    assert plain.simple and plain.facts(table) == []
    positive = table["n_cmb"] > 0
    measure = Presence("definite")
    row = plain.share(measure, positive, table)
    twins = sampling_of(table, PLAIN | {"cluster": "pair"})
    clustered = twins.share(measure, positive, table)
    assert clustered["estimate"] == row["estimate"] == 0.3 and "pair" in clustered["method"]
    # Twins of a pair are alike: the interval is that of half as many.
    ratio = (clustered["ci_high"] - clustered["ci_low"]) / (row["ci_high"] - row["ci_low"])
    assert ratio == pytest.approx(np.sqrt(2), rel=0.03)
    table.loc[0, "w"] = None
    weighted = sampling_of(table, PLAIN | {"weights": "w"})
    row = weighted.share(measure, positive, table)
    assert row["estimate"] == pytest.approx(59 / (99 + 300))
    assert (row["n"], row["denominator"]) == (59, 199)
    facts = {one["measure"]: one["estimate"] for one in weighted.facts(table)}
    assert facts["sample participants without a weight"] == 1
    assert facts["sample effective participants"] == pytest.approx(399**2 / 999)


def test_weights_of_a_usable_scan_take_selection_by_age_away():
    """Old people, who have more microbleeds, have fewer usable scans."""
    random = np.random.default_rng(3)
    number = 4000
    age = random.uniform(50, 90, number)
    positive = random.random(number) < (age - 40) / 60
    usable = random.random(number) < 1.15 - age / 100
    table = tables(number, age=age, n_cmb=positive * 1)[0]
    table["scan_id"] = table["scan_id"].where(usable)
    sampling = sampling_of(table, PLAIN | {"usable_weights": True})
    chosen = table[usable]
    share = sampling.share(Presence("definite"), chosen["n_cmb"] > 0, chosen)
    assert (
        abs(share["estimate"] - positive.mean()) < 0.02 < positive.mean() - positive[usable].mean()
    )
    assert "inverse probability of a usable scan (logistic on age, sex, site" in share["method"]
    table["scan_id"] = "here"
    words = sampling_of(table, PLAIN | {"usable_weights": True}).weight_words
    assert words.startswith("not weighted by inverse probability of a usable scan: 0 participants")


@pytest.mark.slow
def test_all_estimates_take_the_sample_from_the_configuration():
    """Audit A9: report.cluster and report.weights reach shares, means and models."""
    table, scans = tables(200, contrast="SWI")
    scans["contrast"] = "SWI"
    table["pair"], table["w"] = np.arange(200) // 2, 1.0 + np.arange(200) % 2
    named = {"scans": scans, "participants": table}
    others = {"followed": FOLLOWED_SESSIONS, **ALL}
    cohort = Cohort(
        **{
            field.name: named[field.name]
            if field.name in named
            else others[field.name].frame([])
            if field.name in others
            else None
            for field in dataclasses.fields(Cohort)
        }
    )
    settings = {
        "report": {"cluster": "pair", "weights": "w", "covariates": ["age"], "strata": ["contrast"]}
    }
    rows = pd.DataFrame(estimates.estimates(cohort, config.load(settings)))
    rows = rows[rows["stratum"].isin(["all", "contrast=SWI"])]
    rows = rows[rows["estimate"].notna()].set_index(["stratum", "measure"])["method"]
    for measure in ("presence definite", "pattern=mixed", "bin=1", "presence group=lobar"):
        assert "clusters: pair (Rao-Scott); weighted by w" in rows["contrast=SWI", measure]
    assert "weighted by w" in rows["contrast=SWI", "mean count"]
    for measure in ("odds ratio presence", "prevalence ratio presence", "rate ratio count"):
        how = rows["all", f"{measure}: age per decade"]
        assert "sandwich errors clustered by pair, t quantiles; weighted by w" in how
    assert rows["all", "sample clusters"] == "counted"
