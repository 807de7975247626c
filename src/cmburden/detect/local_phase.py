"""The phase about a candidate against the field of a small sphere: blood products or calcium.

Blood products are paramagnetic and calcium diamagnetic: their fields mirror each other, while the
signal that they take is alike. No phase is unwrapped: a local background is fitted to differences
of neighbours and taken from the complex signal.
"""

from __future__ import annotations

import numpy as np
from nibabel.affines import voxel_sizes

from cmburden.images import dipole

#: The neighbourhood reaches this many radii from the centre, within these limits, mm. A slice more
#: on either side belongs to it.
_RADII, _REACH_MM = 3.0, (4.0, 8.0)
#: A candidate's radius counts as within these limits, mm.
_RADIUS_MM = (0.7, 4.0)
#: The background is fitted outside this share of the radius.
_OUTSIDE = 1.3
#: Points of the sphere's field are at most this far apart in a voxel, mm, and at most so many along
#: an axis.
_STEP_MM, _MOST_PARTS = 0.5, 8
#: Fewest voxels of a neighbourhood, and least share of them with phase.
_FEWEST_VOXELS, _LEAST_SHARE = 40, 0.5
#: Rounds in which the background is fitted to what is left of the phase.
_ROUNDS = 3


def dipole_correlation(
    signal: np.ndarray,
    affine: np.ndarray,
    centre_mm: np.ndarray,
    diameter_mm: float,
) -> float:
    """Correlation, -1 to 1, of the phase about ``centre_mm`` with a paramagnetic sphere's.

    ``signal`` (x, y, z) complex: magnitude x exp(i phase), where a field above B0 has positive
    phase; 0 where the phase is unknown. ``affine`` (4, 4) leads to scanner RAS mm, in which the
    centre is; ``diameter_mm`` is that of the signal loss. NaN where there is too little phase.
    """
    radius = float(np.clip(diameter_mm / 2, *_RADIUS_MM))
    part, offsets = _neighbourhood(signal.shape, affine, centre_mm, radius)
    local = signal[part]
    weight = np.minimum(np.abs(local), 1.0)
    if local.size < _FEWEST_VOXELS or np.mean(weight > 0) < _LEAST_SHARE:
        return float("nan")
    sizes = voxel_sizes(affine)
    parts = np.clip(np.ceil(sizes / _STEP_MM), 1, _MOST_PARTS).astype(int)
    within = [((np.arange(n) + 0.5) / n - 0.5) for n in parts]
    steps = np.stack(np.meshgrid(*within, indexing="ij"), -1).reshape(-1, 3) @ affine[:3, :3].T
    expected = dipole.sphere(offsets.reshape(-1, 1, 3) + steps, radius).reshape(local.shape)
    far = np.linalg.norm(offsets, axis=-1) > _OUTSIDE * radius
    left = _without_background(local, weight * far, offsets)
    one = (weight * np.abs(expected)).ravel()
    seen, awaited = np.sin(np.angle(left)).ravel(), np.sin(np.angle(expected)).ravel()
    awaited = awaited - (one * awaited).sum() / max(one.sum(), 1e-6)
    seen = seen - (one * seen).sum() / max(one.sum(), 1e-6)
    power = (one * seen**2).sum() * (one * awaited**2).sum()
    return float((one * seen * awaited).sum() / np.sqrt(power)) if power > 0 else float("nan")


def _neighbourhood(
    shape: tuple[int, ...], affine: np.ndarray, centre_mm: np.ndarray, radius: float
) -> tuple[tuple[slice, ...], np.ndarray]:
    """The box about a centre, and its voxels' offsets (x, y, z, 3) from the centre, RAS mm."""
    sizes = voxel_sizes(affine)
    at = np.linalg.inv(affine)[:3, :3] @ (np.asarray(centre_mm) - affine[:3, 3])
    reach = np.clip(_RADII * radius, *_REACH_MM) / sizes
    reach = np.maximum(np.ceil(reach), 1)
    low = np.maximum(np.round(at) - reach, 0).astype(int)
    high = np.maximum(np.minimum(np.round(at) + reach + 1, shape).astype(int), low)
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    index = np.moveaxis(np.indices(tuple(high - low)), 0, -1) + low
    return part, (index - at) @ affine[:3, :3].T


def _without_background(local: np.ndarray, weight: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """``local`` complex (x, y, z) with the phase of the background taken away.

    The ramp is the phase of the mean difference of neighbours, the rest a polynomial of the second
    order, both weighted by ``weight`` (x, y, z).
    """
    unit = local / np.maximum(np.abs(local), 1e-12)
    index = np.indices(local.shape)
    ramp = np.zeros(local.shape)
    for axis in range(3):
        if local.shape[axis] < 2:
            continue
        a = np.moveaxis(unit, axis, 0)
        w = np.moveaxis(weight, axis, 0)
        ramp += np.angle((a[1:] * a[:-1].conj() * w[1:] * w[:-1]).sum()) * index[axis]
    left = unit * np.exp(-1j * ramp)
    x, y, z = np.moveaxis(offsets, -1, 0) / 5.0
    terms = np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x, y * y, z * z], -1)
    flat, w = terms.reshape(-1, terms.shape[-1]), weight.ravel()
    normal = flat.T @ (w[:, None] * flat) + 1e-6 * np.eye(flat.shape[1])
    left = left * np.exp(-1j * np.angle((left * weight).sum()))
    for _ in range(_ROUNDS):
        fitted = np.linalg.solve(normal, flat.T @ (w * np.angle(left).ravel()))
        left = left * np.exp(-1j * (terms @ fitted))
    return left * np.abs(local)
