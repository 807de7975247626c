"""The study's tables are by the convention that they are said to be, and its counts are right."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from orientations import grid

from cmburden.core.tables import TRUTH
from cmburden.images import conventions
from cmburden.images.volume import save_volume
from cmburden.studies import conventions as study

SHAPE = (60, 72, 16)
AFFINE = grid("RAS", SHAPE, (2.2, 2.2, 6.0), (2, -14, 8))


@pytest.mark.parametrize("name", conventions.NAMES)
def test_a_table_is_the_inverse_of_its_convention(name):
    points = np.random.default_rng(0).uniform(-40, 40, (7, 3))
    affine = grid("oblique", SHAPE, (2.2, 2.2, 6.0), (2, -14, 8))
    table = study.in_table(points, affine, SHAPE, name)
    assert np.allclose(conventions.to_ras(table, affine, SHAPE, name), points)


def test_a_storage_order_keeps_places():
    data = np.zeros(SHAPE, np.int16)
    data[7, 20, 3] = 1
    scan = study.Scan("A", "sub-1", data, AFFINE, np.zeros((0, 3)))
    for order in study.STORED:
        turned, affine = study.stored_as(scan, order)
        assert nib.aff2axcodes(affine) == tuple(order)
        at = nib.affines.apply_affine(affine, np.argwhere(turned)[0])
        assert np.allclose(at, nib.affines.apply_affine(AFFINE, [7, 20, 3]))


@pytest.mark.slow
def test_rates_are_counted(tmp_path, monkeypatch, capsys):
    rows = []
    for person in range(4):
        rng = np.random.default_rng(person)
        data = rng.normal(1000, 20, SHAPE)
        for number, at in enumerate(rng.integers(9, np.array(SHAPE) - [9, 9, 4], (5, 3)), 1):
            data[tuple(at)] = 100
            x, y, z = nib.affines.apply_affine(AFFINE, at)
            rows.append(
                {
                    "scan_id": f"sub-{person}_T2starw",
                    "cohort": "ADNI",
                    "participant_id": f"sub-{person}",
                    "source_id": number,
                    "kind": "microbleed",
                    "x_mm": x,
                    "y_mm": y,
                    "z_mm": z,
                    "radius_mm": 1.4,
                }
            )
        path = tmp_path / "bids" / f"sub-{person}" / "anat" / f"sub-{person}_T2starw.nii.gz"
        save_volume(path, data, AFFINE, np.int16)
    TRUTH.frame(rows).to_csv(tmp_path / "truth.tsv", sep="\t", index=False, na_rep="n/a")
    monkeypatch.setattr(study, "SIZES", (3, 20, 60))
    monkeypatch.setattr(study, "_MOVED", 0.0)
    monkeypatch.setattr(study, "_WRONG", (0.0,))
    folders = [str(tmp_path / name) for name in ("bids", "truth.tsv", "out")]
    assert study.main([*folders, "--repeats", "1"]) == 0
    tables = pd.read_csv(tmp_path / "out" / "tables.tsv", sep="\t", na_values="n/a")
    # Two groups (ADNI, all), and no table of 60 points of 20 microbleeds.
    kinds = len(conventions.NAMES) + len(study.FOREIGN)
    assert len(tables) == 2 * kinds * 2
    listed = tables[tables["name"].isin(conventions.NAMES)]
    assert set(listed.loc[listed["points"] == 20, "outcome"]) == {"right"}
    assert set(listed.loc[listed["points"] == 3, "outcome"]) == {"refused"}
    assert set(tables.loc[tables["name"].isin(study.FOREIGN), "outcome"]) == {"refused"}
    assert "| 20 | 22 | 1.000 | 0.000 | 0 |" in capsys.readouterr().out
