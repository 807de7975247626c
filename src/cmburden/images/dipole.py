"""The field of a dipole on a scan's grid: of a map of susceptibility, and of one sphere.

The static field lies along z of the scanner, whatever the slices' angle.
"""

from __future__ import annotations

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import fft

#: A sphere is not evaluated nearer to its centre than this share of its radius: spins there have no
#: signal, for blood products and calcium have none left at these echo times.
_CORE = 0.5


def b0_of(affine: np.ndarray) -> np.ndarray:
    """Unit vector (3,) of the static field in the axes of a grid with ``affine`` (4, 4).

    >>> b0_of(np.diag([2.0, 2, 5, 1])).tolist()
    [0.0, 0.0, 1.0]
    """
    axes = affine[:3, :3] / voxel_sizes(affine)
    along = axes.T @ np.array([0.0, 0.0, 1.0])
    return along / np.linalg.norm(along)


def field(chi: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Field shift (x, y, z) float32 of a map ``chi`` (x, y, z), in chi's unit.

    In k-space the kernel is 1/3 - (k.b0)^2 / k^2, the mean field set to zero (Salomir et al.,
    Concepts Magn Reson B 2003;19:26). The grid is padded, so that nothing wraps nearby.
    """
    b0, voxel = b0_of(affine), voxel_sizes(affine)
    shape = [fft.next_fast_len(n + n // 4 + 4, real=True) for n in chi.shape]
    spectrum = fft.rfftn(chi.astype(np.float32), shape)
    k = [
        fft.fftfreq(shape[0], voxel[0])[:, None, None].astype(np.float32),
        fft.fftfreq(shape[1], voxel[1])[None, :, None].astype(np.float32),
        fft.rfftfreq(shape[2], voxel[2])[None, None, :].astype(np.float32),
    ]
    along = k[0] * np.float32(b0[0]) + k[1] * np.float32(b0[1]) + k[2] * np.float32(b0[2])
    square = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    square[0, 0, 0] = 1
    kernel = 1 / 3 - along**2 / square
    kernel[0, 0, 0] = 0
    shift = fft.irfftn(spectrum * kernel, shape)
    return shift[tuple(slice(n) for n in chi.shape)].astype(np.float32)


def sphere(offsets_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    """Complex signal (n,) of voxels about a paramagnetic sphere: the mean of exp(i phase).

    ``radius_mm`` is that of the signal loss: the phase at the equator is -1 rad there, and falls
    with the cube of the distance (Haacke et al., Magnetic Resonance Imaging, 1999, ch. 25).
    ``offsets_mm`` (n, parts, 3) are points of each voxel from the centre, along the scanner's axes.
    """
    square = (offsets_mm**2).sum(-1)
    least = (_CORE * radius_mm) ** 2
    safe = np.maximum(square, least)
    phase = (radius_mm**2 / safe) ** 1.5 * (3 * offsets_mm[..., 2] ** 2 / safe - 1)
    return np.where(square > least, np.exp(1j * phase), 0).mean(-1)
