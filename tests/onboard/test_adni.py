"""Fixture F1: an ADNI download with the readers' table, from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from onboard import invented

from cmburden.images import conventions
from cmburden.onboard.paths import Onboarded
from cmburden.run import cli


@pytest.fixture(scope="module")
def download(tmp_path_factory) -> Path:
    """The tree of F1 with its table."""
    root = tmp_path_factory.mktemp("f1")
    uids = invented.adni_tree(root)
    invented.mch_table(root / "MAYOADIRL_MRI_MCH_01Jan2026.csv", uids)
    return root


def onboard(download: Path, out: Path, *options: str) -> int | None:
    table = str(download / "MAYOADIRL_MRI_MCH_01Jan2026.csv")
    words = ["onboard", "adni", str(download / "ADNI"), str(out), "--lesions", table]
    return cli.main([*words, "--coordinates", "ras", *options])


def test_names_truth_and_counts_of_f1(download, tmp_path, capsys) -> None:
    assert onboard(download, tmp_path) == 0
    paths = Onboarded(tmp_path)
    assert sorted(path.name for path in paths.bids.rglob("*.nii.gz")) == [
        "sub-ADNI002S9001_ses-M000_T2starw.nii.gz",
        *(f"sub-ADNI002S9002_ses-M000_echo-{n}_MEGRE.nii.gz" for n in (1, 2, 3)),
        "sub-ADNI002S9003_ses-M012_run-1_T2starw.nii.gz",
        "sub-ADNI002S9003_ses-M012_run-2_T2starw.nii.gz",
        "sub-ADNI002S9005_ses-20130110_T2starw.nii.gz",
    ]
    truth = pd.read_csv(paths.truth, sep="\t")
    told = truth[["scan_id", "kind", "x_mm", "y_mm", "z_mm"]].round(1)
    assert [tuple(row) for row in told.fillna(0).itertuples(index=False)] == [
        ("sub-ADNI002S9001_ses-M000_T2starw", "microbleed", 6.9, 46.5, -20.8),
        ("sub-ADNI002S9001_ses-M000_T2starw", "microbleed", 6.9, 40.9, -11.9),
        ("sub-ADNI002S9001_ses-M000_T2starw", "faint", 6.9, 35.3, -2.9),
        ("sub-ADNI002S9002_ses-M000_echo-3_MEGRE", "none", 0, 0, 0),
        ("sub-ADNI002S9003_ses-M012_run-2_T2starw", "microbleed", 6.9, 29.7, 6.0),
    ]
    counted = json.loads(paths.record.read_text())["counted"]
    assert counted["Superficial Siderosis"] == 1 and counted["no series"] == 1
    rows = pd.read_csv(paths.table, sep="\t").set_index("participant")
    assert rows.loc["002_S_9004", "reason"] == "a copy of FLAIR"
    assert rows.loc["002_S_9005", "series_id"] == 114050
    said = capsys.readouterr().out
    assert "7 images of 4 participants" in said and "5 series converted now" in said


def test_a_dry_run_prints_levels_and_no_row(download, tmp_path, capsys) -> None:
    assert onboard(download, tmp_path / "out", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "STATUS: empty (2), Definite (4), Possible (1)" in said
    assert "5  T2*, ADNI -> T2starw" in said
    assert "46.5" not in said and "9001" not in said
    assert not (tmp_path / "out").exists()


def test_an_old_folder_of_a_series_is_joined_by_its_number(download, tmp_path) -> None:
    copied = tmp_path / "download"
    shutil.copytree(download, copied)
    table = copied / "MAYOADIRL_MRI_MCH_01Jan2026.csv"
    row = '9005,"ADNI2","v03","m06",20130110,1,114050,,7,1,1,1,20130201,1,"","","","",""\n'
    table.write_text(table.read_text() + row)
    assert onboard(copied, tmp_path / "out", "--only-read") == 0
    assert (tmp_path / "out" / "read_scans.txt").read_text().split() == [
        "sub-ADNI002S9001_ses-M000_T2starw",
        "sub-ADNI002S9002_ses-M000_echo-3_MEGRE",
        "sub-ADNI002S9003_ses-M012_run-2_T2starw",
        "sub-ADNI002S9005_ses-M006_T2starw",
    ]
    names = [path.name for path in Onboarded(tmp_path / "out").bids.rglob("*.nii.gz")]
    assert len(names) == 6 and not any("run-1" in name for name in names)


def test_a_series_in_two_zips_is_one(download, tmp_path) -> None:
    parts = tmp_path / "in"
    files = sorted((download / "ADNI" / "002_S_9001").rglob("*.dcm"))
    for name, of_part in (("a", files[:6]), ("b", files[6:])):
        for file in of_part:
            target = tmp_path / name / file.relative_to(download)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        shutil.make_archive(str(parts / name), "zip", tmp_path / name)
    words = ["onboard", "adni", str(parts), str(tmp_path / "out")]
    assert cli.main(words) == 0
    assert len(list(Onboarded(tmp_path / "out").bids.rglob("*.nii.gz"))) == 1
    row = pd.read_csv(Onboarded(tmp_path / "out").table, sep="\t").iloc[0]
    assert row["n_files"] == 12 and "!" in row["place"]
    assert cli.main(words) == 0


def test_tables_that_merely_lie_in_the_download_stop_nothing(download, tmp_path, capsys) -> None:
    """They are named in a warning. Tables that were asked for are an error."""
    source = shutil.copytree(download / "ADNI", tmp_path / "ADNI")
    tables = [source / "PTDEMOG.csv", source / "PTDEMOG_old.csv"]
    for sex, table in enumerate(tables, start=1):
        table.write_text(f"RID,PTGENDER\n9001,{sex}\n")
    words = ["onboard", "adni", str(source), str(tmp_path / "out")]
    assert cli.main(words) == 0
    assert "warning: PTDEMOG.csv, PTDEMOG_old.csv: which of" in capsys.readouterr().err
    assert cli.main([*words, "--tables", *map(str, tables)]) == 2
    assert "PTDEMOG.csv, PTDEMOG_old.csv: which of" in capsys.readouterr().err


#: The places of F1 and its twins: one table in four conventions, of which the images tell.
TWINS = {
    "ras": ("6.9 46.5 -20.8 ", "6.9 40.9 -11.9 ", "6.9 35.3 -2.9 ", "6.9 29.7 6.0 "),
    "lps": ("-6.9 -46.5 -20.8 ", "-6.9 -40.9 -11.9 ", "-6.9 -35.3 -2.9 ", "-6.9 -29.7 6.0 "),
    "voxel0": ("30 41 2 ", "30 39 4 ", "30 37 6 ", "30 35 8 "),
    "voxel1": ("31 42 3 ", "31 40 5 ", "31 38 7 ", "31 36 9 "),
}


@pytest.mark.parametrize("name", TWINS)
def test_the_images_tell_in_which_coordinates_the_table_is(download, tmp_path, monkeypatch, name):
    """Four points of two people are few: the bounds are lowered for them."""
    few = conventions.Bounds(points=4, people=1, chance=0.05, level=0.13)
    monkeypatch.setattr(conventions, "BOUNDS", few)
    table = tmp_path / "MAYOADIRL_MRI_MCH_01Jan2026.csv"
    text = (download / table.name).read_text(encoding="utf-8")
    for known, place in zip(TWINS["ras"], TWINS[name], strict=True):
        text = text.replace(known, place)
    table.write_text(text, encoding="utf-8")
    words = ["onboard", "adni", str(download / "ADNI"), str(tmp_path / "out")]
    assert cli.main([*words, "--lesions", str(table)]) == 0
    paths = Onboarded(tmp_path / "out")
    assert json.loads(paths.record.read_text())["truth"]["convention"] == name
    truth = pd.read_csv(paths.truth, sep="\t").dropna(subset=["x_mm"])
    wanted = [[float(part) for part in place.split()] for place in TWINS["ras"]]
    got = truth[["x_mm", "y_mm", "z_mm"]].sort_values("z_mm").to_numpy(float)
    # The table has tenths of a millimetre, or whole voxels.
    assert np.abs(got - wanted).max() <= 0.1
