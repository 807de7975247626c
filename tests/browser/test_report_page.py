"""The cohort's page in a real Chromium: charts, colours, tables in pages, no network, axe."""

import csv
import re

import fabricate
import pytest
from waiting import until

from cmburden.cohort import stage as aggregate
from cmburden.report import stage as report


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = fabricate.cohort(tmp_path_factory.mktemp("report"), participants=40)
    aggregate.run(made.layout, made.bids_dir, made.config)
    report.run(made.layout, made.config)
    return made


def drawn(watched):
    """The page after all its charts were drawn: each is when it comes near the window."""
    page = watched.page
    for box in page.query_selector_all(".chart"):
        box.scroll_into_view_if_needed()
    until(
        page, "[...document.querySelectorAll('.chart')].every(c => c.querySelector('svg.main-svg'))"
    )
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_without_an_error_or_a_request_and_axe_finds_no_serious_fault(
    made, opened, axe, scheme
):
    watched = opened(made.layout.report, scheme=scheme)
    page = drawn(watched)
    assert watched.errors == [] and watched.from_network == []
    # Beside itself it asks only for the picture that says whether it was sent alone.
    asked = [url for url in watched.requests if url.startswith("file:")]
    assert asked == [made.layout.report.as_uri(), made.layout.beside_report.as_uri()]
    # Closed details are part of the page too.
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert axe(page) == []


def test_charts_hold_what_their_tables_hold(made, opened):
    page = drawn(opened(made.layout.report))
    bars = page.evaluate(
        "document.getElementById('chart-counts').data.reduce((n, t) => n + t.y.length, 0)"
    )
    shapes = page.locator("#chart-counts .bars .point path").count()
    assert bars == shapes > 2
    assert page.locator("#chart-prevalence .scatterlayer .point").count() > 10


def test_axes_have_lines_ticks_and_a_grid(made, opened):
    """Plotly leaves lines and ticks out where only a template gives them a colour."""
    page = drawn(opened(made.layout.report))
    chart = page.locator("#chart-by-age")
    assert chart.evaluate("c => c._fullLayout.xaxis.showline && c._fullLayout.yaxis.showline")
    assert chart.locator("path.xtick.ticks").count() > 3
    assert chart.locator("path.xgrid").count() > 3


def test_charts_take_the_reader_s_colours(made, opened):
    def ink(scheme):
        page = drawn(opened(made.layout.report, scheme=scheme))
        text = page.locator("#chart-prevalence .xtick text").first
        colour = text.evaluate("e => getComputedStyle(e).fill")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert ink("light") < 60 < 200 < ink("dark")


def test_long_tables_come_in_pages_and_are_searched(made, opened):
    page = opened(made.layout.report).page
    rows = page.locator("#scan-list tbody tr")
    assert rows.count() == 25
    pager = page.locator("#every-scan .pager")
    assert pager.get_by_role("button", name="Previous").is_disabled()
    pager.get_by_role("button", name="Next").click()
    assert re.match(r"26–\d+ of 4\d", pager.locator("span").inner_text())
    pager.get_by_label("Find").fill("oats007")
    assert rows.count() == 2 and "OATS007" in rows.first.inner_text()
    link = rows.first.locator("a").get_attribute("href")
    assert (made.layout.report_dir / link).exists()


def test_a_page_sent_alone_has_no_dead_links(made, opened, tmp_path):
    links = "document.querySelectorAll('a[href^=\"../\"]').length"
    beside = opened(made.layout.report).page
    beside.wait_for_timeout(300)
    assert beside.evaluate(links) > 20 and not beside.locator("#alone").is_visible()
    alone = tmp_path / "report.html"
    alone.write_text(made.layout.report.read_text())
    page = opened(alone).page
    page.locator("#alone").wait_for()
    page.locator("#every-scan .pager").get_by_role("button", name="Next").click()
    page.wait_for_timeout(200)
    assert page.evaluate(links) == 0
    assert page.locator("#scan-list tbody th").first.inner_text().startswith("sub-")


def test_tables_sort_and_are_saved_and_charts_are(made, opened):
    page = opened(made.layout.report, accept_downloads=True).page
    head = page.locator("#scan-list thead").get_by_role("button", name="Definite")
    head.click()
    head.click()
    shown = [int(v) for v in page.locator("#scan-list tbody td:nth-child(5)").all_inner_texts()[:9]]
    assert shown == sorted(shown, reverse=True) and shown[0] > 0
    with page.expect_download() as saved:
        page.locator("#every-scan").get_by_role("button", name="Save as CSV").click()
    rows = list(csv.reader(saved.value.path().read_text(encoding="utf-8-sig").splitlines()))
    assert rows[0][:2] == ["Scan", "Cohort"] and len(rows) > 41  # all, not a page of them
    assert {len(row) for row in rows} == {7}
    with page.expect_download() as saved:
        page.locator("#burden .save button", has_text="SVG").first.click()
    assert "<svg" in saved.value.path().read_text(encoding="utf-8")


def test_a_dot_a_scan_opens_its_page(made, opened):
    page = opened(made.layout.report).page
    canvas = page.locator(".dots canvas")
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    box = canvas.bounding_box()
    said = page.locator(".dots output")
    # The smallest brain has its dot at the left edge of the first strip.
    for y in range(20, 46, 2):
        page.mouse.move(box["x"] + 6, box["y"] + y)
        if "Brain volume" in said.inner_text():
            break
    name = said.inner_text().partition("_")[0]
    page.mouse.click(box["x"] + 6, box["y"] + y)
    page.wait_for_url(f"**/{name}.html")


def test_without_scripts_every_table_stands_open(made, opened):
    page = opened(made.layout.report, java_script_enabled=False).page
    assert page.locator("details.as-table[open]").count() == page.locator(".chart").count()
    assert page.locator("#where table tbody tr").first.is_visible()


def test_prints_its_charts(made, opened, tmp_path):
    page = opened(made.layout.report).page
    pdf = tmp_path / "page.pdf"
    page.pdf(path=pdf, format="A4")
    assert pdf.read_bytes().startswith(b"%PDF") and pdf.stat().st_size > 60_000
    # Charts far below were drawn for the paper, though nobody scrolled to them.
    assert page.locator("#chart-thresholds svg.main-svg").count() > 0


def test_no_table_is_cut_off_on_paper(made, opened):
    """A4 with margins of 14 mm is 182 mm wide, 688 pixels: paper cannot be scrolled."""
    page = opened(made.layout.report, width=688).page
    page.emulate_media(media="print")
    cut = page.evaluate(
        "[...document.querySelectorAll('table')].filter(t => t.offsetParent"
        " && t.getBoundingClientRect().right > 689).map(t => t.closest('section').id)"
    )
    assert cut == []
