"""Faults of an acquisition: crosstalk, ringing, motion, ghosts; and clipping and rounding.

The first four act on the complex image (x, y, slices), with y the direction of phase encoding.
"""

from __future__ import annotations

import numpy as np
import torch

from cmburden.simulate.acquisition import Acquisition

#: Ghosts lie a whole part of the field of view away; from so many parts up to one less than the
#: second. By choice.
_GHOST_PARTS = (2, 6)
#: Lines of k-space during which the head has moved, as shares of the sampling frequency: where they
#: begin, and how many. By choice.
_MOVED_FROM, _MOVED_WIDTH = (0.05, 0.35), (0.03, 0.12)
#: The brightness that clipping and rounding refer to: this percentile of the image.
_TOP_PERCENTILE = 90


def disturb(
    signal: torch.Tensor, acquisition: Acquisition, rng: np.random.Generator
) -> torch.Tensor:
    """``signal`` complex (x, y, slices) with the faults that ``acquisition`` names.

    Order of draws, for the faults that there are: motion (first line, number of lines, shift in x
    and y), then the number of the ghost's parts.
    """
    if acquisition.crosstalk and signal.shape[2] > 2:
        share = acquisition.crosstalk
        up, down = torch.roll(signal, 1, 2), torch.roll(signal, -1, 2)
        up[..., 0], down[..., -1] = signal[..., 0], signal[..., -1]
        signal = (1 - 2 * share) * signal + share * (up + down)
    if acquisition.ringing or acquisition.motion_mm:
        signal = _in_kspace(signal, acquisition, rng)
    if acquisition.ghost:
        parts = int(rng.integers(*_GHOST_PARTS))
        signal = signal + acquisition.ghost * torch.roll(signal, signal.shape[1] // parts, 1)
    return signal


def _in_kspace(
    signal: torch.Tensor, acquisition: Acquisition, rng: np.random.Generator
) -> torch.Tensor:
    """``signal`` with motion and ringing."""
    nx, ny, _ = signal.shape
    k = torch.fft.fft2(signal, dim=(0, 1))
    kx, ky = torch.fft.fftfreq(nx), torch.fft.fftfreq(ny)
    if acquisition.motion_mm:
        # The head has moved for a part of the lines: these carry the phase of the shift.
        edge = float(rng.uniform(*_MOVED_FROM))
        width = float(rng.uniform(*_MOVED_WIDTH))
        moved = (ky.abs() > edge) & (ky.abs() < edge + width)
        shift = rng.normal(0, 1, 2)
        shift *= acquisition.motion_mm / np.linalg.norm(shift)
        sx, sy = shift / np.array(acquisition.voxel_mm[:2])
        ramp = torch.polar(
            torch.ones(nx, ny), -2 * np.pi * (kx[:, None] * sx + ky[None, :] * sy).float()
        )
        k = torch.where(moved[None, :, None], k * ramp[:, :, None], k)
    if acquisition.ringing:
        # Samples missing at the rim of k-space, zero-filled: Gibbs ringing and a coarser image.
        highest = 0.5 * (1 - acquisition.ringing)
        k = k * ((kx.abs() <= highest)[:, None] & (ky.abs() <= highest)[None, :])[:, :, None]
    return torch.fft.ifft2(k, dim=(0, 1))


def store(image: np.ndarray, acquisition: Acquisition) -> np.ndarray:
    """Clip at ``ceiling`` x the 90th percentile and round to ``levels`` steps, as int16 would.

    ``image`` of any shape; returns float32.
    """
    top = float(np.percentile(image, _TOP_PERCENTILE)) or 1.0
    if acquisition.ceiling:
        image = np.minimum(image, acquisition.ceiling * top)
    if acquisition.levels:
        image = np.round(image / top * acquisition.levels) * (top / acquisition.levels)
    return image.astype(np.float32)
