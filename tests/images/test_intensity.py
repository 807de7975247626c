"""Values of a scan: what has one exact remedy is mended, the rest is refused, each with words."""

import numpy as np
import pytest
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.images.intensity import as_magnitude

SHAPE = (48, 56, 24)
SIZES = (1.0, 1.0, 3.0)
RNG = np.random.default_rng(0)
POINTS = np.indices(SHAPE)


def ball(radius: float) -> np.ndarray:
    centre = (np.array(SHAPE) - 1) / 2
    reach = np.array([20, 24, 11]) * radius
    return (((POINTS.T - centre) / reach) ** 2).sum(-1).T < 1


HEAD, BRAIN = ball(1.0), ball(0.8)
#: Scalp and brain with a texture and vessels, rounded as int16 would, in Rayleigh noise.
TEXTURE = ndimage.gaussian_filter(RNG.normal(0, 1, SHAPE), 1.0)
TEXTURE *= 80 / TEXTURE.std()
VESSELS = BRAIN & (POINTS.sum(0) % 11 == 0)
SIGNAL = np.where(HEAD, 500 + TEXTURE, 0) + np.where(HEAD & ~BRAIN, 200, 0)
SIGNAL[VESSELS] *= 0.3
SIGNAL = ndimage.gaussian_filter(SIGNAL, 0.7)  # partial volume
SCAN = np.round(np.hypot(SIGNAL + RNG.normal(0, 8, SHAPE), RNG.normal(0, 8, SHAPE)))
SCAN = SCAN.astype(np.float32)


def test_a_sound_magnitude_is_left_as_it_is():
    data, notes = as_magnitude(SCAN, SIZES)
    assert np.array_equal(data, SCAN) and notes == ()
    stripped = np.where(BRAIN, SCAN, 0)
    data, notes = as_magnitude(stripped, SIZES)
    assert np.array_equal(data, stripped) and notes == ()


@pytest.mark.parametrize("value", [-2000.0, -32768.0, 4095.0, 32767.0])
def test_a_fill_value_outside_the_head_becomes_0(value):
    data, notes = as_magnitude(np.where(HEAD, SCAN, np.float32(value)), SIZES)
    assert np.array_equal(data[HEAD], SCAN[HEAD]) and not data[~HEAD].any()
    assert len(notes) == 1 and f"fill value {value:g} (" in notes[0]


def test_a_frame_of_a_fill_value_becomes_0():
    framed = np.pad(SCAN, ((9, 9), (9, 9), (0, 0)), constant_values=-32768)
    data, notes = as_magnitude(framed, SIZES)
    assert np.array_equal(data[9:-9, 9:-9], SCAN) and not data[:9].any()
    assert "-32768" in notes[0]


@pytest.mark.parametrize("offset", [-1024.0, 1000.0])
def test_an_offset_is_taken_away(offset):
    data, notes = as_magnitude(SCAN + np.float32(offset), SIZES)
    # What is left of the offset is the darkest noise.
    assert np.abs(data[HEAD] - SCAN[HEAD]).max() < 3
    assert data.min() == 0 and len(notes) == 1 and "offset" in notes[0]


def test_a_fill_value_and_an_offset_are_told_apart():
    framed = np.pad(SCAN - 1024, ((9, 9), (9, 9), (0, 0)), constant_values=-32768)
    data, notes = as_magnitude(framed.astype(np.float32), SIZES)
    assert np.abs(data[9:-9, 9:-9][HEAD] - SCAN[HEAD]).max() < 3 and not data[:9].any()
    assert len(notes) == 2


def test_a_standardised_image_is_a_magnitude_again():
    z = ((SCAN - SCAN.mean()) / SCAN.std()).astype(np.float32)
    data, notes = as_magnitude(z, SIZES)
    assert np.corrcoef(data[HEAD], SCAN[HEAD])[0, 1] > 0.9999 and data.min() == 0
    assert len(notes) == 1


def test_a_few_negative_values_are_no_offset():
    data, notes = as_magnitude(SCAN - 5, SIZES)
    assert np.array_equal(data, SCAN - 5) and notes == ()


def test_an_inverted_image_is_refused():
    inverted = SCAN.max() - SCAN
    with pytest.raises(ScanError, match="inverted") as caught:
        as_magnitude(inverted, SIZES)
    assert caught.value.reason == "polarity" and caught.value.excluded


def phases() -> dict[str, np.ndarray]:
    fine, coarse = (ndimage.gaussian_filter(SCAN, sigma) for sigma in (1, 4))
    filtered = np.where(BRAIN, (fine - coarse) / (fine - coarse)[BRAIN].std() * 0.12, 0)
    slope = 2.4 * np.sin(POINTS[0] / 15) + 3.0 * np.cos(POINTS[1] / 20) + POINTS[2] / 10
    slope = slope + RNG.normal(0, 0.05, SHAPE)
    noise = np.where(HEAD, slope, RNG.uniform(-np.pi, np.pi, SHAPE))
    wrapped = np.angle(np.exp(1j * noise))
    return {
        "filtered": filtered,
        "filtered 0 to 4095, air 0": np.where(BRAIN, (filtered + np.pi) / (2 * np.pi) * 4095, 0),
        "filtered 0 to 4095, air in the middle": (filtered + np.pi) / (2 * np.pi) * 4095,
        "unwrapped": np.where(BRAIN, slope, 0),
        "unwrapped above 0": np.where(BRAIN, slope + 20, 0),
        "wrapped": wrapped,
        "wrapped 0 to 4095": (wrapped + np.pi) / (2 * np.pi) * 4095,
        "wrapped with a slope": wrapped / np.pi * 6144 - 2048,
        "wrapped inside a mask": np.where(BRAIN, wrapped, 0),
        "standardised inside a mask": np.where(
            BRAIN, (SCAN - SCAN[BRAIN].mean()) / SCAN[BRAIN].std(), 0
        ),
        "unsigned integers read as signed": (SCAN * 90).astype(np.uint16).view(np.int16),
    }


@pytest.mark.parametrize("kind", phases())
def test_phase_under_the_name_of_a_magnitude_is_refused(kind):
    with pytest.raises(ScanError) as caught:
        as_magnitude(phases()[kind].astype(np.float32), SIZES)
    assert caught.value.reason == "is_phase"
