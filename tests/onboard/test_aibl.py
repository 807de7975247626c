"""Fixtures F2 and F8 of LONI's archive: AIBL's Siemens SWI, and A4's counts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from onboard import invented

from cmburden.onboard.paths import Onboarded
from cmburden.run import cli


def aibl(root: Path) -> None:
    """The tree of F2 with its three tables."""
    kinds = {
        "SWI_Images": ("ORIGINAL", "PRIMARY", "M", "SWI", "NORM"),
        "Mag_Images": ("ORIGINAL", "PRIMARY", "M", "NORM"),
        "Pha_Images": ("ORIGINAL", "PRIMARY", "P", "NORM"),
        "mIP_Images(SW)": ("DERIVED", "PRIMARY", "MNIP", "SWI", "NORM"),
    }
    for number, (name, image_type) in enumerate(kinds.items(), 2):
        folder = name.replace("(", "_").replace(")", "_")
        where = root / "AIBL" / "9" / folder / "2011-07-08_08_10_00.0" / f"I90000{number}"
        options = {"image": f"I90000{number}", "patient": "9", "time": "081000", "number": number}
        invented.write(where, name, image_type=image_type, size=32, **options)
    tables = {
        "aibl_ptdemog_01-Jan-2020.csv": "RID,SITEID,VISCODE,PTGENDER,PTDOB\n9,2,bl,2,/1940\n",
        "aibl_mri3meta_01-Jan-2020.csv": "RID,SITEID,VISCODE,EXAMDATE\n9,2,bl,07/08/2011\n",
        "aibl_pdxconv_01-Jan-2020.csv": "RID,SITEID,VISCODE,DXCURREN\n9,2,bl,1\n",
    }
    for name, text in tables.items():
        (root / "tables").mkdir(exist_ok=True)
        (root / "tables" / name).write_text(text)


def test_f2(tmp_path, capsys) -> None:
    aibl(tmp_path)
    out = tmp_path / "out"
    tables = str(tmp_path / "tables")
    assert cli.main(["onboard", "aibl", str(tmp_path / "AIBL"), str(out), "--tables", tables]) == 0
    paths = Onboarded(out)
    stem = "sub-AIBL0009_ses-M000"
    assert sorted(path.name for path in paths.bids.rglob("*.nii.gz")) == [
        f"{stem}_part-mag_T2starw.nii.gz",
        f"{stem}_part-phase_T2starw.nii.gz",
        f"{stem}_swi.nii.gz",
    ]
    rows = pd.read_csv(paths.table, sep="\t").set_index("description")
    assert rows.loc["mIP_Images(SW)", "reason"] == "minimum projection"
    person = pd.read_csv(paths.bids / "participants.tsv", sep="\t", dtype=str).iloc[0]
    assert (person["sex"], person["diagnosis"]) == ("F", "CN")
    assert 70.5 <= float(person["age"]) <= 71.5
    assert not paths.truth.exists()
    assert "AIBL publishes no table of microbleeds" in capsys.readouterr().out


def test_f8(tmp_path) -> None:
    for n in (1, 2, 3):
        bid = f"B9000000{n}"
        where = tmp_path / "in" / bid / "Axial_T2_Star" / "2014-07-08_08_10_00.0" / f"I91000{n}"
        options = {"patient": bid, "date": "20140708", "image": f"I91000{n}", "number": n}
        invented.write(where, "Axial T2 Star", size=32, **options)
    table = tmp_path / "imaging_MRI_reads.csv"
    table.write_text(
        "SUBSTUDY,BID,VISCODE,STUDYDATE_DAYS_CONSENT,STUDYDATE_DAYS_T0,Definite.MCH,Lobar,Deep,"
        "Definite.SS\nA4,B90000001,4,30,-20,2,2,0,0\nLEARN,B90000002,1,25,0,0,0,0,1\n"
        "A4,B90000003,4,31,-19,,,,\n"
    )
    words = ["onboard", "a4", str(tmp_path / "in"), str(tmp_path / "out"), "--counts", str(table)]
    assert cli.main(words) == 0
    counts = pd.read_csv(Onboarded(tmp_path / "out").counts_truth, sep="\t")
    assert counts["n_cmb"].tolist() == [2, 0]
    assert not Onboarded(tmp_path / "out").truth.exists()
