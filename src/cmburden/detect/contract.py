"""The detector's contract: the requirements of `detect` on a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError
from cmburden.models.contract import load_network

#: A network of more channels fits into no machine's memory: it has 300 times the released one's.
MOST_CHANNELS = 512


def of_detector(folder: Path) -> dict[str, Any]:
    """The contract in ``folder``; CMBurdenError where the model is no CNN that `detect` can use."""
    contract = load_network(folder)
    channels = contract["input"].get("channels")
    if not isinstance(channels, int) or isinstance(channels, bool):
        raise CMBurdenError(f"{folder}: this is no detector; name one in detect.model")
    if not 1 <= channels <= MOST_CHANNELS:
        raise CMBurdenError(
            f"{folder}: input.channels is {channels}, not from 1 to {MOST_CHANNELS}; "
            "restore model.json"
        )
    return contract
