"""The shipped CNN on a CUDA device against the same CNN on the CPU."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from cmburden.core import resources
from cmburden.detect.stage import Detector
from cmburden.models.precision import FAST, SINGLE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

SIZES_MM = (0.9, 0.9, 2.0)
#: Largest difference in probability of two precisions that was seen on whole scans, H200, is 0.018.
HALF_PRECISION = 0.05


@pytest.fixture(scope="module")
def scan():
    """A brain of smooth texture with twelve dark spheres of 2 to 5 mm, its mask and affine."""
    rng = np.random.default_rng(1)
    shape = (140, 160, 48)
    grid = np.stack(np.indices(shape), -1) * SIZES_MM
    centre = np.array(shape) * SIZES_MM / 2
    mask = np.linalg.norm((grid - centre) / (58, 68, 44), axis=-1) < 1
    volume = 1 + ndimage.gaussian_filter(rng.normal(size=shape), 2)
    volume += rng.normal(scale=0.03, size=shape)
    for radius in np.linspace(1, 2.5, 12):
        at = centre + rng.uniform(-28, 28, 3)
        volume[np.linalg.norm(grid - at, axis=-1) < radius] *= 0.3
    volume = np.where(mask, volume, 0).astype(np.float32)
    return volume / np.median(volume[mask]), mask, np.diag([*SIZES_MM, 1.0])


def candidates_on(device: str, scan, precision=SINGLE) -> dict[tuple[float, ...], float]:
    """Probability of each candidate by its centre, mm."""
    detector = Detector(resources.root() / "models" / "detector", device, precision)
    made = detector(*scan, minimum=0.15, maximum_number=200)
    return {tuple(np.round(one.centre_mm, 2).tolist()): one.p_cnn for one in made}


def test_single_precision_is_the_same_on_both(scan):
    gpu, cpu = candidates_on("cuda", scan), candidates_on("cpu", scan)
    assert len(cpu) >= 6 and gpu.keys() == cpu.keys()
    assert max(abs(gpu[at] - cpu[at]) for at in cpu) < 1e-4


def test_half_precision_moves_little(scan):
    half = candidates_on("cuda", scan, FAST)
    single = candidates_on("cpu", scan)
    sure = [at for at, p in single.items() if p > 0.5]
    assert len(sure) >= 3
    for at in sure:
        nearest = min(half, key=lambda other: np.linalg.norm(np.subtract(other, at)))
        assert np.linalg.norm(np.subtract(nearest, at)) < 0.5
        assert abs(half[nearest] - single[at]) < HALF_PRECISION
