"""The page to share: no id, no row a scan, no small number, and none that subtraction gives."""

import json
import re

import fabricate
import pytest
from test_report import Page, points

from cmburden.cohort import stage as aggregate
from cmburden.core.tables import PARTICIPANTS, SCANS
from cmburden.report import shareable, strobe
from cmburden.report import stage as report

LEAST = 5

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = fabricate.cohort(tmp_path_factory.mktemp("shareable"), participants=300)
    aggregate.run(made.layout, made.bids_dir, made.config)
    made.layout.phenotype_problems.write_text(json.dumps(["sub-ADNI001 is odd"]))
    report.run_shareable(made.layout, made.config, LEAST)
    return made


@pytest.fixture(scope="module")
def page(made):
    return Page(made.layout.shareable)


def test_no_id_and_no_path(made, page):
    """Audit 4, item 13: the page that is to be sent alone held ids and a row a scan."""
    text = made.layout.shareable.read_text()
    own = text.replace(report._plotly(), "")
    scans = SCANS.read(made.layout.table("scans"))
    people = PARTICIPANTS.read(made.layout.table("participants"))
    for name in {*scans["scan_id"], *people["participant_id"], *scans["path"].dropna()}:
        assert name not in own, name
    assert not re.search(r"sub-|ses-\d|every-scan-data\"", own.partition("<script>")[0])
    assert str(made.layout.root) not in own and str(made.bids_dir) not in own
    assert not page.sources or all("template" not in source for source in page.sources)
    assert {"check", "not-used", "every-scan"}.isdisjoint(page.ids)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert "img" not in page.tags


def test_no_small_number_in_words_or_charts(page):
    numbers = {}
    for row, field, _, _, attrs in page.numbers:
        if re.match(r"(published|model)=", row):
            continue
        numbers.setdefault(row, {})[field] = float(attrs["value"])
    assert numbers
    for row, fields in numbers.items():
        n, of = fields.get("n"), fields.get("denominator")
        assert n is None or not 0 < n < LEAST, row
        assert of is None or not 0 < of < LEAST, row
        assert None in (n, of) or not 0 < of - n < LEAST, row
    for name, chart in page.charts.items():
        for trace in chart["data"]:
            if trace["type"] == "bar":
                drawn = [value for _, value, _, _ in points_of(trace)]
                assert not any(0 < value < LEAST for value in drawn), name
            if trace["type"] == "heatmap":
                assert not any(0 < (n or 0) < LEAST for line in trace["z"] for n in line)
            for text in trace.get("text") or ():
                for n, of in re.findall(r"(\d+)/(\d+)", text):
                    assert not 0 < int(n) < LEAST and not 0 < int(of) - int(n) < LEAST


def points_of(trace):
    along = "x" if trace.get("orientation") == "h" else "y"
    drawn = [place for place, value in enumerate(trace[along]) if value is not None]
    kept = trace | {key: [trace[key][at] for at in drawn] for key in ("x", "y", "customdata")}
    return list(points(kept))


def test_what_is_not_small_is_shown(page):
    """A few people without a scan, or in one level, do not take the whole cohort with them."""
    shown = {(row, field) for row, field, _, _, _ in page.numbers}
    for contrast in ("GRE", "SWI"):
        assert (f"contrast={contrast} | presence definite", "n") in shown
    assert ("all | participants usable", "n") in shown
    assert "No participant has a usable scan" not in page.words()
    assert "chart-prevalence" in page.ids


def test_the_mark_is_said_and_used(page):
    words = page.words()
    assert "s stands for a suppressed number: a count from 1 to 4" in words
    assert "abbr" in page.tags


def test_equal_tables_give_an_equal_page(made):
    first = made.layout.shareable.read_bytes()
    report.run_shareable(made.layout, made.config, LEAST)
    assert made.layout.shareable.read_bytes() == first


def test_every_section_to_share_exists():
    assert {"flow", "burden", "methods"} <= set(shareable.SECTIONS)
    assert {"check", "not-used", "every-scan"}.isdisjoint(shareable.SECTIONS)


def test_strobe_has_its_items_and_links_that_lead_somewhere(made):
    """Audit 4, item 17."""
    assert [item.number for item in strobe.ITEMS] == [str(number) for number in range(1, 23)]
    section = strobe.select({"flow": "Participant flow"})
    links = {link for one in section.items for link in one.links}
    assert links == {("flow", "Participant flow")}
    assert all(item.by != strobe.YOURS or not item.sections for item in strobe.ITEMS)


def test_limitations_say_what_the_run_knows(page):
    words = page.words()
    assert "Limitations" in page.ids or "limitations" in page.ids
    assert "No person confirmed or rejected a lesion." in words
    assert "Participants were taken as independent" in words
