"""Prevalence ratios, crude ratios, levels, tests, Firth, equations and pooling as rows."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from summary.test_regressions import models, tables

from cmburden.summary import regressions
from cmburden.summary.regressions import pooling
from cmburden.summary.sampling import Sampling

pytestmark = pytest.mark.slow


def test_a_two_by_two_table_is_what_the_rows_say():
    """Crude ratios, n/N and adjusted prevalences of one covariate, counted by hand."""
    sex = np.repeat(["F", "M"], 200)
    counts = np.r_[np.repeat([1, 0], [40, 160]), np.repeat([2, 0], [60, 140])]
    rows = models(*tables(400, sex=sex, n_cmb=counts, contrast="SWI"), ["sex"])
    for kind, expected in (
        ("odds ratio presence", (60 / 140) / (40 / 160)),
        ("prevalence ratio presence", 60 / 40),
    ):
        for crude in ("", "crude "):
            row = rows.loc[f"{crude}{kind}: sex=M against F"]
            assert row["estimate"] == pytest.approx(expected, rel=1e-4), (crude, kind)
            assert row["ci_low"] < expected < row["ci_high"]
    # Zou 2004: variance of the log prevalence ratio of a table, 1/a - 1/n + 1/c - 1/m.
    row = rows.loc["prevalence ratio presence: sex=M against F"]
    error = np.sqrt(1 / 60 - 1 / 200 + 1 / 40 - 1 / 200)
    assert np.log(row["ci_high"] / row["ci_low"]) / 2 / 1.966 == pytest.approx(error, rel=0.01)
    for level, n in (("F", 40), ("M", 60)):
        for how, expected in (("positive", n), ("adjusted prevalence", n / 200)):
            row = rows.loc[f"{how} at level: sex={level}"]
            assert row["estimate"] == pytest.approx(expected, rel=1e-4)
            assert (row["n"], row["denominator"]) == (n, 200)
    assert rows.loc["crude rate ratio count: sex=M against F", "estimate"] == pytest.approx(
        3, rel=1e-3
    ) or rows.loc["crude rate ratio count: sex=M against F", "method"].startswith("not")


def test_adjusted_prevalences_take_confounding_away():
    people, scans = tables(3000, seed=2)
    rows = models(people, scans)
    assert rows.loc["test presence site all levels alike: p", "estimate"] > 0.001
    assert rows.loc["test presence age straight: p", "estimate"] > 0.001
    by_age = [
        rows.loc[f"adjusted prevalence at level: age={age}", "estimate"] for age in (60, 70, 80)
    ]
    assert by_age == sorted(by_age) and by_age[2] > 1.3 * by_age[0]
    assert 0 <= rows.loc["test count age alike in GRE and SWI: p", "estimate"] <= 1


def test_a_curve_of_age_is_seen():
    random = np.random.default_rng(2)
    age = random.uniform(45, 95, 1500)
    positive = random.random(1500) < 0.05 + 0.4 * (np.abs(age - 70) > 15)
    people, scans = tables(1500, age=age, n_cmb=positive * 2, contrast="SWI")
    rows = models(people, scans, ["age"])
    assert rows.loc["test presence age straight: p", "estimate"] < 1e-6
    levels = {
        a: rows.loc[f"adjusted prevalence at level: age={a}", "estimate"] for a in (50, 70, 90)
    }
    assert levels[70] < 0.5 * levels[50] and levels[70] < 0.5 * levels[90]


def test_separation_has_a_finite_estimate():
    """Audit B7: perfect separation was refused as 'the fit did not converge'."""
    age = np.linspace(50, 90, 40)
    people, scans = tables(40, age=age, n_cmb=(age > 75) * 2, contrast="SWI")
    row = models(people, scans, ["age"]).loc["odds ratio presence: age per decade"]
    assert 2 < row["ci_low"] < row["estimate"] and "Firth" in row["method"]


def test_clusters_and_weights_are_in_every_model():
    """Audit A9: pairs of copies tell as much as their half."""
    people, scans = tables(200, seed=5)
    copies = people.assign(participant_id=people["participant_id"] + "b")
    both = pd.concat([people, copies], ignore_index=True)
    family = pd.Series([*people["participant_id"], *people["participant_id"]])
    cluster = pd.Series(family.to_numpy(), index=both["participant_id"])
    weights = pd.Series(np.ones(400), index=both["participant_id"])
    wanted = ["age", "sex"]

    def width(sampling, frame):
        rows = pd.DataFrame(regressions.rows(frame, scans, wanted, sampling=sampling))
        rows = rows[rows["measure"].str.endswith("age per decade") & rows["ci_low"].notna()]
        return rows.set_index("measure")

    plain = width(Sampling(), people)
    clustered = width(Sampling(cluster, None, "family", ""), both)
    assert set(plain.index) == set(clustered.index) and len(plain) >= 8
    for measure, row in clustered.iterrows():
        ratio = np.log(row["ci_high"] / row["ci_low"]) / np.log(
            plain.loc[measure, "ci_high"] / plain.loc[measure, "ci_low"]
        )
        assert 0.65 < ratio < 1.5, measure
        assert "clustered by family" in row["method"]
    weighted = width(Sampling(None, weights, "", "weighted by w"), both)
    assert weighted["method"].str.contains("weighted by w").all()


def test_sites_as_groups_of_estimating_equations():
    site = np.random.default_rng(1).choice([f"s{n}" for n in range(20)], 600)
    people, scans = tables(600, site=site)
    rows = pd.DataFrame(regressions.rows(people, scans, ["age", "site"], site="gee"))
    rows = rows.set_index("measure")
    assert "estimating equations" in rows.loc["odds ratio presence: age per decade", "method"]
    assert not rows.index.str.contains("site=").any()
    assert abs(rows.loc["model presence: correlation within site", "estimate"]) < 0.2
    few = pd.DataFrame(regressions.rows(*tables(), ["age", "site"], site="gee")).set_index(
        "measure"
    )
    assert (
        "need 10 sites and there are 3" in few.loc["odds ratio presence: age per decade", "method"]
    )
    assert few.index.str.contains("site=").any()


def test_cohorts_alone_and_pooled():
    cohort = np.random.default_rng(1).choice(["A", "B", "C"], 1200)
    people, scans = tables(1200, seed=9, cohort=cohort)
    rows = pd.DataFrame(regressions.rows(people, scans, ["age", "sex", "cohort"]))
    measure = "odds ratio presence: age per decade"
    alone = rows[(rows["measure"] == measure) & rows["stratum"].str.startswith("cohort=")]
    assert list(alone["stratum"]) == ["cohort=A", "cohort=B", "cohort=C"]
    rows = rows[rows["stratum"] == "all"].set_index("measure")
    pooled = rows.loc["pooled mean odds ratio presence: age per decade"]
    assert alone["estimate"].min() <= pooled["estimate"] <= alone["estimate"].max()
    predicted = rows.loc["pooled prediction interval of odds ratio presence: age per decade"]
    assert predicted["ci_low"] < pooled["ci_low"]
    assert 0 <= rows.loc["pooled I2 of odds ratio presence: age per decade", "estimate"] <= 1
    assert (
        not pd.DataFrame(regressions.rows(*tables(), ["age"]))["measure"].str.contains("pool").any()
    )


def test_pooled_errors_are_those_of_the_fits_also_with_few_clusters(monkeypatch):
    """An interval by a t quantile over the normal quantile would give too large an error."""
    errors = []
    pool = pooling.pool
    monkeypatch.setattr(pooling, "pool", lambda e, s: errors.append(s) or pool(e, s))
    cohort = np.repeat(["A", "B"], 600)
    people, scans = tables(1200, seed=9, cohort=cohort)
    family = pd.Series([f"f{n % 8}" for n in range(1200)], index=people["participant_id"])
    sampling = Sampling(family, None, "by family", "")
    rows = pd.DataFrame(regressions.rows(people, scans, ["age", "sex"], sampling=sampling))
    alone = rows[
        (rows["measure"] == "odds ratio presence: age per decade")
        & rows["stratum"].str.startswith("cohort=")
    ]
    of_interval = np.log(alone["ci_high"] / alone["ci_low"]) / 2 / t.ppf(0.975, 8 - 1)
    assert errors[0] == pytest.approx(of_interval.to_numpy(float))
