"""Networks' weights and the device that they run on. Only tensors are read, no pickled code."""

from __future__ import annotations

from pathlib import Path

import torch

from cmburden.core.errors import CMBurdenError, sentence

#: Batch normalisation counts its training steps under this name. No inference reads the number, and
#: half precision holds none above 65,504.
_COUNTER = "num_batches_tracked"
#: Characters of a message of torch that a sentence takes over.
_MOST_OF_REASON = 120


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """State dict of ``path`` in single precision (weights are stored in half).

    Raises
    ------
    CMBurdenError
        When the file is damaged, holds something other than named tensors, or NaN or infinite
        weights.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise any exception in torch
        if sentence(error):
            raise  # a file without permission: the weights may be sound
        reason = " ".join(str(error).split())[:_MOST_OF_REASON]
        raise CMBurdenError(
            f"{path}: not a file of weights ({reason or type(error).__name__}); restore the file"
        ) from error
    tensors = isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    )
    if not tensors:
        raise CMBurdenError(f"{path}: holds no named tensors; restore the file")
    single = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    for name, tensor in single.items():
        if not name.endswith(_COUNTER) and not torch.isfinite(tensor).all():
            raise CMBurdenError(f"{path}: {name} holds NaN or infinity; restore the file")
    return single


def choose_device(name: str) -> torch.device:
    """The device called ``name``: ``auto`` is a GPU if there is one, else the CPU.

    Raises
    ------
    CMBurdenError
        When torch knows no such device, or no GPU is visible.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise CMBurdenError(f"device {name!r} is unknown; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CMBurdenError(f"device {name!r} asked for, but no GPU is visible; use auto or cpu")
    return device


def is_shared(name: str) -> bool:
    """Whether one process asks the device called ``name`` for all: true of a GPU."""
    return choose_device(name).type != "cpu"


def device_name(device: torch.device) -> str:
    """The GPU's model, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
