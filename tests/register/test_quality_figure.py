"""The QC figure: right on the right, front and head up, planes through the mask's middle."""

import numpy as np
import pytest
from PIL import Image

from cmburden.register.figure import COLOURS, draw
from cmburden.space.regions import REGIONS, RIGHT_OFFSET

TILE = 260
EDGE = np.array([255, 60, 60])
#: Columns of tiles: axial, coronal, sagittal; rows: mask edge, regions.
AXIAL, CORONAL, SAGITTAL = range(3)
SHAPE = (80, 90, 50)
MIDDLE = np.array([45, 40, 24])


def ball(zooms=(1.0, 1.0, 1.0), radius=20.0) -> tuple[np.ndarray, np.ndarray]:
    """A ball of a mask about ``MIDDLE`` and the affine of a RAS grid."""
    away = (np.indices(SHAPE).T - MIDDLE).T * np.reshape(zooms, (3, 1, 1, 1))
    return np.linalg.norm(away, axis=0) <= radius, np.diag([*zooms, 1.0])


def drawn(path, data, mask, regions, affine) -> np.ndarray:
    draw(path, data, mask, regions, affine)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def tile(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    return picture[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE].astype(int)


def centre_of(where: np.ndarray) -> np.ndarray:
    """Row and column of the middle of the pixels that are set, from the tile's middle."""
    assert where.any()
    return np.argwhere(where).mean(0) - (TILE - 1) / 2


def test_the_picture_holds_six_tiles_and_a_legend(tmp_path):
    mask, affine = ball()
    data = np.where(mask, 1, 0).astype(np.float32)
    picture = drawn(tmp_path / "a.png", data, mask, np.where(mask, 9, 0), affine)
    assert picture.shape[1] == 3 * TILE
    assert picture.shape[0] > 2 * TILE
    legend = picture[2 * TILE :].reshape(-1, 3)
    for region in REGIONS:
        assert (legend == COLOURS[region.value]).all(1).sum() >= 90
    again = tmp_path / "b.png"
    draw(again, data, mask, np.where(mask, 9, 0), affine)
    assert (tmp_path / "a.png").read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    ("axis", "directions"),
    [
        # Axis of the world; for each tile, the step of a spot on its positive half: (down, right).
        (0, {AXIAL: (0, 1), CORONAL: (0, 1)}),
        (1, {AXIAL: (-1, 0), SAGITTAL: (0, 1)}),
        (2, {CORONAL: (-1, 0), SAGITTAL: (-1, 0)}),
    ],
    ids=["right", "front", "up"],
)
def test_right_is_right_front_and_head_are_up(tmp_path, axis, directions):
    mask, affine = ball()
    data = np.where(mask, 0.3, 0).astype(np.float32)
    spot = np.array(MIDDLE)
    spot[axis] += 12
    data[tuple(slice(at - 2, at + 3) for at in spot)] = 1.8
    picture = drawn(tmp_path / "a.png", data, mask, np.zeros(SHAPE, int), affine)
    for column, (down, right) in directions.items():
        one = tile(picture, 1, column)
        bright = one.min(-1) > 200
        off = centre_of(bright) - centre_of(one.max(-1) > 20)
        # All tiles are scaled to their longer side.
        longest = {AXIAL: 90, CORONAL: 80, SAGITTAL: 90}[column]
        expected = np.array([down, right]) * 12 * (TILE - 4) / longest
        assert off == pytest.approx(expected, abs=3)


def test_planes_go_through_the_middle_of_the_mask(tmp_path):
    """Only the three planes through the mask's middle are bright; a plane beside one of them is
    black but for two lines."""
    mask, affine = ball()
    data = np.zeros(SHAPE, np.float32)
    for axis, middle in enumerate(MIDDLE):
        plane = tuple(middle if a == axis else slice(None) for a in range(3))
        data[plane] = 1.8
    picture = drawn(tmp_path / "a.png", data, mask, np.zeros(SHAPE, int), affine)
    for column in (AXIAL, CORONAL, SAGITTAL):
        one = tile(picture, 1, column)[3:-3, TILE // 2 - 40 : TILE // 2 + 40]
        rows = one.min(-1).max(1) > 0
        assert (one[rows].min(-1) == 255).mean() > 0.95


@pytest.mark.parametrize("zooms", [(1.0, 1.0, 1.0), (1.0, 0.8, 2.5)])
def test_the_masks_edge_is_round_whatever_the_voxels(tmp_path, zooms):
    mask, affine = ball(zooms, radius=18.0)
    data = np.where(mask, 1, 0).astype(np.float32)
    picture = drawn(tmp_path / "a.png", data, mask, np.zeros(SHAPE, int), affine)
    for column in (AXIAL, CORONAL, SAGITTAL):
        one = tile(picture, 0, column)
        edge = (one == EDGE).all(-1)
        height, width = np.ptp(np.argwhere(edge), axis=0) + 1
        # A ring, as wide as high, to within a voxel of 2.5 mm.
        extent = max(size * count for size, count in zip(zooms, SHAPE, strict=True))
        assert height == pytest.approx(width, abs=2.5 * 2 * TILE / extent * 1.5)
        assert edge.sum() < 0.5 * height * width
        assert not (tile(picture, 1, column) == EDGE).all(-1).any()


def test_regions_are_coloured_and_the_right_one_is_darker(tmp_path):
    mask, affine = ball()
    data = np.where(mask, 0.9, 0).astype(np.float32)
    regions = np.where(mask, 9, 0)
    regions[MIDDLE[0] + 1 :] += np.where(mask[MIDDLE[0] + 1 :], RIGHT_OFFSET, 0)
    picture = drawn(tmp_path / "a.png", data, mask, regions, affine)
    plain, coloured = tile(picture, 0, AXIAL), tile(picture, 1, AXIAL)
    middle = np.argwhere(coloured.max(-1) > 20).mean(0).astype(int)
    left, right = coloured[middle[0], middle[1] - 25], coloured[middle[0], middle[1] + 25]
    # A grey of 0.9 of 1.8 is 127; two fifths of the region's colour come over it.
    for seen, strength in ((left, 1.0), (right, 0.8)):
        assert seen == pytest.approx(0.6 * 127.5 + 0.4 * strength * np.array(COLOURS[9]), abs=1.5)
    assert len(set(plain[middle[0], middle[1] - 25])) == 1
