"""Warnings of all stages reach table, page and report; unknown sides are unknown everywhere."""

import dataclasses
import re

import fabricate
import pandas as pd
import pytest

from cmburden.cohort import stage as aggregate
from cmburden.cohort.scans import region_counts
from cmburden.core import remarks
from cmburden.core.scan import Outcome
from cmburden.core.tables import CANDIDATES, COUNTS, LESION_CELLS, LESIONS, MANIFEST, SCANS
from cmburden.report import stage as report
from cmburden.space.regions import REGIONS
from cmburden.verify.stage import without_side

pytestmark = pytest.mark.slow

SIDES = "Its header has no orientation: left and right may be swapped."
SIDECAR = "No sidecar: echo time and field strength are unknown."


def warn(layout, stage, scan_id, message, **measures):
    record = layout.record(stage, scan_id)
    before = Outcome.read(record)
    dataclasses.replace(before, message=message, measures=before.measures | measures).write(record)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Scan 1 has warnings of index, preprocess and register, and unknown sides; scan 2 one of
    register; scan 5, which register excludes, one of preprocess."""
    cohort = fabricate.cohort(tmp_path_factory.mktemp("cohort"), participants=8, seed=3)
    ids = [row["scan_id"] for row in cohort.scans]
    cohort.scans[1]["warning"] = SIDECAR
    MANIFEST.write(cohort.layout.manifest, cohort.scans)
    warn(cohort.layout, "preprocess", ids[1], SIDES, left_right_known=False)
    warn(cohort.layout, "register", ids[1], "The T1w was not used: it has 2 slices.")
    warn(cohort.layout, "register", ids[2], "The T1w was not used: it is|constant.")
    warn(cohort.layout, "preprocess", ids[5], SIDES, left_right_known=False)
    shard = cohort.layout.bucket("verify", cohort.scans[1]["bucket"])
    rows = CANDIDATES.read(shard)
    others = rows[rows["scan_id"] != ids[1]]
    lesions = [fabricated(ids[1], number) for number in range(3)]
    CANDIDATES.write(shard, pd.concat([others, without_side(CANDIDATES.frame(lesions))]))
    aggregate.run(cohort.layout, cohort.bids_dir, cohort.config)
    report.run(cohort.layout, cohort.config)
    return cohort, ids


def fabricated(scan_id, number):
    place = {"x_mm": 30.0, "y_mm": float(number), "z_mm": 0.0}
    mni = {"mni_x": 30.0, "mni_y": float(number), "mni_z": 0.0}
    place |= {"region": "frontal", "group": "lobar", "hemisphere": "right"} | mni
    scores = {"p_cnn": 0.9, "p_yolo": 0.9, "probability": 0.9, "label": "definite", "kept": True}
    return place | scores | {"scan_id": scan_id, "candidate_id": number, "diameter_mm": 3.0}


def test_every_stage_s_warning_is_in_the_table_in_the_order_of_the_stages(made):
    cohort, ids = made
    scans = SCANS.read(cohort.layout.table("scans")).set_index("scan_id")
    assert remarks.split(scans.loc[ids[1], "warning"]) == [
        SIDECAR,
        SIDES,
        "The T1w was not used: it has 2 slices.",
    ]
    assert scans.loc[ids[2], "warning"] == "The T1w was not used: it is/constant."
    assert scans.loc[ids[5], ["status", "warning"]].tolist() == ["excluded", SIDES]
    assert scans["warning"].notna().sum() == 3


def test_warnings_stand_on_the_participant_s_page_and_in_the_report(made):
    cohort, ids = made
    page = cohort.layout.subject_page(cohort.scans[1]["participant_id"]).read_text()
    for text in (SIDECAR, SIDES, "The T1w was not used: it has 2 slices."):
        assert f'<p class="note">{text}</p>' in page
    index = cohort.layout.report.read_text()
    quality = re.search(r'<section id="quality".*?</section>', index, re.S)[0]
    rows = re.findall(r'<th scope="row" class="wide">(.*?)</th><td class="n">(\d+)</td>', quality)
    # Sentences with facts of their own are one kind; equal sentences stand as they are.
    assert rows == [(SIDES, "2"), ("The T1w was not used", "2"), (SIDECAR, "1")]
    assert f">{ids[5]}</a>" in quality


def test_unknown_sides_are_in_no_table(made):
    cohort, ids = made
    layout, name = cohort.layout, ids[1]
    scans = SCANS.read(layout.table("scans")).set_index("scan_id")
    assert not scans.loc[name, "left_right_known"]
    lesions = LESIONS.read(layout.table("lesions"))
    lesions = lesions[lesions["scan_id"] == name]
    assert len(lesions) == 3 and set(lesions["hemisphere"]) == {"unknown"}
    assert lesions["mni_x"].isna().all() and lesions["mni_y"].notna().all()
    assert set(lesions["region"]) == {"frontal"} and set(lesions["group"]) == {"lobar"}
    counts = COUNTS.read(layout.table("counts"))
    own = counts[counts["scan_id"] == name]
    assert set(own["hemisphere"]) == {"unknown"} and len(own) == len(REGIONS) + 1
    assert own["n_definite"].sum() == 3
    others = counts[~counts["scan_id"].isin([name, ids[5]])]
    assert (others["hemisphere"] == "unknown").sum() == (others["region"] == "unknown").sum()
    cells = LESION_CELLS.read(layout.table("lesion_cells"))
    contrast = cohort.scans[1]["contrast"]
    cells = cells[cells["contrast"] == contrast]
    assert (cells["denominator"] - cells["n"].sum() == 3).all()


def test_the_report_says_how_many_have_no_side(made):
    cohort, _ = made
    page = cohort.layout.report.read_text()
    where = re.search(r'<section id="where".*?</section>', page, re.S)[0]
    assert "left and right are unknown" in where
    assert re.search(r"frontal <[^>]*>3<", where)


def test_counts_of_both_kinds_of_scans_add_up():
    scans = pd.DataFrame(
        {"scan_id": ["a", "b"], "path": "x", "status": "ok", "left_right_known": [True, False]}
    )
    lesions = pd.DataFrame(
        {
            "scan_id": ["a", "b"],
            "label": "definite",
            "region": "frontal",
            "hemisphere": ["left", "unknown"],
            "macrohaemorrhage": False,
        }
    )
    counts = region_counts(scans, lesions).set_index("scan_id")
    assert len(counts.loc["a"]) == 2 * len(REGIONS) + 1
    assert len(counts.loc["b"]) == len(REGIONS) + 1
    for name, side in (("a", "left"), ("b", "unknown")):
        (row,) = counts.loc[name][counts.loc[name]["n_definite"] > 0].to_dict("records")
        assert (row["region"], row["group"], row["hemisphere"]) == ("frontal", "lobar", side)


def test_kinds_of_remarks():
    assert remarks.kind("Echo 39.5 ms is outside.") == remarks.kind("Echo 8 ms is outside.")
    assert remarks.kind("A: b") != remarks.kind("B: b")
