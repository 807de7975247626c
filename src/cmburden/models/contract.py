"""``model.json`` beside a model's weights: what the model is, for what, and the weights' checksums.

Checked before a run begins, so without torch: a model that does not fit costs no night.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cmburden.core import resources
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import sha256_of_file

REQUIRED = ("id", "version", "weights", "input", "training_data", "intended_use", "thresholds")


def load(folder: Path) -> dict:
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


def read(folder: Path | str) -> dict[str, Any] | None:
    """``model.json`` of ``folder``, unchecked: what reports say of a model; None where there is
    none, or none in JSON. Relative folders start where those of the configuration do."""
    try:
        content = json.loads((resources.root() / folder / "model.json").read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def contract_of(config: dict[str, Any], stage: str) -> dict[str, Any] | None:
    """What :func:`read` gives of the model of ``detect`` or ``verify``."""
    return read(config[stage]["model"])


def weights_hash(contract: dict) -> str:
    return ",".join(contract["weights"][name] for name in sorted(contract["weights"]))


#: ``haemorrhage``: a bleed that is no microbleed (macrohaemorrhage, cavernoma).
CLASSES = ("microbleed", "vessel", "calcification", "border", "haemorrhage")
