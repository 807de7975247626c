"""Penalised likelihood against published results (audit B7)."""

import numpy as np
import pytest

from cmburden.stats import firth, regression
from cmburden.stats.sandwich import Sample

#: Endometrial cancer: neovascularisation, pulsatility index, endometrium height (in 0.01), and
#: whether the grade is high (Heinze and Schemper 2002, Stat Med 21:2409).
ENDOMETRIUM = """
0 13 164 0 0 16 226 0 0 8 314 0 0 34 268 0 0 20 128 0 0 5 231 0 0 17 180 0 0 10 168 0 0 26 156 0
0 17 231 0 0 8 201 0 0 7 189 0 0 20 315 0 0 10 123 0 0 18 127 0 0 16 176 0 0 18 200 0 0 8 264 1
0 29 88 1 0 12 127 1 0 20 137 1 1 38 97 1 1 22 114 1 1 7 88 1 1 25 91 1 1 15 58 1 0 7 97 1
0 28 150 0 0 11 133 0 0 19 237 0 0 10 182 0 0 10 313 0 0 18 131 0 0 14 192 0 0 21 164 0 0 11 201 0
0 17 188 0 0 25 193 0 0 16 211 0 0 19 129 0 0 15 172 0 0 33 75 0 0 24 192 0 0 48 184 1 0 12 111 1
0 19 161 1 0 2 118 1 1 22 144 1 1 40 118 1 1 5 93 1 1 0 117 1 0 21 119 1 0 15 106 1 0 29 202 0
0 15 229 0 0 12 233 0 0 3 290 0 0 20 170 0 0 23 141 0 0 12 225 0 0 22 154 0 0 42 197 0 0 15 175 0
0 13 216 0 0 14 257 0 0 19 137 0 0 12 361 0 0 13 204 0 0 10 217 0 0 12 169 1 1 49 27 1 0 6 184 1
0 5 130 1 0 17 96 1 1 11 101 1 1 21 98 1 0 5 35 1 1 19 102 1 0 33 85 1
"""


def endometrium():
    table = np.array(ENDOMETRIUM.split(), float).reshape(-1, 4)
    matrix = np.column_stack([np.ones(len(table)), table[:, :2], table[:, 2] / 100])
    return table[:, 3], matrix


def test_firth_gives_the_published_estimates_and_profile_limits():
    """Audit B7: R's logistf of the same 79 people; neovascularisation separates."""
    y, matrix = endometrium()
    assert len(y) == 79
    assert regression.logistic(y > 0, matrix).problem
    fit = firth.firth(y, matrix)
    expected = [3.77455951, 2.92927330, -0.03475175, -2.60416387]
    assert fit.params == pytest.approx(expected, rel=1e-5)
    limits = [[0.6097244, 7.85463171], [-0.1244587, 0.04045547], [-4.3651832, -1.23272106]]
    assert fit.limits[1:] == pytest.approx(np.array(limits), rel=1e-4)


def test_firth_is_the_maximum_of_the_penalised_likelihood():
    """Second implementation: a search without derivatives."""
    from scipy.optimize import minimize

    random = np.random.default_rng(3)
    matrix = np.column_stack([np.ones(30), random.normal(size=30)])
    y = random.random(30) < 0.2

    def loss(b):
        p = 1 / (1 + np.exp(-matrix @ b))
        information = matrix.T @ (matrix * (p * (1 - p))[:, None])
        logs = np.where(y, np.log(p), np.log1p(-p)).sum()
        return -logs - 0.5 * np.log(np.linalg.det(information))

    best = minimize(
        loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    assert firth.firth(y, matrix).params == pytest.approx(best.x, abs=1e-5)


def test_few_events_bias_maximum_likelihood_and_not_firth():
    """Audit B7: true log odds ratio 0.45, few events: maximum likelihood is away from 0."""
    random = np.random.default_rng(7)
    said = []
    for _ in range(150):
        x = random.normal(size=60)
        y = random.random(60) < 1 / (1 + np.exp(2.0 - 0.45 * x))
        if y.sum() >= 3:
            matrix = np.column_stack([np.ones(60), x])
            plain = regression.logistic(y, matrix)
            fit = firth.firth(y, matrix, profile=False)
            if not plain.problem:
                said.append([plain.log_ratio[0], fit.params[1]])
    plain, penalised = np.mean(said, axis=0)
    assert plain > penalised and abs(penalised - 0.45) < abs(plain - 0.45)


def test_weights_of_two_are_two_people():
    y, matrix = endometrium()
    weights = np.where(np.arange(len(y)) < 20, 2.0, 1.0)
    twice = np.r_[np.arange(len(y)), np.arange(20)]
    weighted = firth.firth(y, matrix, weights, profile=False).params
    # Weights are scaled to the number of people; the penalty is then that of fewer.
    assert weighted == pytest.approx(firth.firth(y[twice], matrix[twice]).params, abs=0.25)
    clustered = regression.penalised(y > 0, matrix, Sample(cluster=np.arange(len(y)) // 2))
    assert clustered.limits is None and clustered.freedom == 39
