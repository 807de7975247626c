"""What the terms of a model are called is what they are (audit A3, B4, B5, B6, C)."""

import numpy as np
import pandas as pd
import pytest
from summary.test_regressions import models, tables

from cmburden.stats import regression
from cmburden.summary import covariates, regressions


def designed(people, scans, wanted, **options):
    table = regressions.table_of(people, scans)
    return table, covariates.design(
        table, (table["n_cmb"] > 0).to_numpy(dtype=int), wanted, **options
    )


def nested(number=5000):
    """Cohorts north (sites 1, 2) and south (sites 3, 4), as the audit's cohort."""
    random = np.random.default_rng(7)
    site = random.choice(["site-1", "site-2", "site-3", "site-4"], number, p=[0.3, 0.2, 0.35, 0.15])
    cohort = np.where(np.isin(site, ["site-1", "site-2"]), "north", "south")
    return tables(number, seed=6, site=site, cohort=cohort)


def test_nested_site_is_compared_with_the_reference_that_its_name_says():
    """Audit A3: site=site-1 against site-3 was site-1 against site-2."""
    people, scans = nested()
    table, design = designed(people, scans, ["age", "sex", "cohort", "site"])
    fit = regression.logistic(table["n_cmb"] > 0, design.matrix)
    names = [term for term in design.terms if term.startswith("site=")]
    assert names == [f"site=site-{n} against site-3" for n in (1, 2, 4)]
    why = dict(design.left_out)["cohort"]
    assert why == "each level of site lies in one of cohort: see site"
    # A refit with site alone in its own coding, the reference being site-3.
    for name in names:
        level = name.removeprefix("site=").partition(" ")[0]
        others = [one for one in ("site-1", "site-2", "site-4") if one != level]
        columns = [(table["site"] == one).to_numpy(dtype=float) for one in (level, *others)]
        plain = [design.matrix[:, [0, *(1 + design.terms.index(t) for t in _not_site(design))]]]
        refit = regression.logistic(table["n_cmb"] > 0, np.column_stack([*plain, *columns]))
        place = len(_not_site(design))
        assert fit.log_ratio[design.terms.index(name)] == pytest.approx(
            refit.log_ratio[place], abs=1e-5
        )
        assert fit.error[design.terms.index(name)] == pytest.approx(refit.error[place], rel=1e-4)


def _not_site(design):
    return [term for term in design.terms if not term.startswith("site=")]


def test_sites_of_one_contrast_each_are_compared_within_it():
    """Audit A3: contrast stays, so that its term says which sites it compares."""
    site = np.random.default_rng(0).choice(["a", "b", "c", "d"], 600, p=[0.3, 0.2, 0.3, 0.2])
    contrast = np.where(np.isin(site, ["a", "b"]), "GRE", "SWI")
    people, scans = tables(600, site=site, contrast=contrast)
    table, design = designed(people, scans, ["site"])
    assert design.terms == (
        "contrast=SWI (site c) against GRE (site a)",
        "site=b against a",
        "site=d against c",
    )
    positive = (table["n_cmb"] > 0).to_numpy(dtype=bool)
    odds = {s: positive[site == s].sum() / (~positive[site == s]).sum() for s in "abcd"}
    fit = regression.logistic(positive, design.matrix)
    expected = [odds["c"] / odds["a"], odds["b"] / odds["a"], odds["d"] / odds["c"]]
    assert np.exp(fit.log_ratio) == pytest.approx(expected, rel=1e-4)


def test_a_cohort_that_is_the_contrast_is_named_so():
    """Audit B4: where cohort and contrast coincide the term of contrast is that of cohort too."""
    contrast = np.repeat(["GRE", "SWI"], 200)
    cohort = np.where(contrast == "GRE", "old", "new")
    _, design = designed(*tables(400, contrast=contrast, cohort=cohort), ["cohort"])
    assert design.terms == ("contrast=SWI (cohort new) against GRE (cohort old)",)
    assert dict(design.left_out)["cohort"].startswith("collinear")


def test_nearly_collinear_terms_are_refused():
    """Audit B4: cohort 2.04 (0.003-1329) beside slices that all but tell it."""
    random = np.random.default_rng(4)
    cohort = random.choice(["north", "south"], 400)
    people, scans = tables(400, seed=4, cohort=cohort, contrast="SWI")
    scans["slice_mm"] = np.where(cohort == "north", 2.0, 4.0) + random.normal(0, 0.05, 400)
    rows = models(people, scans, ["age", "cohort", "slice_mm"])
    method = rows.loc["odds ratio presence: slice_mm per mm", "method"]
    assert "nearly collinear with" in method and "variance inflation" in method
    ratio = rows.loc[[name for name in rows.index if name.startswith("odds ratio presence: coh")]]
    assert ratio["estimate"].notna().all() and (ratio["ci_high"] / ratio["ci_low"] < 10).all()


def test_an_interval_that_says_nothing_is_refused():
    """Audit B4: intervals wider than a hundredfold, in any model of counts."""
    counts = np.zeros(60, int)
    counts[:6] = [1, 300, 1, 1, 200, 1]
    people, scans = tables(60, n_cmb=counts, contrast="SWI", sex=["F", "M"] * 30)
    rows = models(people, scans, ["sex"])
    for row in rows[rows["ci_low"].notna()].itertuples():
        assert "ratio" not in row.Index or row.ci_high / row.ci_low < 1000, row.Index


def test_rare_levels_are_never_put_into_the_reference():
    """Audit B5: ten people of sex X were F."""
    sex = np.array(["X"] * 10 + ["F"] * 195 + ["M"] * 195)
    counts = tables()[0]["n_cmb"].to_numpy(dtype=int, copy=True)
    counts[:10] = 0
    people, scans = tables(sex=sex, n_cmb=counts)
    _table, design = designed(people, scans, ["sex"])
    assert design.used.sum() == 390 and not design.used[:10].any()
    why = dict(design.left_out)["sex=X"]
    assert "the 10 participant(s) with it are not in the model" in why
    block = design.block("sex")
    assert block.levels == ("F", "M") and set(block.values) == {"F", "M"}
    # Several rare levels that have events enough together have a column of their own.
    site = np.array(["a"] * 180 + ["b"] * 180 + ["t1", "t2", "t3", "t4"] * 10)
    _, design = designed(*tables(site=site), ["site"])
    assert design.terms[-2:] == ("site=b against a", "site=other levels against a")
    assert design.used.all()


def test_a_covariate_of_levels_comes_in_whole_or_not_at_all():
    """A part of the levels would put the others into the reference."""
    counts = np.zeros(400, int)
    counts[::20] = 2  # 20 people: four terms
    site = np.random.default_rng(0).choice(list("abcd"), 400)
    site[::20] = np.repeat(list("abcd"), 5)
    people, scans = tables(n_cmb=counts, site=site, contrast="SWI")
    _, design = designed(people, scans, ["age", "sex", "site"])
    assert not [term for term in design.terms if term.startswith("site")]
    assert "enough for" in dict(design.left_out)["site"]


def test_numbers_that_are_codes_are_levels_where_one_says_so():
    """Audit B6: scanner 1 to 4 entered per unit."""
    people, scans = tables()
    people["scanner"] = np.random.default_rng(0).choice([1, 2, 3], 400)
    _, design = designed(people, scans, ["scanner"], nominal=("scanner",))
    assert {"scanner=1", "scanner=2", "scanner=3"} >= {
        t.partition(" ")[0] for t in design.terms[1:]
    }
    assert len(design.terms) == 3
    people["scanner"] = people["scanner"].astype("category")
    assert len(designed(people, scans, ["scanner"])[1].terms) == 3
    people["scanner"] = people["scanner"].astype("int")
    assert "scanner per unit" in designed(people, scans, ["scanner"])[1].terms


def test_the_sentence_counts_everybody_who_could_be_in_the_model():
    """Audit C: '4 of 8 participants' where 8 of 16 have a microbleed, 4 of each contrast."""
    counts, contrast = np.tile([0, 1], 8), np.repeat(["GRE", "SWI"], 8)
    rows = models(*tables(16, n_cmb=counts, contrast=contrast), ["age"])
    method = rows.loc["odds ratio presence: age", "method"]
    assert method.startswith("not estimated: 8 of 16 participants have a definite microbleed")
    assert method.endswith("has 4 of 8 with GRE, 4 of 8 with SWI")
    age = np.where(np.arange(16) < 9, 60.0 + np.arange(16), np.nan)
    people, scans = tables(16, n_cmb=counts, contrast="GRE", age=age)
    method = models(people, scans, ["age"]).loc["odds ratio presence: age", "method"]
    assert "4 of 9 participants with a value of every covariate (7 more have none of one)" in method


def test_a_fit_that_did_not_converge_says_so():
    """Audit C: the notice 'Not converged' could never appear."""
    from cmburden.summary.measures import Ratio
    from cmburden.summary.regressions.model import Regression

    _, design = designed(*tables(), ["age"])
    model = Regression(
        lambda t: Ratio("rate ratio count", t), "count", "a method", design, 9, ("age",)
    )
    fit = regression.Fit(problem="the fit did not converge", converged=False)
    rows = pd.DataFrame(list(model.about(fit, 400))).set_index("measure")
    assert rows.loc["model count: converged", "estimate"] == 0
    assert not rows.loc["model count: converged", "method"].startswith("not estimated")
