"""Makes a YOLO wider without a change of its output, to continue training with more capacity.

Chen, Goodfellow and Shlens, Net2Net, ICLR 2016: channels are copied, and the weights that read a
channel are divided among its copies. The division is random here, so that copies learn apart.
"""

from __future__ import annotations

import numpy as np
import torch

from cmburden.core.errors import CMBurdenError

#: YOLO11's attention reads its channels by heads, so that heads are copied whole. Part of a layer's
#: name, and its output channels a head: of query, key and value (32 + 32 + 64), of values alone.
_HEADS_OUT = {".attn.qkv.": 128, ".attn.pe.": 64}
#: The same for input channels.
_HEADS_IN = {".attn.proj.": 64}
#: The first of two copies takes a share of the weight drawn from this range, the second the rest.
_SHARE = (0.25, 0.75)


def widened(state: dict[str, torch.Tensor], network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """``state`` in the shapes of ``network``, the same YOLO up to twice as wide.

    Both have the same outputs. Raises CMBurdenError where a layer of ``network`` is narrower, or
    more than twice as wide.
    """
    generator = torch.Generator().manual_seed(0)
    wide = {}
    for name, like in network.state_dict().items():
        weights = state[name]
        if weights.shape != like.shape:
            weights = weights[_sources(len(weights), len(like), _block(name, _HEADS_OUT))]
        if weights.shape != like.shape:
            sources = _sources(weights.shape[1], like.shape[1], _block(name, _HEADS_IN))
            weights = _shared(weights, sources, generator)
        wide[name] = weights
    return wide


def _block(name: str, heads: dict[str, int]) -> int:
    """Channels that are copied together in the layer ``name``."""
    return next((size for part, size in heads.items() if part in name), 1)


def _sources(old: int, new: int, block: int) -> torch.Tensor:
    """(new,): the old channel of each new one, copied evenly in blocks of ``block``."""
    if not old <= new <= 2 * old:
        raise CMBurdenError(
            f"a YOLO layer of {old} channels cannot start one of {new}: up to twice as many can be"
        )
    blocks = torch.arange(new // block) * old // new
    return (blocks[:, None] * block + torch.arange(block)).reshape(-1)


def _shared(
    weights: torch.Tensor, sources: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """``weights`` (out, in, ...) for the inputs ``sources`` (n,): (out, n, ...).

    The weights of two copies add up to those of their source.
    """
    wide = weights[:, sources]
    share = torch.rand(wide.shape, generator=generator) * (_SHARE[1] - _SHARE[0]) + _SHARE[0]
    _, first, copies = np.unique(sources.numpy(), return_index=True, return_counts=True)
    first, copies = first[sources], copies[sources]
    second = first != np.arange(len(sources))
    share[:, second] = 1 - share[:, first[second]]
    share[:, copies == 1] = 1
    return wide * share
