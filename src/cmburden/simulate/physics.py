"""Signal of a spoiled gradient echo: susceptibility to field, field to phase, dephasing, SWI.

Units: susceptibility in ppm (SI), field shift in ppm of B0, lengths in mm, times in s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

#: Proton gyromagnetic ratio over 2 pi (CODATA 2018).
GAMMA_HZ_PER_T = 42.577478518e6
#: A sphere's field is not evaluated nearer to its centre than this, mm: no division by zero.
_LEAST_DISTANCE_MM = 1e-9
#: The steep SWI mask: phase at which it is one half, rad, and its slope per rad. By eye.
_SIGMOID_PHASE, _SIGMOID_SLOPE = np.pi / 3, 4


def phase_per_ppm(field_t: float, echo_time_s: float) -> float:
    """Phase in rad that a shift of 1 ppm of B0 gives at the echo.

    >>> round(phase_per_ppm(3.0, 0.020), 2)
    16.05
    """
    return 2 * np.pi * GAMMA_HZ_PER_T * field_t * echo_time_s * 1e-6


def dipole_field(
    chi: torch.Tensor, voxel_mm: Sequence[float] | np.ndarray, b0: np.ndarray
) -> torch.Tensor:
    """Field shift (x, y, z), ppm of B0, of a susceptibility map: convolution with a unit dipole.

    ``chi`` (x, y, z) in ppm; ``b0`` (3,) unit vector in the grid's axes. In k-space the kernel is
    1/3 - (k.b0)^2 / k^2, the mean field set to zero (Salomir et al., Concepts Magn Reson B
    2003;19:26; Marques and Bowtell 2005;25:65). The grid wraps: leave a margin around sources.
    """
    spectrum = torch.fft.rfftn(chi)
    nx, ny, nz = chi.shape
    kx = torch.fft.fftfreq(nx, voxel_mm[0])[:, None, None]
    ky = torch.fft.fftfreq(ny, voxel_mm[1])[None, :, None]
    kz = torch.fft.rfftfreq(nz, voxel_mm[2])[None, None, :]
    along = kx * float(b0[0]) + ky * float(b0[1]) + kz * float(b0[2])
    square = kx**2 + ky**2 + kz**2
    square[0, 0, 0] = 1.0
    kernel = 1 / 3 - along.square_() / square
    kernel[0, 0, 0] = 0.0
    spectrum *= kernel
    return torch.fft.irfftn(spectrum, s=chi.shape)


def sphere_field(points_mm: np.ndarray, radius_mm: float, chi: float, b0: np.ndarray) -> np.ndarray:
    """Field shift (...) in ppm of a sphere at ``points_mm`` (..., 3) from its centre.

    Inside the sphere the shift is 0, outside chi/3 (a/r)^3 (3 cos^2 - 1) (Haacke et al., Magnetic
    Resonance Imaging, 1999, ch. 25). Quickest where each coordinate is contiguous.
    """
    x, y, z = (points_mm[..., axis] for axis in range(3))
    bx, by, bz = np.asarray(b0, float)
    distance = np.sqrt(x * x + y * y + z * z)
    safe = np.maximum(distance, _LEAST_DISTANCE_MM)
    field = x * bx + y * by + z * bz
    field /= safe
    field *= field
    field *= 3
    field -= 1
    field *= chi / 3 * (radius_mm / safe) ** 3
    field[distance <= radius_mm] = 0.0
    return field


def visible_radius(
    source_radius_mm: float, chi: float, field_t: float, echo_time_s: float
) -> float:
    """Radius (mm) of a sphere's signal loss: where the equatorial phase falls to 1 rad.

    ``chi`` in ppm. Blooming grows with the cube root of field x echo time x susceptibility.
    """
    bloom = np.cbrt(np.abs(chi) / 3 * phase_per_ppm(field_t, echo_time_s))
    return source_radius_mm * np.maximum(1.0, bloom)


def block_mean(volume: torch.Tensor, factor: tuple[int, int, int]) -> torch.Tensor:
    """Mean over blocks of sub-voxels: the signal of a voxel is the mean over its spins.

    ``volume`` (x, y, z) sub-voxels, of which incomplete blocks at the end are left out; ``factor``
    sub-voxels of a block along each axis. On torch tensors, whose sums scikit-image's
    ``block_reduce`` does not reproduce to the bit.
    """
    fx, fy, fz = factor
    x, y, z = (n // f for n, f in zip(volume.shape, factor, strict=True))
    return volume[: x * fx, : y * fy, : z * fz].reshape(x, fx, y, fy, z, fz).mean((1, 3, 5))


def through_voxel_dephasing(field_ppm: torch.Tensor, radians_per_ppm: float) -> torch.Tensor:
    """Share (x, y, z) of the signal that is left after field gradients dephase each voxel.

    The product over the axes of sinc(phase difference across the voxel / 2 pi), for a field
    ``field_ppm`` (x, y, z) that is linear in a voxel (Yablonskiy and Haacke, MRM 1994;32:749).
    """
    left = torch.ones_like(field_ppm)
    for gradient in torch.gradient(field_ppm):
        left *= torch.sinc(gradient * (radians_per_ppm / (2 * np.pi))).abs()
    return left


def homodyne_phase(image: torch.Tensor, filter_size: int) -> torch.Tensor:
    """High-pass phase (rad) of a complex image (x, y, slices).

    Each slice is divided by its own low-pass. ``filter_size`` is the width of the Hann window in
    in-plane k-space samples (Haacke et al., MRM 2004;52:612).
    """
    nx, ny = image.shape[:2]

    def window(n: int) -> torch.Tensor:
        k = torch.fft.fftfreq(n) * n
        return torch.where(k.abs() < filter_size / 2, torch.cos(np.pi * k / filter_size) ** 2, 0.0)

    low = torch.fft.fft2(image, dim=(0, 1))
    low *= (window(nx)[:, None] * window(ny)[None, :])[:, :, None]
    low = torch.fft.ifft2(low, dim=(0, 1))
    return torch.angle(image * low.conj())


def susceptibility_weighted(
    magnitude: torch.Tensor, phase: torch.Tensor, power: int, shape: str = "linear"
) -> torch.Tensor:
    """SWI: magnitude x mask^power; the linear mask falls from 1 at phase 0 to 0 at +pi.

    Vendors differ: ``sigmoid`` falls steeply about pi/3, ``both`` darkens either sign of phase.
    The phase inside a paramagnetic source is positive here (right-handed): veins and microbleeds
    darken, calcifications stay as they are, except with ``both``. ``turned`` takes the phase of the
    other convention, as offline processing sometimes does: calcifications darken. ``none`` masks
    nothing: a magnitude image that is called SWI.
    """
    if shape == "none":
        return magnitude
    if shape == "both":
        phase = phase.abs()
    if shape == "turned":
        phase = -phase
    if shape == "sigmoid":
        mask = torch.sigmoid((_SIGMOID_PHASE - phase) * _SIGMOID_SLOPE)
    else:
        mask = torch.where(phase > 0, 1 - phase / np.pi, torch.ones_like(phase))
    return magnitude * mask**power
