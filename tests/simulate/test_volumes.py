"""Volumes: the quick ways give scipy's and torch's bits, and a scan is what it was before them."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate import volumes
from cmburden.simulate.scan import simulate
from cmburden.simulate.sources import Findings

RNG = np.random.default_rng(0)
SHAPE = (23, 18, 31)
#: Memory in the order of C, of Fortran, and of a label map whose axes were turned.
LAYOUTS = [
    lambda array: np.ascontiguousarray(array),
    lambda array: np.asfortranarray(array),
    lambda array: np.ascontiguousarray(array.transpose(1, 2, 0)).transpose(2, 0, 1),
    lambda array: np.repeat(array, 2, axis=1)[:, ::2],
]


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 0.8, 2.5)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_distances_are_scipys(spacing, dtype):
    for share in (0.002, 0.3, 0.0):
        mask = RNG.random(SHAPE) < share
        expected = ndimage.distance_transform_edt(~mask, spacing).astype(dtype)
        assert np.array_equal(volumes.distance_to(mask, spacing, dtype), expected)


@pytest.mark.parametrize("times", [1, 2, 5])
def test_dilation_and_erosion_are_scipys(times):
    for share in (0.01, 0.9, 1.0):
        mask = RNG.random(SHAPE) < share
        expected = ndimage.binary_dilation(mask, iterations=times)
        assert np.array_equal(volumes.dilated(mask, times), expected)
        expected = ndimage.binary_erosion(mask, iterations=times)
        assert np.array_equal(volumes.eroded(mask, times), expected)


@pytest.mark.parametrize("order", [1, 2])
def test_stretching_is_scipys_zoom(order):
    control = RNG.normal(size=(3, 4, 5))
    expected = ndimage.zoom(
        control, np.array(SHAPE) / control.shape, order=order, grid_mode=True, mode="nearest"
    )
    assert np.abs(volumes.stretched(control, SHAPE, order) - expected).max() < 1e-13


def test_the_nearest_voxel_is_scipys_zoom():
    labels = RNG.integers(0, 500, SHAPE).astype(np.int16)
    zoom = (0.9, 1.75, 4.0)
    expected = ndimage.zoom(labels, zoom, order=0, grid_mode=True, mode="nearest")
    assert np.array_equal(volumes.nearest_stretched(labels, zoom), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("reach", [1.3, 0.2])
def test_values_at_points_are_torchs(layout, reach):
    """Inside, outside and half between two voxels; of a part of the volume alone too."""
    affine = np.diag([1.1, -0.9, 1.3, 1.0])
    affine[:3, 3] = (3, 8, -12)
    labels = layout(RNG.integers(-5, 500, SHAPE).astype(np.int16))
    field = layout(RNG.normal(size=SHAPE).astype(np.float16))
    index = RNG.uniform(-reach, reach, (7, 6, 500, 3)) * SHAPE
    index[0] = np.round(index[0] * 2) / 2
    points = torch.as_tensor(index @ affine[:3, :3].T + affine[:3, 3], dtype=torch.float32)
    lookup = volumes.Lookup(SHAPE, affine, points)
    (nearest,), (linear,) = lookup.nearest(labels), lookup.linear(field)
    for volume, values, mode in ((labels, nearest, "nearest"), (field, linear, "bilinear")):
        unit = lookup.index / (torch.tensor(SHAPE, dtype=torch.float32) - 1) * 2 - 1
        expected = torch.nn.functional.grid_sample(
            torch.from_numpy(np.ascontiguousarray(volume, np.float32))[None, None],
            unit.reshape(1, -1, 1, 1, 3).flip(-1),
            mode=mode,
            align_corners=True,
        )
        assert np.array_equal(values, expected.reshape(index.shape[:-1]).numpy())
    assert nearest.dtype == np.int16


def ball() -> an.Anatomy:
    """A ball of white matter with cortex, fluid, bone and soft tissue about it, on 2 mm voxels."""
    axis = np.arange(-70, 71, 2.0)
    far = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    labels = np.full(far.shape, an.SOFT, np.int16)
    labels[far < 56], labels[far < 50], labels[far < 46] = an.BONE, an.CSF, 3
    labels[far < 38], labels[far < 14], labels[far < 8] = 2, 11, 4
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -70
    distance = [np.maximum(far - edge, 0).astype(np.float16) for edge in (8, 14)]
    return an.Anatomy("ball", labels, affine, *distance, an.brain_of(labels))


#: Mean and deviation of image, image without bleeds and phase, then number of sources and sum of
#: their coordinates, by the code of 2026-11-27: a seed stands for a scan.
BEFORE = {
    "OATS": (
        *(0.34836519, 0.20557976, 0.34847358, 0.20566629, 0.16565153, 0.9525792),
        *(13, 759.09752),
    ),
    "MAS": (
        *(0.27063981, 0.17844608, 0.27072164, 0.17852299, 0.24701591, 1.1930095),
        *(9, 602.72635),
    ),
}


@pytest.mark.parametrize("preset", BEFORE)
@pytest.mark.slow
def test_a_seed_gives_the_scan_that_it_gave(preset):
    """Numbers, not bits: Fourier transforms differ between processors in their last digits."""
    person, rng = ball(), np.random.default_rng(11)
    near = dataclasses.replace(aq.PRESETS[preset], voxel_mm=(2.5, 2.4, 5.0))
    findings = Findings(
        microbleeds=3,
        painted=0.5,
        pallidal=1,
        crossing_vessels=5,
        siderosis=1,
        white_matter=1.0,
        lacunes=2,
        perivascular=9,
        infarcts=1,
    )
    scan = simulate(
        person, an.deformation(person, rng), aq.vary(near, rng), rng, findings, sub_mm=(2.5, 2.4, 5)
    )
    images = [(image.mean(), image.std()) for image in (scan.image, scan.bare, scan.phase)]
    centres = np.array([source.centre for source in scan.sources])
    found = [*np.ravel(images), len(centres), np.abs(centres).sum()]
    assert found == pytest.approx(BEFORE[preset], rel=2e-5)
