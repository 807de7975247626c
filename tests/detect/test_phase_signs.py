"""The sign of the phase by veins, and the phase about a candidate: blood products or calcium."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from cmburden.core.scan import Scan
from cmburden.detect.local_phase import dipole_correlation
from cmburden.detect.phased import ScanPhase
from cmburden.detect.vein_phase import Sign, sign_of
from cmburden.images import dipole
from cmburden.images.phase import Phase
from cmburden.images.prepared import Prepared

#: Radians of a shift of 1 ppm at 3 T and 20 ms.
RADIANS = 16.05


def with_veins(affine: NDArray, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Magnitude and phase (x, y, z) of a block of tissue with veins in all directions."""
    rng = np.random.default_rng(seed)
    shape = np.array([72, 72, 40])
    share = np.zeros(shape, np.float32)
    for _ in range(70):
        middle, along = rng.uniform(4, shape - 4), rng.normal(size=3)
        steps = np.arange(-12, 12, 0.4)[:, None] * along / np.linalg.norm(along)
        at = np.rint(middle + steps).astype(int)
        share[tuple(at[((at >= 0) & (at < shape)).all(1)].T)] = 1
    phase = RADIANS * dipole.field(0.4 * share, affine)
    x, y, z = np.indices(shape) / 30
    signal = (1 - 0.5 * share) * np.exp(1j * (phase + 2 * x * y + z))
    signal += rng.normal(0, 0.03, shape) + 1j * rng.normal(0, 0.03, shape)
    return np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)


@pytest.fixture(scope="module", params=["RAS", "oblique"])
def veins(request):
    affine = np.diag([1.0, 1, 1.5, 1])
    if request.param == "oblique":
        affine[:3, :3] = nib.eulerangles.euler2mat(0.0, 0.1, 0.4) @ affine[:3, :3]
    return affine, *with_veins(affine)


def sign(affine: NDArray, volume: NDArray, radians: NDArray) -> Sign:
    phase = Phase(radians, np.ones(radians.shape, bool))
    return sign_of(volume, np.ones(volume.shape, bool), affine, phase)


@pytest.mark.slow
def test_veins_tell_the_sign_of_either_convention(veins):
    affine, volume, radians = veins
    one, other = sign(affine, volume, radians), sign(affine, volume, -radians)
    assert (one.value, other.value) == (1, -1) and one.is_clear and other.is_clear
    assert one.certainty == pytest.approx(other.certainty)


@pytest.mark.slow
def test_without_veins_nothing_is_claimed(veins):
    affine, volume, radians = veins
    noise = np.random.default_rng(2).uniform(-np.pi, np.pi, radians.shape).astype(np.float32)
    assert not sign(affine, volume, noise).is_clear
    assert sign(affine, np.ones_like(volume), radians).certainty == 0.5
    empty = Phase(radians, np.ones(radians.shape, bool))
    nobody = sign_of(volume, np.zeros(volume.shape, bool), affine, empty)
    assert nobody.certainty == 0.5


def spot(chi: float, voxel: tuple[float, float, float], turn: float = 0.3) -> tuple:
    """Signal, affine and centre (mm) of a sphere of ``chi`` times a susceptibility in tissue."""
    affine = np.eye(4)
    affine[:3, :3] = nib.eulerangles.euler2mat(0, 0, turn) @ np.diag(voxel)
    shape = np.ceil(22 / np.array(voxel)).astype(int)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    centre = affine[:3, :3] @ (shape / 2 + 0.2)
    within = np.stack(np.meshgrid(*[np.linspace(-0.34, 0.34, 3)] * 3, indexing="ij"), -1)
    offsets = ((index[..., None, :] + within.reshape(-1, 3)) @ affine[:3, :3].T) - centre
    square = np.maximum((offsets**2).sum(-1), 0.01)
    # A source of half the radius of its signal loss, 1.5 mm.
    phase = chi * (1.5**2 / square) ** 1.5 * (3 * offsets[..., 2] ** 2 / square - 1)
    signal = np.where(square > 0.75**2, np.exp(1j * phase), 0).mean(-1)
    x, y, z = np.moveaxis(index / 10, -1, 0)
    rng = np.random.default_rng(4)
    noise = rng.normal(0, 0.04, shape) + 1j * rng.normal(0, 0.04, shape)
    return signal * np.exp(1j * (x + 0.5 * y**2 - z + 1)) + noise, affine, centre


@pytest.mark.parametrize("voxel", [(0.5, 0.5, 2.0), (0.9, 0.9, 1.75), (0.9, 0.9, 5.0)])
def test_blood_and_calcium_have_opposite_phase(voxel):
    values = [dipole_correlation(*spot(chi, voxel), 3.0) for chi in (1.0, -1.0)]
    assert values[0] > 0.35 and values[1] < -0.35


def test_no_phase_no_measure():
    signal, affine, centre = spot(1.0, (0.9, 0.9, 1.75))
    assert np.isnan(dipole_correlation(np.zeros_like(signal), affine, centre, 3.0))
    assert np.isnan(dipole_correlation(signal, affine, centre + 500, 3.0))


@pytest.mark.slow
def test_a_scan_s_phase_or_why_it_is_not_used(veins, tmp_path):
    affine, volume, radians = veins
    prepared = Prepared(volume, np.ones(volume.shape, bool), affine)
    name = "sub-1_T2starw"
    scan = Scan(name, "X", "sub-1", None, "T2starw", "GRE", tmp_path / f"{name}.nii.gz", ())
    assert ScanPhase.of(scan, prepared).measures == {}
    path = tmp_path / "phase.nii.gz"
    held = dataclasses.replace(scan, phase_path=path)
    absent = ScanPhase.of(held, prepared)
    assert absent.signal is None and absent.remark.startswith("Its phase image was not used: ")
    nib.save(nib.Nifti1Image(np.rint(-1000 * radians).astype(np.int16), affine), path)
    used = ScanPhase.of(held, prepared)
    assert used.remark is None and used.measures["phase_sign"] == "negative"
    assert used.measures["phase_certainty"] > 0.999
    swi = ScanPhase.of(dataclasses.replace(held, contrast="SWI"), prepared)
    assert swi.measures == used.measures and "presumes that the mask of the SWI" in swi.remark
    rows = [{"x_mm": 30.0, "y_mm": 30.0, "z_mm": 30.0, "diameter_mm": 3.0}]
    used.add(rows, affine)
    assert -1 <= rows[0]["dipole_correlation"] <= 1
    noise = np.random.default_rng(3).integers(-3141, 3142, radians.shape).astype(np.int16)
    nib.save(nib.Nifti1Image(noise, affine), path)
    unclear = ScanPhase.of(held, prepared)
    assert unclear.signal is None and "do not show the sign" in unclear.remark
    assert "phase_sign" not in unclear.measures and unclear.measures["phase_certainty"] < 0.999
