"""Rows of the regressions: a population is found again, and no cohort is too small or too odd."""

import numpy as np
import pandas as pd
import pytest

from cmburden.core.tables import PARTICIPANTS, SCANS
from cmburden.studies import slopes as slope_study
from cmburden.studies.population import DetectorModel, Population
from cmburden.summary import covariates, regressions
from cmburden.summary.detector_figures import Figures
from cmburden.summary.guards import Check, Checked

pytestmark = pytest.mark.slow

#: A detector that finds everything and adds nothing, in 100,000 scans.
PERFECT = {
    ("definite", contrast): Checked(
        Figures(10**5, 50_000, 50_000, 50_000, 50_000, 10**6, 10**6, (10**5,), "an oracle")
    )
    for contrast in ("GRE", "SWI")
}
COVARIATES = ["age", "sex", "contrast", "cohort", "site", "slice_mm", "field_strength_t"]


def tables(number=400, seed=0, **columns):
    """Participants and scans; ``columns`` replace those of participants."""
    random = np.random.default_rng(seed)
    population = Population(rate_gre=0.8)
    age, male = population.draw_people(random, number)
    swi = random.random(number) < 0.5
    counts = population.counts(random, population.rate(age, male, swi))
    group = random.choice([1, 2, 3], size=number, p=[0.5, 0.25, 0.25])
    patterns = np.array(["none", "strictly lobar", "strictly deep/infratentorial", "mixed"])
    people = {
        "participant_id": [f"sub-{n:04d}" for n in range(number)],
        "scan_id": [f"sub-{n:04d}_swi" for n in range(number)],
        "cohort": "one",
        "n_scans": 1,
        "age": age,
        "sex": np.where(male, "M", "F"),
        "site": random.choice(["a", "b", "c"], size=number),
        "contrast": np.where(swi, "SWI", "GRE"),
        "n_cmb": counts,
        "n_possible": 0,
        "pattern": patterns[np.where(counts > 0, group, 0)],
    }
    people = pd.DataFrame(people | columns)
    people["pattern"] = people["pattern"].where(people["n_cmb"] > 0, "none")
    scans = people[["scan_id", "cohort", "participant_id"]].assign(
        status="ok", slice_mm=np.where(swi, 2.0, 4.0), field_strength_t=3.0
    )
    return PARTICIPANTS.frame(people), SCANS.frame(scans)


def models(people, scans, wanted=COVARIATES, errors="not known here"):
    rows = pd.DataFrame(list(regressions.rows(people, scans, wanted, errors)))
    # Those of single cohorts have the names of those of everybody.
    rows = rows[rows["stratum"] == "all"]
    assert not rows.duplicated("measure").any(), rows[rows.duplicated("measure")]
    null = rows["estimate"].isna()
    assert rows.loc[null, "method"].str.startswith("not estimated: ").all()
    assert not rows.loc[~null, "method"].str.startswith("not estimated").any()
    return rows.set_index("measure")


def test_poisson_counts_have_no_alpha_and_poisson_is_chosen():
    random = np.random.default_rng(5)
    people, scans = tables(n_cmb=random.poisson(1.0, size=400))
    found = models(people, scans)
    assert found.loc["model count poisson: chosen", "estimate"] == 1
    alpha = found.loc["model count: alpha"]
    assert pd.isna(alpha["estimate"]) or alpha["estimate"] < 0.1


def test_observations_are_of_all_usable_participants_in_each_model():
    """A pattern of too few participants is out of its model, not out of the denominator."""
    people, scans = tables(300, seed=3)
    people["pattern"] = people["pattern"].astype(object)
    rare = people.index[people["n_cmb"] > 0][:2]
    people["pattern"] = people["pattern"].replace("mixed", "strictly lobar")
    people.loc[rare, "pattern"] = "mixed"
    found = models(people, scans)
    for model, used in (("presence", 300), ("count", 300), ("pattern", 298)):
        row = found.loc[f"model {model}: observations"]
        assert (row["n"], row["denominator"]) == (used, 300), model


def test_the_population_is_found_again():
    people, scans = tables(3000, seed=2)
    found = models(people, scans, errors=PERFECT)
    for term, truth in (
        ("age per decade", 2.0),
        ("sex=M against F", 1.25),
        ("contrast=SWI against GRE", 1.5),
    ):
        row = found.loc[f"rate ratio count: {term}"]
        error = np.log(row["ci_high"] / row["ci_low"]) / (2 * 1.96)
        assert abs(np.log(row["estimate"] / truth)) < 3 * error < 0.5, term
        assert (row["n"], row["denominator"]) == ((people["n_cmb"] > 0).sum(), 3000)
    assert found.loc["model count: chosen", "estimate"] == 1
    alpha = found.loc["model count: alpha"]
    assert alpha["ci_low"] < 5 < alpha["ci_high"]
    assert found.loc["model count: likelihood ratio of alpha p", "estimate"] < 1e-6
    plain, corrected = (
        found.loc[f"rate ratio count{kind}: age per decade", "estimate"]
        for kind in ("", " corrected")
    )
    assert corrected == pytest.approx(plain, rel=0.02)
    # Constant, collinear and nested covariates each have their sentence.
    assert "same value" in found.loc["odds ratio presence: field_strength_t", "method"]
    slices = found.loc["odds ratio presence: slice_mm per mm", "method"]
    assert slices == "not estimated: collinear: contrast=SWI against GRE already tell(s) it"
    assert (
        "terms: contrast=SWI against GRE, age per decade, sex=M against F, site="
        in (found.loc["odds ratio presence: age per decade", "method"])
    )
    assert models(people, scans).equals(models(people, scans))


def test_corrected_ratios_are_refused_where_the_counts_refute_the_contract():
    """Audit A1 (iii): 7.79 was printed where the mean count was below the false positives."""
    people, scans = tables()
    refuted = Checked(PERFECT["definite", "GRE"].figures, (Check("mean", "refused", "too low"),))
    found = models(people, scans, errors=PERFECT | {("definite", "GRE"): refuted})
    row = found.loc["rate ratio count corrected: age per decade"]
    assert pd.isna(row["estimate"]) and row["method"] == "not estimated: GRE: too low"
    warned = Checked(PERFECT["definite", "GRE"].figures, (Check("mean", "warning", "hardly"),))
    found = models(people, scans, errors=PERFECT | {("definite", "GRE"): warned})
    assert found.loc["rate ratio count corrected: age per decade", "estimate"] > 1
    method = found.loc["rate ratio count corrected: age per decade", "method"]
    assert method.endswith("GRE warning: hardly")
    assert models(people, scans).loc["rate ratio count corrected: age per decade", "method"] == (
        "not estimated: not known here"
    )


def test_contrast_is_a_term_even_where_nobody_asks_for_it():
    people, scans = tables()
    found = models(people, scans, ["age"])
    assert found.loc["odds ratio presence: contrast=SWI against GRE", "estimate"] > 0
    assert found.loc["rate ratio count: contrast=SWI against GRE", "estimate"] > 0


def test_a_contrast_with_too_few_events_is_not_pooled():
    contrast = np.array(["GRE"] * 390 + ["SWI"] * 10)
    counts = np.where(contrast == "SWI", 0, tables()[0]["n_cmb"])
    people, scans = tables(contrast=contrast, n_cmb=counts)
    found = models(people, scans)
    assert found.loc["odds ratio presence: contrast", "method"].endswith(
        "the model is of GRE alone"
    )
    assert found.loc["model presence: observations", "estimate"] == 390


def test_few_events_allow_few_terms():
    counts = np.zeros(400, int)
    counts[::27] = 2  # 15 people
    contrast = np.where(np.arange(400) // 27 % 2, "SWI", "GRE")
    found = models(*tables(n_cmb=counts, contrast=contrast))
    ratios = found[found.index.str.startswith("odds ratio presence: ")]
    assert ratios["estimate"].notna().sum() == 3
    assert ratios["method"].str.contains(r"15 participants, enough for 3 term\(s\)").any()


def test_people_of_rare_levels_are_out_of_the_model():
    site = np.array(["a"] * 200 + ["b"] * 192 + ["tiny1"] * 4 + ["tiny2"] * 4)
    found = models(*tables(site=site))
    rare = found.loc["odds ratio presence: site=tiny1, tiny2", "method"]
    assert rare.endswith("the 8 participant(s) with it are not in the model")


def test_separation_is_said_not_raised():
    people, scans = tables(sex=["F"] * 400)
    people["marker"] = (people["n_cmb"] > 0).astype("Float64") * 10 + people["age"] / 1000
    rows = models(people, scans, ["marker"])
    row = rows.loc["odds ratio presence: marker per unit"]
    assert row["ci_low"] > 1 and "Firth" in row["method"]
    method = rows.loc["prevalence ratio presence: marker per unit", "method"]
    assert rows.loc["prevalence ratio presence: marker per unit", "estimate"] > 1 or (
        "separation" in method or "broke off" in method or "converge" in method
    )


@pytest.mark.parametrize("number", [0, 1, 3, 9])
def test_tiny_cohorts_say_what_cannot_be_estimated(number):
    found = models(*tables(number))
    assert found["estimate"].notna().sum() == found.index.str.contains("observations").sum()
    method = found.loc["odds ratio presence: age", "method"]
    assert f"of {number} participants have a definite microbleed" in method


@pytest.mark.parametrize(
    "columns",
    [
        {"sex": "F"},
        {"n_cmb": 0},
        {"n_cmb": 3},
        {"age": None},
        {"age": None, "sex": None, "site": None, "contrast": "GRE"},
        {"contrast": "SWI"},
        {"site": [f"site-{n}" for n in range(400)]},
        {"pattern": "strictly lobar"},
    ],
)
def test_odd_cohorts(columns):
    found = models(*tables(**columns))
    if "n_cmb" not in columns:
        assert found.loc["model presence: converged", "estimate"] == 1
        assert found.loc["model count: converged", "estimate"] == 1
    elif columns["n_cmb"] == 3:
        method = found.loc["odds ratio presence: age", "method"]
        assert method.startswith("not estimated: 400 of 400 participants have")
    else:
        assert found.loc["rate ratio count: age", "method"].startswith("not estimated: 0 of 400")
    if columns.get("age", 1) is None:
        assert found.loc["odds ratio presence: age", "method"].endswith("nobody has a value of it")


def test_an_unknown_covariate_is_one_sentence():
    found = models(*tables(), ["age", "shoe_size"])
    assert "neither participants nor scans" in found.loc["odds ratio presence: shoe_size", "method"]
    assert found.loc["odds ratio presence: age per decade", "estimate"] > 1


def test_participants_without_a_covariate_are_left_out_of_the_model_and_counted():
    people, scans = tables()
    people.loc[people.index[:40], "age"] = pd.NA
    row = models(people, scans).loc["model presence: observations"]
    assert (row["estimate"], row["denominator"]) == (360, 400)


def test_design_has_full_rank_whatever_is_asked_for():
    people, scans = tables()
    people["age_again"] = people["age"] * 2 + 1
    table = regressions.table_of(people, scans)
    outcome = (table["n_cmb"] > 0).to_numpy(dtype=int)
    made = covariates.design(table, outcome, [*COVARIATES, "age_again", "scan_id"])
    assert np.linalg.matrix_rank(made.matrix) == made.matrix.shape[1] == len(made.terms) + 1
    assert ("age_again per unit", "collinear: age per decade already tell(s) it") in made.left_out


def test_automated_counts_flatten_the_age_slope():
    # The study itself (20 cohorts of 5,000) is a command: docs/statistics.md.
    wrong = DetectorModel(false_positives=(0.5, 0.5))
    found = {(s.model, s.counts): s for s in slope_study.slopes(4, 1500, 2, detector=wrong)}
    true = found["rate ratio, Poisson", "true counts"].ratio
    said = found["rate ratio, Poisson", "automated counts"].ratio
    off = found["rate ratio, latent counts", "automated counts"].ratio
    assert 1.7 < true < 2.4 and said < 0.85 * true and abs(off - true) < abs(said - true)
