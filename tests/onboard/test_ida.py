"""Folders and file names of LONI's archive."""

from __future__ import annotations

from pathlib import Path, PurePath

from onboard import invented

from cmburden.onboard import downloads, ida
from cmburden.onboard.cohorts import adni
from cmburden.onboard.parts import Passed, Request, Source


def find(*roots: Path) -> tuple[list[Source], list[Passed]]:
    """Series and rows of an ADNI download."""
    every = list(downloads.find(Request("adni", roots, roots[0] / "out"), adni.person_of))
    sources = [one for one in every if isinstance(one, Source)]
    return sources, [one for one in every if isinstance(one, Passed)]


def test_ids_of_new_and_old_downloads() -> None:
    stem = "ADNI_002_S_5018_MR_Axial_T2-Star__br_raw_20121108140811_7_S174291_I346239.dcm"
    new = ida.place_of(
        PurePath("/d/ADNI/002_S_5018/Axial_T2-Star/2012-11-08_07_53_28.0/I346239", stem)
    )
    assert (new.image_id, new.series_id, new.participant) == ("346239", "174291", "002_S_5018")
    assert (new.date, new.time, new.description) == ("2012-11-08", "07:53:28", "Axial_T2-Star")
    old = ida.place_of(PurePath("003_S_1122/Axial_T2_STAR/2019-05-07_10_25_03.0/S821701/1.dcm"))
    assert (old.image_id, old.series_id, old.participant) == (None, "821701", "003_S_1122")
    flat = ida.place_of(PurePath("all", stem))
    assert (flat.image_id, flat.participant, flat.date) == ("346239", "002_S_5018", None)
    assert ida.place_of(PurePath("x/y.dcm")) == ida.Place()


def test_the_tree_of_f1(tmp_path) -> None:
    invented.adni_tree(tmp_path)
    sources, rows = find(tmp_path / "ADNI")
    assert rows == []
    assert [(s.participant[-4:], s.image_id, s.n_slices, len(s.variants)) for s in sources] == [
        ("9001", "900001", 12, 1),
        ("9002", "900006", 12, 3),
        ("9003", "900010", 12, 1),
        ("9003", "900011", 12, 1),
        ("9004", "900012", 12, 1),
        ("9005", None, 12, 1),
    ]
    # One number of a series in the names of everybody's files is none of a series.
    assert [s.series_id for s in sources] == [None] * 5 + ["114050"]
    assert sources[4].header["SeriesDescription"].endswith("copy of FLAIR")


def test_one_image_id_of_two_series_is_none(tmp_path) -> None:
    for number, patient in enumerate(("002_S_9001", "002_S_9002")):
        when = f"ADNI/{patient}/T2_star/2011-07-08_07_59_15.0/I900001"
        invented.write(tmp_path / when, "T2 star", number=number, patient=patient, size=16)
    sources, rows = find(tmp_path)
    assert sources == []
    assert [row.participant for row in rows] == ["002_S_9001", "002_S_9002"]
    assert all("image id 900001 stands for another series too" in row.reason for row in rows)


def test_a_series_in_two_folders_of_its_id_is_one(tmp_path) -> None:
    when = "ADNI/002_S_9001/T2_star/2011-07-08_07_59_15.0/I900001"
    for root in ("a", "b"):
        invented.write(tmp_path / root / when, "T2 star", size=16)
    sources, rows = find(tmp_path / "a", tmp_path / "b")
    assert [len(one.files) for one in sources] == [12] and rows == []
    assert "12 files stand twice" in sources[0].remark


def test_a_series_under_two_participants_is_a_row(tmp_path) -> None:
    for patient in ("002_S_9001", "002_S_9002"):
        when = f"ADNI/{patient}/T2_star/2011-07-08_07_59_15.0/I900001"
        invented.write(tmp_path / when, "T2 star", size=16, uid="1.2.3", slices=range(6))
    sources, rows = find(tmp_path)
    assert sources == [] and "several participants (002_S_9001, 002_S_9002)" in rows[0].reason


def test_headers_without_description_take_the_folders(tmp_path) -> None:
    def bare(file, count) -> None:
        del file.SeriesDescription, file.ProtocolName

    when = "ADNI/002_S_9001/Axial_T2_Star/2011-07-08_07_59_15.0/I900001"
    invented.write(tmp_path / when, "Axial T2 Star", size=16, change=bare)
    sources, _ = find(tmp_path)
    assert sources[0].header["SeriesDescription"] == "Axial_T2_Star"


def test_nobody_is_a_row(tmp_path) -> None:
    invented.write(tmp_path / "x", "T2 star", patient="Smith", image=None, size=16)
    sources, rows = find(tmp_path)
    assert sources == [] and "names a participant" in rows[0].reason
