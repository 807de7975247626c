"""The term of the phase: the law that was drawn, and none where scans have no phase."""

import numpy as np
import pytest

from cmburden.train.phase_term import fit_phase


def drawn(people: int, share: float) -> tuple[np.ndarray, ...]:
    """p without phase, measure (NaN without), truth, weight, person, by a logistic law."""
    rng = np.random.default_rng(5)
    n = 40 * people
    offset = rng.normal(-1, 1.5, n)
    measure = rng.uniform(-1, 1, n)
    has = np.repeat(rng.random(people) < share, 40)
    score = offset + np.where(has, 4 * measure - 0.6, 0)
    truth = rng.random(n) < 1 / (1 + np.exp(-score))
    p = 1 / (1 + np.exp(-offset))
    return p, np.where(has, measure, np.nan), truth, np.ones(n), np.repeat(np.arange(people), 40)


def test_the_term_is_the_law_and_scans_without_phase_stay():
    p, measure, truth, weight, person = drawn(120, 0.6)
    fitted = fit_phase(p, measure, truth, weight, person)
    assert fitted.term["coefficient"] == pytest.approx(4, abs=0.5)
    assert fitted.term["intercept"] == pytest.approx(-0.6, abs=0.2)
    without = np.isnan(measure)
    assert (fitted.p[without] == p[without]).all()
    brier = [np.mean((q - truth)[~without] ** 2) for q in (fitted.p, p)]
    assert brier[0] < 0.75 * brier[1]


def test_a_perfect_separation_stays_finite():
    p, measure, _, weight, person = drawn(20, 1.0)
    term = fit_phase(p, measure, measure > 0, weight, person).term
    assert 4 < term["coefficient"] < 100


def test_too_little_phase_fits_no_term():
    assert fit_phase(*drawn(40, 0.0)) is None
    few = list(drawn(40, 1.0))
    few[1] = np.where(few[4] < 3, few[1], np.nan)
    assert fit_phase(*few) is None
