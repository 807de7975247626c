"""The report of a cohort with corrected figures: walked number by number as the other one is."""

import pytest
from test_report import Page, differing, rows_of

from cmburden.report import stage as report
from cmburden.studies import table_cohort

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = table_cohort.write(tmp_path_factory.mktemp("corrected"), participants=160, seed=3)
    report.run(made.layout, made.config)
    return made


def test_every_corrected_number_is_that_of_the_summary(made):
    page, rows = Page(made.layout.report), rows_of(made.layout)
    assert differing(page, rows) == [] and page.stray == []
    names = {"correction", "correction-strata", "correction-patterns", "correction-profile"}
    assert names <= {name.removeprefix("chart-") for name in page.charts}
    corrected = ("contrast=GRE", "prevalence corrected")
    assert 0 < rows[corrected]["ci_low"] < rows[corrected]["estimate"] < rows[corrected]["ci_high"]


def test_the_first_figure_is_corrected_or_has_its_floor(made):
    """Audit C: the apparent prevalence stood on top of the page, without a floor."""
    text = made.layout.report.read_text(encoding="utf-8")
    head = text.partition('<section id="flow"')[0]
    for contrast in ("GRE", "SWI"):
        assert f"Prevalence, {contrast}, corrected" in head
        assert f'data-of="contrast={contrast} | detector false-positive floor | estimate"' in head
    assert "What the counts say of the detector" in text
    rows = rows_of(made.layout)
    upper = [row["ci_high"] for (_, name), row in rows.items() if name == "prevalence corrected"]
    assert upper and all(high is None or high > 0.01 for high in upper)
