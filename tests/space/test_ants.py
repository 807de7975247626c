"""Registrations find a motion that is known, whatever the order of the voxels."""

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from orientations import ORIENTATIONS
from scipy import ndimage

from cmburden.space import ants, template
from cmburden.space.transform import Transform

pytestmark = pytest.mark.slow

#: Points of a brain, MNI152 mm.
POINTS = np.array([[0, 0, 0], [40, 20, 10], [-30, -60, 20], [10, 50, -10], [-45, 0, 40.0]])


def motion(degrees=(8.0, -5.0, 10.0), shift=(6.0, -9.0, 4.0), scale=1.0) -> np.ndarray:
    turn = nib.eulerangles.euler2mat(*np.deg2rad(degrees))
    return nib.affines.from_matvec(turn * scale, shift)


def ordered(data: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """The same image with its voxels in another order, or turned about ("oblique")."""
    if codes == "oblique":
        return data, motion((10, -15, 20), (0, 0, 0)) @ affine
    order = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(codes)
    )
    to_world = affine @ nib.orientations.inv_ornt_aff(order, data.shape)
    return nib.orientations.apply_orientation(data, order), to_world


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_an_image_keeps_its_place(codes):
    data, affine = ordered(*template.brain(4.0), codes)
    image = ants.ants_image(data, affine)
    assert np.array_equal(image.numpy(), data.astype(np.float32))
    assert ants.affine_of(image) == pytest.approx(affine, abs=1e-4)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_rigid_finds_a_motion(codes):
    data, affine = ordered(*template.brain(4.0), codes)
    there = motion()
    fixed, moving = ants.ants_image(data, affine), ants.ants_image(data, there @ affine)
    matrix, offset = ants.rigid(fixed, moving)
    assert matrix @ matrix.T == pytest.approx(np.eye(3), abs=1e-5)
    found = Transform(matrix, offset)(POINTS)
    # A tenth of a voxel.
    assert np.linalg.norm(found - apply_affine(there, POINTS), axis=1).max() < 0.4
    # Two runs give the same bits.
    again = ants.rigid(fixed, moving)
    assert np.array_equal(matrix, again[0]) and np.array_equal(offset, again[1])


def test_affine_finds_a_scaling_that_rigid_does_not():
    data, affine = template.brain(4.0)
    there = motion(scale=0.9)
    fixed, moving = ants.ants_image(data, affine), ants.ants_image(data, there @ affine)
    expected = apply_affine(there, POINTS)
    off = [
        np.linalg.norm(Transform(*way(fixed, moving))(POINTS) - expected, axis=1).max()
        for way in (ants.affine, ants.rigid)
    ]
    assert off[0] < 0.4 < 2 < off[1]


def test_syn_finds_a_bend_that_affine_does_not():
    """A brain whose upper half is pushed to the front by up to 6 mm."""
    data, affine = template.brain(3.0)

    def pushed(points: np.ndarray) -> np.ndarray:
        height = np.clip(points[..., 2] / 60, 0, 1)
        return points + np.stack([0 * height, 6 * np.sin(np.pi * height), 0 * height], -1)

    # The value at p of the bent brain is that of the straight brain at pushed(p).
    points = apply_affine(affine, np.moveaxis(np.indices(data.shape), 0, -1))
    at = apply_affine(np.linalg.inv(affine), pushed(points))
    bent = ndimage.map_coordinates(data, np.moveaxis(at, -1, 0), order=1)
    fixed, moving = ants.ants_image(bent, affine), ants.ants_image(data, affine)
    matrix, offset = ants.affine(fixed, moving)
    field, field_grid = ants.syn(fixed, moving, matrix, offset)
    assert field.dtype == np.float32 and field.shape == (*data.shape, 3)
    inside = points[bent > 0.5]
    off = [
        np.linalg.norm(transform(inside) - pushed(inside), axis=1).mean()
        for transform in (Transform(matrix, offset, field, field_grid), Transform(matrix, offset))
    ]
    assert off[0] < 1.2 < 1.5 < off[1]
