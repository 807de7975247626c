"""`cmburden insert` on fabricated cohorts: copies that nobody renders, read by no network."""

import dataclasses
import errno
import json
import random
import shutil
from pathlib import Path

import fabricate
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cmburden.cohort import stage as aggregate
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.tables import INSERTED, INSERTION, MANIFEST
from cmburden.export import stage as export
from cmburden.insert import lesions, stage, transplant, way
from cmburden.insert.copies import LeftOut
from cmburden.insert.ground import Acquisition
from cmburden.insert.lesions import Drawn, acquisition_of
from cmburden.insert.pictures import PIXELS
from cmburden.report import stage as report
from cmburden.run import begin, cli, forget, insert
from cmburden.studies import insertion as study

pytestmark = pytest.mark.slow

#: Stands in a coordinate of every inserted lesion, and in nothing else.
MARK = 12.3457


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A finished run of 16 participants with images that nobody reads."""
    made = fabricate.cohort(tmp_path_factory.mktemp("insert"), participants=16)
    for row in made.scans:
        path = made.bids_dir / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an image")
    config = made.config | {"bids_dir": str(made.bids_dir), "output_dir": str(made.layout.root)}
    made.layout.config.write_text(json.dumps(config))
    aggregate.run(made.layout, made.bids_dir, config)
    return dataclasses.replace(made, config=config)


@pytest.fixture
def layout(base, tmp_path, monkeypatch):
    """A copy of the run; lesions and what the stages make of copies are pretended."""
    shutil.copytree(base.layout.root, tmp_path / "derivatives")
    monkeypatch.setattr(begin, "check_models", lambda config: None)
    monkeypatch.setattr(lesions, "insert", pretend_insert)
    monkeypatch.setattr(way, "candidates_of", pretend_way)
    return Layout(tmp_path / "derivatives")


def pretend_insert(scan, acquisition, avoided, library, layout, wish, target):
    number = np.random.default_rng([wish.seed, *scan.scan_id.encode()]).integers(1, 4)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"a copy")
    rows = [
        {
            "number": n + 1,
            "renderer": ("physics", "plain")[n % 2],
            "assumed": acquisition.assumed,
            "part": "thalamus",
            "x_mm": MARK,
            "y_mm": 500.0 + 20 * n,
            "z_mm": float(wish.seed),
            "region": "thalamus",
            "group": "deep",
            "diameter_mm": 2.0 + n,
            "signal_loss": 0.7,
            "surrounded": 0.9,
            "visible": True,
        }
        for n in range(number)
    ]
    pictures = np.full((number, 2, PIXELS, PIXELS), 128, np.uint8)
    return Drawn(rows, 0.25, pictures)


def pretend_way(copies, here, layout, config):
    """Each first lesion of a scan is called; the rest of the scan is as it was."""
    assert all(copy.path.exists() for copy in copies)
    (here.root / "sub-x").mkdir(parents=True, exist_ok=True)
    rows = stage.candidates_of(layout, {copy.scan.scan_id for copy in copies})
    found = [
        {
            "scan_id": copy.scan.scan_id,
            "candidate_id": 999,
            "x_mm": MARK,
            "y_mm": 500.0,
            "z_mm": 0.0,
            "p_cnn": 0.9,
            "probability": 0.9,
            "label": "definite",
        }
        for copy in copies
    ]
    return pd.concat([rows, pd.DataFrame(found)], ignore_index=True), {}


def run(layout, *more, code=0):
    assert cli.main(["insert", str(layout.root), "--cores", "1", *more]) == code


def content(layout, below=""):
    """Bytes of all files but those of the insertion, of logs, locks and the report."""
    left_out = {layout.inserted, layout.work / "inserted", layout.logs, layout.report_dir}
    return {
        path.relative_to(layout.root): path.read_bytes()
        for path in sorted(layout.root.rglob("*"))
        if path.is_file()
        and not left_out.intersection(path.parents)
        and path.suffix != ".html"
        and path != layout.lock
    }


def test_what_is_inserted_is_counted_and_nothing_else_changes(layout, capsys):
    report.run(layout, json.loads(layout.config.read_text()))
    before = content(layout)
    run(layout)
    said = capsys.readouterr().out
    assert content(layout) == before
    rows = INSERTED.read(layout.inserted_table("inserted"))
    about = json.loads(layout.insertion.read_text())
    assert about["Inserted"] == len(rows) > 20 and about["Closed"] == 0.25
    hit = rows["label"] == "definite"
    assert hit.tolist() == (rows["number"] == 1).tolist()
    estimates = INSERTION.read(layout.inserted_table("insertion"))
    whole = estimates[(estimates["axis"] == "all") & (estimates["label"] == "definite")]
    assert whole["denominator"].sum() >= len(rows)
    assert "scans, labels, tables and counts stay as they are" in said.replace("\n", " ")
    assert "No lesions of this cohort are transplanted" in said and "lowest" in said
    assert not layout.copies.exists() or not list(layout.copies.iterdir())
    page = layout.report.read_text()
    assert "How well does it see on these scans" in page and "Drawn by computer" in page
    assert "Judge for yourself" in page


def test_a_killed_command_goes_on_and_ends_with_equal_bytes(layout, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    shutil.copytree(layout.root, whole)
    run(Layout(whole))
    worked = []

    def killed(copies, here, *more):
        if len(worked) == 2:
            raise KeyboardInterrupt
        worked.append([copy.scan.scan_id for copy in copies])
        return pretend_way(copies, here, *more)

    monkeypatch.setattr(way, "candidates_of", killed)
    run(layout, code=130)
    assert not layout.insertion.exists()
    again = []

    def counted(copies, here, *more):
        again.extend(copy.scan.scan_id for copy in copies)
        return pretend_way(copies, here, *more)

    monkeypatch.setattr(way, "candidates_of", counted)
    run(layout)
    assert not set(again) & set(np.concatenate(worked))
    for name in ("inserted", "insertion"):
        made = layout.inserted_table(name).read_bytes()
        assert made == Layout(whole).inserted_table(name).read_bytes()
    assert layout.insertion.read_bytes() == Layout(whole).insertion.read_bytes()
    pictures = layout.inserted_examples, Layout(whole).inserted_examples
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_more_scans_are_the_same_ones_and_others(layout):
    run(layout, "--scans", "6")
    few = INSERTED.read(layout.inserted_table("inserted"))
    assert few["scan_id"].nunique() == 6
    # The contrasts and cohorts take turns.
    assert few["contrast"].nunique() == 2 and few["cohort"].nunique() == 4
    run(layout, "--scans", "12")
    more = INSERTED.read(layout.inserted_table("inserted"))
    assert more["scan_id"].nunique() == 12
    kept = more[more["scan_id"].isin(few["scan_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, few)


def test_another_seed_and_other_settings_insert_anew(layout):
    run(layout, "--scans", "4")
    first = json.loads(layout.insertion.read_text())
    run(layout, "--scans", "4", "--seed", "7")
    second = json.loads(layout.insertion.read_text())
    assert (first["Seed"], second["Seed"]) == (0, 7)
    assert INSERTED.read(layout.inserted_table("inserted"))["z_mm"].eq(7).all()
    config = json.loads(layout.config.read_text())
    config["verify"]["thresholds"] = {"definite": 0.9, "possible": 0.1}
    layout.config.write_text(json.dumps(config))
    report.run(layout, config)
    assert "Of other settings or models" in layout.report.read_text()


def test_a_dry_run_says_what_it_would_do(layout, capsys):
    before = content(layout)
    run(layout, "--dry-run")
    assert content(layout) == before and not layout.inserted.exists()
    assert "get 1 to 3 drawn microbleeds each" in capsys.readouterr().out


# --- nothing inserted is anywhere else ---


def marked(path: Path) -> bool:
    """Whether a file holds the coordinate of an inserted lesion."""
    if path.suffix == ".parquet":
        table = pq.read_table(path, partitioning=None).to_pandas()
        return bool((table.select_dtypes("number") == MARK).any().any())
    return str(MARK).encode() in path.read_bytes()


@pytest.mark.parametrize("seed", range(2))
def test_nothing_inserted_is_in_a_table_a_page_or_an_export(layout, base, seed):
    """Whatever commands follow each other in whatever order."""
    chance = random.Random(seed)
    config = json.loads(layout.config.read_text())
    config["output_dir"] = str(layout.root)
    clean = {name: layout.table(name).read_bytes() for name in COHORT_TABLES if name != "runs"}

    def tables():
        aggregate.run(layout, base.bids_dir, config)

    steps = {
        "insert": lambda: run(layout, "--seed", str(chance.randrange(3)), "--scans", "8"),
        "group": tables,
        "report": lambda: report.run(layout, config),
        "export": lambda: export.run(layout, config, layout.export, ["csv"]),
    }
    order = ["insert", *chance.choices([*steps], k=2), "group", "report"]
    for name in order:
        steps[name]()
    assert {name: layout.table(name).read_bytes() for name in clean} == clean, order
    inserted = {layout.inserted, layout.work / "inserted"}
    files = [path for path in layout.root.rglob("*") if path.is_file()]
    holding = [path for path in files if marked(path)]
    assert any(inserted.intersection(path.parents) for path in holding)  # the test can fail
    assert [path for path in holding if not inserted.intersection(path.parents)] == [], order


def test_a_participant_who_withdrew_is_in_no_insertion(layout):
    run(layout)
    who = INSERTED.read(layout.inserted_table("inserted"))["participant_id"].iloc[0]
    forget.forget(layout, who)
    for path in (layout.inserted, layout.work / "inserted"):
        for file in path.rglob("*"):
            if file.is_file() and file.suffix == ".json":
                assert who not in file.name and who not in file.read_text()
    assert who not in set(INSERTED.read(layout.inserted_table("inserted"))["participant_id"])
    # Estimates count the participant.
    for path in (layout.inserted_table("insertion"), layout.insertion, layout.inserted_examples):
        assert not path.exists()


# --- bad input ---


def test_a_folder_without_a_run_is_one_sentence(tmp_path, capsys):
    run(Layout(tmp_path), code=2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no finished run is here" in said


def test_no_image_is_one_sentence(layout, tmp_path, capsys):
    config = json.loads(layout.config.read_text())
    config["bids_dir"] = str(tmp_path / "elsewhere")
    layout.config.write_text(json.dumps(config))
    run(layout, code=2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "none of the" in said and "elsewhere" in said


@pytest.mark.parametrize("option", ["--scans", "--cores"])
def test_a_number_below_one_is_one_sentence(layout, option, capsys):
    assert cli.main(["insert", str(layout.root), option, "0"]) == 2
    assert f"{option} 0: give a number of at least 1" in capsys.readouterr().err


def test_a_cohort_full_of_lesions_says_so_and_has_no_number(layout, monkeypatch, capsys):
    def full(*_):
        raise LeftOut("No room: lesions and candidates lie near every place.")

    before = content(layout)
    monkeypatch.setattr(lesions, "insert", full)
    run(layout, "--scans", "5")
    said = capsys.readouterr().out
    assert "5 scans were left out: No room" in said and "No lesion was inserted." in said
    assert len(INSERTION.read(layout.inserted_table("insertion"))) == 0
    assert not layout.inserted_examples.exists()
    assert content(layout) == before


def test_a_full_disk_loses_nothing(layout, monkeypatch, capsys):
    run(layout, "--scans", "6")
    capsys.readouterr()
    before = layout.inserted_table("inserted").read_bytes(), layout.insertion.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", str(layout.copies))

    monkeypatch.setattr(way, "candidates_of", full)
    run(layout, "--scans", "12", code=2)
    said = capsys.readouterr().err
    assert "No space left on device" in said and "what is done is kept" in said
    assert (
        layout.inserted_table("inserted").read_bytes(),
        layout.insertion.read_bytes(),
    ) == before
    assert not list(layout.copies.iterdir())


def test_a_copy_that_fails_at_a_stage_is_counted_with_its_reason(layout, monkeypatch, capsys):
    from cmburden.core.scan import Outcome

    def failing(copies, here, *more):
        rows, _ = pretend_way(copies, here, *more)
        name = copies[0].scan.scan_id
        return rows, {name: Outcome("preprocess", name, "failed", "brain_mask", "It is odd.")}

    monkeypatch.setattr(way, "candidates_of", failing)
    run(layout, "--scans", "3")
    said = capsys.readouterr().out
    assert "1 scans were left out: The copy was failed at preprocess: It is odd." in said
    assert json.loads(layout.insertion.read_text())["Scans"] == 2


def test_unknown_echo_time_is_assumed_and_said(layout, capsys):
    rows = MANIFEST.read(layout.manifest)
    rows.loc[rows["contrast"] == "GRE", "echo_time_s"] = None
    MANIFEST.write(layout.manifest, rows)
    run(layout)
    said = capsys.readouterr().out
    assert "have no field strength or echo time" in said and "3 T and 20 ms are assumed" in said
    made = INSERTED.read(layout.inserted_table("inserted"))
    assert made["assumed"].tolist() == (made["contrast"] == "GRE").tolist()
    assert "were assumed" in page_of(layout)


def page_of(layout):
    report.run(layout, json.loads(layout.config.read_text()))
    return layout.report.read_text()


def test_the_study_compares_with_the_truth_by_cohort(layout, base):
    run(layout, "--lesions", "3")
    rows = {one.name: one for one in study.strata(layout, base.truth)}
    assert rows and set(rows) <= {"ADNI", "AIBL", "MAS", "OATS"}
    for one in rows.values():
        # Four people of a cohort have too few lesions for an estimate.
        assert one.inserted == {} and one.lowest is None
        assert 0 <= one.true.low <= one.true.estimate <= one.true.high <= 1


# --- acquisition and donors ---


def test_an_acquisition_is_that_of_manifest_and_header(base):
    scan = dataclasses.replace(
        fabricate.scan_object(base.scans[0], base.bids_dir),
        contrast="SWI",
        echo_time_s=0.03,
        field_strength_t=1.5,
    )
    swi = acquisition_of(scan, {"dimension": "3D", "slice_gap_mm": None}, 2.0)
    assert swi == Acquisition(1.5, 0.03, masked=True, partitions=True, thickness_mm=2.0)
    magnitude = acquisition_of(scan, {"image_kind": "magnitude", "dimension": "2D"}, 2.0)
    assert not magnitude.masked and not magnitude.partitions
    gre = dataclasses.replace(scan, contrast="GRE", echo_time_s=None)
    assert acquisition_of(gre, {"slice_gap_mm": 1.0}, 5.0) == Acquisition(
        1.5, 0.02, masked=False, partitions=False, thickness_mm=4.0, assumed=True
    )


def test_only_settled_lesions_of_other_people_are_donors(base):
    reviewed = pd.DataFrame(
        {
            "microbleed": [True, None, False, True],
            "diameter_mm": [3.0, 3.0, 3.0, 12.0],
            "scan_id": list("abcd"),
        }
    )
    assert transplant.confirmed(reviewed)["scan_id"].tolist() == ["a"]
    scan = fabricate.scan_object(base.scans[0], base.bids_dir)
    acquisition = Acquisition(3.0, 0.02, masked=False, partitions=False, thickness_mm=4.0)
    sizes = np.array([0.9, 0.9, 4.0])

    def donors(people, **more):
        one = transplant.Donor("", scan.contrast, sizes, 2, 0.06, np.ones((3, 3, 3)))
        return [dataclasses.replace(one, participant_id=name, **more) for name in people]

    affine = np.diag([*sizes, 1.0])
    people = [f"sub-{n}" for n in range(8)]
    fitting = transplant.fitting
    assert len(fitting(donors(people), scan, affine, acquisition)) == 8
    assert not fitting(donors(people[:7]), scan, affine, acquisition)
    assert not fitting(donors(people[:3] * 4), scan, affine, acquisition)
    assert not fitting(donors([scan.participant_id] * 9), scan, affine, acquisition)
    assert not fitting(donors(people, sizes=sizes * 1.3), scan, affine, acquisition)
    assert not fitting(donors(people, echo=0.12), scan, affine, acquisition)


def test_processes_side_by_side_are_asked_for(layout, monkeypatch):
    """With one lot there is one process, whatever the number of cores."""
    monkeypatch.setattr(insert, "ProcessPoolExecutor", None)
    assert cli.main(["insert", str(layout.root), "--scans", "3", "--cores", "8"]) == 0
