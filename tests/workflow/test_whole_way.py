"""The whole way, nothing left out, over a BIDS tree as others make them.

Two simulated scans (template anatomy) stand for all: sessions and runs, several echoes with phase,
a `_swi` suffix, sidecars at the root, no T1w. About two minutes on two cores.
"""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from steps import run, validator_errors

from cmburden.core.paths import Layout
from cmburden.run import cli, timings
from cmburden.simulate.cohort import run as simulate

LISTING = Path(__file__).with_name("whole_way.txt")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    simulate(
        folder / "simulated",
        presets=["OATS", "AIBL"],
        participants=1,
        seed=4,
        positive_share=1.0,
        t1w_share=0.0,
    )
    gre = next(folder.glob("simulated/sub-OATS001/anat/*_T2starw.nii.gz"))
    swi = next(folder.glob("simulated/sub-AIBL001/anat/*_swi.nii.gz"))
    bids = folder / "bids"
    for name, source in {
        "sub-01/ses-baseline/anat/sub-01_ses-baseline_acq-gre_run-01_T2starw": gre,
        "sub-01/ses-baseline/anat/sub-01_ses-baseline_acq-gre_run-02_T2starw": gre,
        "sub-02/anat/sub-02_echo-1_part-mag_MEGRE": gre,
        "sub-02/anat/sub-02_echo-2_part-mag_MEGRE": gre,
        "sub-02/anat/sub-02_echo-2_part-phase_MEGRE": gre,
        "sub-03/anat/sub-03_swi": swi,
    }.items():
        path = bids / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.read_bytes())
        if "echo" in name:
            echo = 0.009 if "echo-1" in name else 0.022
            (bids / f"{name}.json").write_text(json.dumps({"EchoTime": echo}))
    for suffix, echo in (("T2starw", 0.025), ("swi", 0.02)):
        (bids / f"{suffix}.json").write_text(
            json.dumps({"EchoTime": echo, "MagneticFieldStrength": 3})
        )
    (bids / "dataset_description.json").write_text('{"Name": "Other", "BIDSVersion": "1.10.0"}')
    return folder


@pytest.fixture(scope="module")
def output(study) -> Path:
    assert run(study) == 0
    return study / "out"


def test_every_scan_went_through(output):
    scans = pd.read_parquet(output / "cohort/scans.parquet").set_index("scan_id")
    assert scans.index.tolist() == [
        "sub-01_ses-baseline_acq-gre_run-01_T2starw",
        "sub-01_ses-baseline_acq-gre_run-02_T2starw",
        "sub-02_echo-2_part-mag_MEGRE",
        "sub-03_swi",
    ]
    assert scans["status"].eq("ok").all(), scans["message"].tolist()
    assert scans["contrast"].tolist() == ["GRE", "GRE", "GRE", "SWI"]
    assert scans["echo_time_s"].tolist() == [0.025, 0.025, 0.022, 0.02]
    # Equal images, equal counts.
    assert scans["n_possible"].iloc[:3].nunique() == 1


def test_volumes_agree_with_tables(output):
    lesions = pd.read_parquet(output / "cohort/lesions.parquet")
    scans = pd.read_parquet(output / "cohort/scans.parquet").set_index("scan_id")
    paths = list(output.glob("sub-*/**/*_label-CMB_dseg.nii.gz"))
    assert len(paths) == len(scans) == 4
    for path in paths:
        image = nib.load(path)
        labels = np.asarray(image.dataobj)
        mask = path.with_name(path.name.replace("label-CMB_dseg", "desc-brain_mask"))
        assert np.allclose(nib.load(mask).affine, image.affine)
        stem = path.name.replace("_label-CMB_dseg.nii.gz", "").replace("_acq-swi", "")
        mine = lesions[lesions["scan_id"].str.startswith(f"{stem}_")]
        assert set(np.unique(labels)) - {0} == set(mine["lesion_id"])
        row = scans.loc[mine["scan_id"].iloc[0]] if len(mine) else None
        assert row is None or len(mine) == row["n_cmb"] + row["n_possible"]
        stem = path.name.replace("_label-CMB_dseg.nii.gz", "")
        montage = path.parents[1] / "figures" / f"{stem}_desc-CMB_montage.png"
        assert montage.exists() == bool(len(mine))
        for _, lesion in mine.iterrows():
            # The lesion's centre lies within 6 mm of its voxels.
            points = nib.affines.apply_affine(
                image.affine, np.argwhere(labels == lesion["lesion_id"])
            )
            centre = lesion[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
            assert np.linalg.norm(points - centre, axis=1).min() < 6


def test_the_validator_finds_no_error(output):
    assert validator_errors(output) == []


def test_the_same_files_as_ever(output):
    """Golden listing: a file that is new, gone or renamed is to be meant. ``work/`` is ours."""
    found = sorted(
        p.relative_to(output).as_posix()
        for p in output.rglob("*")
        if p.is_file()
        and p.relative_to(output).parts[0] not in ("work", "logs")
        # There where lesions are: new weights may change that.
        and not p.name.endswith(("_desc-CMB_montage.png", "_desc-planes_montage.png"))
    )
    assert found == LISTING.read_text().split()


def test_a_scan_alone_gives_the_bytes_that_it_gives_among_others(study, output):
    """Neither batch nor run changes a result: files are equal to the byte, rows to the digit."""
    one = study / "one"
    shutil.copytree(study / "bids", one / "bids", ignore=shutil.ignore_patterns("sub-01", "sub-03"))
    assert run(one) == 0
    made = [path for path in (one / "out/sub-02").rglob("*") if path.is_file()]
    assert len(made) > 10
    for path in made:
        if path.suffix != ".json":  # sources are named relative to the dataset
            first = output / path.relative_to(one / "out")
            assert path.read_bytes() == first.read_bytes(), path.name
    for name in ("lesions", "counts"):
        again = pd.read_parquet(one / f"out/cohort/{name}.parquet")
        first = pd.read_parquet(output / f"cohort/{name}.parquet")
        first = first[first["scan_id"].str.startswith("sub-02_")].reset_index(drop=True)
        assert len(again)
        pd.testing.assert_frame_equal(again, first, check_exact=True)


def test_timings_name_every_stage(output, capsys):
    table = timings.by_stage(Layout(output))
    assert table["stage"].tolist() == [
        "preprocess",
        "register",
        "detect",
        "verify",
        "aggregate",
        "report",
    ]
    assert table["timed"].iloc[:2].tolist() == [4, 4]
    assert table["share"].sum() == pytest.approx(1)
    assert (table["seconds"] > 0).all()
    assert cli.main(["timings", str(output)]) == 0
    assert "| preprocess | 4 |" in capsys.readouterr().out
