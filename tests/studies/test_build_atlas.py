"""The atlas's construction, on brains of a few boxes whose regions can be told by hand."""

import numpy as np
import pytest

from cmburden.space.regions import BY_NAME
from cmburden.studies.build_atlas import (
    BRAINSTEM,
    CORTEX,
    LENTIFORM,
    OUTSIDE,
    THALAMUS,
    VENTRICLE,
    WHITE,
    assemble,
    tissue_of,
    vote,
)

pytestmark = pytest.mark.slow

#: 1 mm; x from -40 to 40, y from -20 to 20, z from -30 to 30.
SHAPE = (81, 41, 61)
AFFINE = np.array([[1.0, 0, 0, -40], [0, 1, 0, -20], [0, 0, 1, -30], [0, 0, 0, 1]])


def at(x: int, y: int, z: int) -> tuple[int, int, int]:
    return x + 40, y + 20, z + 30


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray]:
    """White matter with cortex at x = +-40 and z = 30, and on the right, from the middle outwards:
    ventricle, thalamus, lentiform nucleus, insula."""
    tissue = np.full(SHAPE, WHITE, np.int8)
    lobes = np.zeros(SHAPE, np.int16)
    tissue[[0, 80]] = tissue[..., 60] = CORTEX
    lobes[[0, 80]], lobes[..., 60] = BY_NAME["temporal"].value, BY_NAME["frontal"].value
    x, z = np.arange(SHAPE[0]) - 40, np.arange(SHAPE[2]) - 30
    height = (z >= -5) & (z <= 10)
    for low, high, tissue_class in (
        (3, 5, VENTRICLE),
        (6, 11, THALAMUS),
        (16, 21, LENTIFORM),
        (26, 28, CORTEX),
    ):
        box = np.ix_((x >= low) & (x <= high), np.arange(SHAPE[1]), height)
        tissue[box] = tissue_class
        lobes[box] = BY_NAME["insula"].value if tissue_class == CORTEX else 0
    return tissue, lobes


@pytest.mark.parametrize(
    ("place", "region"),
    [
        ((8, 0, 0), "thalamus"),
        ((18, 0, 0), "basal ganglia"),
        ((27, 0, 0), "insula"),
        # Between thalamus and lentiform nucleus, and between the nucleus and the insula.
        ((13, 0, 0), "internal capsule"),
        ((23, 0, 0), "external capsule"),
        # Below the plane of the commissures the internal capsule ends: the cerebral peduncle.
        ((13, 0, -8), "deep and periventricular white matter"),
        # White matter at the midline, and beside it near the ventricle.
        ((0, 0, 20), "corpus callosum"),
        ((2, 0, 12), "corpus callosum"),
        # The other half has no grey matter and no ventricle near.
        ((-20, 0, 0), "deep and periventricular white matter"),
        # The ventricle is of what lies nearest.
        ((5, 0, 0), "thalamus"),
        # White matter next to cortex is of the cortex's lobe, on either side.
        ((-39, 0, 0), "temporal"),
        ((38, 0, 0), "temporal"),
        ((-20, 0, 28), "frontal"),
    ],
)
def test_a_place_has_its_region(head, place, region):
    values = assemble(*head, np.ones(SHAPE, bool), AFFINE)
    assert values[at(*place)] == BY_NAME[region].value


def test_outside_of_the_mask_there_is_no_region(head):
    mask = np.zeros(SHAPE, bool)
    mask[at(8, 0, 0)] = True
    values = assemble(*head, mask, AFFINE)
    assert values.dtype == np.int16
    assert np.argwhere(values).tolist() == [list(at(8, 0, 0))]


def test_mirror_images_vote_too():
    """FreeSurfer's 10 and 49 are thalamus, 16 brainstem, and 24 has no class of ours."""
    one, other = np.array([10, 16, 24]), np.array([10, 24, 49])
    shares = vote([one.reshape(3, 1, 1), other.reshape(3, 1, 1)])[:, 0, 0]
    assert shares[:, THALAMUS].tolist() == [0.75, 0, 0.75]
    assert shares[:, BRAINSTEM].tolist() == [0, 0.5, 0]
    assert shares[:, OUTSIDE].tolist() == [0.25, 0.5, 0.25]
    assert shares.sum(-1).tolist() == [1, 1, 1]


def test_the_class_with_most_votes_wins():
    shares = np.zeros((9, 9, 9, 10), np.float32)
    shares[..., WHITE], shares[:4, ..., WHITE] = 0.6, 0.4
    shares[..., CORTEX] = 1 - shares[..., WHITE]
    tissue = tissue_of(shares)
    assert (tissue[:3] == CORTEX).all() and (tissue[6:] == WHITE).all()
