"""The plainer simulator: what a ball takes from an image, and a scan that shows its microbleeds."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate import plain


@pytest.mark.parametrize("voxel", [(0.5, 0.5, 2.0), (0.9, 0.9, 5.0)])
def test_a_ball_takes_its_volume_however_the_slices_lie(voxel):
    turn = nib.eulerangles.euler2mat(0.3, -0.2, 0.4)
    affine = nib.affines.from_matvec(turn * voxel, [3.0, -2.0, 1.0])
    shape = np.ceil(np.array([30, 30, 30]) / voxel).astype(int)
    centre = nib.affines.apply_affine(affine, (shape - 1) / 2 + [0.3, -0.4, 0.2])
    axes = nib.eulerangles.euler2mat(0.5, 0.1, -0.7) * np.array([2.4, 2.0, 1.7])[:, None]
    image = np.ones(shape, np.float32)
    plain.darken(image, affine, plain.Ellipsoid(centre, axes, 0.8))
    # A Fermi profile of relative width 0.1 holds 1 + (0.1 pi)^2 of the sharp ball's volume.
    volume = 4 / 3 * np.pi * 2.4 * 2.0 * 1.7 * (1 + (0.1 * np.pi) ** 2)
    assert (1 - image).sum() * np.prod(voxel) == pytest.approx(0.8 * volume, rel=0.03)
    where = np.argwhere(image < 0.99).mean(0)
    assert nib.affines.apply_affine(affine, where) == pytest.approx(centre, abs=max(voxel) / 2)


@pytest.mark.slow
def test_a_scan_shows_the_microbleeds_that_it_names():
    person = an.load(None)
    coarse = dataclasses.replace(aq.PRESETS["AIBL"], voxel_mm=(1.5, 1.5, 4.0))
    made = plain.simulate(person, coarse, 12, np.random.default_rng(3))
    again = plain.simulate(person, coarse, 12, np.random.default_rng(3))
    assert np.array_equal(made.image, again.image)
    kinds = [source.kind for source in made.sources]
    assert {"microbleed"} <= set(kinds) <= {"microbleed", "faint", "calcification"}
    assert sum(kind in ("microbleed", "faint") for kind in kinds) == 12
    brain = np.median(made.image[np.isin(made.labels, an.WHITE)])
    for source in made.sources:
        if source.kind == "microbleed":
            voxel = nib.affines.apply_affine(np.linalg.inv(made.affine), source.centre)
            box = tuple(slice(max(int(v) - 1, 0), int(v) + 3) for v in np.round(voxel))
            assert made.image[box].min() < 0.65 * brain
