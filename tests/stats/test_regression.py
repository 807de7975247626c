"""The models against published and closed-form results."""

import numpy as np
import pytest

from cmburden.stats import regression

#: Red mites on 150 apple leaves: leaves with 0, 1 ... 7 (Bliss and Fisher 1953, Biometrics 9:176).
MITES = np.repeat(np.arange(8), [70, 38, 17, 10, 9, 3, 2, 1])


def test_negative_binomial_of_bliss_and_fisher():
    fit = regression.negative_binomial(MITES, np.ones((150, 1)))
    # Their maximum likelihood k is 1.02459; alpha is its inverse.
    assert 1 / fit.alpha[0] == pytest.approx(1.02459, abs=2e-4)
    assert fit.alpha[1] < fit.alpha[0] < fit.alpha[2]


def test_two_groups_give_ratios_of_means_and_odds():
    x = np.repeat([0.0, 1.0], 75)
    y = np.concatenate([MITES[::2], np.repeat(MITES[1::2], 1) + (np.arange(75) % 3 == 0)])
    matrix = np.column_stack([np.ones(150), x])
    expected = y[75:].mean() / y[:75].mean()
    for fit in (regression.negative_binomial(y, matrix), regression.poisson(y, matrix)):
        assert np.exp(fit.log_ratio[0]) == pytest.approx(expected, rel=1e-4)
    a, b = (y[75:] > 0).sum(), (y[75:] == 0).sum()
    c, d = (y[:75] > 0).sum(), (y[:75] == 0).sum()
    fit = regression.logistic(y > 0, matrix)
    assert np.exp(fit.log_ratio[0]) == pytest.approx(a * d / (b * c))
    # Woolf 1955.
    assert fit.error[0] == pytest.approx(np.sqrt(1 / a + 1 / b + 1 / c + 1 / d), rel=1e-4)
    # Zou 2004: with one binary covariate, sandwich variance of a log ratio of means.
    spread = sum(((g - g.mean()) ** 2).sum() / g.sum() ** 2 for g in (y[75:], y[:75]))
    fit = regression.poisson(y, matrix)
    assert fit.error[0] == pytest.approx(np.sqrt(spread), rel=0.02)


def test_multinomial_of_one_binary_covariate_is_ratios_of_odds():
    table = np.array([[40, 20, 10], [30, 30, 15]])  # rows: covariate 0 and 1
    x = np.repeat([0.0, 1.0], table.sum(axis=1))
    codes = np.concatenate([np.repeat([0, 1, 2], row) for row in table])
    fit = regression.multinomial(codes, np.column_stack([np.ones(len(x)), x]))
    expected = [30 * 40 / (30 * 20), 15 * 40 / (30 * 10)]
    assert np.exp(fit.log_ratio[0]) == pytest.approx(expected, rel=1e-4)
