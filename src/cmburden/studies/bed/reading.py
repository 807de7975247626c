"""From the complex signal to the stored image: motion, echo-planar reading, noise, SWI, projection.

Arrays are (x, y, slice); y is the direction of phase encoding.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from cmburden.studies.bed.domains import Domain

#: Values of an image are whole numbers; this percentile gets so many steps.
_TOP_PERCENTILE, _STEPS = 99.0, 2000


@dataclasses.dataclass(frozen=True, eq=False)
class Faults:
    """What is drawn once for an image: ``noise`` complex (x, y, slice), the shift of each line.

    ``shift_mm`` (y, 2) is that of the head along x and y while a line of k-space was measured;
    ``warp_mm`` (x, y, slice) the displacement along y of an echo-planar image.
    """

    noise: np.ndarray
    shift_mm: np.ndarray
    warp_mm: np.ndarray | None

    @classmethod
    def draw(
        cls, domain: Domain, shape: tuple[int, ...], level: float, rng: np.random.Generator
    ) -> Faults:
        """Draws: the noise, which lines moved and by how much, the warp."""
        deviation = level / domain.acquisition.snr
        parts = rng.normal(0, deviation, (2, *shape)).astype(np.float32)
        lines = shape[1]
        moved = np.zeros((lines, 2))
        start = int(rng.integers(lines))
        number = round(domain.lost_lines * lines)
        moved[(start + np.arange(number)) % lines] = rng.normal(0, domain.motion_mm, 2)
        warp = None
        if domain.warp_mm:
            rough = rng.standard_normal(shape, np.float32)
            smooth = ndimage.gaussian_filter(rough, np.array(shape) / 8, mode="nearest")
            warp = smooth * (domain.warp_mm / max(float(np.abs(smooth).max()), 1e-6))
        return cls(parts[0] + 1j * parts[1], moved, warp)


def image_of(signal: np.ndarray, domain: Domain, faults: Faults) -> tuple[np.ndarray, np.ndarray]:
    """Image float32 and phase (rad) of the complex ``signal``, all (x, y, slice)."""
    voxel = np.array(domain.acquisition.voxel_mm)
    signal = _moved(signal, faults.shift_mm, voxel)
    if faults.warp_mm is not None:
        signal = _echo_planar(signal, faults.warp_mm / voxel[1], domain.blur_mm / voxel[1])
    signal = signal + faults.noise
    magnitude, phase = np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)
    if domain.acquisition.contrast == "SWI":
        magnitude = magnitude * _mask(signal, domain)
    if domain.acquisition.minip_mm:
        slices = max(2, round(domain.acquisition.minip_mm / voxel[2]))
        magnitude = ndimage.minimum_filter1d(magnitude, slices, axis=2)
    step = float(np.percentile(magnitude, _TOP_PERCENTILE)) / _STEPS
    return (np.round(magnitude / step) * step).astype(np.float32), phase


def _moved(signal: np.ndarray, shift_mm: np.ndarray, voxel: np.ndarray) -> np.ndarray:
    """``signal`` whose lines of k-space were measured while the head had moved."""
    if not shift_mm.any():
        return signal
    kx = np.fft.fftfreq(signal.shape[0])[:, None, None]
    ky = np.fft.fftfreq(signal.shape[1])[None, :, None]
    x, y = (shift_mm[:, axis][None, :, None] / voxel[axis] for axis in (0, 1))
    ramp = np.exp(-2j * np.pi * (kx * x + ky * y))
    spectrum = np.fft.fft2(signal, axes=(0, 1)) * ramp
    return np.fft.ifft2(spectrum, axes=(0, 1)).astype(np.complex64)


def _echo_planar(signal: np.ndarray, warp: np.ndarray, blur: float) -> np.ndarray:
    """``signal`` displaced along y by ``warp`` voxels and blurred along y by ``blur`` voxels."""
    index = np.indices(signal.shape, dtype=np.float32)
    index[1] -= warp
    parts = [
        ndimage.gaussian_filter1d(
            ndimage.map_coordinates(part, index, order=1, mode="nearest"), blur / 2.355, axis=1
        )
        for part in (signal.real, signal.imag)
    ]
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def _mask(signal: np.ndarray, domain: Domain) -> np.ndarray:
    """SWI mask (x, y, slice), 0 to 1, to its power (Haacke et al., MRM 2004;52:612).

    The low-pass is a Gaussian in k-space, as wide at half height as the acquisition's filter.
    """
    acquisition = domain.acquisition
    window = [
        np.exp(-4 * np.log(2) * (np.fft.fftfreq(n) * n / acquisition.filter_size) ** 2)
        for n in signal.shape[:2]
    ]
    low = np.fft.fft2(signal, axes=(0, 1)) * (window[0][:, None] * window[1][None])[:, :, None]
    phase = np.angle(signal * np.fft.ifft2(low, axes=(0, 1)).conj()) * domain.mask_sign
    return np.clip(1 - phase / np.pi, 0, 1).astype(np.float32) ** acquisition.mask_power
