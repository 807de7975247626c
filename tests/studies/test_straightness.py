"""Straightness of dark lines against curves whose chord is known, and of simulated veins against
a real scan's."""

from pathlib import Path

import numpy as np
import pytest

from cmburden.images.volume import load_volume
from cmburden.simulate import vessels
from cmburden.studies import straightness

REAL = (
    Path(__file__).resolve().parents[3]
    / "shared/data/bids_real/sub-crop7t/anat/sub-crop7t_echo-3_part-mag_MEGRE.nii.gz"
)


def image_of(points: np.ndarray, voxel: float = 0.5) -> np.ndarray:
    """(80, 80, 20) of 1 with a dark tube of 0.8 mm radius about ``points`` (mm)."""
    at = (np.indices((80, 80, 20)).reshape(3, -1).T) * voxel
    near = np.full(len(at), np.inf)
    for point in points:
        near = np.minimum(near, np.linalg.norm(at - point, axis=1))
    return np.where(near < 0.8, 0.3, 1.0).reshape(80, 80, 20)


@pytest.mark.parametrize("radius", [np.inf, 12.0, 5.0])
def test_chord_over_arc_of_a_circle(radius):
    along = np.arange(-8, 8, 0.25)
    if np.isinf(radius):
        x, y = along, np.zeros_like(along)
    else:
        x, y = radius * np.sin(along / radius), radius * (1 - np.cos(along / radius))
    points = np.stack([0.8 * x - 0.6 * y + 20.1, 0.6 * x + 0.8 * y + 18.2, 5.1 + 0.02 * x], 1)
    pieces = straightness.pieces(image_of(points), (0.5, 0.5, 0.5))
    expected = 1.0 if np.isinf(radius) else 2 * radius * np.sin(3 / radius) / 6
    assert len(pieces.arc_mm) == 1 and pieces.arc_mm[0] == pytest.approx(16, abs=4)
    assert np.median(pieces.chord) == pytest.approx(expected, abs=0.015)


def test_a_vein_holds_its_volume_and_together():
    from scipy import ndimage

    along = np.arange(0, 31.0)
    points = np.stack([along * 0.6 + 4, along * 0.8 + 4, np.full_like(along, 10.3)], 1)
    ahead = np.diff(points, axis=0, append=points[-1:])
    for radius in (0.2, 0.5):
        vein = vessels.Veins(points, ahead, np.full(len(points), radius))
        sub = np.array([0.5, 0.5, 0.65])
        share = vein.share((60, 70, 32), sub, 1 / sub, np.random.default_rng(0)).numpy()
        # 30.5 steps of 1 mm: the last point stands for half a one.
        assert share.sum() * sub.prod() == pytest.approx(np.pi * radius**2 * 30.5, rel=0.02)
        assert ndimage.label(share > 0.1 * share.max(), np.ones((3, 3, 3)))[1] == 1


def test_walks_go_on_from_point_to_point():
    labels = np.zeros((60, 60, 60), int)
    labels[5:55, 5:55, 5:55] = 2
    labels[28:32, 5:55, 5:55] = 24
    labels[26:28, 5:55, 5:55] = 3
    wall = np.full(labels.shape, 20.0, np.float32)
    veins = vessels.grow(labels, wall, 20.0, np.random.default_rng(0))
    step = np.linalg.norm(veins.ahead, axis=1)
    assert len(veins.points) > 200
    assert step[step > 0] == pytest.approx(1.0, abs=1e-3)
    assert 0.9 < (step > 0).mean() < 1
    # From the last point of each vein back over its shortest length.
    ends = veins.points + veins.ahead
    before = {tuple(ends[k].round(6)): k for k in np.flatnonzero(step > 0)}
    for k in np.flatnonzero(step == 0):
        for _ in range(vessels.LEAST_MM):
            k = before[tuple(veins.points[k].round(6))]
    turned = veins.through(np.array([[0, -1, 0, 5], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    assert turned.points[0] == pytest.approx(veins.points[0][[1, 0, 2]] * [-1, 1, 1] + [5, 0, 0])
    assert turned.ahead[0] == pytest.approx(veins.ahead[0][[1, 0, 2]] * [-1, 1, 1])


@pytest.mark.skipif(not REAL.exists(), reason="needs ../shared")
@pytest.mark.slow
def test_simulated_veins_are_as_straight_as_a_real_scans():
    volume = load_volume(REAL)
    real = straightness.pieces(volume.data, volume.zooms)
    made = [
        straightness.simulated(volume.zooms, 0.012, 7.0, seed=seed, extent_mm=25.0)
        for seed in (2, 6)
    ]
    chord, arc = (np.concatenate([getattr(p, what) for p in made]) for what in ("chord", "arc_mm"))
    for quantile in (0.25, 0.5, 0.75):
        assert np.quantile(real.chord, quantile) == pytest.approx(
            np.quantile(chord, quantile), abs=0.02
        )
    # They hold together: of those drawn as clouds of points none was longer.
    assert (arc >= 6).mean() >= (real.arc_mm >= 6).mean()
