"""The report's section on change and a page a participant: what the tables say, from a fabricated
cohort in which one participant was seen twice."""

import shutil

import fabricate
import numpy as np
import pytest
from test_report import Page

from cmburden.cohort import stage as aggregate
from cmburden.core.files import whole_file
from cmburden.core.keys import bucket_of
from cmburden.core.tables import CHANGES, FOLLOWED_SESSIONS, PAIRS, SUMMARY, TRACKS
from cmburden.follow.figure import Part, side_by_side
from cmburden.report import changes as report_changes
from cmburden.report import stage as report
from cmburden.report.tables import ReportTables

pytestmark = pytest.mark.slow

NAME = "sub-OATS007"
SCANS = [f"{NAME}_ses-{k}_swi" for k in (1, 2)]
#: Found in the first, in the second, p where not found, in view.
LESIONS = [
    (True, True, 0.0, True),
    (False, True, 0.04, True),
    (False, True, 0.8, True),
    (True, False, 0.02, True),
    (False, True, 0.05, False),
]
POSITION = {
    "x_mm": 1.0,
    "y_mm": 2.0,
    "z_mm": 3.0,
    "middle_x_mm": 1.0,
    "middle_y_mm": 2.0,
    "middle_z_mm": 3.0,
    "region": "frontal",
    "group": "lobar",
    "hemisphere": "left",
}


def follow(made) -> None:
    """Shards of longitudinal, and pictures, of the participant with two sessions."""
    bucket = bucket_of(NAME, made.config["buckets"])
    sessions = [
        {
            "participant_id": NAME,
            "session_id": f"ses-{k}",
            "scan_id": scan,
            "status": "followed",
            "overlap": 0.96,
            "correlation": 0.8,
        }
        for k, scan in enumerate(SCANS, start=1)
    ]
    FOLLOWED_SESSIONS.write(made.layout.followed(bucket), sessions)
    rows = []
    for number, (*there, p, in_view) in enumerate(LESIONS, start=1):
        for k, is_there in enumerate(there):
            row = {"participant_id": NAME, "track_id": number, "scan_id": SCANS[k]}
            row |= {"session_id": f"ses-{k + 1}", "found": is_there, "in_view": is_there or in_view}
            row |= {"p_there": 1.0 if is_there else p}
            if is_there:
                row |= {"lesion_id": number, "label": "definite", "probability": 0.9}
            rows.append(POSITION | row)
        crop = np.linspace(0, 1, 128 * 128).reshape(128, 128)
        content = side_by_side([Part(crop, crop, found) for found in (True, False)])
        with whole_file(made.layout.change_figure(NAME, number)) as path:
            path.write_bytes(content)
    TRACKS.write(made.layout.bucket("longitudinal", bucket), rows)
    header = "session_id\tacq_time\nses-1\t2018-01-01T00:00:00\nses-2\t2020-01-01T00:00:00\n"
    folder = made.bids_dir / NAME
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}_sessions.tsv").write_text(header)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = fabricate.cohort(tmp_path_factory.mktemp("changes"), participants=16)
    follow(made)
    aggregate.run(made.layout, made.bids_dir, made.config)
    return made


#: What every page of a report gets.
SHARED = {"version": "0", "title": "T", "tables_key": "0", "part": None}


def section(made) -> report_changes.Changes | None:
    return report_changes.select(ReportTables(made.layout), made.layout, made.config)


def test_aggregate_makes_the_tables(made):
    pairs, rows = PAIRS.read(made.layout.table("pairs")), CHANGES.read(made.layout.table("changes"))
    expected = ["persisting", "new", "persisting", "lost", "not comparable"]
    assert rows["change"].tolist() == expected
    assert pairs["aria_h_style"].tolist() == ["1 to 4"]
    assert pairs["years"].iloc[0] == pytest.approx(730 / 365.25, abs=1e-4)
    for name in ("changes", "pairs"):
        assert made.layout.table_sidecar(name).exists()
    summary = SUMMARY.read(made.layout.table("summary"))
    assert {"all", "contrast=SWI"} <= set(
        summary.loc[summary["measure"] == "lesions new", "stratum"]
    )


def test_the_section_says_what_the_summary_says(made, tmp_path):
    content = section(made)
    page = report.environment().from_string(
        '{% extends "base.html.j2" %}{% block body %}{% include "_changes.html.j2" %}{% endblock %}'
    )
    path = tmp_path / "index.html"
    path.write_text(page.render(section={"content": content}, **SHARED))
    read = Page(path)
    words = read.words()
    assert "Participants with scans of several sessions: 1 (sessions followed 2)" in words
    assert "ARIA-H-style categories" in words and "1 to 4 new" in words
    assert f"../{NAME}_changes.html" in read.links
    assert [row.name for row in content.strata] == ["SWI"]
    assert content.strata[0].new["n"] == 1 and content.strata[0].once["n"] == 1
    assert "0.50 (0.01–2.79)" in words  # 1 in 2 person-years, Garwood


def test_a_page_with_both_sessions_at_each_lesion(made):
    pages = report.environment()
    assert report_changes.write_pages(
        pages, SHARED, made.layout, made.config, ReportTables(made.layout)
    ) == [NAME]
    read = Page(made.layout.changes_page(NAME))
    assert len(read.sources) == len(LESIONS)
    assert all((made.layout.root / source).exists() for source in read.sources)
    words = read.words()
    assert "1 new, 2 persisting (1 found once), 1 lost, 1 not comparable" in words
    assert "ARIA-H-style category: 1 to 4 new since the first session" in words
    assert {f"lesion-{k}" for k in range(1, 6)} <= read.ids
    assert {f"{NAME}.html", "report/index.html"} <= set(read.links)
    assert "2.0 years" in words
    # Lesion 2 is new: the picture's columns say so.
    text = made.layout.changes_page(NAME).read_text()
    missing, there = '<b class="missed">not found</b>', '<b class="found">found</b>'
    assert f"<span>ses-1<br>{missing}</span><span>ses-2<br>{there}</span>" in text


def test_pages_of_before_go(made):
    old = made.layout.changes_page("sub-GONE")
    old.write_text("")
    report_changes.write_pages(
        report.environment(), SHARED, made.layout, made.config, ReportTables(made.layout)
    )
    assert not old.exists()


@pytest.mark.slow
def test_shards_that_are_missing_are_sessions_not_read(made, tmp_path):
    """`cmburden run ... group` over what is there."""
    shutil.copytree(made.layout.root, tmp_path / "derivatives")
    layout = type(made.layout)(tmp_path / "derivatives")
    shutil.rmtree(layout.work / "longitudinal")
    aggregate.run(layout, made.bids_dir, made.config)
    assert PAIRS.read(layout.table("pairs")).empty
    content = report_changes.select(ReportTables(layout), layout, made.config)
    assert [(one.status, one.row["n"]) for one in content.sessions] == [("not read", 2)]


@pytest.mark.slow
def test_nobody_with_sessions_no_section(tmp_path):
    made = fabricate.cohort(tmp_path, participants=6)
    aggregate.run(made.layout, made.bids_dir, made.config)
    assert section(made) is None
    assert CHANGES.read(made.layout.table("changes")).empty
    assert (
        report_changes.write_pages(
            report.environment(), {}, made.layout, made.config, ReportTables(made.layout)
        )
        == []
    )
