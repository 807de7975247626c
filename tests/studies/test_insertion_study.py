"""The study of inserted lesions: agreement counted by hand."""

import pytest

from cmburden.studies.insertion import Share, Stratum, picture, report

STRATA = [
    Stratum(
        "A",
        Share(0.90, 0.80, 0.95, 40),
        {"physics": Share(0.94, 0.85, 0.98, 30), "plain": Share(0.70, 0.60, 0.79, 30)},
    ),
    Stratum("B", Share(0.60, 0.50, 0.70, 40), {"physics": Share(0.58, 0.45, 0.70, 30)}),
    Stratum("C", Share(0.60, 0.50, 0.70, 40), {}),
]


def test_the_lowest_renderer_is_believed():
    assert [one.lowest.estimate for one in STRATA[:2]] == [0.70, 0.58]
    assert STRATA[2].lowest is None


def test_agreement_and_mean_difference_by_renderer():
    text = report(STRATA)
    assert "physics: intervals agree in 2 of 2 strata; mean difference +1.0 points." in text
    assert "plain: intervals agree in 0 of 1 strata; mean difference -20.0 points." in text
    assert "lowest: intervals agree in 1 of 2 strata; mean difference -11.0 points." in text
    assert "transplant" in text and "transplant: intervals" not in text
    assert "| C | 0.60 (0.50-0.70), 40 | - | - | - | - |" in text


@pytest.mark.slow
def test_the_scatter_is_drawn(tmp_path):
    assert picture(STRATA, tmp_path / "a.png").stat().st_size > 5000
