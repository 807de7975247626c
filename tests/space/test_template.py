"""The template's tissues, and the fluid deep in its brain."""

import numpy as np
import pytest
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from cmburden.space import template


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_tissues_fill_the_brain_and_nothing_else(spacing):
    tissues, affine = template.tissues(spacing)
    assert voxel_sizes(affine) == pytest.approx([spacing] * 3)
    assert tissues.min() >= 0 and tissues.sum(-1).max() <= 1.01
    # The brain of MNI152 has 1.9 l (Lancaster et al., Hum Brain Mapp 2007;28:1194: larger than
    # people).
    assert tissues.sum() * spacing**3 / 1e6 == pytest.approx(1.9, abs=0.1)


@pytest.mark.slow
def test_blocks_lie_where_their_voxels_lie():
    fine, to_mni = template.tissues(1.0)
    coarse, to_mni_coarse = template.tissues(2.0)
    block = (40, 50, 45)
    corner = tuple(2 * index for index in block)
    voxels = [np.array(corner) + offset for offset in np.ndindex(2, 2, 2)]
    assert apply_affine(to_mni_coarse, block) == pytest.approx(
        np.mean([apply_affine(to_mni, voxel) for voxel in voxels], axis=0)
    )
    assert coarse[block] == pytest.approx(
        np.mean([fine[tuple(voxel)] for voxel in voxels], axis=0), abs=1e-6
    )


def test_tissues_at_known_places():
    """Body of a lateral ventricle, white matter beside it, a place outside the head; MNI152 mm."""
    fluid, white, outside = template.tissues_at([[-8, -2, 20], [-24, -20, 32], [0, 0, 150]], 1.0)
    assert fluid[2] > 0.5
    assert white[1] > 0.8
    assert outside.tolist() == [0, 0, 0]


@pytest.mark.slow
def test_nilearns_own_grids():
    grey, white, affine = template.grey_and_white(2)
    assert voxel_sizes(affine) == pytest.approx([2.0] * 3)
    assert grey.shape == white.shape
    at = np.rint(apply_affine(np.linalg.inv(affine), [-24, -20, 32])).astype(int)
    assert white[tuple(at)] > 0.8 > 0.2 > grey[tuple(at)]


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [1, 2])
def test_deep_fluid_is_deep_and_above_the_cerebellum(spacing):
    grey, white, affine = template.grey_and_white(spacing)
    brain = ndimage.binary_fill_holes(
        ndimage.binary_closing(np.pad(grey + white > 0.3, 8), iterations=6 // spacing)
    )[8:-8, 8:-8, 8:-8]
    deep = template.deep_fluid(brain, grey + white < 0.4, affine, 18.0)

    def is_deep(*point: float) -> bool:
        return bool(deep[tuple(np.rint(apply_affine(np.linalg.inv(affine), point)).astype(int))])

    # Both lateral ventricles; white matter; the fourth ventricle; a sulcus.
    assert is_deep(-8, -2, 20) and is_deep(8, -2, 20)
    assert not is_deep(-24, -20, 32) and not is_deep(0, -46, -32) and not is_deep(0, 40, 60)
    # Deeper, there is less.
    assert 0 < template.deep_fluid(brain, grey + white < 0.4, affine, 26.0).sum() < deep.sum()
