"""The simulator's physics against analytic results."""

import numpy as np
import pytest
import torch

from cmburden.simulate import physics

B0 = np.array([0.0, 0.0, 1.0])


def sphere(n: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, n, n, 3) in mm of a 1 mm grid about its middle, and a sphere's volume share."""
    axis = np.arange(n) - n // 2
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).astype(float)
    fine = (np.arange(5) - 2) / 5
    share = np.zeros((n, n, n), np.float32)
    for x in fine:
        for y in fine:
            for z in fine:
                share += (np.linalg.norm(points + np.array([x, y, z]), axis=-1) <= radius) / 125
    return points, share


@pytest.mark.parametrize("b0", [B0, np.array([0.0, 0.6, 0.8])])
def test_dipole_field_of_a_sphere_is_the_analytic_one(b0):
    points, share = sphere(96, 5.0)
    field = physics.dipole_field(torch.from_numpy(share), (1, 1, 1), b0).numpy()
    truth = physics.sphere_field(points, 5.0, 1.0, b0)
    distance = np.linalg.norm(points, axis=-1)
    outside = (distance > 7) & (distance < 20)
    # Of 1 ppm; what is left is the periodic grid's neighbours.
    assert np.abs(field - truth)[outside].max() < 0.02
    # Inside a sphere the field (Lorentz-corrected) is zero.
    assert np.abs(field[distance < 3]).max() < 0.02


def test_phase_of_one_ppm_at_3_tesla_and_20_ms():
    # 42.577 MHz/T x 3 T x 1e-6 x 20 ms = 2.5546 turns.
    assert physics.phase_per_ppm(3.0, 0.020) / (2 * np.pi) == pytest.approx(2.5546, abs=1e-3)


def test_blooming_grows_with_the_cube_root_of_field_and_echo_time():
    one = physics.visible_radius(1.0, 1.0, 1.5, 0.020)
    assert physics.visible_radius(1.0, 1.0, 3.0, 0.020) / one == pytest.approx(2 ** (1 / 3))
    assert physics.visible_radius(1.0, 1.0, 3.0, 0.040) / one == pytest.approx(4 ** (1 / 3))
    assert physics.visible_radius(1.0, 1e-6, 3.0, 0.020) == 1.0


def test_a_full_turn_across_a_voxel_leaves_no_signal():
    ramp = torch.arange(8.0)[:, None, None].expand(8, 8, 8).contiguous()
    assert physics.through_voxel_dephasing(ramp, 2 * np.pi)[4, 4, 4] < 1e-6
    half = physics.through_voxel_dephasing(ramp, np.pi)[4, 4, 4]
    assert float(half) == pytest.approx(2 / np.pi, abs=1e-5)


def test_block_mean():
    volume = torch.arange(64.0).reshape(4, 4, 4)
    assert physics.block_mean(volume, (4, 4, 4)).item() == 31.5
    assert physics.block_mean(volume, (1, 1, 2)).shape == (4, 4, 2)


def test_susceptibility_weighting_darkens_positive_phase_only():
    magnitude = torch.ones(3)
    weighted = physics.susceptibility_weighted(magnitude, torch.tensor([-1.0, 0.0, np.pi / 2]), 4)
    assert weighted.tolist() == pytest.approx([1.0, 1.0, 0.5**4])
