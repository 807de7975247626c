"""Faults of slices, of the field of view and of air, on a brain of the template."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.images.volume import Volume
from cmburden.preprocess import artefacts
from cmburden.space import template

STEP = (1, 1, 2)
PAD = ((14, 14), (14, 14), (4, 4))


@pytest.fixture(scope="module")
def sound() -> tuple[Volume, np.ndarray]:
    """The template's tissues at 2 x 2 x 4 mm with the contrast of a GRE, in noise; its mask."""
    tissues, affine = template.tissues(2.0)
    whole = tissues[:, :, : tissues.shape[2] // 2 * 2]
    thick = (whole[:, :, ::2] + whole[:, :, 1::2]) / 2
    thick = np.pad(thick, (*PAD, (0, 0)))
    signal = 1000 * (thick @ np.array([1.05, 0.95, 1.4]))
    rng = np.random.default_rng(0)
    data = np.hypot(signal + rng.normal(0, 20, signal.shape), rng.normal(0, 20, signal.shape))
    mask = ndimage.binary_fill_holes(thick.sum(-1) > 0.5)
    to_world = affine @ np.diag([*STEP, 1.0])
    return Volume(data.astype(np.float32), to_world), mask


def measured(volume: Volume, mask: np.ndarray, data: np.ndarray) -> artefacts.Artefacts:
    changed = dataclasses.replace(volume, data=data.astype(np.float32))
    return artefacts.measure(changed, changed.data / np.median(changed.data[mask]), mask)


def in_order(sound, order) -> artefacts.Artefacts:
    volume, mask = sound
    return measured(volume, mask[:, :, order], volume.data[:, :, order])


@pytest.mark.slow
def test_a_sound_scan_has_none(sound):
    volume, mask = sound
    faults = measured(volume, mask, volume.data)
    faults.check()
    assert faults.warnings() == []
    assert (faults.blank, faults.repeated, faults.apart, faults.seen_share) == (0, 0, 0, 1.0)


@pytest.mark.parametrize("count", [1, 3])
def test_blank_slices_are_counted_and_lessen_the_coverage(sound, count):
    volume, mask = sound
    data = volume.data.copy()
    data[:, :, 25 : 25 + count] = 0
    faults = measured(volume, mask, data)
    faults.check()
    assert faults.blank == count and faults.seen_share == 1 - count / faults.slices
    assert faults.warnings() == [
        f"{count} of its {faults.slices} slices of the brain are blank: microbleeds there cannot"
        " be seen."
    ]


def test_a_slice_that_comes_twice(sound):
    n = sound[0].data.shape[2]
    faults = in_order(sound, [*range(26), *range(25, n - 1)])
    assert faults.repeated == 1 and "equal to the one before" in faults.warnings()[0]


def orders(n: int) -> dict[str, list[int]]:
    exchanged = list(range(n))
    exchanged[24], exchanged[25] = 25, 24
    return {
        "two exchanged": exchanged,
        "odd, then even": [*range(0, n, 2), *range(1, n, 2)],
        "lower half last": [*range(n // 2, n), *range(n // 2)],
    }


@pytest.mark.parametrize("kind", orders(40))
def test_slices_out_of_order_are_refused(sound, kind):
    faults = in_order(sound, orders(sound[0].data.shape[2])[kind])
    with pytest.raises(ScanError, match="not in anatomical order") as caught:
        faults.check()
    assert caught.value.reason == "slices" and caught.value.excluded


def test_a_scan_from_head_to_foot_is_in_order(sound):
    in_order(sound, list(range(sound[0].data.shape[2]))[::-1]).check()


def test_missing_slices_are_warned_of(sound):
    n = sound[0].data.shape[2]
    faults = in_order(sound, [at for at in range(n) if not 24 <= at < 29])
    faults.check()
    assert any("missing" in text for text in faults.warnings())


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        (lambda n: 1 + 0.1 * (np.arange(n) % 2), "differ in brightness by 10%"),
        (lambda n: np.where(np.arange(n) == 25, 1.4, 1.0), "differs from its neighbours by 3"),
    ],
    ids=["interleaved", "one slice"],
)
def test_steps_of_brightness_are_warned_of(sound, factors, words):
    volume, mask = sound
    faults = measured(volume, mask, volume.data * factors(volume.data.shape[2]))
    assert any(words in text for text in faults.warnings())


def test_a_head_that_wraps_around_is_warned_of(sound):
    volume, mask = sound
    by = volume.data.shape[1] // 3
    faults = measured(volume, np.roll(mask, by, 1), np.roll(volume.data, by, 1))
    assert any("wrap around" in text for text in faults.warnings())


def test_a_dim_slice_at_the_end_of_a_slab_is_none_of_the_brain(sound):
    """The mask reaches one slice too far, into the dim edge of the slab."""
    volume, mask = sound
    first = int(np.flatnonzero(mask.any((0, 1)))[0])
    data, reaching = volume.data.copy(), mask.copy()
    data[:, :, first] *= 0.05
    reaching[:, :, first] = mask[:, :, first + 1]
    faults = measured(volume, reaching, data)
    assert faults.blank == 0 and faults.warnings() == []


def test_a_void_is_warned_of(sound):
    volume, mask = sound
    centre = np.argwhere(mask).mean(0)
    away = np.linalg.norm((np.indices(mask.shape).T - centre) * volume.zooms, axis=-1).T
    faults = measured(volume, mask, np.where(away < 25, volume.data * 0.02, volume.data))
    # A ball of 25 mm has 65 ml.
    assert faults.void_ml == pytest.approx(65, rel=0.15)
    assert any("no signal" in text for text in faults.warnings())


def test_ghosts_are_warned_of(sound):
    volume, mask = sound
    by = volume.data.shape[1] // 2
    faults = measured(volume, mask, volume.data + 0.1 * np.roll(volume.data, by, 1))
    assert any(text.startswith("Ghosts or motion") for text in faults.warnings())


def test_a_few_bright_voxels_of_air_are_no_ghost(sound):
    """A tenth of the air beside the brain as bright as the brain: a strap, an ear, a shoulder."""
    volume, mask = sound
    data = volume.data.copy()
    across = np.flatnonzero(mask.any((1, 2)))
    data[across[0] : across[-1], 2:4] = np.median(volume.data[mask])
    faults = measured(volume, mask, data)
    assert not any(text.startswith("Ghosts or motion") for text in faults.warnings())
