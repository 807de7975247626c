"""A page names the part of the cohort that it shows, and the set of tables that it is of."""

import pytest

from cmburden.core.paths import Layout
from cmburden.report import stage


def page(**variables) -> str:
    """The frame that all pages share."""
    template = stage.environment().from_string('{% extends "base.html.j2" %}')
    return template.render({"version": "1", "part": None, "tables_key": "0a1b"} | variables)


def test_a_part_is_named_before_all_else():
    text = page(part="Subset: 1 of 18 participants (participant 01).")
    body = text[text.index("<body>") :]
    assert body.index("Subset: 1 of 18 participants") < body.index("cmburden run BIDS_DIR")
    assert body.index("cmburden run BIDS_DIR") < body.index("<footer>")


def test_a_whole_cohort_has_no_notice():
    assert 'class="notice part"' not in page()


@pytest.mark.parametrize("key", ["0a1b", "f" * 64])
def test_a_page_tells_its_tables(tmp_path, key):
    layout = Layout(tmp_path)
    assert stage.tables_key(layout) is None
    layout.report.parent.mkdir()
    layout.report.write_text(page(tables_key=key))
    assert stage.tables_key(layout) == key


def test_a_page_of_an_older_version_tells_none(tmp_path):
    layout = Layout(tmp_path)
    layout.report.parent.mkdir()
    layout.report.write_text("<!doctype html><title>Report</title>")
    assert stage.tables_key(layout) is None
