"""Stored phase becomes radians, whatever its scale; what is no usable phase gets a sentence."""

import nibabel as nib
import numpy as np
import pytest

from cmburden.images.phase import PhaseNotUsed, in_radians, read_phase

SHAPE, AFFINE = (40, 44, 12), np.diag([1.0, 1, 2, 1])


def true_phase(amplitude: float = 9.0) -> np.ndarray:
    """Wrapped phase (x, y, z) in radians of a ramp and a bow."""
    x, y, z = (np.indices(SHAPE) / np.array(SHAPE)[:, None, None, None]).astype(float)
    noise = np.random.default_rng(0).normal(0, 0.05, SHAPE)
    return np.angle(np.exp(1j * (amplitude * (x - 0.5) * (y + 0.3) + 3 * z + noise)))


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Difference of two phases without a constant, on the circle."""
    turn = np.exp(1j * (one - other))
    return np.abs(np.angle(turn * np.conj(turn.mean())))


SCALES = {
    "radians": lambda p: p.astype(np.float32),
    "0 to 2 pi": lambda p: (p + np.pi).astype(np.float32),
    "0 to 4095": lambda p: np.floor((p + np.pi) / (2 * np.pi) * 4096),
    "-4096 to 4094 in steps of 2": lambda p: np.floor((p + np.pi) / (2 * np.pi) * 4096) * 2 - 4096,
    "thousandths": lambda p: np.rint(1000 * p),
    "degrees": lambda p: np.rint(np.rad2deg(p)),
    "a byte": lambda p: np.floor((p + np.pi) / (2 * np.pi) * 256),
    "steps of its own": lambda p: p * 0.00117,
}


@pytest.mark.parametrize("name", SCALES)
def test_each_scale_becomes_radians(name):
    phase = true_phase(24.0)
    read = in_radians(SCALES[name](phase).astype(np.float32))
    # Half a turn in 256 steps is 0.025 rad.
    assert apart(read.radians, phase).max() < 0.03
    assert np.abs(read.radians).max() <= np.pi + 1e-6 and read.known.all()


def test_blank_around_the_brain_is_no_phase():
    phase, brain = true_phase(24.0), np.zeros(SHAPE, bool)
    brain[6:-6, 6:-6] = True
    stored = np.where(brain, np.floor((phase + np.pi) / (2 * np.pi) * 4096), 0)
    read = in_radians(stored.astype(np.float32))
    assert (read.known & ~brain).sum() == 0 and (brain & ~read.known).mean() < 0.001
    assert (read.radians[~brain] == 0).all()
    assert apart(read.radians[read.known], phase[read.known]).max() < 0.01


def test_filtered_phase_without_wraps():
    """Radians by their ends, 12 bits by their middle; of other scales nobody knows."""
    brain = np.zeros(SHAPE, bool)
    brain[6:-6, 6:-6] = True
    phase = np.where(brain, np.clip(true_phase(0.8), -2, 2), 0)
    assert apart(in_radians(phase.astype(np.float32)).radians[brain], phase[brain]).max() < 1e-4
    phase -= np.where(brain, np.median(phase[brain]), 0)
    small = np.where(brain, 2048 + np.rint(300 * np.sin(phase)), 0).astype(np.float32)
    read = in_radians(small)
    expected = np.sin(phase[brain]) * 300 / 4096 * 2 * np.pi
    assert apart(read.radians[brain], expected).max() < 0.01
    with pytest.raises(PhaseNotUsed, match="of no known scale"):
        in_radians((0.2 * phase).astype(np.float32))


def test_unwrapped_phase_is_of_no_known_scale():
    ramp = np.indices(SHAPE)[0] * 0.7 - 3.0
    with pytest.raises(PhaseNotUsed, match="of no known scale"):
        in_radians(ramp.astype(np.float32))


def test_what_is_no_phase_of_the_scan(tmp_path):
    """A constant image, another grid, a torn and an absent file: one sentence each, no error."""
    stored = np.rint(1000 * true_phase(24.0)).astype(np.int16)
    images = {
        "constant": nib.Nifti1Image(np.full(SHAPE, 7, np.int16), AFFINE),
        "grid": nib.Nifti1Image(stored[:-1], AFFINE),
        "moved": nib.Nifti1Image(stored, AFFINE + np.eye(4, k=3)),
        "sound": nib.Nifti1Image(stored, AFFINE),
    }
    for name, image in images.items():
        nib.save(image, tmp_path / f"{name}.nii.gz")
    (tmp_path / "torn.nii.gz").write_bytes((tmp_path / "sound.nii.gz").read_bytes()[:200])
    said = {}
    for name in ("constant", "grid", "moved", "torn", "absent"):
        with pytest.raises(PhaseNotUsed) as error:
            read_phase(tmp_path / f"{name}.nii.gz", SHAPE, AFFINE)
        said[name] = str(error.value)
        assert said[name].startswith("Its phase image was not used: ")
    assert "All voxels are 7" in said["constant"] and "its grid" in said["grid"]
    assert said["grid"] == said["moved"]
    assert read_phase(tmp_path / "sound.nii.gz", SHAPE, AFFINE).known.all()


def test_a_mirrored_file_is_read_in_the_scan_s_order(tmp_path):
    """The canonical grid counts, as for the magnitude: a file in LAS has the same phase."""
    phase = np.rint(1000 * true_phase(24.0)).astype(np.int16)
    las = AFFINE @ nib.affines.from_matvec(np.diag([-1, 1, 1]), [SHAPE[0] - 1, 0, 0])
    nib.save(nib.Nifti1Image(phase[::-1], las), tmp_path / "las.nii.gz")
    read = read_phase(tmp_path / "las.nii.gz", SHAPE, AFFINE)
    assert apart(read.radians, phase / 1000).max() < 0.01
