"""The report says what the tables say, loads nothing, and stands whatever is missing."""

import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import fabricate

from cmburden import aggregate, report
from cmburden.montage import lesion_montage
from cmburden.tables import LESIONS, PARTICIPANTS, SCANS, SUMMARY

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Links, sources, ids and text of a page; fails on tags that do not close."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.sources, self.ids, self.open, self.text = [], [], set(), [], ""
        self.tags = set()
        self.feed(path.read_text())
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attrs:
            assert attrs["id"] not in self.ids
            self.ids.add(attrs["id"])
        if "href" in attrs:
            self.links.append(attrs["href"])
        if "src" in attrs:
            self.sources.append(attrs["src"])
        if tag == "img":
            assert attrs["alt"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("dt", "dd", "td", "th", "li", "p", "b"):
            self.text += " "

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data

    def words(self):
        return re.sub(r"\s+", " ", self.text)


def build(tmp, **options):
    made = fabricate.cohort(tmp, **options)
    aggregate.run(made.layout, made.bids_dir, made.config)
    lesions = LESIONS.read(made.layout.table("lesions"))
    volume, affine = np.ones((130, 130, 130), np.float32), np.eye(4)
    affine[:3, 3] = -65
    for row in made.scans:
        own = lesions[lesions["scan_id"] == row["scan_id"]]
        if len(own):
            path = made.layout.montage(fabricate.scan_object(row, made.bids_dir))
            lesion_montage(volume, affine, own.to_dict("records"), path, row["scan_id"])
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = build(tmp_path_factory.mktemp("report"))
    report.run(made.layout, made.config)
    return made


@pytest.fixture
def small(tmp_path):
    return build(tmp_path, participants=8, seed=3)


@pytest.fixture(scope="module")
def page(made):
    return Page(made.layout.report)


def test_page_loads_nothing_and_runs_nothing(made, page):
    assert "script" not in page.tags and "link" not in page.tags
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    text = made.layout.report.read_text()
    assert "http" not in text and "url(" not in text
    assert len(text) < 20_000_000


def test_every_link_leads_somewhere(made, page):
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not link.startswith("../logs/"):  # fabricated scans have no log
            assert (made.layout.report.parent / link).exists(), link


def test_prevalence_stands_as_in_the_summary(made, page):
    table = SUMMARY.read(made.layout.table("summary")).set_index(["stratum", "measure"])
    words = page.words()
    for stratum in ("all", "contrast=GRE", "cohort=OATS", "age_band=70-79", "sex=F"):
        row = table.loc[(stratum, "presence definite")]
        share = (
            f"{100 * row['estimate']:.1f} % ({100 * row['ci_low']:.1f}–{100 * row['ci_high']:.1f})"
        )
        assert share in words, stratum


def test_flow_adds_up_on_the_page(page):
    words = page.words()
    assert "In the tree 42" in words and "With a usable scan 38" in words
    assert "Without a usable scan: 4" in words
    for reason in ("file without bytes 1", "no GRE or SWI scan 1", "not aligned to MNI152 1"):
        assert reason in words


def test_unread_scans_are_listed_with_reason_and_log(made, page):
    words = page.words()
    scans = SCANS.read(made.layout.table("scans"))
    for row in scans[scans["status"] != "ok"].itertuples():
        assert row.scan_id in words and row.message in words
    assert f"../logs/preprocess/{made.scans[3]['scan_id']}.log" in page.links


def test_what_it_is_not_stands_plainly(page):
    words = page.words()
    assert "Research use only" in words and "trained on simulated scans" in words
    assert "Threshold, definite 0.6" in words and "false positives per scan 0.4" in words
    assert "pool GRE and SWI without adjustment" in words


def test_montage_of_every_scan_with_a_lesion(made, page):
    scans = SCANS.read(made.layout.table("scans"))
    lesions = (scans["n_cmb"] + scans["n_possible"] + scans["n_macrohaemorrhage"]).fillna(0)
    assert len(page.sources) == (lesions > 0).sum() > 0


def test_montages_beyond_the_budget_stay_on_their_pages(small, monkeypatch):
    monkeypatch.setattr(report, "_EMBED_BYTES", 6_000)
    report.run(small.layout, small.config)
    page = Page(small.layout.report)
    assert 0 < len(page.sources) < 7
    assert "more are on the pages of the participants" in page.words()


def test_a_page_for_every_participant(made):
    people = PARTICIPANTS.read(made.layout.table("participants"))
    for person in people.itertuples():
        page = Page(made.layout.subject_page(person.participant_id))
        assert "report/index.html" in page.links
        for source in page.sources:
            assert (made.layout.root / source).exists()
    page = Page(made.layout.subject_page("sub-OATS007"))
    words = page.words()
    assert "sub-OATS007_ses-2_swi (chosen)" in words and "most_recent_session" in words
    assert "No usable scan: no_scan" in Page(made.layout.subject_page("sub-MAS902")).words()


def test_two_runs_give_equal_bytes(small):
    report.run(small.layout, small.config)
    first = small.layout.report.read_bytes()
    report.run(small.layout, small.config)
    assert small.layout.report.read_bytes() == first


def test_report_stands_without_models_montages_and_phenotypes(small):
    shutil.rmtree(Path(small.config["detect"]["model"]).parent)
    (small.bids_dir / "participants.tsv").unlink()
    for path in small.layout.root.glob("sub-*/**/*.png"):
        path.unlink()
    aggregate.run(small.layout, small.bids_dir, small.config)
    report.run(small.layout, small.config)
    words = Page(small.layout.report).words()
    assert "No model contract" in words and "montages of the scans with lesions are not" in words


def test_report_stands_when_no_scan_was_read(small):
    for row in small.scans:
        small.layout.record("preprocess", row["scan_id"]).unlink()
    aggregate.run(small.layout, small.bids_dir, small.config)
    report.run(small.layout, small.config)
    words = Page(small.layout.report).words()
    assert "With a usable scan 0" in words and "not run to the end 9" in words


def test_text_from_outside_is_escaped(small):
    text = (small.bids_dir / "participants.tsv").read_text()
    (small.bids_dir / "participants.tsv").write_text(text.replace("site1", "<b>&site"))
    small.config["report"]["title"] = "Burden <script>"
    aggregate.run(small.layout, small.bids_dir, small.config)
    report.run(small.layout, small.config)
    page = Page(small.layout.report)
    assert "script" not in page.tags and "<b>&site" in page.words()


def test_counts_beyond_the_last_bar_are_in_it():
    bars = report._bars({1: 3, 30: 1, 99: 2}, 24, True)
    assert (bars[-1]["label"], bars[-1]["n"], bars[0]["n"]) == ("24+", 3, 3)
    assert sum(bar["n"] for bar in bars) == 6
