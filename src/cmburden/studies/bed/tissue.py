"""Head without vessels and bleeds: greys, texture, blots, and the phase of the background.

Order of draws: greys of the labels, texture by scale, blots, background phase, coil.
"""

from __future__ import annotations

import nibabel as nib
import numpy as np
from scipy import ndimage

from cmburden.simulate import anatomy as an
from cmburden.simulate import plain
from cmburden.studies.bed.domains import Domain

#: Range of the grey of groups of labels, other tissue last; fluid is the acquisition's.
_GREYS: tuple[tuple[an.Codes, tuple[float, float]], ...] = (
    (an.WHITE, (0.72, 0.88)),
    (an.PALLIDUM, (0.45, 0.75)),
    (an.PUTAMEN + an.CAUDATE, (0.7, 0.9)),
    (an.BRAINSTEM, (0.75, 0.9)),
    ((an.SOFT,), (0.4, 0.8)),
    ((an.MARROW,), (0.4, 0.9)),
    ((an.BONE,), (0.05, 0.15)),
    ((an.AIR, 0), (0.0, 0.03)),
)
_OTHER_GREY = (0.85, 0.95)
#: Scales of the texture, mm; each has the same share of the variance.
_SCALES_MM = (1.5, 3.0, 6.0, 12.0)
#: A blot: radius, mm, and its change of the signal.
_BLOT_MM, _BLOT = (1.0, 3.5), (-0.25, 0.25)
#: Phase at the border of air, rad, and how fast it falls off, mm; and of the whole field of view.
_AIR_RAD, _AIR_MM, _SLOW_RAD = (10.0, 25.0), 9.0, 3.0
#: Standard deviation of the logarithm of the coil's sensitivity.
_COIL_SD = 0.15
#: Smoothing of labels' borders, voxels of the label map.
_BORDER_VOXELS = 0.5
#: Samples through a slice are at most this far apart, mm.
_SLICE_STEP_MM = 0.5


def signal(
    person: an.Anatomy,
    domain: Domain,
    affine: np.ndarray,
    to_person: np.ndarray,
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> np.ndarray:
    """Complex signal (x, y, z) of the head, white matter about 0.8.

    ``affine`` (4, 4) takes voxels to scan mm, ``to_person`` (4, 4) to mm of the label map.
    """
    voxel = nib.affines.voxel_sizes(affine)
    amplitude = _amplitude(person, domain, to_person, shape, float(voxel[2]), rng)
    amplitude *= 1 + _texture(shape, voxel, domain.texture, rng)
    for _ in range(domain.nodules):
        _blot(amplitude, voxel, rng)
    near = ndimage.distance_transform_edt(
        person.labels != an.AIR, nib.affines.voxel_sizes(person.affine)
    )
    distance = plain.sampled(near.astype(np.float32), person.affine, to_person, shape, order=1)
    strength = rng.uniform(*_AIR_RAD) * domain.acquisition.echo_time_s / 0.02
    strength *= domain.acquisition.field_t / 3.0
    air = strength * np.exp(-distance / _AIR_MM)
    # Through a slice the phase of the air's field turns, and signal is lost near the sinuses.
    amplitude *= np.sinc(air / _AIR_MM * voxel[2] / (2 * np.pi))
    phase = air + _slow(shape, _SLOW_RAD, rng)
    coil = np.exp(_slow(shape, _COIL_SD, rng))
    return (amplitude * coil * np.exp(1j * phase)).astype(np.complex64)


def _amplitude(
    person: an.Anatomy,
    domain: Domain,
    to_person: np.ndarray,
    shape: tuple[int, ...],
    slice_mm: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Greys (x, y, z) of the labels, averaged through the slice."""
    greys = rng.uniform(*_OTHER_GREY, an.CODES_END)
    greys[[*an.VENTRICLES, an.CSF]] = domain.acquisition.csf * rng.uniform(0.85, 1.15)
    for codes, ends in _GREYS:
        greys[list(codes)] = rng.uniform(*ends)
    smooth = ndimage.gaussian_filter(greys[person.labels].astype(np.float32), _BORDER_VOXELS)
    parts = max(1, int(np.ceil(slice_mm / _SLICE_STEP_MM)))
    image = np.zeros(shape, np.float32)
    for step in (np.arange(parts) + 0.5) / parts - 0.5:
        moved = to_person @ nib.affines.from_matvec(np.eye(3), [0, 0, step])
        image += plain.sampled(smooth, person.affine, moved, shape, order=1) / parts
    return image


def _texture(
    shape: tuple[int, ...], voxel: np.ndarray, deviation: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise (x, y, z) with equal variance at each of the scales."""
    total = np.zeros(shape, np.float32)
    for scale in _SCALES_MM:
        points = np.maximum(np.ceil(np.array(shape) * voxel / scale), 2).astype(int)
        rough = rng.standard_normal(points, np.float32)
        smooth = ndimage.zoom(
            rough, np.array(shape) / points, order=1, grid_mode=True, mode="nearest"
        )
        total += smooth / max(float(smooth.std()), 1e-6)
    return total * (deviation / np.sqrt(len(_SCALES_MM)))


def _blot(amplitude: np.ndarray, voxel: np.ndarray, rng: np.random.Generator) -> None:
    """Change ``amplitude`` within a soft ball. Draws: place, radius, change."""
    at = rng.uniform(0, amplitude.shape)
    radius, change = rng.uniform(*_BLOT_MM), rng.uniform(*_BLOT)
    reach = np.ceil(2 * radius / voxel).astype(int)
    low = np.maximum(np.round(at).astype(int) - reach, 0)
    high = np.minimum(np.round(at).astype(int) + reach + 1, amplitude.shape)
    if (low >= high).any():
        return
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    index = np.indices(high - low).transpose(1, 2, 3, 0) + low
    distance = np.linalg.norm((index - at) * voxel, axis=-1)
    amplitude[box] *= 1 + change * np.exp(-((distance / radius) ** 2))


def _slow(shape: tuple[int, ...], deviation: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth field (x, y, z) float32: a polynomial of the third degree of each axis."""
    total = np.zeros(shape, np.float32)
    for axis, size in enumerate(shape):
        x = np.linspace(-1, 1, size)
        curve = np.polynomial.polynomial.polyval(x, rng.normal(0, deviation, 4) / 2)
        total += curve.astype(np.float32).reshape(
            [-1 if other == axis else 1 for other in range(3)]
        )
    return total
