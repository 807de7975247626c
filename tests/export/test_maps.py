"""Maps of an export: each lesion lies where its table says, and counts are those of the table."""

import json

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from cmburden.export import maps
from cmburden.export.tables import Exported

pytestmark = pytest.mark.slow


def lesion(scan_id, label, place, diameter=4.0):
    x, y, z = place
    return {
        "scan_id": scan_id,
        "label": label,
        "mni_x": x,
        "mni_y": y,
        "mni_z": z,
        "diameter_mm": diameter,
    }


def cell(contrast, x, y, z, n):
    return {"contrast": contrast, "mni_x": x, "mni_y": y, "mni_z": z, "n": n}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    rows = {
        "scans": [{"scan_id": "a", "contrast": "GRE"}, {"scan_id": "b", "contrast": "SWI"}],
        "lesions": [
            lesion("a", "definite", (-30.2, 10.4, 20.0), 6.0),
            lesion("a", "definite", (-30.2, 10.4, 20.0), 2.0),
            lesion("a", "definite", (70.0, -20.0, 10.0)),
            lesion("a", "possible", (5.0, 5.0, 5.0)),
            lesion("b", "definite", (None, 5.0, 5.0)),
            lesion("b", "definite", (0.0, -400.0, 5.0)),
        ],
        "lesion_cells": [
            cell("GRE", -35, 15, 30, 2),
            cell("GRE", 75, -15, 10, 1),
            cell("SWI", 5, 5, 10, None),
        ],
    }
    tables = {name: Exported(name, "row", (), content) for name, content in rows.items()}
    paths = maps.write(folder, tables)
    assert sorted(paths) == sorted(folder.iterdir())
    return folder


def at(image, place) -> float:
    voxel = np.round(apply_affine(np.linalg.inv(image.affine), place)).astype(int)
    return float(image.get_fdata()[tuple(voxel)])


def test_lesions_lie_at_their_places(folder):
    image = nib.load(folder / "group_space-MNI152NLin2009aSym_desc-GREdefinite_lesions.nii.gz")
    assert image.shape == (197, 233, 189)
    assert at(image, (-30.2, 10.4, 20.0)) == 2
    assert at(image, (-30.2, 13.0, 20.0)) == 1
    assert at(image, (30.2, 10.4, 20.0)) == 0
    assert at(image, (5.0, 5.0, 5.0)) == 0
    # Volumes of the balls, mm3: 6, 2 and 4 mm.
    volume = image.get_fdata().sum()
    assert volume == pytest.approx(np.pi / 6 * (6**3 + 2**3 + 4**3), rel=0.15)


def test_certainty_and_contrast_are_apart_and_the_template_is_named(folder):
    names = {path.name.split("desc-")[1] for path in folder.glob("*.nii.gz")}
    assert names == {
        "GREdefinite_lesions.nii.gz",
        "GREpossible_lesions.nii.gz",
        "SWIdefinite_lesions.nii.gz",
        "GREcells_count.nii.gz",
        "SWIcells_count.nii.gz",
    }
    described = json.loads(next(folder.glob("*GREdefinite*.json")).read_text())
    assert described["SpatialReference"] == "MNI152NLin2009aSym"
    assert "3 microbleeds" in described["Description"]


def test_cells_hold_the_numbers_of_the_table(folder):
    image = nib.load(folder / "group_space-MNI152NLin2009aSym_desc-GREcells_count.nii.gz")
    assert at(image, (-35, 15, 30)) == 2
    assert at(image, (75, -15, 10)) == 1
    assert image.get_fdata().sum() == 3
    suppressed = nib.load(folder / "group_space-MNI152NLin2009aSym_desc-SWIcells_count.nii.gz")
    assert np.isnan(at(suppressed, (5, 5, 10)))
