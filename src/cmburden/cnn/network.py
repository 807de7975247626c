"""A fully convolutional 3D CNN for small dark spots, cheap enough for whole scans on two cores.

In-plane pixels are folded 2x2 into channels on entry and unfolded at the exit, so every layer runs
on a quarter of the voxels and no detail is lost. Slices are never pooled: 5 mm slices have no
neighbours to spare.
"""

from __future__ import annotations

import torch
from torch import nn


class _Block(nn.Module):
    """In-plane 3x3, then 3x3x3, residual; batch norm, so that patch size does not matter."""

    def __init__(self, channels: int):
        super().__init__()
        self.plane = nn.Conv3d(channels, channels, (3, 3, 1), padding=(1, 1, 0), bias=False)
        self.norm1 = nn.BatchNorm3d(channels)
        self.volume = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm3d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.nn.functional.relu(self.norm1(self.plane(x)), inplace=True)
        return torch.nn.functional.relu(x + self.norm2(self.volume(y)), inplace=True)


class SpotNet(nn.Module):
    """(n, 2, x, y, z) image and mask to (n, 1, x, y, z) logits; x and y divisible by 4.

    Parameters
    ----------
    channels : int
        Channels at half resolution; twice as many at a quarter.
    """

    def __init__(self, channels: int = 16):
        super().__init__()
        self.channels = channels
        self.entry = nn.Conv3d(8, channels, (3, 3, 1), padding=(1, 1, 0), bias=False)
        self.entry_norm = nn.BatchNorm3d(channels)
        self.fine = _Block(channels)
        self.down = nn.Conv3d(channels, 2 * channels, (2, 2, 1), stride=(2, 2, 1))
        self.coarse = nn.Sequential(_Block(2 * channels), _Block(2 * channels))
        self.up = nn.ConvTranspose3d(2 * channels, channels, (2, 2, 1), stride=(2, 2, 1))
        self.merge = nn.Conv3d(2 * channels, channels, 1)
        self.last = _Block(channels)
        self.head = nn.Conv3d(channels, 4, 1)
        # Lesion voxels are about 1 in 10,000: start from that, not from even odds.
        nn.init.constant_(self.head.bias, -5.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.relu(self.entry_norm(self.entry(fold(x))), inplace=True)
        fine = self.fine(x)
        coarse = self.up(self.coarse(self.down(fine)))
        merged = self.merge(torch.cat([fine, coarse], 1))
        return unfold(self.head(self.last(merged)))


def widened(tensors: dict[str, torch.Tensor], channels: int) -> dict[str, torch.Tensor]:
    """The state of a :class:`SpotNet` of ``channels`` that computes what a narrower one does.

    ``tensors`` is the narrower one's state. What is new starts at random, and nothing that was
    there listens to it yet: training goes on from where it was, with more room (the idea of
    Chen, Goodfellow and Shlens, Net2Net, ICLR 2016). Raises ValueError for a wider ``tensors``.
    """
    before = tensors["entry.weight"].shape[0]
    if before > channels:
        raise ValueError(f"weights of {before} channels do not fit into {channels}")
    state = SpotNet(channels).state_dict()
    for name, new in state.items():
        old = tensors[name].to(new.dtype)
        if new.ndim == 0:
            state[name] = old
            continue
        # Where the two joined halves' channels begin in ``merge``, each half has grown.
        halves = 2 if name == "merge.weight" else 1
        transposed = name == "up.weight"
        into = new.transpose(0, 1) if transposed else new
        source = old.transpose(0, 1) if transposed else old
        rows = source.shape[0]
        if new.ndim == 1:
            into[:rows] = source
            continue
        into[:rows] = 0
        for new_part, old_part in zip(into.chunk(halves, 1), source.chunk(halves, 1), strict=True):
            new_part[:rows, : old_part.shape[1]] = old_part
    return state


def fold(x: torch.Tensor) -> torch.Tensor:
    """(n, c, x, y, z) to (n, 4c, x/2, y/2, z): in-plane 2x2 into channels."""
    n, c, nx, ny, nz = x.shape
    x = x.reshape(n, c, nx // 2, 2, ny // 2, 2, nz)
    return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(n, 4 * c, nx // 2, ny // 2, nz)


def unfold(x: torch.Tensor) -> torch.Tensor:
    """The inverse of :func:`fold`.

    >>> x = torch.arange(32.0).reshape(1, 1, 4, 4, 2)
    >>> bool((unfold(fold(x)) == x).all())
    True
    """
    n, c, nx, ny, nz = x.shape
    x = x.reshape(n, c // 4, 2, 2, nx, ny, nz)
    return x.permute(0, 1, 4, 2, 5, 3, 6).reshape(n, c // 4, nx * 2, ny * 2, nz)
