"""Precision from judged candidates: against statsmodels, a hand count, and simulated reviews."""

import numpy as np
import pytest
from scipy.special import expit

from cmburden.stats import operating_point as op
from cmburden.stats.operating_point import Cohort


def judged(number=4000, level=-0.8, slope=0.7, seed=1):
    random = np.random.default_rng(seed)
    probability, swi = random.beta(0.7, 1.0, number), (random.random(number) < 0.4).astype(float)
    right = expit(level + slope * op.logits(probability) + 0.5 * swi)
    return probability, swi, random.random(number) < right


def test_a_large_review_is_a_logistic_regression():
    from statsmodels.api import Logit

    probability, swi, real = judged()
    fit = op.recalibrate(probability, swi, real, np.arange(len(real)))
    matrix = np.column_stack([np.ones(len(real)), op.logits(probability), swi])
    other = Logit(real.astype(float), matrix).fit(disp=0)
    assert fit.mode == pytest.approx(other.params, abs=0.02)
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(other.bse, rel=0.05)


def test_people_whose_candidates_are_alike_count_less():
    probability = np.full(200, 0.5)
    alike = np.repeat([True, False] * 20, 5)
    person = np.repeat(np.arange(40), 5)
    fit = op.recalibrate(probability, np.zeros(200), alike, person)
    assert fit.effect == pytest.approx(5, rel=0.05)
    assert op.recalibrate(probability, np.zeros(200), alike, np.arange(200)).effect < 1.1


def test_what_all_judged_is_counted():
    cohort = Cohort(np.array([0.9, 0.8, 0.2]), np.zeros(3), np.array([1.0, 0.0, 1.0]))
    fit = op.recalibrate(*judged(50), np.arange(50))
    point = op.point(cohort, fit, 0.5, 10, np.random.default_rng(1))
    assert (point.called, point.judged) == (2, 2)
    assert point.precision == (0.5, 0.5, 0.5) and point.false_positives == (0.1, 0.1, 0.1)
    nothing = op.point(cohort, fit, 0.95, 10, np.random.default_rng(1))
    assert nothing.called == 0 and np.isnan(nothing.precision).all()


def test_separated_verdicts_and_extreme_probabilities_have_a_fit():
    probability = np.r_[np.zeros(20), np.ones(20)]
    fit = op.recalibrate(probability, np.zeros(40), probability == 1, np.arange(40))
    assert np.isfinite(fit.mode).all() and np.isfinite(fit.covariance).all()
    assert fit.probability(np.array([0.0, 1.0]), np.zeros(2)) == pytest.approx([0, 1], abs=0.01)


def test_more_judgements_make_the_interval_narrower():
    probability, swi, real = judged(400, seed=3)
    verdict = np.where(np.arange(400) < 60, real, np.nan)
    fit = op.recalibrate(probability[:60], swi[:60], real[:60], np.arange(60))
    cohort = Cohort(probability, swi, verdict)
    further = [op.further_for_width(cohort, fit, 0.3, width) for width in (0.5, 0.1, 0.05, 1e-9)]
    assert further == sorted(further) and further[0] < further[1] < further[3]
    left = int((np.isnan(verdict) & (probability >= 0.3)).sum())
    assert further[3] == left


@pytest.mark.slow
def test_intervals_hold_as_often_as_they_say():
    """40 simulated reviews of 60; docs/review.md has 300 of each kind."""
    from cmburden.studies import operating_points

    made = [operating_points.covers("random", 0.0, number, 7) for number in range(40)]
    there = [one[0] for one in made if one is not None]
    assert len(there) > 30 and np.mean(there) >= 0.85
