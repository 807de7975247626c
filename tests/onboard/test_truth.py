"""From what tables say to the files of the truth: coordinates, faults, bytes, folds."""

import hashlib

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from read_images import f1_affine, f1_images, f1_table, image, request, write_f1

from cmburden.core.errors import CMBurdenError
from cmburden.core.tables import COUNTS_TRUTH, FOLDS, TRUTH
from cmburden.evaluate.cases import read_truth
from cmburden.images import conventions
from cmburden.onboard import mch, truth
from cmburden.onboard.folds import rows as fold_rows
from cmburden.onboard.parts import Count, Finding, Told
from cmburden.onboard.paths import Onboarded

A, C = "sub-ADNI002S9001_ses-M000_T2starw", "sub-ADNI002S9003_ses-M012_run-2_T2starw"


@pytest.fixture
def _darkest(monkeypatch):
    """The convention by which the voxels of all points are darkest: enough for the phantom."""

    def find(points, people, given="auto"):
        shares = {}
        for name in ("ras", "lps", "las", "voxel0", "voxel1"):
            hits = []
            for path, rows in points.items():
                data, affine = conventions.stored(path)
                mm = conventions.to_ras(rows, affine, data.shape, name)
                at = np.rint(nib.affines.apply_affine(np.linalg.inv(affine), mm)).astype(int)
                inside = ((at >= 0) & (at < data.shape)).all(1)
                hits += [
                    bool(ok) and data[tuple(v)] < 250 for ok, v in zip(inside, at, strict=True)
                ]
            shares[name] = float(np.mean(hits))
        best = max(shares, key=shares.get)
        name = given if given != "auto" else best if shares[best] >= 0.6 else None
        return conventions.Verdict(name, shares, f"dark by {best}", len(hits), len(people))

    monkeypatch.setattr(conventions, "find", find)


def in_tree(tmp_path):
    images = f1_images(tmp_path / "bids")
    for one in images:
        write_f1(one)
    return images


def read(path):
    return pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=False)


def f1_written(tmp_path, replace=(), **fields):
    """F1's files; each of its places is replaced as ``replace`` says."""
    path = f1_table(tmp_path)
    text = path.read_text()
    for old, new in replace:
        text = text.replace(old, new)
    path.write_text(text)
    images, asked = in_tree(tmp_path), request(tmp_path, **fields)
    told = mch.findings(path, images, asked)
    return truth.write(told, images, Onboarded(tmp_path), asked)


_RAS = ("6.9 46.5 -20.8 ", "6.9 40.9 -11.9 ", "6.9 35.3 -2.9 ", "20.0 50.0 10.0 ", "6.9 29.7 6.0 ")
_LPS = [" ".join((f"-{x}", f"-{y}", z)) for x, y, z in (place.split() for place in _RAS)]
_VOXEL0 = ["30 41 2", "30 39 4", "30 37 6", "26 41 9", "30 35 8"]
_VOXEL1 = [" ".join(str(int(v) + 1) for v in place.split()) for place in _VOXEL0]


@pytest.mark.usefixtures("_darkest")
@pytest.mark.parametrize(
    ("name", "places"),
    [("ras", _RAS), ("lps", _LPS), ("voxel0", _VOXEL0), ("voxel1", _VOXEL1)],
)
def test_f1_and_its_twins_give_one_truth(tmp_path, name, places):
    written = f1_written(tmp_path, zip(_RAS, places, strict=True))
    assert written.convention == name and written.left_out == {}
    rows = read(tmp_path / "truth.tsv")
    assert list(rows) == TRUTH.names
    assert rows["scan_id"].tolist() == [A, A, A, "sub-ADNI002S9002_ses-M000_echo-3_MEGRE", C]
    assert rows["kind"].tolist() == ["microbleed", "microbleed", "faint", "none", "microbleed"]
    assert rows["source_id"].tolist() == [1, 2, 3, 0, 1]
    expected = [[6.9, 46.5, -20.8], [6.9, 40.9, -11.9], [6.9, 35.3, -2.9], [6.9, 29.7, 6.0]]
    placed = rows[rows["kind"] != "none"]
    assert np.abs(placed[["x_mm", "y_mm", "z_mm"]].to_numpy(float) - expected).max() < 0.1
    assert set(placed["radius_mm"]) == {1.4} and set(rows["cohort"]) == {"ADNI"}
    assert rows[["x_mm", "radius_mm"]][rows["kind"] == "none"].isna().all(axis=None)
    read_scans = (tmp_path / "read_scans.txt").read_text().splitlines()
    assert read_scans == sorted(set(rows["scan_id"]))
    assert not (tmp_path / "counts_truth.tsv").exists()
    assert written.numbers["microbleed"] == 3 and written.numbers["scans read"] == 3


@pytest.mark.usefixtures("_darkest")
def test_evaluation_takes_the_file(tmp_path):
    f1_written(tmp_path)
    rows = read_truth(tmp_path / "truth.tsv")
    assert rows["kind"].tolist() == ["microbleed", "microbleed", "faint", "none", "microbleed"]
    assert rows["x_mm"].isna().tolist() == [False, False, False, True, False]


@pytest.mark.usefixtures("_darkest")
def test_the_order_of_rows_changes_no_byte_and_double_rows_count_once(tmp_path):
    f1_written(tmp_path)
    names = ("truth.tsv", "folds.tsv", "read_scans.txt")
    first = [(tmp_path / name).read_bytes() for name in names]
    images, asked = in_tree(tmp_path), request(tmp_path)
    told = mch.findings(f1_table(tmp_path), images, asked)
    back = Told((*told.findings[::-1], told.findings[0]))
    written = truth.write(back, images[::-1], Onboarded(tmp_path), asked)
    assert [(tmp_path / name).read_bytes() for name in names] == first
    assert written.numbers["rows that stood twice"] == 1


@pytest.mark.usefixtures("_darkest")
def test_places_that_no_convention_explains_stop(tmp_path):
    places = [f"{10 * i} {7 * i} {i}" for i in range(5)]
    with pytest.raises(CMBurdenError, match=r"dark by .*--coordinates"):
        f1_written(tmp_path, zip(_RAS, places, strict=True))
    assert not (tmp_path / "truth.tsv").exists()


@pytest.mark.usefixtures("_darkest")
def test_a_place_outside_its_image_leaves_the_scan_out_and_the_rest_goes_on(tmp_path):
    written = f1_written(tmp_path, [("6.9 29.7 6.0", "6.9 29.7 600")])
    assert list(written.left_out) == [C]
    assert "line 7: (6.9, 29.7, 600) as ras is outside of the image" in written.left_out[C]
    assert C not in (tmp_path / "truth.tsv").read_text()
    assert written.numbers["scans left out"] == 1 and written.numbers["microbleed"] == 2


def masked(tmp_path):
    """A scan whose brain is a box in the middle, NaN outside."""
    one = image("9", bids=tmp_path / "bids")
    data = np.full((40, 40, 10), np.nan, np.float32)
    data[15:25, 15:25, 3:7] = 100
    one.path.parent.mkdir(parents=True)
    nib.Nifti1Image(data, np.diag([1.0, 1, 3, 1])).to_filename(one.path)
    return one


def test_a_place_far_from_any_signal_stops_when_no_scan_is_left(tmp_path):
    one = masked(tmp_path)
    near, far = (30.0, 20.0, 15.0), (32.0, 20.0, 15.0)  # 6 and 8 mm from the last voxel, at 24
    for place in (near, far):
        told = Told((Finding(one.scan_id, "microbleed", place, where="t.csv, line 2"),))
        asked = request(tmp_path, "dicom", coordinates="ras")
        if place == near:
            assert truth.write(told, [one], Onboarded(tmp_path), asked).numbers["microbleed"] == 1
        else:
            with pytest.raises(CMBurdenError, match=r"line 2: \(32, 20, 15\).*more than 6 mm"):
                truth.write(told, [one], Onboarded(tmp_path), asked)


def test_a_convention_that_the_cohort_states_is_used(tmp_path):
    one = image("sub-AIBLmom901", "ses-T0", bids=tmp_path / "bids", suffix="swi")
    affine = np.diag([-0.9375, -0.9375, 1.75, 1])
    affine[:3, 3] = 14.5, 18.3, -16.6
    one.path.parent.mkdir(parents=True)
    nib.Nifti1Image(np.full((32, 40, 20), 100, np.float32), affine).to_filename(one.path)
    finding = Finding(one.scan_id, "microbleed", (10, 12, 7), radius_mm=2.5)
    told = Told((finding, finding), convention="voxel1")
    written = truth.write(told, [one], Onboarded(tmp_path), request(tmp_path, "csiro"))
    rows = read(tmp_path / "truth.tsv")
    assert written.convention == "voxel1" and len(rows) == 1
    place = rows[["x_mm", "y_mm", "z_mm"]].to_numpy(float)[0]
    assert np.allclose(place, [6.0625, 7.9875, -6.1], atol=0.001)
    assert rows.loc[0, ["cohort", "radius_mm"]].tolist() == ["CSIRO", 2.5]


def test_counts_have_a_table_and_a_file_of_an_earlier_run_goes(tmp_path):
    images = [image("B90000001", None), image("B90000002", None), image("B90000003", None)]
    for name in ("truth.tsv", "readers_truth.tsv"):
        (tmp_path / name).write_text("old")
    told = Told(counts=(Count(images[1].scan_id, 0), Count(images[0].scan_id, 2, 2, 0)))
    written = truth.write(told, images, Onboarded(tmp_path), request(tmp_path, "a4"))
    rows = pd.read_csv(tmp_path / "counts_truth.tsv", sep="\t")
    assert list(rows) == COUNTS_TRUTH.names
    assert rows["scan_id"].tolist() == [images[0].scan_id, images[1].scan_id]
    assert rows["n_cmb"].tolist() == [2, 0] and rows["n_lobar"].isna().tolist() == [False, True]
    assert set(rows["cohort"]) == {"A4"} and rows["session_id"].isna().all()
    assert not list(tmp_path.glob("*truth.tsv.*")) and not (tmp_path / "truth.tsv").exists()
    assert not (tmp_path / "readers_truth.tsv").exists() and written.convention is None


def test_several_readers_give_one_truth_and_keep_their_own(tmp_path):
    one = masked(tmp_path)
    marks = [
        ("ann", "microbleed", (20.0, 20.0, 15.0)),
        ("bob", "microbleed", (22.0, 20.0, 15.0)),
        ("ann", "microbleed", (16.0, 16.0, 9.0)),
        ("eve", "none", None),
    ]
    told = Told(tuple(Finding(one.scan_id, kind, at, reader=who) for who, kind, at in marks))
    written = truth.write(told, [one], Onboarded(tmp_path), request(tmp_path, coordinates="ras"))
    rows = read(tmp_path / "truth.tsv")
    assert rows["kind"].tolist() == ["faint", "microbleed"]
    assert rows["x_mm"].astype(float).tolist() == [16.0, 21.0]
    own = read(tmp_path / "readers_truth.tsv")
    assert own["reader"].tolist() == ["ann", "ann", "bob", "eve"]
    assert own["kind"].tolist() == ["microbleed"] * 3 + ["none"]
    assert any("at least half" in remark for remark in written.remarks)


def test_folds_follow_from_the_person_and_csiro_is_of_the_family_of_aibl(tmp_path):
    people = [image(f"sub-AIBLmom{n}", "ses-T1") for n in range(200)]
    rows = FOLDS.frame(fold_rows("csiro", people[::-1]))
    assert set(rows["family"]) == {"AIBL"} and set(rows["fold"]) == {0, 1, 2, 3, 4}
    assert rows["fold"].value_counts().min() > 20
    alone = fold_rows("aibl", people[7:8])[0]
    same = rows[rows["participant_id"] == alone["participant_id"]].iloc[0]
    assert (alone["fold"], alone["family"]) == (same["fold"], same["family"])
    assert fold_rows("dicom", [image()])[0]["family"] == "ADNI"
    digest = hashlib.sha256(b"AIBLmom7").digest()[:8]
    assert alone["fold"] == int.from_bytes(digest, "big") % 5


def test_the_phantom_is_that_of_f1():
    voxels = np.array([[30, 41, 2], [30, 39, 4], [30, 37, 6], [30, 35, 8]])
    places = nib.affines.apply_affine(f1_affine(), voxels)
    expected = [[6.9, 46.5, -20.8], [6.9, 40.9, -11.9], [6.9, 35.3, -2.9], [6.9, 29.7, 6.0]]
    assert np.abs(places - expected).max() < 0.06
