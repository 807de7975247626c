"""Corrections for the detector's error: rows of `summary`, and when they are refused."""

import numpy as np
import pandas as pd
import pytest

from cmburden.core.tables import PARTICIPANTS, PATTERNS, SCANS
from cmburden.stats.agreement import rogan_gladen
from cmburden.studies.population import (
    DetectorModel,
    Population,
    called_patterns,
    validate,
)
from cmburden.summary import corrected_patterns, correction, detector_figures, guards
from cmburden.summary.detector_figures import figures_of

#: 200 scans, 160 of them without a microbleed and 140 of these clean; 0.15 false positives a scan.
COUNTS = {
    "scans": 200,
    "negative_scans": 160,
    "negative_clean": 140,
    "positive_scans": 40,
    "positive_found": 36,
    "microbleeds": 100,
    "found": 75,
    "false_positives_of_scans": [174, 22, 4],
    "patterns": {
        "none": {"none": 140, "strictly lobar": 16, "strictly deep/infratentorial": 3, "mixed": 1},
        "strictly lobar": {"none": 1, "strictly lobar": 17, "mixed": 2},
        "strictly deep/infratentorial": {"none": 2, "strictly deep/infratentorial": 10},
        "mixed": {"none": 1, "strictly lobar": 2, "mixed": 9},
    },
}
ALIKE = {"none": 6, "strictly lobar": 6}
DOMAIN = {"field_strength_t": [1.5, 3.0], "slice_mm": [1.0, 5.0]}


def contract(**more):
    figures = COUNTS | {"possible": COUNTS | {"negative_clean": 100}} | more
    return {
        "id": "a-verifier",
        "thresholds": {"definite": 0.6, "possible": 0.3},
        "domain": DOMAIN,
        "metrics": {"population": {"GRE": figures, "SWI": figures, "about": "simulated"}},
    }


def tables(number=1200, seed=1, counts=None, contrast="GRE", population=None, **scan):
    """Participants of a population as a detector calls them, and their scans."""
    random = np.random.default_rng(seed)
    population = population or Population()
    age, male = population.draw_people(random, number)
    true = population.counts(random, population.rate(age, male, False))
    lobar = population.lobar(random, true)
    found = DetectorModel().search(random, true, np.zeros(number, bool), age)
    pattern = called_patterns(random, DetectorModel(), true, lobar, found)
    called = found.definite if counts is None else np.asarray(counts)
    people = {
        "participant_id": [f"sub-{n:04d}" for n in range(number)],
        "scan_id": [f"sub-{n:04d}_gre" for n in range(number)],
        "cohort": "one",
        "n_scans": 1,
        "age": age,
        "age_band": pd.cut(age, [0, 50, 60, 70, 80, 200], right=False)
        .rename_categories(["<50", "50-59", "60-69", "70-79", ">=80"])
        .astype(str),
        "sex": np.where(male, "M", "F"),
        "site": np.where(np.arange(number) < 8, "tiny", "large"),
        "contrast": contrast,
        "n_cmb": called,
        "n_possible": found.possible,
        "pattern": np.where(called > 0, np.array(PATTERNS, object)[pattern], "none"),
    }
    people = pd.DataFrame(people)
    scans = people[["scan_id", "cohort", "participant_id"]].assign(
        **({"status": "ok", "slice_mm": 2.0, "field_strength_t": 3.0} | scan)
    )
    return PARTICIPANTS.frame(people), SCANS.frame(scans)


def rows(people, scans, stated, in_use=None, variables=("sex", "site"), **more):
    errors = correction.detector_errors(people, scans, stated, in_use, **more)
    made = pd.DataFrame(list(correction.rows(people, errors, variables)))
    assert not made.duplicated(["stratum", "measure"]).any()
    null = made["estimate"].isna()
    assert made.loc[null, "method"].str.startswith("not estimated: ").all()
    ends = made.loc[~null].dropna(subset=["ci_low"])
    assert ((ends["ci_low"] < ends["ci_high"]) & (ends["ci_low"] <= ends["estimate"])).all()
    assert (ends["estimate"] <= ends["ci_high"]).all()
    return made.set_index(["stratum", "measure"])


@pytest.fixture(scope="module")
def sound():
    return rows(*tables(), contract())


def test_rogan_gladen_of_published_examples():
    # Brucellosis in 150 cows, 23 positive, Se 96 %, Sp 89 %: R's epiR gives 5.1 % (0-13).
    assert round(100 * rogan_gladen(23 / 150, 0.96, 0.89), 1) == 5.1
    # Helicobacter at 1-4 years, 6 of 151, Se 96.4 %, Sp 92.7 % (Moujaber 2008, in epiR): 0 %.
    assert rogan_gladen(6 / 151, 0.964, 0.927) == 0


@pytest.mark.slow
def test_a_sound_cohort_is_corrected_overall_and_by_stratum(sound):
    truth = Population().prevalence(False)
    apparent = sound.loc[("contrast=GRE", "prevalence apparent")]
    row = sound.loc[("contrast=GRE", "prevalence corrected")]
    assert row["ci_low"] < truth < row["ci_high"] < apparent["estimate"]
    assert (row["n"], row["denominator"]) == (apparent["n"], 1200)
    assert "contract of a-verifier" in row["method"] and "latent counts" in row["method"]
    mean = sound.loc[("contrast=GRE", "mean count corrected")]
    assert 0.3 < mean["estimate"] < 0.6
    bands = [
        sound.loc[(f"contrast=GRE & age_band={band}", "prevalence corrected"), "estimate"]
        for band in ("50-59", "60-69", "70-79", ">=80")
    ]
    assert bands == sorted(bands) and bands[0] < 0.5 * bands[-1]
    for sex in "FM":
        assert sound.loc[(f"contrast=GRE & sex={sex}", "prevalence corrected"), "estimate"] > 0.05
    assert ("cohort=one & contrast=GRE", "prevalence corrected") in sound.index
    tiny = sound.loc[("contrast=GRE & site=tiny", "prevalence corrected")]
    assert tiny["method"] == ("not estimated: 8 participants of the stratum; a correction needs 10")
    floor = sound.loc[("contrast=GRE", "detector false-positive floor")]
    assert (floor["n"], floor["denominator"], floor["estimate"]) == (20, 160, 0.125)
    assert rows(*tables(), contract()).equals(sound)


@pytest.mark.slow
def test_the_profile_says_what_the_counts_can_tell(sound):
    """Audit 3b: the likelihood in false positives a scan stands beside the correction."""
    profile = sound.loc["contrast=GRE"]
    at = profile[profile.index.str.startswith("prevalence corrected at")]
    likelihood = profile[profile.index.str.startswith("relative likelihood of")]
    assert len(at) == len(likelihood) == 7
    assert at["estimate"].is_monotonic_decreasing
    assert 0 < likelihood["estimate"].min() < 0.3 < likelihood["estimate"].max() <= 1
    check = sound.loc[("contrast=GRE", "check of correction false positives")]
    assert check["estimate"] in (0, 1) and "the counts agree with" in check["method"]


@pytest.mark.slow
def test_patterns_are_corrected_beside_those_called(sound):
    """Audit A7: false lobar lesions inflate 'strictly lobar' and 'mixed'."""
    people, _ = tables()
    shares = sound.loc["contrast=GRE"]
    total = sum(shares.loc[f"corrected pattern={name}", "estimate"] for name in PATTERNS)
    assert total == pytest.approx(1, abs=0.02)
    lobar = shares.loc["corrected pattern=strictly lobar"]
    assert lobar["estimate"] < (people["pattern"] == "strictly lobar").mean()
    assert lobar["ci_low"] < 0.099 < lobar["ci_high"]  # of 2,000,000 people
    assert "like numbers of microbleeds" in lobar["method"]
    assert (
        shares.loc["corrected pattern of positive=mixed", "denominator"]
        == (people["n_cmb"] > 0).sum()
    )


@pytest.mark.parametrize(
    ("patterns", "sentence"),
    [
        ({}, "the contract has no matrix of true and called patterns"),
        ({"none": {"none": "many"}}, "the contract has no matrix of true and called patterns"),
        (COUNTS["patterns"] | {"mixed": {"mixed": 3}}, "3 scans of pattern mixed; 10 are needed"),
        (COUNTS["patterns"] | {"mixed": ALIKE, "strictly lobar": ALIKE}, "badly apart"),
    ],
)
def test_patterns_without_a_matrix_or_with_a_poor_one_are_refused(patterns, sentence):
    people, _ = tables(100)
    checked = guards.Checked(figures_of(COUNTS | {"patterns": patterns}, "a test"))
    made = pd.DataFrame(corrected_patterns.rows(people, checked, "GRE"))
    assert made["estimate"].isna().all()
    assert made["method"].str.startswith("not estimated: ").all()
    assert made["method"].str.contains(sentence).all()


def test_patterns_that_no_shares_explain_are_refused():
    people, _ = tables(1000)
    people["pattern"] = "none"
    checked = guards.Checked(figures_of(COUNTS, "a test"))
    made = pd.DataFrame(corrected_patterns.rows(people, checked, "GRE"))
    assert made["method"].str.contains("no shares of true patterns explain").all()


def test_counts_below_the_false_positive_floor_refute_the_contract():
    """Audit A1: 12.5 % apparent against a floor of 33 % is a sentence, not 0.0 % (0.0-0.0)."""
    shipped = contract(
        scans=56,
        negative_scans=24,
        negative_clean=16,
        positive_scans=32,
        positive_found=31,
        false_positives_of_scans=[45, 8, 3],
    )
    counts = np.repeat([0, 1], [1560, 223])
    made = rows(*tables(1783, counts=counts), shipped)
    names = made.index.get_level_values(1)
    refused = made[names.str.contains("corrected") & ~names.str.contains("possible")]
    assert refused["estimate"].isna().all()
    assert made.loc[("contrast=GRE", "prevalence corrected"), "method"] == (
        "not estimated: the apparent prevalence, 12.5 % (11.1-14.1), lies below the contract's "
        "false-positive share, 33 % (18-53); its specificity does not hold in this cohort; read "
        "some scans free-hand"
    )
    # The same guard for the rate ratios, which the audit saw at 7.79.
    errors = correction.detector_errors(*tables(1783, counts=counts), shipped)
    assert errors["definite", "GRE"].refusal.startswith("the apparent prevalence, 12.5 %")


def test_an_apparent_prevalence_near_the_floor_is_a_warning():
    """Audit A1: warn where the apparent prevalence is lower than the floor at all."""
    people, scans = tables(300, counts=np.repeat([0, 2], [268, 32]))
    made = rows(people, scans, contract(negative_clean=139))
    check = made.loc[("contrast=GRE", "check of correction floor")]
    assert check["estimate"] == 2 and "its specificity may not hold here" in check["method"]


def test_a_mean_count_below_the_false_positives_refutes_the_contract():
    """Audit A1 (iii): the guard of counts, where presence alone says nothing."""
    counts = np.repeat([0, 1], [900, 100])
    checks = guards.checks(
        tables(1000, counts=counts)[0],
        counts,
        figures_of(COUNTS | {"false_positives_of_scans": [150, 22, 28]}, "a test"),
    )
    mean = next(check for check in checks if check.what == "mean")
    assert mean.grade == "refused" and "the mean count, 0.10, lies below" in mean.sentence


def test_an_age_band_below_the_false_positives_is_a_warning():
    """Audit A1 (iii), A5: false positives that rise with age show in the youngest band."""
    people, _ = tables(2000)
    young = (people["age_band"] == "50-59").to_numpy(bool)
    counts = np.where(young, 0, people["n_cmb"].to_numpy(int))
    checks = guards.checks(people, counts, figures_of(COUNTS, "a test"))
    band = next(check for check in checks if check.what == "age bands")
    assert band.grade == "warning" and "50-59 years (mean count 0.00)" in band.sentence
    assert guards.Checked(figures_of(COUNTS, ""), checks).warnings[0].startswith("warning: ")
    age = next(check for check in checks if check.what == "false positives by age")
    assert age.grade in ("warning", "refused") and "times a decade of age" in age.sentence


@pytest.mark.slow
def test_scans_outside_the_domain_are_not_corrected():
    """Audit A1 (v): the page flags the domain, and the correction heeds it."""
    people, scans = tables(200, slice_mm=8.0)
    method = rows(people, scans, contract()).loc[("contrast=GRE", "prevalence corrected"), "method"]
    assert method.startswith("not estimated: 200 of 200 scans lie outside the acquisitions")
    people, scans = tables(200, slice_mm=np.where(np.arange(200) < 10, 8.0, 2.0))
    made = rows(people, scans, contract())
    assert made.loc[("contrast=GRE", "check of correction domain"), "estimate"] == 0
    assert made.loc[("contrast=GRE", "prevalence corrected"), "estimate"] > 0
    unknown = rows(*tables(200, slice_mm=None, field_strength_t=None), contract())
    check = unknown.loc[("contrast=GRE", "check of correction domain")]
    assert check["method"].startswith("not told: the acquisition of 200 of 200 scans")


@pytest.mark.parametrize(
    "stated",
    [
        None,
        {},
        {"metrics": {"presence": {"GRE": COUNTS}, "fp_per_scan_definite": 0.2}},
        {"metrics": {"population": "many"}},
        contract(found=101),
        contract(negative_clean=161),
        contract(negative_scans=161),
        contract(microbleeds=2.5),
        contract(false_positives_of_scans=[174, 22]),
        contract(false_positives_of_scans=[-1, 201]),
        contract(false_positives_of_scans="none"),
    ],
)
def test_contracts_that_do_not_say_it(stated):
    """Audit A1 (iv): figures of scans chosen for mimics correct no cohort."""
    made = rows(*tables(60), stated, variables=())
    assert made.loc[("contrast=GRE", "prevalence corrected"), "method"] == (
        "not estimated: the contract has no figures of scans like a population's"
    )
    assert ("contrast=GRE", "detector false-positive floor") not in made.index


def test_another_threshold_makes_the_contracts_figures_another_ones():
    people, scans = tables(200)
    made = rows(people, scans, contract(), {"definite": 0.8, "possible": 0.3})
    method = made.loc[("contrast=GRE", "prevalence corrected"), "method"]
    assert method == (
        "not estimated: the contract's figures are of a definite threshold of 0.6, and "
        "verify.thresholds sets 0.8"
    )
    either = ("contrast=GRE", "prevalence corrected definite or possible")
    assert "0.8" not in made.loc[either, "method"]


@pytest.mark.parametrize("number", [1, 8, 19])
def test_small_cohorts_are_refused(number):
    """Audit A1: `make demo` "corrected" 4 of 8, all right, to 26 %."""
    made = rows(*tables(number), contract())
    method = made.loc[("contrast=GRE", "prevalence corrected"), "method"]
    assert method == f"not estimated: {number} participants; a correction needs 20"


def test_nobody_has_no_rows():
    people, scans = tables(0)
    errors = correction.detector_errors(people, scans, contract())
    assert errors == {} and list(correction.rows(people, errors)) == []


def test_a_small_cohort_has_a_wide_interval():
    made = rows(*tables(24, seed=4), contract(), variables=())
    row = made.loc[("contrast=GRE", "prevalence corrected")]
    assert 0 < row["ci_low"] < row["ci_high"] < 1 and row["ci_high"] - row["ci_low"] > 0.2


def test_microbleeds_of_one_scan_are_alike_and_calls_on_faint_ones_count():
    alike = [[10, 10, 12]] * 5 + [[10, 0, 1]] * 5
    assert figures_of(COUNTS | {"counts_of_positive": alike}, "").effect > 5
    apart = [[1, 1, 1]] * 5 + [[1, 0, 1]] * 5
    assert figures_of(COUNTS | {"counts_of_positive": apart}, "").effect == pytest.approx(10 / 9)
    faint = figures_of(COUNTS | {"called_at_faint": 4}, "")
    assert faint.false_positives_of_scans == (170, 26, 4)


def test_figures_of_a_simulated_contract_are_read():
    content = validate(np.random.default_rng(1), Population(), DetectorModel(), 100)
    figures = detector_figures.of_contract({"metrics": {"population": content}})
    assert set(figures) == {(t, c) for t in ("definite", "possible") for c in ("GRE", "SWI")}
