"""The sign of a scan's phase, as its veins show it.

Vendors disagree on whether a field above B0 has positive or negative phase. Veins are dark, long
and paramagnetic: the field that they must have about them is worked out from their darkness, with
every vein at its own angle to B0, and compared with the phase. Parts of the brain vote.

An SWI is dark also where its mask met phase of one sign. The sign by an SWI is therefore mostly
that which its mask darkened: as readers do, it presumes that the mask darkens blood. Where the mask
was of the other sign, so is the result, and the two images do not tell.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage, stats

from cmburden.images import dipole, geometry
from cmburden.images.phase import Phase

#: A sign is taken if its certainty is at least this.
LEAST_CERTAINTY = 0.999
#: Dark structures narrower than about twice this count, mm. They lose from the first to the second
#: of these shares of the signal; more does not count more: veins are many, voids of calcium few.
_NARROW_MM, _DARK = 1.8, (0.25, 0.6)
#: A vein is longer than this, mm, and so many times as long as wide.
_LENGTH_MM, _SLENDER = 5.0, 2.5
#: Veins lie deeper in the brain than this, mm: at its edge phase changes quickly.
_EDGE_MM = 3.0
#: The phase is compared within this distance of veins, where more than the share of the brain's
#: signal is left, mm.
_NEAR_MM, _LEAST_SIGNAL = 3.0, 0.25
#: Standard deviations of the low-pass whose phase is the background, and of that of tissue, mm.
_BACKGROUND_MM, _TISSUE_MM = 3.0, 8.0
#: Slices thicker than this are low-passed one by one, mm.
_THICK_MM = 2.5
#: Sides of the parts of the brain, mm; fewest parts with veins.
_PART_MM, _FEWEST_PARTS = 20.0, 8
#: The sine of the phase counts up to this: strong phase is mostly that of air.
_MOST_SINE = 0.3
#: Low-passes reach so many standard deviations.
_TRUNCATE = 3.0
#: Signal is clipped to this, brain 1.
_MOST_SIGNAL = 1.5


@dataclasses.dataclass(frozen=True)
class Sign:
    """``value`` is 1 where a field above B0 has positive phase, else -1.

    ``certainty`` is the probability of that sign, were the parts' votes those of chance: 0.5 to 1.
    """

    value: int
    certainty: float

    @property
    def is_clear(self) -> bool:
        return self.certainty >= LEAST_CERTAINTY


#: Of a scan without veins to see.
UNKNOWN = Sign(1, 0.5)


@dataclasses.dataclass(frozen=True, eq=False)
class _Grid:
    """Voxel sizes (3,) mm of a grid and its slice axis."""

    affine: np.ndarray
    sizes: np.ndarray
    axis: int

    def sigma(self, mm: float) -> np.ndarray:
        """Standard deviation (3,) in voxels; 0 across thick slices."""
        sigma = mm / self.sizes
        if self.sizes[self.axis] > _THICK_MM:
            sigma[self.axis] = 0
        return sigma

    def smooth(self, values: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """``values`` (x, y, z), real or complex, low-passed with ``sigma`` (3,) voxels."""
        if np.iscomplexobj(values):
            return self.smooth(values.real, sigma) + 1j * self.smooth(values.imag, sigma)
        return ndimage.gaussian_filter(values, sigma, truncate=_TRUNCATE)


def sign_of(volume: np.ndarray, mask: np.ndarray, affine: np.ndarray, phase: Phase) -> Sign:
    """The sign of ``phase``.

    ``volume`` (x, y, z) float32 has median 1 in ``mask`` (bool); ``affine`` (4, 4) leads to scanner
    RAS mm.
    """
    if not mask.any():
        return UNKNOWN
    part = geometry.box(mask, 2)
    signal, brain, known = volume[part], mask[part], phase.known[part]
    grid = _Grid(geometry.cropped(affine, part), voxel_sizes(affine), geometry.slice_axis(affine))
    inside = (ndimage.distance_transform_edt(brain, grid.sizes) > _EDGE_MM) & known
    signal = np.clip(signal, 0, _MOST_SIGNAL)
    turned = (signal * known * np.exp(1j * phase.radians[part])).astype(np.complex64)
    chi = _veins(signal, brain, inside, grid)
    if not chi.any():
        return UNKNOWN
    near = ndimage.distance_transform_edt(chi == 0, grid.sizes) <= _NEAR_MM
    use = inside & near & (signal > _LEAST_SIGNAL)
    background = grid.sigma(_BACKGROUND_MM)
    local = np.angle(turned * grid.smooth(turned, background).conj())
    shift = dipole.field(chi, grid.affine)
    # What the low-pass took from the phase is taken from the expected field.
    level = np.maximum(grid.smooth(signal, background), 1e-3)
    shift -= grid.smooth(shift * signal, background) / level
    seen = np.clip(np.sin(local[use]), -_MOST_SINE, _MOST_SINE)
    parts = (np.argwhere(use) * grid.sizes // _PART_MM).astype(int)
    return _vote(shift[use], seen, np.minimum(signal[use], 1), parts)


def _vote(expected: np.ndarray, seen: np.ndarray, weight: np.ndarray, parts: np.ndarray) -> Sign:
    """Sign of the correlation of ``expected`` and ``seen`` (n,) within ``parts`` (n, 3) indices.

    Were there none, each part's covariance would be of either sign alike: their sum over the root
    of the sum of their squares is then standard normal.
    """
    if not len(parts):
        return UNKNOWN
    where = np.unique(parts, axis=0, return_inverse=True)[1].ravel()
    number = int(where.max()) + 1
    if number < _FEWEST_PARTS:
        return UNKNOWN

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(where, values, number)

    total = np.maximum(sums(weight), 1e-6)
    one = expected - (sums(weight * expected) / total)[where]
    other = seen - (sums(weight * seen) / total)[where]
    spread = np.sqrt(sums(weight * other**2))
    votes = sums(weight * one * other) / np.maximum(spread, 1e-6)
    power = float((votes**2).sum())
    if not power > 0:
        return UNKNOWN
    deviate = float(votes.sum()) / np.sqrt(power)
    return Sign(1 if deviate > 0 else -1, float(stats.norm.cdf(abs(deviate))))


def _veins(signal: np.ndarray, brain: np.ndarray, inside: np.ndarray, grid: _Grid) -> np.ndarray:
    """Darkness (x, y, z) float32 of long thin structures ``inside`` the brain, else 0."""
    # A square, unlike a disk, is closed axis by axis: in a fraction of the time.
    width = 2 * np.maximum(1, np.round(_NARROW_MM / grid.sizes)).astype(int) + 1
    width[grid.axis] = 1
    closed = ndimage.grey_closing(signal, size=tuple(width))
    level, wide = np.clip(signal, 0.5, 1.3) * brain, grid.sigma(_TISSUE_MM)
    share = np.maximum(grid.smooth(brain.astype(np.float32), wide), 0.05)
    tissue = np.maximum(grid.smooth(level, wide) / share, 0.1)
    # Bright fluid beside a gyrus makes the gyrus no vein.
    dark = (np.minimum(closed, tissue) - signal) / tissue
    dark = np.where(inside, dark, 0)
    labels, number = ndimage.label(dark > _DARK[0], np.ones((3, 3, 3)))
    kept = _slender(labels, number, grid.sizes)[labels]
    return np.where(kept, np.minimum(dark, _DARK[1]), 0).astype(np.float32)


def _slender(labels: np.ndarray, number: int, sizes: np.ndarray) -> np.ndarray:
    """Whether each of the parts 0 to ``number`` of ``labels`` is long and thin; 0 is not."""
    at = np.argwhere(labels > 0)
    owner, points = labels[tuple(at.T)], at * sizes
    count = np.maximum(np.bincount(owner, minlength=number + 1), 1).astype(float)
    mean = np.stack([np.bincount(owner, p, number + 1) for p in points.T], 1) / count[:, None]
    away = points - mean[owner]
    spread = np.zeros((number + 1, 3, 3))
    for i in range(3):
        for j in range(3):
            spread[:, i, j] = np.bincount(owner, away[:, i] * away[:, j], number + 1) / count
    # An even line of length l has the variance l^2 / 12, as has a voxel.
    length = np.sqrt(12 * np.linalg.eigvalsh(spread + np.diag(sizes**2 / 12))[:, 2])
    width = np.sqrt(count * sizes.prod() / length)
    slender = (length > _LENGTH_MM) & (length > _SLENDER * width)
    slender[0] = False
    return slender
