"""Agreement against published worked examples and second implementations."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import cohen_kappa_score, f1_score

from cmburden.stats import agreement, intervals

#: Shrout and Fleiss 1979, table 2: 6 subjects, 4 judges.
SHROUT_FLEISS = [
    [9, 2, 5, 8],
    [6, 1, 3, 2],
    [8, 4, 6, 8],
    [7, 1, 2, 6],
    [10, 5, 6, 9],
    [6, 2, 4, 7],
]
#: Hout et al. 1987 in Agresti (Categorical Data Analysis): the worked example of R's vcd::Kappa.
SEXUAL_FUN = [[7, 7, 2, 3], [2, 8, 3, 7], [1, 5, 4, 9], [2, 8, 9, 14]]


def ratings(table):
    """Two readers' ratings that give ``table``."""
    pairs = [(i, j) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    return [i for i, _ in pairs], [j for _, j in pairs]


def test_icc_of_shrout_and_fleiss():
    found = agreement.icc(np.array(SHROUT_FLEISS))
    assert round(found.estimate, 2) == 0.29 and found.n == 6
    # As R's psych::ICC prints it for ICC2.
    assert (round(found.ci_low, 3), round(found.ci_high, 2)) == (0.019, 0.76)


def test_icc_without_error_or_variance():
    same = agreement.icc(np.array([[1, 1], [4, 4], [9, 9]]))
    assert same.estimate == pytest.approx(1) and math.isnan(same.ci_low)
    for matrix in (np.zeros((5, 2)), np.array([[1, 2]])):
        assert math.isnan(agreement.icc(matrix).estimate)


def test_icc_interval_covers():
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        subject, rater = random.normal(size=(40, 1)), random.normal(0, 0.3, size=(1, 3))
        found = agreement.icc(subject + rater + random.normal(0, 0.7, size=(40, 3)))
        inside += found.ci_low <= 1 / (1 + 0.09 + 0.49) <= found.ci_high
    assert 0.9 <= inside / 400 <= 0.99


@pytest.mark.parametrize(
    ("weights", "value", "low", "high"),
    [(None, 0.1293, -0.0051, 0.2638), ("linear", 0.2374, 0.0839, 0.3909)],
)
def test_kappa_of_the_vcd_example(weights, value, low, high):
    found = agreement.kappa(*ratings(SEXUAL_FUN), weights)
    assert (found.estimate, found.ci_low, found.ci_high) == pytest.approx(
        (value, low, high), abs=5e-5
    )
    assert found.n == 91


def test_kappa_of_fleiss_cohen_and_everitt():
    # 1969, table 1: 200 subjects, kappa .429.
    found = agreement.kappa(*ratings([[106, 10, 4], [22, 28, 10], [2, 12, 6]]))
    assert round(found.estimate, 3) == 0.429


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_kappa_agrees_with_sklearn_also_with_a_level_that_nobody_gave(weights):
    random = np.random.default_rng(2)
    first = random.choice(["0", "1", ">=5"], size=60)
    second = np.where(random.random(60) < 0.6, first, random.permutation(first))
    levels = ["0", "1", "2-4", ">=5"]
    found = agreement.kappa(first, second, weights, levels)
    ranks = [[levels.index(v) for v in reader] for reader in (first, second)]
    # sklearn drops a level that is empty unless told.
    expected = cohen_kappa_score(*ranks, weights=weights, labels=[0, 1, 2, 3])
    assert found.estimate == pytest.approx(expected)
    assert found.ci_low < found.estimate < found.ci_high


def test_kappa_where_it_says_nothing():
    assert math.isnan(agreement.kappa([0, 0], [0, 0]).estimate)
    assert math.isnan(agreement.kappa([], []).estimate)
    with pytest.raises(ValueError, match="none of"):
        agreement.kappa(["x"], ["0"], levels=["0", "1"])
    with pytest.raises(ValueError, match="1 and 2 ratings"):
        agreement.kappa([0], [0, 1])


def test_wilson_of_the_ages_study():
    assert round(100 * 218 / 1962, 1) == 11.1
    low, high = intervals.wilson(218, 1962)
    assert (round(100 * low, 1), round(100 * high, 1)) == (9.8, 12.6)


def test_expected_calibration_error_agrees_with_sklearn():
    random = np.random.default_rng(3)
    p = random.beta(0.7, 2, 3000)
    truth = random.random(3000) < p**1.3
    own, seen = p[p >= 0.02], truth[p >= 0.02]
    share, said = calibration_curve(seen, own, n_bins=10)
    number = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], own), minlength=10)
    expected = (np.abs(share - said) * number[number > 0]).sum() / len(own)
    assert agreement.expected_calibration_error(p, truth) == pytest.approx(expected)
    # A weight of two is a row twice.
    twice = agreement.expected_calibration_error(
        np.append(p, p[:500]), np.append(truth, truth[:500])
    )
    weight = np.r_[np.full(500, 2), np.ones(2500)]
    assert agreement.expected_calibration_error(p, truth, weight=weight) == pytest.approx(twice)
    assert math.isnan(agreement.expected_calibration_error(np.array([0.01]), np.array([0])))


def test_calibration_error_by_chance_is_the_binomials_mean_deviation():
    # Two bins, each with candidates of one probability: their deviations add up.
    p = np.r_[np.full(20, 0.25), np.full(12, 0.85), np.full(50, 0.01)]
    expected = sum(
        stats.binom.expect(lambda k, n=n, q=q: abs(k - n * q), args=(n, q))
        for n, q in ((20, 0.25), (12, 0.85))
    )
    mean, high = agreement.calibration_error_by_chance(p, seed=1, draws=20000)
    assert mean == pytest.approx(expected / 32, rel=0.02)
    assert mean < high < 3 * mean
    assert agreement.calibration_error_by_chance(p, seed=1)[0] == pytest.approx(mean, rel=0.1)
    assert math.isnan(agreement.calibration_error_by_chance(np.array([0.01]), seed=1)[0])


def presences(table):
    """Two readers' presences that give a 2 x 2 table."""
    return ([bool(v) for v in reader] for reader in ratings(table))


@pytest.mark.parametrize(
    ("table", "low"),
    [([[5, 0], [0, 5]], 0.446), ([[25, 0], [0, 5]], 0.633), ([[29, 0], [0, 1]], 0.220)],
)
def test_kappa_of_full_agreement_is_no_point(table, low):
    """Audit B2: kappa of full agreement was 1.00 (1.00-1.00), also with one positive of 30.

    ``low``: by the goodness-of-fit interval of Donner and Eliasziw 1992, of the same table.
    """
    result = agreement.kappa(*presences(table))
    assert result.estimate == 1 and result.ci_high == 1
    assert result.ci_low == pytest.approx(low, abs=0.1)
    wide = agreement.kappa(["0", "1", "2"] * 4, ["0", "1", "2"] * 4, "quadratic")
    # Wilson of 12 of 12 is 0.757, and a third agrees by chance.
    assert wide.ci_low == pytest.approx((0.757 - 1 / 3) / (2 / 3), abs=1e-3)


def test_kappa_of_a_reader_with_one_rating_has_no_interval():
    result = agreement.kappa(["0", "0", "0"], ["0", "1", "2"], "quadratic")
    assert abs(result.estimate) < 1e-9
    assert math.isnan(result.ci_low) and math.isnan(result.ci_high)


def test_kappa_interval_of_a_presence_covers():
    """Audit B2: 95 % intervals of kappa, small samples and few positives."""
    random = np.random.default_rng(4)
    for n, p, kappa in ((30, 0.2, 0.9), (100, 0.15, 0.7)):
        both = p * p + kappa * p * (1 - p)
        inside = []
        for _ in range(80):
            cells = random.multinomial(n, [both, p - both, p - both, 1 - 2 * p + both])
            result = agreement.kappa(*presences(cells.reshape(2, 2)), levels=[False, True])
            if not math.isnan(result.estimate):
                inside.append(result.ci_low <= kappa <= result.ci_high)
        assert 0.89 <= np.mean(inside) <= 1


def test_positive_and_negative_agreement_of_the_two_paradoxes():
    """Audit section 4.11: Feinstein and Cicchetti 1990: equal agreement, kappa 0.70 and 0.32."""
    for table, kappa, positive, negative in (
        ([[40, 9], [6, 45]], 0.70, 0.84, 0.86),
        ([[80, 10], [5, 5]], 0.32, 0.91, 0.40),
    ):
        flipped = [row[::-1] for row in table[::-1]]
        first, second = map(list, presences(flipped))
        result = agreement.binary(first, second)
        assert round(agreement.kappa(first, second).estimate, 2) == kappa
        assert round(result.positive.estimate, 2) == positive
        assert round(result.negative.estimate, 2) == negative
        assert result.pabak.estimate == pytest.approx(0.7)
        assert f1_score(first, second) == pytest.approx(result.positive.estimate)
        for one in (result.positive, result.negative, result.pabak):
            assert one.ci_low < one.estimate < one.ci_high
    nobody = agreement.binary([False] * 4, [False] * 4)
    assert math.isnan(nobody.positive.estimate) and nobody.negative.ci_low < 1


def test_agreement_of_lesions_is_clustered():
    both = np.repeat([True, False], 50)
    people = np.repeat([1, 2, 3, 4], 25)
    alone = agreement.specific_agreement(np.ones(100, bool), both)
    clustered = agreement.specific_agreement(np.ones(100, bool), both, people)
    assert alone.estimate == clustered.estimate == pytest.approx(2 / 3)
    assert clustered.ci_low < alone.ci_low and clustered.ci_high > alone.ci_high


def test_log_counts_of_equal_readers_have_no_interval():
    result = agreement.log_counts([0, 1, 5], [0, 1, 5])
    assert result.ratio.estimate == 1 and math.isnan(result.ratio.ci_low)
    twice = agreement.log_counts([1, 3, 7, 1], [0, 1, 3, 1])
    assert twice.ratio.ci_low < twice.ratio.estimate == pytest.approx(2**0.75)
    assert twice.lower < twice.ratio.ci_low
