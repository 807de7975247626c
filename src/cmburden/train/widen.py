"""A wider YOLO that answers as a narrower one does: training goes on, with room to learn more.

Chen, Goodfellow and Shlens, Net2Net, ICLR 2016: channels are copied, and the weights that read a
channel are shared out among its copies. They share at random here, so that copies learn apart.
"""

from __future__ import annotations

import numpy as np
import torch

from cmburden.core.errors import CMBurdenError

#: YOLO11's attention reads its channels by heads: they are copied whole. Layers and their channels
#: a head: of query, key and value (32 + 32 + 64), of values alone; at a layer's input.
_HEADS_OUT = {".attn.qkv.": 128, ".attn.pe.": 64}
_HEADS_IN = {".attn.proj.": 64}


def widened(state: dict[str, torch.Tensor], network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """``state`` in the shapes of ``network``, the same YOLO up to twice as wide: same outputs.

    CMBurdenError where a layer of ``network`` is narrower, or wider than twice.
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
    """``weights`` (out, in, ...) for the inputs ``sources``: two copies share what one weighed."""
    wide = weights[:, sources]
    share = torch.rand(wide.shape, generator=generator) * 0.5 + 0.25
    _, first, copies = np.unique(sources.numpy(), return_index=True, return_counts=True)
    first, copies = first[sources], copies[sources]
    second = first != np.arange(len(sources))
    share[:, second] = 1 - share[:, first[second]]
    share[:, copies == 1] = 1
    return wide * share
