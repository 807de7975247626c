"""The montage shows the right place, in the right orientation, in few and constant bytes."""

import numpy as np
import pytest
from PIL import Image

from cmburden.verify import montage


def lesion(x, y, z, probability=0.9, **more):
    return {
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "probability": probability,
        "label": "definite",
        "region": "frontal",
    } | more


def affine_of(spacing, origin=(-50.0, -60.0, -30.0)):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return affine


@pytest.fixture
def noisy():
    random = np.random.default_rng(1)
    volume = random.normal(1.0, 0.3, (110, 120, 30)).astype(np.float32)
    return volume, affine_of((0.9, 0.9, 2.0))


def many(count):
    random = np.random.default_rng(2)
    return [lesion(*random.uniform(-20, 20, 3), random.uniform(0.3, 1)) for _ in range(count)]


def test_small_and_deterministic_even_for_noise(noisy, tmp_path):
    for name in ("a.png", "b.png"):
        montage.lesion_montage(*noisy, many(30), tmp_path / name, "sub-01")
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert len(content) < montage.MAX_BYTES


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.9, 4.0)])
def test_dark_spot_is_in_the_middle_of_both_crops(spacing):
    volume = np.ones((120, 110, 40), np.float32)
    volume[40, 70, 20] = 0.0
    affine = affine_of(spacing)
    x, y, z, _ = affine @ [40, 70, 20, 1]
    for crop in montage.crops(volume, affine, lesion(x, y, z)):
        row, column = np.unravel_index(crop.argmin(), crop.shape)
        assert abs(row - 47.5) <= 1 and abs(column - 47.5) <= 1


def test_radiological_orientation():
    volume = np.ones((100, 100, 10), np.float32)
    volume[57:60, 49:52, 5] = 0.0  # 8 mm to the person's right of the centre
    volume[49:52, 57:60, 5] = 0.5  # 8 mm in front of it
    plane, _ = montage.crops(volume, np.eye(4), lesion(50, 50, 5))
    row, column = np.unravel_index(plane.argmin(), plane.shape)
    assert column < 30 and abs(row - 47.5) < 3  # right of the person: left of the picture
    rows, columns = np.nonzero(np.isclose(plane, 0.5))
    assert abs(rows.mean() - 22) < 3 and abs(columns.mean() - 47.5) < 3  # the front: up


def test_projection_reaches_neighbours_and_stays_inside_the_volume():
    volume = np.ones((60, 60, 3), np.float32)
    volume[29:32, 29:32, 0] = 0.0
    slice_, projection = montage.crops(volume, np.diag([1, 1, 5, 1.0]), lesion(30, 30, 5))
    assert slice_.min() == pytest.approx(1.0)
    assert projection.min() < 0.1
    montage.crops(volume, np.eye(4), lesion(30, 30, 99))  # centre outside: no error


def test_no_lesion_and_missing_volume_dimension(tmp_path):
    montage.lesion_montage(np.ones((9, 9, 9)), np.eye(4), [], tmp_path / "none.png", "sub-01")
    assert Image.open(tmp_path / "none.png").size[1] < 100
    with pytest.raises(ValueError, match="3D"):
        montage.lesion_montage(np.ones((9, 9)), np.eye(4), [], tmp_path / "x.png", "sub-01")
