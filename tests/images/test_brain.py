"""What is measured of a brain mask, against boxes and balls whose measures are known."""

import numpy as np
import pytest

from cmburden.images import brain
from cmburden.images.brain import coverage, field_of_view

#: A box of a brain, mm: right-left, back-front, down-up. Its height is 0.83 of its length.
WIDTH, LENGTH, HEIGHT = 136.0, 180.0, 150.0


def box_brain(zooms, view) -> tuple[np.ndarray, np.ndarray, tuple[slice, ...]]:
    """Mask of the box brain in a field of view of ``view`` = ((low, high), ...) mm about the
    brain's middle, affine, and the whole grid as the part that holds signal."""
    axes = [
        np.arange(low + size / 2, high, size) for (low, high), size in zip(view, zooms, strict=True)
    ]
    inside = [
        np.abs(axis) < extent / 2
        for axis, extent in zip(axes, (WIDTH, LENGTH, HEIGHT), strict=True)
    ]
    mask = inside[0][:, None, None] & inside[1][:, None] & inside[2]
    return mask, np.diag([*zooms, 1.0]), tuple(slice(0, n) for n in mask.shape)


WIDE = ((-100, 100), (-120, 120), (-100, 100))


@pytest.mark.parametrize("zooms", [(2, 2, 2), (1, 1, 5), (4, 2, 2)])
@pytest.mark.parametrize(
    ("axis", "view", "share"),
    [
        (None, None, 1.0),
        # The upper half is outside: 75 mm of 0.83 times the length.
        (2, (-100, 0), 75 / (0.83 * LENGTH)),
        (2, (0, 100), 75 / (0.83 * LENGTH)),
        # Cut above and below: 60 mm are left.
        (2, (-30, 30), 60 / (0.83 * LENGTH)),
        # The front is outside: 100 mm of the length that the width lets expect.
        (1, (-120, 10), 100 / (WIDTH / 0.85)),
        # One side is outside: 68 mm of 0.76 times the length.
        (0, (-100, 0), 68 / (0.76 * LENGTH)),
    ],
    ids=["whole", "upper half", "lower half", "slab", "front", "side"],
)
def test_coverage_of_a_box(zooms, axis, view, share):
    views = [view if axis == number else WIDE[number] for number in range(3)]
    # A voxel of 5 mm in 150.
    assert coverage(*box_brain(zooms, views)) == pytest.approx(share, abs=0.03)


def test_coverage_is_the_least_of_the_axes():
    above = ((-100, 100), (-120, 120), (-100, 0))
    both = ((-100, 0), (-120, 120), (-100, 0))
    alone = coverage(*box_brain((2, 2, 2), above))
    assert alone == pytest.approx(75 / (0.83 * LENGTH), abs=0.02)
    # The side is cut too, to 0.497: just below the height's 0.502.
    assert coverage(*box_brain((2, 2, 2), both)) == pytest.approx(68 / (0.76 * LENGTH), abs=0.02)


def test_slices_without_signal_are_no_field_of_view():
    """Slices of zeros about a slab: the brain ends where the signal ends, and is cut there."""
    mask, affine, whole = box_brain((2, 2, 2), WIDE)
    seen = (whole[0], whole[1], slice(35, 65))
    mask[..., :35] = mask[..., 65:] = False
    assert coverage(mask, affine, seen) == pytest.approx(60 / (0.83 * LENGTH), abs=0.02)
    assert coverage(mask, affine, whole) == 1.0


@pytest.mark.parametrize(("voxels", "share"), [(5, 1.0), (6, 134 / (0.83 * LENGTH))])
def test_a_stalk_through_the_outer_plane_cuts_from_100_square_millimetres_on(voxels, share):
    mask, affine, seen = box_brain((2, 2, 2), WIDE)
    # A low brain, and below it a stalk of 5 x 4 or 6 x 5 voxels of 4 mm^2: 80 or 120 mm^2.
    mask[..., :30] = mask[..., 67:] = False
    mask[50 : 50 + voxels, 60 : 60 + voxels - 1, :30] = True
    assert coverage(mask, affine, seen) == pytest.approx(share, abs=1e-3)


def test_the_field_of_view_is_what_holds_signal():
    volume = np.zeros((10, 12, 8))
    volume[2:7, 1:12, 3:5] = np.random.default_rng(0).random((5, 11, 2)) + 1
    assert field_of_view(volume) == (slice(2, 7), slice(1, 12), slice(3, 5))
    # Any one value is empty, not only zero.
    assert field_of_view(volume - 7) == (slice(2, 7), slice(1, 12), slice(3, 5))


def test_either_network_adds_to_the_mask_and_fluid_is_clipped_for_the_second(monkeypatch):
    """A block of tissue with a bright core: the first network sees its left half, the second its
    right half, and a bright voxel looks to the second like tissue a little above the median."""
    torch = pytest.importorskip("torch")
    volume = np.zeros((64, 64, 64), np.float32)
    volume[12:52, 12:52, 12:52] = 1
    volume[26:40, 26:40, 26:40] = 3
    seen = []

    def network(share):
        def ask(x):
            seen.append(x[0, 0].numpy())
            inside = torch.zeros_like(x)
            low, high = (round(end * x.shape[2]) for end in share)
            tissue = x > x.min() + (x.max() - x.min()) / 4
            inside[:, :, low:high] = tissue[:, :, low:high]
            return torch.cat([1 - inside, inside], dim=1)

        return ask

    # The box of the left part, 12 to 44 of 64, is widened to 9 to 47; the second one sees the
    # whole of it but its first fifth.
    monkeypatch.setattr(brain, "_networks", lambda: (network((0, 44 / 64)), network((0.2, 1))))
    mask = brain.brain_mask(volume)
    assert mask[13:43, 13:51, 13:51].all() and not mask[:11].any()
    assert mask[45, 20:40, 20:40].all() and not mask[49:].any()
    first, second = seen
    assert first.shape == (128,) * 3 and second.shape == (192,) * 3

    def levels(x, tissue):
        """Core over tissue, both above air."""
        return (x.max() - x.min()) / (x[tissue] - x.min())

    assert levels(first, (40, 40, 40)) == pytest.approx(3, abs=0.01)
    assert levels(second, (60, 60, 60)) == pytest.approx(1.05, abs=0.01)
