"""Latent counts: likelihoods known from elsewhere, thinning, and posteriors that cover."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.api import NegativeBinomial

from cmburden.stats import latent, latent_fit
from cmburden.stats.misclassification import true_shares
from cmburden.studies import coverage
from cmburden.studies.population import DetectorModel, Population, validate
from cmburden.summary.detector_figures import figures_of

#: A detector that finds everything and adds nothing, as far as validation can tell.
PERFECT = latent.Validation(10**7, 10**7, (10**7,))


def model_of(counts, matrix, validation, **more):
    return latent.Model(
        latent.Observed(counts, matrix, np.zeros(len(counts), int), **more), [validation]
    )


def people(number=400, seed=3, dispersion=2.0):
    random = np.random.default_rng(seed)
    age = np.round(random.normal(0, 1, number), 1)
    rate, size = np.exp(-0.5 + 0.6 * age), 1 / dispersion
    counts = random.negative_binomial(size, size / (size + rate))
    return counts, np.column_stack([np.ones(number), age])


def test_a_thinned_negative_binomial_is_one_with_a_smaller_mean():
    """The identity that the model rests on, summed by brute force."""
    mean, alpha, s = 1.7, 2.5, 0.6
    true = np.arange(2000)
    chance = stats.nbinom.pmf(true, 1 / alpha, 1 / (1 + alpha * mean))
    for called in (0, 1, 5):
        thinned = float((chance * stats.binom.pmf(called, true, s)).sum())
        said = latent.log_likelihood(called, mean, alpha, s, 1e-300, 1.0)
        assert np.exp(said) == pytest.approx(thinned, rel=1e-8)


@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_the_convolution_is_that_of_brute_force(count):
    mean, alpha, s, f, phi = 3.0, 4.0, 0.75, 0.4, 0.5
    k = np.arange(count + 1)
    real = stats.nbinom.logpmf(k, 1 / alpha, 1 / (1 + alpha * s * mean))
    false = stats.nbinom.logpmf(count - k, 1 / phi, 1 / (1 + phi * f))
    expected = float(np.logaddexp.reduce(real + false))
    assert latent.log_likelihood(count, mean, alpha, s, f, phi) == pytest.approx(expected, rel=1e-9)
    # The model says the same of a row, among other rows.
    validation = latent.Validation(100, 75, (70, 30))
    model = model_of(np.array([0, count, 2]), np.ones((3, 1)), validation)
    theta = np.array([np.log(mean), np.log(alpha), np.log(s / (1 - s)), np.log(f), np.log(phi)])
    by_row = dict(zip(model.counts.tolist(), model._cohort(theta[None])[0], strict=True))
    assert by_row[count] == pytest.approx(expected, rel=1e-9)


def test_a_perfect_detector_gives_statsmodels_likelihood_and_coefficients():
    counts, matrix = people()
    model = model_of(counts, matrix, PERFECT)
    reference = NegativeBinomial(counts.astype(float), matrix)
    theta = np.array([-0.4, 0.5, np.log(1.5), 30.0, -30.0, 0.0])
    # Before a fit, statsmodels takes the logarithm of alpha.
    mine = float(model._cohort(theta[None])[0] @ model.times)
    assert mine == pytest.approx(reference.loglike(np.array([-0.4, 0.5, np.log(1.5)])), rel=1e-9)
    mode, _ = latent_fit.mode(model)
    expected = reference.fit(disp=0).params
    assert mode[:2] == pytest.approx(expected[:2], abs=0.03)  # priors pull a little
    assert np.exp(mode[2]) == pytest.approx(expected[2], rel=0.05)


def test_the_gradient_is_that_of_differences():
    counts, matrix = people(60)
    model = model_of(counts, matrix, latent.Validation(50, 37, (80, 15, 5)), shifts=matrix)
    theta = model.start_at() + 0.1
    step = 1e-5 * np.eye(model.size)
    ends = [model.log_posterior(np.array([theta + one, theta - one])) for one in step]
    differences = np.array([(up - down) / 2e-5 for up, down in ends])
    assert model.gradient(theta) == pytest.approx(differences, abs=1e-4, rel=1e-6)


def test_a_low_prevalence_has_an_interval_and_no_point_of_certainty():
    """Audit A1: apparent 15 % with a floor of 8/24 is a few per cent, not 0.0 (0.0-0.0).

    The audit's joint posterior by brute force, of presence alone, is 2.0 % (0.1-7.7).
    """
    counts = np.repeat([0, 1], [850, 150])
    model = model_of(counts, np.ones((1000, 1)), latent.Validation(64, 60, (16, 8)))
    posterior = latent_fit.posterior(model, np.random.default_rng(1))
    prevalence, _ = posterior.averages(np.ones((1000, 1)), np.random.default_rng(2))
    low, middle, high = np.percentile(prevalence, [2.5, 50, 97.5])
    assert 0 < low < 0.01 < middle < 0.05 < high < 0.15


def test_twins_that_are_told_have_wider_intervals():
    """Audit A9: a cluster of two who are alike tells less than two people."""
    random = np.random.default_rng(1)
    population = Population()
    rate = np.full(400, 0.5)
    counts = population.counts_of_pairs(random, rate, 0.95)
    alone = model_of(counts, np.ones((400, 1)), PERFECT)
    told = model_of(counts, np.ones((400, 1)), PERFECT, cluster=np.arange(400) // 2)
    widths = []
    for model in (alone, told):
        posterior = latent_fit.posterior(model, np.random.default_rng(1))
        draws, _ = posterior.averages(np.ones((400, 1)), np.random.default_rng(2))
        widths.append(float(np.ptp(np.percentile(draws, [2.5, 97.5]))))
    assert 1.15 < widths[1] / widths[0] < 1.6


def test_shares_of_confused_categories_are_found_again_and_never_negative():
    known = np.array([[180, 15, 5], [4, 34, 2], [2, 4, 34]])
    true = np.array([0.7, 0.2, 0.1])
    called = np.round(5000 * true @ (known / known.sum(axis=1)[:, None])).astype(int)
    result = true_shares(called, known, np.random.default_rng(1))
    low, middle, high = np.percentile(result.draws, [2.5, 50, 97.5], axis=0)
    assert middle == pytest.approx(true, abs=0.02) and (low < true).all() and (true < high).all()
    assert result.fit > 0.1
    # Fewer called positive than the matrix allows: nothing explains it, and nothing is below 0.
    none = true_shares(np.array([4990, 5, 5]), known, np.random.default_rng(1))
    assert none.fit < 0.005 and (none.draws >= 0).all() and np.ptp(none.draws[:, 2]) > 0


@pytest.mark.slow
def test_intervals_cover_where_the_contract_holds():
    """The study (400 cohorts of each size) is a command: docs/statistics.md."""
    case = coverage.Case("a test", 60, checks=False)
    results = coverage.study(case, 12, seed=5)
    for name in coverage.ESTIMATES:
        assert coverage.covers(results, name) >= 0.75, name


def test_false_positives_that_rise_with_age_reach_the_counts():
    """Audit A5: the simulator can make the assumption false that a corrected slope rests on."""
    random = np.random.default_rng(1)
    age = np.repeat([48.0, 68.0, 88.0], 20_000)
    none = np.zeros(len(age), int)
    called = DetectorModel(rise=1.6).search(random, none, none, age).false_definite
    young, middle, old = called.reshape(3, -1).mean(axis=1)
    assert middle == pytest.approx(0.15, abs=0.01)
    assert old / middle == pytest.approx(1.6**2, rel=0.1)
    assert middle / young == pytest.approx(1.6**2, rel=0.15)


def test_a_simulated_contract_is_valid_and_of_the_detector():
    content = validate(np.random.default_rng(1), Population(), DetectorModel(), 5000)
    for name, sensitivity, rate in (("GRE", 0.75, 0.15), ("SWI", 0.80, 0.25)):
        figures = figures_of(content[name], "a test")
        assert figures.scans == 5000 and sum(figures.false_positives_of_scans) == 5000
        assert figures.sensitivity == pytest.approx(sensitivity, abs=0.03)
        assert figures.false_positives == pytest.approx(rate, abs=0.02)
        assert sum(sum(row.values()) for row in figures.patterns.values()) == 5000
    assert figures.floor == pytest.approx(1 - DetectorModel().specificity(True), abs=0.02)
    assert figures_of(content["SWI"]["possible"], "").floor > figures.floor
