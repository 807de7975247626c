"""``model.json`` beside a model's weights: the model's purpose, its input, the weights' checksums.

The contract is checked before a run begins, and without torch. A run with an unfit model therefore
ends at once and not after hours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cmburden.core import resources
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import sha256_of_file

REQUIRED = ("id", "version", "weights", "input", "training_data", "intended_use", "thresholds")


def load(folder: Path) -> dict[str, Any]:
    """``model.json`` of ``folder``, checked: its keys, and the sha256 of each weight file.

    Raises
    ------
    CMBurdenError
        When the file or a weight file is missing, damaged or of another model.
    """
    path = Path(folder) / "model.json"
    try:
        contract = json.loads(path.read_text(encoding="utf-8"))
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
    """``model.json`` of ``folder``, unchecked, for reports; None where there is no JSON.

    Relative folders start at the folder of the Snakefile, as in the configuration.
    """
    try:
        content = json.loads((resources.root() / folder / "model.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def contract_of(config: dict[str, Any], stage: str) -> dict[str, Any] | None:
    """:func:`read` of the model that ``config`` names for ``detect`` or ``verify``."""
    return read(config[stage]["model"])


def weights_hash(contract: dict[str, Any]) -> str:
    """The checksums of a contract's weight files, by name, joined: part of the keys of results."""
    return ",".join(contract["weights"][name] for name in sorted(contract["weights"]))


#: YOLO's classes, in the order of its scores. ``haemorrhage``: a bleed that is no microbleed
#: (macrohaemorrhage, cavernoma).
CLASSES = ("microbleed", "vessel", "calcification", "border", "haemorrhage")
