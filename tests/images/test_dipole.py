"""The dipole's field against the sphere's formula, on grids at an angle."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from cmburden.images import dipole

AXES = {
    "RAS": np.eye(3),
    "LAS": np.diag([-1.0, 1, 1]),
    "LPS": np.diag([-1.0, -1, 1]),
    "oblique": nib.eulerangles.euler2mat(0.5, -0.1, 0.2),
}


@pytest.mark.parametrize("axes", AXES)
def test_the_field_of_a_sphere_is_the_formula_s(axes):
    """Outside, chi/3 (a/r)^3 (3 cos^2 - 1), with the angle to the scanner's z."""
    affine = np.eye(4)
    affine[:3, :3] = AXES[axes] @ np.diag([1.0, 1.0, 1.5])
    index = np.stack(np.meshgrid(*(np.arange(n) for n in (48, 48, 32)), indexing="ij"), -1)
    offsets = (index - [24, 24, 16]) @ affine[:3, :3].T
    distance = np.linalg.norm(offsets, axis=-1)
    chi = (distance <= 4).astype(np.float32)
    # The sphere of voxels has a volume of its own.
    radius = np.cbrt(chi.sum() * 1.5 * 3 / (4 * np.pi))
    # A blurred sphere has the same field away from it, and k-space holds it.
    field = dipole.field(ndimage.gaussian_filter(chi, 1), affine)
    there = (distance > 9) & (distance < 13)
    cosine = offsets[..., 2] / np.maximum(distance, 1e-6)
    expected = (radius / np.maximum(distance, 1)) ** 3 * (3 * cosine**2 - 1) / 3
    assert np.abs(field - expected)[there].max() < 0.006
    assert np.corrcoef(field[there], expected[there])[0, 1] > 0.995


def test_a_sphere_s_signal_at_equator_and_pole():
    points = np.array([[[2.0, 0, 0]], [[0, 0, 2.0]], [[0.5, 0, 0]]])
    signal = dipole.sphere(points, 2.0)
    # At the radius of the signal loss: -1 rad at the equator, twice as much at the pole.
    assert np.allclose(np.angle(signal[:2]), [-1, 2]) and signal[2] == 0
