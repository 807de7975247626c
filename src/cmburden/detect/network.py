"""A fully convolutional 3D CNN for small dark spots, cheap enough for whole scans on two cores.

Pixels are folded 2 x 2 in plane into channels at the input, and unfolded at the output. Every layer
then runs on a quarter of the voxels, without loss of detail. Slices are never pooled: a microbleed
spans too few slices of 5 mm.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

#: Logit of all voxels before training.
_FIRST_LOGIT = -5.0
#: Order of memory of images (n, c, x, y, z) that a network ``for_inference`` sees.
MEMORY_FORMAT = torch.channels_last_3d


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
        # Lesion voxels are about 1 in 10,000: training starts near these odds, not at even odds.
        bias = self.head.bias
        assert bias is not None
        nn.init.constant_(bias, _FIRST_LOGIT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.relu(self.entry_norm(self.entry(fold(x))), inplace=True)
        fine = self.fine(x)
        coarse = self.up(self.coarse(self.down(fine)))
        merged = self.merge(torch.cat([fine, coarse], 1))
        return unfold(self.head(self.last(merged)))


def for_inference(network: SpotNet) -> SpotNet:
    """``network`` itself, in evaluation, with its batch norms fused into the convolutions.

    Its weights lie in the order of memory in which oneDNN is fastest; images should
    (``MEMORY_FORMAT``). Scores differ in the fifth decimal of a logit.
    """
    network.eval()
    blocks = (network.fine, *network.coarse, network.last)
    pairs = [(network, "entry", "entry_norm")]
    pairs += [(block, "plane", "norm1") for block in blocks]
    pairs += [(block, "volume", "norm2") for block in blocks]
    for part, name, norm in pairs:
        setattr(part, name, fuse_conv_bn_eval(getattr(part, name), getattr(part, norm)))
        setattr(part, norm, nn.Identity())
    return network.to(memory_format=MEMORY_FORMAT)


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
