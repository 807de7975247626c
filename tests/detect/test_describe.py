"""`describe` in windows gives the numbers of the plain implementation (`plain.py`)."""

import itertools

import nibabel as nib
import numpy as np
import plain
import pytest
from scipy import ndimage

from cmburden.detect.candidates import Candidate, _maxima, find_candidates
from cmburden.detect.describe import describe
from cmburden.detect.grid import NetworkVolume, to_network
from cmburden.images.geometry import slices_last

#: Voxel sizes with the slices along each axis, thin and thick, and the volume's shape.
GRIDS = {
    "slices last, 2 mm": ((0.5, 0.5, 2.0), (72, 80, 20)),
    "slices first, 4 mm": ((4.0, 0.9, 0.8), (12, 50, 56)),
    "slices second, 1.2 mm": ((0.6, 1.2, 0.7), (60, 30, 52)),
    "as thick as wide": ((1.0, 1.0, 1.0), (40, 38, 36)),
}


def scan(name: str, fortran: bool):
    """A brain of texture with dark balls and lines, its mask and an oblique affine."""
    sizes, shape = GRIDS[name]
    rng = np.random.default_rng(sorted(GRIDS).index(name))
    at = [(np.arange(n) - n / 2) * mm for n, mm in zip(shape, sizes, strict=True)]
    grid = np.stack(np.meshgrid(*at, indexing="ij"), -1)
    half = np.array(shape) * sizes / 2
    mask = np.linalg.norm(grid / (half * (0.85, 0.85, 0.95)), axis=-1) < 1
    volume = np.where(mask, 1.0, 0.3) + 0.1 * ndimage.gaussian_filter(rng.normal(size=shape), 1)
    for _ in range(12):
        centre, way = rng.uniform(-0.7, 0.7, 3) * half, rng.normal(size=3)
        way /= np.linalg.norm(way)
        along = np.clip((grid - centre) @ way, 0, rng.choice([0.0, 0.0, 9.0]))
        away = np.linalg.norm(grid - centre - along[..., None] * way, axis=-1)
        volume *= 1 - rng.uniform(0.4, 0.9) * np.exp(-((away / rng.uniform(0.8, 2.5)) ** 2))
    affine = np.eye(4)
    affine[:3, :3] = nib.eulerangles.euler2mat(0.1, -0.2, 0.15) * sizes
    affine[:3, 3] = (-30.0, 12.0, 7.0)
    order = "F" if fortran else "C"
    return volume.astype(np.float32, order=order), mask.astype(bool, order=order), affine


def places(volume, mask, affine):
    """Dark places, places at random, at the volume's corners, and out of the brain."""
    rng = np.random.default_rng(5)
    shape = np.array(volume.shape)
    dark = np.argwhere((volume < 0.6) & mask)
    index = [*dark[rng.permutation(len(dark))[:14]], *(rng.random((5, 3)) * (shape - 1))]
    index += [np.array(corner) * (shape - 1) for corner in itertools.product((0, 1), repeat=3)][::3]
    return nib.affines.apply_affine(
        affine, np.array(index) + rng.uniform(-0.4, 0.4, (len(index), 3))
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fortran"), list(zip(GRIDS, (True, False) * 2, strict=True)))
def test_windows_give_the_numbers_of_whole_volumes(name, fortran):
    volume, mask, affine = scan(name, fortran)
    centres = places(volume, mask, affine)
    rows, views, voxels = describe(
        volume, mask, affine, [Candidate(tuple(c.tolist()), 0.5) for c in centres]
    )
    assert len(rows) == len(centres) >= 20
    # Places within the brain and out of it.
    assert min(row["edge_mm"] for row in rows) == 0 < max(row["edge_mm"] for row in rows)
    depth = ndimage.distance_transform_edt(mask, nib.affines.voxel_sizes(affine))
    for row, picture, extent, centre in zip(rows, views, voxels, centres, strict=True):
        values, plain_extent = plain.measures(volume, mask, depth, affine, centre)
        assert {name: row[name] for name in values} == {
            name: round(value, 4) for name, value in values.items()
        }
        assert np.array_equal(extent, plain_extent)
        assert np.array_equal(picture, plain.view(volume, affine, centre))


def test_a_scan_without_candidates_has_no_rows():
    volume, mask, affine = scan("as thick as wide", False)
    assert describe(volume, mask, affine, []) == ([], [], [])


def test_a_brain_without_background_has_no_edge():
    volume, mask, affine = scan("as thick as wide", False)
    x, y, z = nib.affines.apply_affine(affine, np.array(volume.shape) / 2).tolist()
    (row,), _, _ = describe(volume, np.ones_like(mask), affine, [Candidate((x, y, z), 0.5)])
    assert row["edge_mm"] == float("inf")


@pytest.mark.parametrize("name", GRIDS)
def test_the_grid_is_that_of_zoom(name):
    """The sums of ``scipy.ndimage.zoom``: equal but for the last bit of single precision."""
    volume, mask, affine = scan(name, True)
    made = to_network(volume, mask, affine, margin_mm=3.0)
    order = slices_last(affine)
    sizes = np.array(GRIDS[name][0])[order]
    margin = np.ceil(3.0 / sizes).astype(int)
    inside = np.argwhere(mask.transpose(order))
    low = np.maximum(inside.min(0) - margin, 0)
    high = np.minimum(inside.max(0) + margin + 1, np.array(volume.shape)[order])
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    image = np.clip(volume.transpose(order)[part], 0, 2.5)
    target = np.array([0.75, 0.75, max(1.5, sizes[2])])
    shrink = target / sizes
    blur = np.where(shrink > 1.2, 0.35 * np.sqrt(np.maximum(shrink**2 - 1, 0)), 0)
    if blur.any():
        image = ndimage.gaussian_filter(image, blur)
    zoom = made.image.shape / np.array(image.shape)
    whole = [
        ndimage.zoom(one.astype(np.float32), zoom, order=1, grid_mode=True, mode="nearest")
        for one in (image, mask.transpose(order)[part])
    ]
    assert np.abs(made.image - whole[0]).max() <= 2e-7
    assert np.array_equal(made.mask, whole[1] > 0.5)


@pytest.mark.parametrize("minimum", [0.0, 0.3])
def test_maxima_are_those_of_a_filter(minimum):
    rng = np.random.default_rng(3)
    probability = ndimage.gaussian_filter(rng.random((30, 34, 14)), 1).astype(np.float32)
    probability = (probability - probability.min()) / np.ptp(probability)
    probability[4:9, 5:8, 3:5] = 1.0  # a flat top
    mask = np.zeros(probability.shape, np.float32)
    mask[3:25, 4:30, 2:12] = 1
    volume = NetworkVolume(probability, mask, np.diag([0.75, 0.75, 2.0, 1]), (0.75, 0.75, 2.0))
    near = ndimage.binary_dilation(mask > 0, np.ones((5, 5, 3)))
    peak = probability == ndimage.maximum_filter(probability, (5, 5, 3))
    expected = np.argwhere(peak & (probability >= minimum) & near)
    assert np.array_equal(_maxima(probability, volume, minimum), expected)
    assert len(find_candidates(probability, volume, minimum, 5)) == 5
