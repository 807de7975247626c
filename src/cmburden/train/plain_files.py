"""Checkpoints and weights of trainings: tensors and plain values. Reading one runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cmburden.core.errors import CMBurdenError, sentence
from cmburden.core.files import whole_file


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all; equal content gives equal bytes."""
    # Given a path, torch would write the temporary name into the file.
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        torch.save(content, stream)


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The dict of tensors and plain values in ``path``. No code of the file is executed.

    Raises
    ------
    CMBurdenError
        Where the file holds anything else, or is torn.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # bytes of others may raise any exception in torch
        if sentence(error):
            raise  # a file without permission: the checkpoint may be sound
        raise CMBurdenError(
            f"{path}: not a whole checkpoint of tensors alone ({type(error).__name__}); nothing of "
            "it was used: remove it to train from the start"
        ) from error
    if not isinstance(content, dict):
        raise CMBurdenError(f"{path}: not a checkpoint; remove it to train from the start")
    return content
