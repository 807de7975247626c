"""The detector's contract: the requirements of `detect` on a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError
from cmburden.models.contract import load


def of_detector(folder: Path) -> dict[str, Any]:
    """The contract in ``folder``; CMBurdenError where the model is no CNN that `detect` can use."""
    contract = load(folder)
    if not isinstance(contract["input"].get("channels"), int):
        raise CMBurdenError(f"{folder}: this is no detector; name one in detect.model")
    return contract
