"""A mask that cuts off a part of one side is told by the skull."""

import numpy as np
import pytest

from cmburden.preprocess import sides

SHAPE = (100, 110, 50)
ZOOMS = (1.8, 1.8, 3.0)


def head(fluid_mm: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Signal and brain mask of an egg: brain, fluid outside of the mask, 5 mm of bone, scalp."""
    middle = (np.array(SHAPE) - 1) / 2
    x, y, z = np.moveaxis((np.moveaxis(np.indices(SHAPE), 0, -1) - middle) * ZOOMS, -1, 0)
    # Not symmetric: the left half is narrower by 6 mm.
    half = np.where(x > 0, 68.0, 62.0)

    def within(more: float) -> np.ndarray:
        return (x / (half + more)) ** 2 + (y / (80 + more)) ** 2 + (z / (60 + more)) ** 2 < 1

    signal = np.where(within(fluid_mm + 5), 0.1, np.where(within(fluid_mm + 10), 0.8, 0.02))
    signal[within(fluid_mm)] = 1.4
    signal[within(0)] = 1.0
    return signal.astype(np.float32), within(0)


@pytest.mark.parametrize("fluid_mm", [0.0, 6.0])
def test_a_whole_mask_has_no_gap_whatever_the_head_s_asymmetry_and_fluid(fluid_mm):
    signal, mask = head(fluid_mm)
    gap = sides.gap_mm(signal, mask, ZOOMS)
    assert gap < 1.9 and sides.warning(gap) is None  # a voxel


@pytest.mark.parametrize("is_right", [True, False])
def test_nine_mm_cut_off_a_temporal_convexity_are_told(is_right):
    signal, mask = head()
    cut = mask.copy()
    # A block of 60 x 40 mm loses its outer five voxels, 9 mm.
    block = (slice(50, None) if is_right else slice(None, 50), slice(40, 74), slice(14, 28))
    by = -5 if is_right else 5
    cut[block] &= np.roll(mask, by, axis=0)[block]
    gap = sides.gap_mm(signal, cut, ZOOMS)
    assert gap == pytest.approx(9.0, abs=1.5)
    assert "cut off" in sides.warning(gap)


def test_nothing_around_the_brain_says_nothing():
    signal, mask = head()
    assert sides.gap_mm(np.where(mask, signal, 0), mask, ZOOMS) == 0.0
