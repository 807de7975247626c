"""Renderer by physics: an irregular clot of another susceptibility, imaged in the complex domain.

The clot's field is its convolution with a unit dipole on a grid finer than the voxel. Spins dephase
there until the echo. The scanner then reads a limited part of k-space, of slices that are excited
or encoded. No network was trained on this renderer, and it shares no code with those of training.

Sources: Marques and Bowtell, Concepts Magn Reson B 2005;25:65 (field); Haacke et al., MRM
2004;52:612 (phase mask). Numbers without a source are by eye.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import fft, ndimage

from cmburden.insert.ground import Acquisition, Ground

#: rad / (s T ppm): the proton's gyromagnetic ratio (CODATA 2018), times 1e-6.
_RADIANS_PER_S_T_PPM = 267.52218744
#: Longest step of the fine grid, mm; finest parts of a voxel.
_STEP_MM, _MOST_PARTS = 0.25, 20
#: The clot is followed to where its phase falls below this, rad, within these distances, mm.
_LEAST_PHASE, _REACH_MM = 0.1, (4.0, 12.0)
#: Susceptibility against tissue, ppm, and what is left of the signal within the clot.
_PPM, _LEFT = (0.5, 2.5), (0.0, 0.2)
#: How irregular the surface is against the radius; how far its bumps reach, radii.
_BUMPS, _BUMP_RADII = (0.1, 0.5), 0.7
#: The outer part of k-space that scanners roll off, and what is left at its edge.
_ROLL_FROM, _ROLL_TO = 0.75, 0.5
#: Width of the low-pass that the phase mask is made without, mm, and the mask's power.
_HIGH_PASS_MM, _MASK_POWER = 2.5, 4
#: Most that ringing may brighten.
_BRIGHTEST = 1.15


@dataclasses.dataclass(frozen=True)
class Clot:
    """A clot: radius of the sphere of its volume, mm; ``ppm``; ``left`` of the signal within."""

    radius_mm: float
    ppm: float
    left: float
    bumps: float

    @classmethod
    def draw(cls, visible_mm: float, acquisition: Acquisition, rng: np.random.Generator) -> Clot:
        """A clot that shows with a radius of about ``visible_mm``: blooming makes it larger.

        The rim is where the phase at the equator falls to a radian.
        """
        ppm = float(np.exp(rng.uniform(*np.log(_PPM))))
        bloom = max(1.0, np.cbrt(ppm / 3 * radians_per_ppm(acquisition)))
        return cls(visible_mm / bloom, ppm, float(rng.uniform(*_LEFT)), float(rng.uniform(*_BUMPS)))


def radians_per_ppm(acquisition: Acquisition) -> float:
    """Phase at the echo of a field shift of 1 ppm.

    >>> round(radians_per_ppm(Acquisition(3.0, 0.020, False, False, 4.0)), 2)
    16.05
    """
    return _RADIANS_PER_S_T_PPM * acquisition.field_t * acquisition.echo_time_s


def reach_mm(clot: Clot, acquisition: Acquisition) -> float:
    """How far from its middle a clot changes the image, mm."""
    share = 2 * clot.ppm * radians_per_ppm(acquisition) / 3 / _LEAST_PHASE
    return float(np.clip(clot.radius_mm * np.cbrt(max(share, 1.0)), *_REACH_MM))


def render(
    clot: Clot, ground: Ground, acquisition: Acquisition, rng: np.random.Generator
) -> np.ndarray:
    """What the clot leaves of each voxel's signal, (x, y, z) of the box, 1 for all of it."""
    parts = np.minimum(np.ceil(ground.sizes / _STEP_MM), _MOST_PARTS).astype(int)
    occupied = _shape(clot, ground, parts, rng)
    step = ground.sizes / parts
    # A small clot covers few points: its dipole moment is kept, not its density.
    volume = 4 / 3 * np.pi * clot.radius_mm**3
    moment = volume / max(float(occupied.sum() * step.prod()), 1e-9)
    phase = field(occupied * (clot.ppm * moment), step, ground.b0) * radians_per_ppm(acquisition)
    signal = (1 - occupied * (1 - clot.left)) * np.exp(1j * phase)
    for axis in range(3):
        if axis == ground.across and not acquisition.partitions:
            signal = _excited(signal, axis, int(parts[axis]), acquisition, ground)
        else:
            signal = _encoded(signal, axis, int(parts[axis]))
    left = np.abs(signal)
    if acquisition.masked:
        left = left * _mask(signal, ground)
    return _ending(np.clip(left, 0, _BRIGHTEST))


def _shape(clot: Clot, ground: Ground, parts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share (x, y, z) of each fine point that the clot takes; its surface has bumps."""
    x, y, z = ground.points(parts)
    distance = np.sqrt(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2)
    step = ground.sizes / parts
    wide = clot.radius_mm * _BUMP_RADII / step
    bumps = ndimage.gaussian_filter(rng.normal(size=distance.shape).astype(np.float32), wide)
    spread = float(bumps.std())
    height = 1 - distance / clot.radius_mm + clot.bumps * bumps / max(spread, 1e-9)
    # Only what is near the ball: bumps far away are no part of the clot.
    height[distance > 2 * clot.radius_mm + step.max()] = -np.inf
    count = max(1.0, 4 / 3 * np.pi * clot.radius_mm**3 / float(step.prod()))
    edge = np.partition(height.ravel(), -int(count))[-int(count)]
    return np.clip((height - edge) * clot.radius_mm / float(step.max()) + 0.5, 0, 1)


def field(ppm: np.ndarray, step: np.ndarray, b0: np.ndarray) -> np.ndarray:
    """Shift of the field (x, y, z), ppm, of a susceptibility ``ppm`` on a grid of ``step`` mm.

    ``b0`` (3,) is the field's direction. The mean shift is 0.
    """
    nx, ny, nz = ppm.shape
    k = (
        fft.fftfreq(nx, step[0])[:, None, None],
        fft.fftfreq(ny, step[1])[None, :, None],
        fft.rfftfreq(nz, step[2])[None, None, :],
    )
    square = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    along = k[0] * b0[0] + k[1] * b0[1] + k[2] * b0[2]
    square[0, 0, 0] = 1.0
    dipole = 1 / 3 - along**2 / square
    dipole[0, 0, 0] = 0.0
    return fft.irfftn(fft.rfftn(ppm) * dipole, s=ppm.shape)


def _excited(
    signal: np.ndarray, axis: int, parts: int, acquisition: Acquisition, ground: Ground
) -> np.ndarray:
    """Slices as they are excited one by one: the mean over each slice's thickness."""
    spacing = float(ground.sizes[axis])
    place = (np.arange(parts) + 0.5) / parts - 0.5
    taken = np.abs(place) * spacing <= acquisition.thickness_mm / 2
    if not taken.any():
        taken[parts // 2] = True
    moved = np.moveaxis(signal, axis, -1)
    slices = moved.reshape(*moved.shape[:-1], -1, parts)[..., taken].mean(-1)
    return np.moveaxis(slices, -1, axis)


def _encoded(signal: np.ndarray, axis: int, parts: int) -> np.ndarray:
    """Voxels of an axis whose k-space is read to the voxel's own limit, rolled off at its edge."""
    fine = signal.shape[axis]
    count = fine // parts
    order = np.rint(fft.fftfreq(count) * count).astype(int)
    # Voxels lie in the middle of their fine points, not at the first of them.
    ramp = np.exp(2j * np.pi * order * (parts - 1) / 2 / fine)
    outer = np.clip((np.abs(order) / (count / 2) - _ROLL_FROM) / (1 - _ROLL_FROM), 0, 1)
    kept = ramp * (1 - (1 - _ROLL_TO) * np.sin(np.pi / 2 * outer) ** 2)
    shape = [1] * signal.ndim
    shape[axis] = count
    spectrum = np.take(fft.fft(signal, axis=axis), order % fine, axis=axis) * kept.reshape(shape)
    return fft.ifft(spectrum, axis=axis) * (count / fine)


def _mask(signal: np.ndarray, ground: Ground) -> np.ndarray:
    """The phase mask of SWI, which darkens what delays the phase as veins do."""
    wide = _HIGH_PASS_MM / ground.sizes
    wide[ground.across] = 0.0
    low = ndimage.gaussian_filter(signal.real, wide) + 1j * ndimage.gaussian_filter(
        signal.imag, wide
    )
    phase = np.angle(signal * low.conj())
    return np.where(phase > 0, 1 - phase / np.pi, 1.0) ** _MASK_POWER


def _ending(left: np.ndarray) -> np.ndarray:
    """``left`` with the box's outer voxels unchanged: no edge shows where the box ends."""
    inner = np.zeros(left.shape, bool)
    inner[tuple(slice(1, -1) if n > 2 else slice(None) for n in left.shape)] = True
    return np.where(inner, left, 1.0)
