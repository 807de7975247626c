"""The pages that are made from code are up to date, and every file of a whole run is described."""

import outputs_page
import pytest
import site_pages

ROOT = outputs_page.DOCS.parent
LISTING = ROOT / "tests" / "workflow" / "whole_way.txt"


@pytest.mark.parametrize("name", outputs_page.PAGES)
def test_pages_are_what_the_code_says(name):
    """`make pages` writes them."""
    assert (outputs_page.DOCS / name).read_text() == outputs_page.PAGES[name]()


def test_every_file_of_a_whole_run_is_described():
    files = LISTING.read_text().split()
    assert len(files) > 60
    assert [name for name in files if outputs_page.pattern_of(name) is None] == []


def test_every_described_file_of_each_scan_is_written():
    """What needs microbleeds or several sessions is not in the listing of the whole way."""
    files = LISTING.read_text().split()
    written = {outputs_page.pattern_of(name) for name in files}
    described = {pattern for files in outputs_page.FILES.values() for pattern in files}
    absent = {pattern.split("*_")[-1] for pattern in described - written}
    assert absent == {
        "desc-CMB_montage.png",
        "desc-planes_montage.png",
        "changes.html",
        "montage.png",
    }


def test_a_file_that_is_not_described_is_noticed():
    assert outputs_page.pattern_of("sub-01/anat/sub-01_desc-new_mask.nii.gz") is None
    assert outputs_page.pattern_of("cohort/sub/scans.parquet") is None


def test_every_page_of_docs_is_in_the_site():
    pages = {path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")}
    listed = set(site_pages.sources())
    assert {str(page) for page in pages} - listed == set()
    assert all((ROOT / source).exists() for source in listed)


def test_links_of_the_site(tmp_path):
    text = (
        "[a](outputs.md#files) [b](../src/cmburden/run/cli.py) [c](https://x.org) ![d](spots.png)"
    )
    assert site_pages.linked(text, "docs/faq.md") == (
        "[a](outputs.md#files) b (`src/cmburden/run/cli.py`) [c](https://x.org) ![d](spots.png)"
    )
    assert site_pages.linked("[a](docs/faq.md)", "README.md") == "[a](faq.md)"
    assert site_pages.linked("[a](../config/README.md#keys)", "docs/faq.md") == (
        "[a](configuration.md#keys)"
    )
