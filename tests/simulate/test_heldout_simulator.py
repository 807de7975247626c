"""A second, simpler simulator of a lesion's signal: random spins about an analytic sphere.

``spins`` shares no code with the package: it draws spins at random where the main simulator
integrates on a regular grid. A dipole convolution on a fine grid gives the field once more.
"""

import numpy as np
import pytest
import torch

from cmburden.simulate import physics
from cmburden.simulate.sources import Source, source_signal

pytestmark = pytest.mark.slow

VOXELS = {"GRE": (0.86, 0.86, 4.0), "SWI": (0.5, 0.5, 2.0), "thick": (0.9, 0.9, 5.0)}


def spins(radius, chi, tesla, echo_s, voxel, centre, shape) -> np.ndarray:
    """Signal left in each voxel: 2,000 spins in each, 100,000 in those about the source."""
    rng = np.random.default_rng(0)
    omega = 2 * np.pi * 42.577478518 * tesla
    left = np.ones(shape, complex)
    for index in np.ndindex(*shape):
        near = (np.abs(np.array(index) - centre) * voxel < 0.75 * np.array(voxel) + radius).all()
        within = rng.uniform(-0.5, 0.5, (100_000 if near else 2000, 3))
        where = (np.array(index) + within - centre) * voxel
        r = np.sqrt((where**2).sum(1))
        dipole = 3 * (where[:, 2] / r) ** 2 - 1
        phase = omega * echo_s * chi * radius**3 / (3 * r**3) * dipole
        left[index] = np.where(r > radius, np.exp(1j * phase), 0).mean()
    return left


def main(radius, chi, tesla, echo_s, voxel, centre, shape) -> np.ndarray:
    affine = np.diag([*voxel, 1.0])
    source = Source("microbleed", np.array(centre) * voxel, radius, chi, radius, None, "lobar")
    box, left = source_signal(
        source, affine, shape, np.array([0, 0, 1.0]), physics.phase_per_ppm(tesla, echo_s)
    )
    whole = np.ones(shape, complex)
    whole[box] = left
    return whole


@pytest.mark.parametrize("voxel", VOXELS.values(), ids=VOXELS)
@pytest.mark.parametrize("radius", [0.3, 0.6, 1.1])
@pytest.mark.parametrize(("tesla", "echo_s"), [(1.5, 0.025), (3.0, 0.02), (7.0, 0.015)])
def test_signal_loss_agrees(voxel, radius, tesla, echo_s):
    shape = (13, 13, 7)
    case = (radius, 1.5, tesla, echo_s, np.array(voxel), (6.2, 5.7, 3.1), shape)
    one, other = main(*case), spins(*case)
    loss, other_loss = 1 - abs(one), 1 - abs(other)
    assert loss.sum() == pytest.approx(other_loss.sum(), rel=0.05)
    assert loss.max() == pytest.approx(other_loss.max(), rel=0.05)
    # The phase as well: it makes the SWI.
    clear = abs(other) > 0.3
    assert np.abs(np.angle(one * other.conj()))[clear].max() < 0.15


def test_a_convolution_on_a_fine_grid_agrees():
    n, step, radius = 96, 0.1, 0.8
    axis = (np.arange(n) + 0.5) * step - n * step / 2
    square = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    ball = torch.from_numpy((square < radius**2).astype(np.float32))
    per_ppm = physics.phase_per_ppm(3.0, 0.02)
    field = physics.dipole_field(ball, (step,) * 3, np.array([0, 0, 1.0])) * per_ppm
    signal = (1 - ball) * torch.polar(torch.ones_like(field), field)
    blocks = signal.reshape(12, 8, 12, 8, 12, 8).mean((1, 3, 5)).abs().numpy()
    left = main(radius, 1.0, 3.0, 0.02, np.full(3, 0.8), (5.5,) * 3, (12,) * 3)
    inner = (slice(3, 9),) * 3
    assert (1 - blocks[inner]).sum() == pytest.approx((1 - abs(left[inner])).sum(), rel=0.05)
