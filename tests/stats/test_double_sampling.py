"""Double sampling against Tenenbein's formula, the audit's figures, and simulated cohorts."""

import numpy as np
import pytest

from cmburden.stats import double_sampling, intervals
from cmburden.studies import reading as study
from cmburden.studies.population import DetectorModel, Population
from cmburden.summary import reading


def test_share_is_that_of_ppv_and_npv():
    """Audit A2: P(called) PPV + P(not called) (1 - NPV), not Rogan-Gladen."""
    sizes, read, positive = np.array([760, 240]), np.array([76, 24]), np.array([4, 16])
    result = double_sampling.share(positive, read, sizes)
    assert result.estimate == pytest.approx(0.24 * 16 / 24 + 0.76 * 4 / 76)
    # Tenenbein 1970: the variance lies between that of the readers' sample and of the cohort.
    assert 100 < result.effective < 1000
    alone = intervals.wilson(20, 100)
    assert result.ci_high - result.ci_low < 0.85 * (alone[1] - alone[0])


@pytest.mark.parametrize("positive", [(0, 0), (20, 30)])
def test_no_interval_has_a_width_of_zero(positive):
    """Audit A1, A2: never 0.0 (0.0-0.0)."""
    result = double_sampling.share(np.array(positive), np.array([20, 30]), np.array([200, 300]))
    assert result.ci_high - result.ci_low > 0.02
    assert result.estimate in (0.0, 1.0)


def test_an_unread_class_gives_no_number():
    nothing = double_sampling.share(np.array([0, 1]), np.array([0, 5]), np.array([10, 10]))
    assert np.isnan(nothing.estimate) and np.isnan(nothing.ci_low)
    nobody = double_sampling.mean(
        np.zeros(1), np.zeros(2), np.array([0, 1]), np.array([True, False])
    )
    assert np.isnan(nobody.estimate)


def test_mean_is_the_softwares_and_the_difference():
    """Audit A2: means likewise. Readers hold one lesion less in each scan that is called."""
    called = np.repeat([0.0, 2.0, 5.0], [60, 30, 10])
    classes, read = (called > 0).astype(int), np.arange(100) % 3 == 0
    result = double_sampling.mean((called - classes)[read], called, classes, read)
    assert result.estimate == pytest.approx(called.mean() - 0.4)
    # As precise as the 100 people allow: the differences are all alike within a class.
    deviation = (called - classes).std() / 10
    assert result.ci_low < 0.7 < result.ci_high
    assert result.ci_high - result.ci_low < 2.2 * 2 * 1.96 * deviation


def test_strata_are_neymans():
    parts = double_sampling.allocation(np.array([0.02, 0.5]), np.array([900, 100]))
    assert parts == pytest.approx([126 / 176, 50 / 176])
    sizes, shares = np.array([724, 276]), np.array([0.04, 0.6])
    number = double_sampling.number_to_read(0.1, shares, sizes)
    assert double_sampling.planned_width(number, shares, sizes) <= 0.1
    assert double_sampling.planned_width(number - 1, shares, sizes) > 0.1


def test_a_longer_reading_holds_the_shorter_one_and_a_class_its_share():
    random = np.random.default_rng(0)
    classes = np.repeat([0, 1], [900, 100])
    expected = np.where(classes, 0.5, 0.02)
    order = reading.order(classes, expected, random.random(1000))
    assert sorted(order) == list(range(1000))
    assert np.bincount(classes[order[:88]]).tolist() == [63, 25]


def test_widths_are_those_of_the_audit_and_at_most_0_6():
    """Audit A2, Shows-when 3: 100 of 1,000 read; 0.120 by simple random sampling, GRE.

    The whole study is ``python -m cmburden.studies.reading``.
    """
    population, detector = Population(), DetectorModel()
    truth, widths, inside = population.prevalence(False), [], []
    for repetition in range(60):
        random = np.random.default_rng(repetition)
        cohort = study.searched(random, population, detector, 1000, False)
        drawn = list(study.estimates(random, cohort, 100))
        widths.append([one.ci_high - one.ci_low for one in drawn])
        inside.append([one.ci_low <= truth <= one.ci_high for one in drawn])
    alone, simple, _, _, classes, upheld = np.mean(widths, axis=0)
    assert alone == pytest.approx(0.150, abs=0.005)
    assert simple == pytest.approx(0.120, abs=0.006)
    assert classes / alone <= 0.6 and upheld / alone <= 0.45
    assert (np.mean(inside, axis=0) >= 0.88).all()
