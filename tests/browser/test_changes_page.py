"""The page of a participant's sessions in a real Chromium: narrow, wide, its pictures loaded."""

import sys
from pathlib import Path

import pytest
from test_pages import CHROMIUM, laid_out

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from test_report_changes import LESIONS, fabricate, follow

from cmburden.cohort import stage as aggregate
from cmburden.report import changes as report_changes
from cmburden.report import stage as report
from cmburden.report.tables import ReportTables

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    made = fabricate.cohort(tmp_path_factory.mktemp("changes"), participants=8)
    follow(made)
    aggregate.run(made.layout, made.bids_dir, made.config)
    shared = {"version": "0", "title": "Cohort", "tables_key": "0", "part": None}
    tables = ReportTables(made.layout)
    (name,) = report_changes.write_pages(
        report.environment(), shared, made.layout, made.config, tables
    )
    return made.layout.changes_page(name)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(page, tmp_path, width):
    found = laid_out(page, tmp_path, width)
    assert int(found["scroll"]) <= width and found["wide"] == "", found
    assert int(found["images"]) == len(LESIONS)
