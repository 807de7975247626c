"""Pages point at what is there: links, headings, files, and figures that stand elsewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "config", "models", "workflow", "tests", "envs", "tools")
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *(page for f in FOLDERS for page in (ROOT / f).rglob("*.md"))]
    if "node_modules" not in page.parts
)
#: Pages that name files of the package and of the repository in backticks.
NAMING = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"]


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Targets of a page's links and pictures that are no addresses."""
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)", without_code(page.read_text()))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """What a link may name after ``#``: headings as GitHub and GitLab write them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    faults = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            faults.append(link)
    return faults


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page):
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# One heading, of two\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#one-heading-of-two) [c](https://example.org/x)\n"
        "[d](gone.md) [e](other.md#gone) ![f](gone.png)\n"
        "```\n[g](code.md)\n```\n"
    )
    assert broken(page) == ["gone.md", "other.md#gone", "gone.png"]


def test_the_pages_of_the_repository_are_looked_at():
    assert {"README.md", "CONTRIBUTING.md", "decisions.md", "weights.md"} <= {
        page.name for page in PAGES
    }


def named_files(page: Path) -> set[str]:
    """Paths of code in backticks, such as `core/tables.py` or `tests/house/test_x.py`."""
    return set(re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|toml|smk|yml|md|lock))`", page.read_text()))


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    files = named_files(page)
    assert len(files) > 10
    absent = {f for f in files if not ((ROOT / f).exists() or (ROOT / "src/cmburden" / f).exists())}
    assert absent == set()


def figures(page: Path) -> set[str]:
    """Numbers with two decimals or three, dates and versions left out."""
    return set(re.findall(r"(?<![\d.])\d+\.\d{2,3}(?![\d.])", page.read_text()))


def test_figures_of_accuracy_are_copies():
    docs = ROOT / "docs"
    ours = figures(docs / "accuracy.md")
    assert len(ours) > 40
    assert ours - figures(docs / "evaluation.md") - figures(docs / "lab" / "weights.md") == set()
