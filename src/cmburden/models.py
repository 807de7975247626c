"""Models and their contracts: ``model.json`` beside the weights says what they are and for what.

Loading fails when a checksum differs, and weights are read as tensors only (no pickled code).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from cmburden.errors import CMBurdenError
from cmburden.records import sha256_of_file

REQUIRED = ("id", "version", "weights", "input", "training_data", "intended_use", "thresholds")


def load_contract(folder: Path) -> dict:
    """``model.json`` of ``folder``, checked: its keys, and the sha256 of each weight file."""
    path = Path(folder) / "model.json"
    try:
        contract = json.loads(path.read_text())
    except FileNotFoundError:
        raise CMBurdenError(
            f"{path}: there is no model; train one or set detect.model and verify.model"
        ) from None
    except json.JSONDecodeError as error:
        raise CMBurdenError(f"{path}: not JSON ({error}); restore the file") from None
    missing = [key for key in REQUIRED if key not in contract]
    if missing:
        raise CMBurdenError(f"{path}: keys {missing} are missing; restore the file")
    for name, expected in contract["weights"].items():
        weights = path.parent / name
        if not weights.exists():
            raise CMBurdenError(f"{weights}: the weights are missing; restore the file")
        if sha256_of_file(weights) != expected:
            raise CMBurdenError(
                f"{weights}: sha256 differs from model.json; these are not the model's weights"
            )
    return contract


def weights_hash(contract: dict) -> str:
    return ",".join(contract["weights"][name] for name in sorted(contract["weights"]))


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """State dict of ``path`` in single precision (weights are stored in half)."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def choose_device(name: str) -> torch.device:
    """``auto``: a GPU if there is one, else the CPU; anything else as torch names it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise CMBurdenError(f"device {name!r} is unknown; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CMBurdenError(f"device {name!r} asked for, but no GPU is visible; use auto or cpu")
    return device


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
