"""A truth table that the prepared volumes contradict is refused, one that they cannot judge not."""

import json
import time

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.tables import MANIFEST
from cmburden.evaluate.coordinates import require_ras
from cmburden.images import stated
from cmburden.images import volume as images

SHAPE = (70, 80, 16)
AFFINE = nib.affines.from_matvec(np.diag([2.0, 2, 4]), [-66.0, -92, -20])
#: Microbleeds of each scan, by their voxels in RAS.
SPOTS = np.array([(20, 30, 5), (44, 51, 10), (30, 60, 12)])


def prepared(folder, people: int) -> Layout:
    layout = Layout(folder)
    names = [f"sub-{n:02d}_T2starw" for n in range(people)]
    MANIFEST.write(
        layout.manifest,
        [
            {
                "scan_id": name,
                "cohort": "A",
                "participant_id": name[:6],
                "suffix": "T2starw",
                "contrast": "GRE",
                "path": f"{name}.nii.gz",
                "entities": json.dumps([["sub", name[4:6]]]),
                "bucket": 0,
                "content_key": name,
            }
            for name in names
        ],
    )
    for scan in read_scans(layout.manifest, layout.root):
        data = np.ones(SHAPE, np.float32)
        data[tuple(SPOTS.T)] = 0.1
        images.save_volume(layout.preproc(scan), data, AFFINE, np.float32)
    return layout


def truth(people: int, points: np.ndarray, kind: str = "microbleed") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"scan_id": f"sub-{n:02d}_T2starw", "kind": kind}
            | dict(zip(("x_mm", "y_mm", "z_mm"), point, strict=True))
            for n in range(people)
            for point in points
        ]
    )


RAS = nib.affines.apply_affine(AFFINE, SPOTS)


def test_right_points_pass_in_silence_and_wrong_ones_are_refused(tmp_path, capsys):
    layout = prepared(tmp_path, 5)
    require_ras(layout, truth(5, RAS), tmp_path / "truth.tsv")
    assert capsys.readouterr().out == ""
    for points, name in (
        (RAS * [-1, -1, 1], "lps"),
        (RAS * [-1, 1, 1], "las"),
        (SPOTS, "voxel0_ras"),
        # Stored as dcm2niix does, LAS.
        ([SHAPE[0], 1, 1] + SPOTS * [-1, 1, 1], "voxel1"),
    ):
        with pytest.raises(CMBurdenError, match=f"truth.tsv: the coordinates are {name}, not ras"):
            require_ras(layout, truth(5, points), tmp_path / "truth.tsv")
    with pytest.raises(CMBurdenError, match=r"points are no ras of these images.*--trust-coord"):
        require_ras(layout, truth(5, RAS + np.array([0, 13, 0])), tmp_path / "truth.tsv")


def test_what_cannot_be_judged_passes_with_a_remark(tmp_path, capsys):
    layout = prepared(tmp_path, 5)
    require_ras(layout, truth(2, RAS * [-1, -1, 1]), tmp_path / "truth.tsv")
    assert "whether the coordinates are ras is not proven: 6 point(s)" in capsys.readouterr().out
    # Other kinds are not asked: a mimic need not be dark.
    require_ras(layout, truth(5, RAS + 13, "calcification"), tmp_path / "truth.tsv")
    empty = Layout(tmp_path / "empty")
    require_ras(empty, truth(5, RAS), tmp_path / "truth.tsv")
    assert capsys.readouterr().out == ""
    for scan in read_scans(layout.manifest, layout.root):
        layout.preproc(scan).unlink()
    require_ras(layout, truth(5, RAS), tmp_path / "truth.tsv")
    assert "no prepared volume of its scans is left" in capsys.readouterr().out


def test_few_volumes_are_read_and_of_many_people(tmp_path, monkeypatch):
    layout = prepared(tmp_path, 30)
    scans = {scan.scan_id: scan for scan in read_scans(layout.manifest, layout.root)}
    points = dict.fromkeys(scans, RAS)
    read = []
    monkeypatch.setattr(
        stated, "read_file", lambda path, scan: read.append(scan) or (np.ones(SHAPE), AFFINE)
    )
    start = time.monotonic()
    verdict = stated.check(layout, scans, points)
    assert time.monotonic() - start < 10
    assert len(read) == len({scan.participant_id for scan in read}) == stated.MOST_SCANS
    assert verdict.fits is False and verdict.points == 3 * stated.MOST_SCANS
