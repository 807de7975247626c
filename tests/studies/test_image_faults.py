"""Each maker of a faulty image changes the image as its name says; the table counts what came."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from cmburden.studies import fault_pictures
from cmburden.studies.faulty_images import FAULTS, Head
from cmburden.studies.image_faults import COLUMNS, lines

SHAPE, SIZES = (40, 48, 20), (4.0, 4.0, 6.0)


@pytest.fixture(scope="module")
def head() -> Head:
    away = np.linalg.norm((np.indices(SHAPE).T - np.array(SHAPE) / 2) * SIZES, axis=-1).T
    rng = np.random.default_rng(0)
    data = np.where(away < 70, 500 + rng.normal(0, 30, SHAPE), 0) + rng.rayleigh(10, SHAPE)
    return Head(data.astype(np.float32), away < 55, SIZES, 1)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_maker_changes_the_image(head, fault):
    made = fault.make(head)
    assert made.data.ndim == 3 and np.isfinite(made.data).all()
    assert made.data.shape != SHAPE or not np.array_equal(made.data, head.data)
    again = fault.make(head)
    assert np.array_equal(again.data, made.data) and again.order == made.order


@pytest.mark.slow
def test_the_picture_shows_each_fault(head, tmp_path, monkeypatch):
    monkeypatch.setattr(fault_pictures.brain, "brain_mask", lambda data: data > 250)
    scan = tmp_path / "sub-1_T2starw.nii.gz"
    nib.save(nib.Nifti1Image(ndimage.gaussian_filter(head.data, 0.8), np.diag([*SIZES, 1.0])), scan)
    fault_pictures.draw(scan, tmp_path / "a.png")
    fault_pictures.draw(scan, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_axes_go_with_the_data(head):
    (sagittal,) = (fault for fault in FAULTS if fault.name == "sagittal order")
    made = sagittal.make(head)
    assert made.data.shape == tuple(SHAPE[axis] for axis in made.order)


def test_the_table_counts_each_fault_once():
    def row(scan, fault, status):
        kind = "sound" if fault == "none" else "values"
        return dict.fromkeys(COLUMNS) | {
            "scan": scan,
            "kind": kind,
            "fault": fault,
            "status": status,
        }

    table = pd.DataFrame(
        [
            row("a", "none", "ok"),
            row("b", "none", "warned"),
            row("a", "inverted", "excluded"),
            row("b", "inverted", "ok"),
        ]
    )
    assert list(lines(table))[2:] == [
        "| sound | none | 2 | 0 | 1 | 1 |",
        "| values | inverted | 2 | 1 | 0 | 1 |",
    ]
