"""The report says what the tables say, loads nothing, and stands whatever is missing."""

import copy
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import fabricate
import numpy as np
import pandas as pd
import pytest

from cmburden.cohort import stage as aggregate
from cmburden.core.tables import (
    CANDIDATES,
    CURVES,
    LESION_CELLS,
    LESIONS,
    PARTICIPANTS,
    SCANS,
    SUMMARY,
)
from cmburden.report import check
from cmburden.report import stage as report
from cmburden.verify.montage import lesion_montage

pytestmark = pytest.mark.slow

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Links, sources, ids, text and numbers of a page; fails on tags that do not close."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.sources, self.ids, self.open, self.text = [], [], set(), [], ""
        self.tags, self.loaded, self.policy = set(), [], ""
        #: Of ``data`` elements: (row of `summary`, field, scale, text); and every other digit.
        self.numbers, self.stray, self.charts = [], [], {}
        self.feed(path.read_text())
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append((tag, attrs))
        if "id" in attrs:
            assert attrs["id"] not in self.ids
            self.ids.add(attrs["id"])
        if "href" in attrs:
            self.links.append(attrs["href"])
        if "src" in attrs:
            (self.sources if tag == "img" else self.loaded).append(attrs["src"])
        if tag == "img":
            assert attrs["alt"]
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag
        if tag in ("dt", "dd", "td", "th", "li", "p", "b", "span"):
            self.text += " "

    def handle_data(self, data):
        tag, attrs = self.open[-1] if self.open else ("", {})
        if tag == "script" and attrs.get("class") == "chart-data":
            self.charts[attrs["data-for"]] = json.loads(data)
        if tag in ("style", "script"):
            return
        self.text += data
        if tag == "data":
            row, _, field = attrs["data-of"].rpartition(" | ")
            self.numbers.append((row, field, float(attrs.get("data-scale", 1)), data, attrs))
        elif any(name == "main" for name, _ in self.open) and not any(
            name in ("th", "code", "a") or "data-source" in of_tag for name, of_tag in self.open
        ):
            left = KNOWN.sub("", data)
            if re.search(r"\d", left):
                self.stray.append(data.strip())

    def words(self):
        return re.sub(r"\s+", " ", self.text)


#: Digits of the page's of_scan sentences that are no result.
KNOWN = re.compile(
    r"95 %|MNI152|v2\.0|3D|sha256|above 10 mm|10 × 10 × 20 mm|numbers above 40|line is 1\b"
    r"|fewer than 5 participants|for each 100 participants"
)


def rows_of(layout) -> dict[tuple[str, str], dict]:
    """Rows that the page may name: of `summary`, and those of the charts by table and key."""
    table = SUMMARY.read(layout.table("summary"))
    rows = {(row["stratum"], row["measure"]): row for row in table.to_dict("records")}
    for points_of in (CURVES, LESION_CELLS):
        for row in points_of.read(layout.table(points_of.name)).to_dict("records"):
            key = [str(row[name]) for name in points_of.key if not pd.isna(row[name])]
            rows[points_of.name, ", ".join(key)] = row
    return rows


def differing(page: Page, rows: dict[tuple[str, str], dict]) -> list[str]:
    """Numbers of the page, in words and in charts, that are in none of the cohort's tables."""
    faults = []

    def value(key, field):
        stratum, _, measure = key.partition(" | ")
        row = rows.get((stratum, measure))
        return None if row is None else row[field]

    for key, field, scale, text, attrs in page.numbers:
        right = value(key, field)
        shown = float(text.replace("−", "-"))
        digits = len(text.partition(".")[2])
        if right is None or f"{right * scale:.{digits}f}" != f"{shown:.{digits}f}":
            faults.append(f"{key} {field}: {text}")
        elif float(attrs["value"]) != right:
            faults.append(f"{key} {field}: value {attrs['value']}")
    for name, chart in page.charts.items():
        for trace in chart["data"]:
            for at, drawn, key, ends in points(trace):
                titles = [chart["layout"].get(axis, {}).get("title") for axis in ("xaxis", "yaxis")]
                scale = 100 if any("%" in str(title) for title in titles) else 1
                if trace["type"] in ("bar", "heatmap"):
                    right, scale = value(key, "n"), 1
                elif " || " in key:
                    right = value(key.split(" || ")[0], "estimate")
                    assert value(key.split(" || ")[1], "estimate") == pytest.approx(at)
                else:
                    right = value(key, "estimate")
                if right is None or drawn != pytest.approx(right * scale):
                    faults.append(f"{name} {key}: {drawn}")
                for side, distance in ends.items():
                    if distance is not None:
                        off = abs(value(key, side) - right) * scale
                        if distance != pytest.approx(off):
                            faults.append(f"{name} {key} {side}: {distance}")
    return faults


def points(trace):
    """(other coordinate, value, row, distances to the ends) of each point that is drawn."""
    if trace["type"] == "heatmap":
        for line, keys in zip(trace["z"], trace["customdata"], strict=True):
            yield from ((None, z, key, {}) for z, key in zip(line, keys, strict=True) if key)
        return
    if not trace.get("customdata"):
        assert not any(value is not None for value in trace["x"]), "points without a row"
        return
    along = "x" if trace.get("orientation") == "h" or "error_x" in trace else "y"
    if " || " in trace["customdata"][0]:
        along = "x"
    other = "y" if along == "x" else "x"
    errors = trace.get(f"error_{along}", {})
    for place, key in enumerate(trace["customdata"]):
        ends = {
            name: errors[kind][place]
            for name, kind in (("ci_high", "array"), ("ci_low", "arrayminus"))
            if kind in errors
        }
        drawn = trace[along][place]
        yield trace[other][place], abs(drawn), key, ends


def build(tmp, **options):
    made = fabricate.cohort(tmp, **options)
    aggregate.run(made.layout, made.bids_dir, made.config)
    lesions = LESIONS.read(made.layout.table("lesions"))
    volume, affine = np.ones((130, 130, 130), np.float32), np.eye(4)
    affine[:3, 3] = -65
    for row in made.scans:
        of_scan = lesions[lesions["scan_id"] == row["scan_id"]]
        if len(of_scan):
            path = made.layout.montage(fabricate.scan_object(row, made.bids_dir))
            lesion_montage(volume, affine, of_scan.to_dict("records"), path, row["scan_id"])
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


def test_page_loads_nothing(made, page):
    assert "link" not in page.tags and not page.loaded
    assert "default-src 'none'" in page.policy and "connect-src" not in page.policy
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert made.layout.report.stat().st_size < 20_000_000


def test_every_number_of_the_page_is_that_of_the_summary(made, page):
    rows = rows_of(made.layout)
    assert len(page.numbers) > 500 and len(page.charts) >= 8
    assert sum(len(list(points(t))) for c in page.charts.values() for t in c["data"]) > 100
    assert differing(page, rows) == []
    # ... and the walk would see it if one were not.
    changed = copy.deepcopy(rows)
    changed["contrast=GRE", "presence definite"]["estimate"] += 0.01
    assert len(differing(page, changed)) >= 3
    curve = next(key for key in rows if key[0] == "curves" and "GRE" in key[1])
    cell = next(key for key in rows if key[0] == "lesion_cells")
    for key, column in ((curve, "estimate"), (cell, "n")):
        changed = copy.deepcopy(rows)
        changed[key][column] += 1
        assert differing(page, changed), key
    assert page.stray == []


def test_every_chart_has_words_and_a_table(made, page):
    text = made.layout.report.read_text()
    for name in page.charts:
        box = re.search(rf'id="{name}" role="img" aria-label="([^"]+)"', text)
        assert len(box[1]) > 40
    assert text.count('<details class="as-table" open>') == len(page.charts)


def test_every_link_leads_somewhere(made, page):
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not link.startswith("../logs/"):  # fabricated scans have no log
            assert (made.layout.report.parent / link).exists(), link


def test_nothing_pools_gre_and_swi(made, page):
    table = SUMMARY.read(made.layout.table("summary")).set_index(["stratum", "measure"])
    row = table.loc[("all", "presence definite")]
    assert pd.isna(row["estimate"]) and row["method"].startswith("not estimated: holds GRE")
    assert not any(key.startswith("all | presence") for key, *_ in page.numbers)
    keys = {key for key, *_ in page.numbers}
    for stratum in ("contrast=SWI & sex=F", "contrast=SWI & age_band=70-79"):
        assert f"{stratum} | presence definite" in keys


def test_flow_adds_up_on_the_page(page):
    words = page.words()
    assert "In the dataset 42" in words and "one chosen for each 38" in words
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
    assert "Research use only" in words and "trained on: 600 simulated GRE and SWI scans" in words
    assert "Threshold, definite 0.6" in words and "alse positives per scan 0.4" in words
    assert "are not pooled" in words


def test_pictures_beyond_the_budget_stay_on_their_pages(small, monkeypatch):
    report.run(small.layout, small.config)
    everything = Page(small.layout.report)
    monkeypatch.setattr(check, "EMBED_BYTES", 1)
    report.run(small.layout, small.config)
    page = Page(small.layout.report)
    assert not page.sources and everything.sources
    assert "More are on the pages of the participants" in page.words()


def test_what_to_check_first_links_to_its_scan(made, page):
    words, scans = page.words(), SCANS.read(made.layout.table("scans"))
    most = scans.sort_values("n_cmb", ascending=False).iloc[0]
    assert f"../{most['participant_id']}.html" in page.links
    assert f"{most['scan_id']} {most['contrast']} highest count" in words


def test_methods_say_what_the_run_was_configured_to(made, page):
    words = page.words()
    assert "the earliest session" in words and "definite from 0.6, possible from 0.3" in words
    detect = made.config["detect"]
    least, most = detect["min_probability"], detect["max_candidates"]
    assert f"at least {least}, at most {most} a scan" in words
    entries = made.layout.bibliography.read_text()
    for key in re.findall(r'href="#ref-(\w+)"', made.layout.report.read_text()):
        assert f"{{{key}," in entries and f"ref-{key}" in page.ids


def test_a_page_for_every_participant(made):
    people = PARTICIPANTS.read(made.layout.table("participants"))
    for person in people.itertuples():
        page = Page(made.layout.subject_page(person.participant_id))
        assert "report/index.html" in page.links
        for source in page.sources:
            assert (made.layout.root / source).exists()
    page = Page(made.layout.subject_page("sub-OATS007"))
    words = page.words()
    assert "sub-OATS007_ses-1_swi (chosen)" in words and "first_session" in words
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
    assert "No model contract" in words and "No participant has a value of age" in words


def test_report_stands_when_no_scan_was_read(small):
    for row in small.scans:
        small.layout.record("preprocess", row["scan_id"]).unlink()
    aggregate.run(small.layout, small.bids_dir, small.config)
    report.run(small.layout, small.config)
    words = Page(small.layout.report).words()
    assert "one chosen for each 0" in words and "not run to the end 9" in words


def test_text_from_outside_is_escaped(small):
    text = (small.bids_dir / "participants.tsv").read_text()
    (small.bids_dir / "participants.tsv").write_text(text.replace("site1", "<b>&site"))
    small.config["report"]["title"] = "Burden <script>"
    aggregate.run(small.layout, small.bids_dir, small.config)
    report.run(small.layout, small.config)
    page = Page(small.layout.report)
    assert "Burden <script>" in page.words() and "<b>&site" in page.words()


@pytest.mark.parametrize("kind", ["three", "one sex", "no positive", "all positive"])
def test_small_cohorts_say_what_cannot_be_estimated(tmp_path, kind):
    made = build(tmp_path, participants=3 if kind == "three" else 12, seed=5)
    layout, config = made.layout, made.config
    if kind == "one sex":
        path = made.bids_dir / "participants.tsv"
        path.write_text(path.read_text().replace("\tM\t", "\tF\t"))
    if kind in ("no positive", "all positive"):
        threshold = 1.1 if kind == "no positive" else 0.0
        for path in (layout.work / "verify").glob("bucket-*.parquet"):
            rows = CANDIDATES.read(path)
            rows["label"] = np.where(rows["probability"] >= threshold, "definite", "rejected")
            rows["kept"] = rows["label"] != "rejected"
            rows["diameter_mm"] = 4.0
            CANDIDATES.write(path, rows)
    aggregate.run(layout, made.bids_dir, config)
    report.run(layout, config)
    page = Page(layout.report)
    assert differing(page, rows_of(layout)) == [] and page.stray == []
    table = SUMMARY.read(layout.table("summary"))
    presence = table[table["measure"].str.startswith("odds ratio presence")]
    if kind != "one sex":
        assert presence["estimate"].isna().all() and "not estimated: " in page.words()
