"""A reviewed cohort through aggregate: columns, and the report's section."""

import re

import fabricate
import pandas as pd
import pytest

from cmburden.cohort import stage as aggregate
from cmburden.core.files import write_json
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.report import review as report_review
from cmburden.report import stage as report
from cmburden.report.tables import ReportTables
from cmburden.review import store

pytestmark = pytest.mark.slow


def decide(decisions: store.Store, row: dict, **more) -> None:
    place = {f"{axis}_mm": row.get(f"{axis}_mm") for axis in "xyz"}
    as_shown = {f"shown_{name}": value for name, value in place.items()}
    decisions.decide(
        place
        | as_shown
        | {name: row.get(name) for name in ("scan_id", "candidate_id", "region", "group")}
        | {"mode": "review", "blinded": True, "ordering": "random", "content_key": row["key"]}
        | more
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A and B judge every lesion and read 12 scans free-hand; they dispute the first lesion."""
    made = fabricate.cohort(tmp_path_factory.mktemp("reviewed"), participants=24)
    keys = {row["scan_id"]: row["content_key"] for row in made.scans}
    candidates = [row | {"key": keys[row["scan_id"]]} for row in made.candidates if row["kept"]]
    for name in "AB":
        decisions = store.Store(made.layout, name)
        for number, row in enumerate(candidates):
            yes = row["label"] == "definite" if number else name == "A"
            vote = {"decision": "accept", "class": "microbleed"}
            decide(decisions, row, **(vote if yes else {"decision": "reject", "class": "vessel"}))
        for scan_id in sorted(keys)[:12]:
            row = {"scan_id": scan_id, "key": keys[scan_id]}
            decide(decisions, row, decision="read", mode="free-hand")
        decisions.close()
    store.export(made.layout)
    aggregate.run(made.layout, made.bids_dir, made.config)
    return made


def table(layout: Layout, name: str) -> pd.DataFrame:
    return pd.read_parquet(layout.table(name))


@pytest.mark.slow
def test_automatic_columns_are_those_of_a_cohort_without_review(made, tmp_path):
    scans = table(made.layout, "scans")
    plain = fabricate.cohort(tmp_path, participants=24)
    aggregate.run(plain.layout, plain.bids_dir, plain.config)
    without = table(plain.layout, "scans")
    for name in ("n_cmb", "n_possible", "n_macrohaemorrhage", "pattern", "status"):
        assert scans[name].equals(without[name]), name
    for name in ("n_readers", "n_reviewed", "n_review_open", "n_cmb_reviewed"):
        assert without[name].isna().all()
        assert scans[name].isna().sum() < len(scans)
    assert not len(table(plain.layout, "reviewed"))
    measures = table(plain.layout, "summary")["measure"]
    assert not measures.str.startswith("review ").any()


def test_reviewed_counts_stand_beside_and_failed_scans_have_none(made):
    scans = table(made.layout, "scans")
    failed = scans[scans["status"] != "ok"]
    names = ["n_readers", "n_reviewed", "n_review_open", "n_cmb_reviewed"]
    assert failed[names].isna().all(axis=None)
    ok = scans[scans["status"] == "ok"]
    assert ok["n_review_open"].sum() == 1  # the disputed one
    places = table(made.layout, "reviewed")
    assert places["settled"].value_counts()["disputed"] == 1
    lesions = table(made.layout, "lesions")
    assert places["lesion_id"].notna().sum() == len(lesions)
    counted = ok.dropna(subset="n_cmb_reviewed").set_index("scan_id")["n_cmb_reviewed"]
    yes = places[places["microbleed"].eq(True)].groupby("scan_id").size()
    assert counted[counted > 0].to_dict() == yes[yes.index.isin(counted.index)].to_dict()
    people = table(made.layout, "participants").set_index("scan_id")["n_cmb_reviewed"].dropna()
    assert people.to_dict() == counted[people.index].to_dict()


@pytest.mark.slow
def test_equal_decisions_give_equal_bytes(made):
    names = [name for name in COHORT_TABLES if name != "runs"]
    before = {name: made.layout.table(name).read_bytes() for name in names}
    store.export(made.layout)
    aggregate.run(made.layout, made.bids_dir, made.config)
    assert {name: made.layout.table(name).read_bytes() for name in names} == before


def test_the_section_says_who_agrees_and_what_is_disputed(made):
    pages = report.environment()
    review = report_review.select(ReportTables(made.layout), made.layout)
    assert review.readers == ["A", "B"]
    assert review.disputed_left == 0 and len(review.disputed) == 1
    page = pages.get_template("_review.html.j2").render(section={"content": review})
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "A / B" in words and "A / software" in words
    assert "A: microbleed; B: vessel" in words
    disputed = table(made.layout, "reviewed").query("settled == 'disputed'").iloc[0]
    assert disputed["scan_id"] in words
    assert f'href="../{disputed["participant_id"]}.html"' in page
    assert "nan" not in words and "None" not in words


def test_the_section_names_a_readers_file_that_does_not_count(made):
    write_json(made.layout.review_problems, ["reviews/A.sqlite: is empty <0 bytes>"])
    try:
        tables, template = ReportTables(made.layout), "_review.html.j2"
        pages, review = report.environment(), report_review.select(tables, made.layout)
        page = pages.get_template(template).render(section={"content": review})
        assert "Not counted:</strong> reviews/A.sqlite: is empty &lt;0 bytes&gt;." in page
        # Also where nobody else reviewed the cohort.
        tables._estimates, tables._named = {}, []
        review = report_review.select(tables, made.layout)
        page = pages.get_template(template).render(section={"content": review})
        assert "reviews/A.sqlite" in page and "are settled" not in page
    finally:
        made.layout.review_problems.unlink()
    assert report_review.select(ReportTables(made.layout), made.layout).problems == []


# The last test of the file: the tables stay those of other counts.
@pytest.mark.parametrize("counts", ["reviewed", "combined"])
def test_the_page_is_of_the_counts_that_are_wanted(made, counts, tmp_path):
    """Audit A8: burden of readers' counts, beside the software's; every row has a name."""
    config = made.config | {"report": made.config["report"] | {"counts": counts}}
    aggregate.run(made.layout, made.bids_dir, config)
    tables = ReportTables(made.layout)
    assert tables.counts == counts
    report.run(made.layout, config)
    words = " ".join(re.sub(r"<[^>]+>", " ", made.layout.report.read_text()).split())
    assert ("readers’ counts (report.counts)" in words) == (counts == "reviewed")
    compared = report_review.select(tables, made.layout).contrasts[0].compared
    assert [line.words for line in compared][:2] == ["With a microbleed", "Mean count"]
    by = [cell["estimate"] for cell in compared[0].cells]
    assert len(by) == 3 and compared[0].cells[-1]["stratum"].startswith("counts=automatic")
    summary = table(made.layout, "summary")
    models = summary[summary["measure"].str.startswith("odds ratio presence")]
    if counts == "combined":
        assert models["estimate"].isna().all()
