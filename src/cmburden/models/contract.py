"""``model.json`` beside a model's weights: the model's purpose, its input, the weights' checksums.

The contract is checked before a run begins, and without torch. A run with an unfit model therefore
ends at once and not after hours.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from cmburden.core import resources
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import sha256_of_file
from cmburden.core.numbers import is_number, is_share, not_finite

#: Keys of every contract and their types.
REQUIRED: dict[str, type] = {
    "id": str,
    "version": str,
    "weights": dict,
    "input": dict,
    "training_data": str,
    "intended_use": str,
    "thresholds": dict,
}
_WORDS: dict[type, str] = {str: "a text", dict: "an object"}


def load(folder: Path) -> dict[str, Any]:
    """``model.json`` of ``folder``, checked: its keys and types, its numbers, its weight files.

    All numbers are finite, the thresholds lie from 0 to 1, and each weight file lies in ``folder``
    and has its sha256.

    Raises
    ------
    CMBurdenError
        When the file or a weight file is missing, damaged or of another model.
    """
    path = Path(folder) / "model.json"
    contract = _parsed(path)
    missing = [key for key in REQUIRED if key not in contract]
    if missing:
        raise CMBurdenError(f"{path}: keys {missing} are missing; restore the file")
    for key, kind in REQUIRED.items():
        if not isinstance(contract[key], kind):
            raise CMBurdenError(f"{path}: {key} is not {_WORDS[kind]}; restore the file")
    for key in ("metrics", "domain"):
        if not isinstance(contract.get(key) or {}, dict):
            raise CMBurdenError(f"{path}: {key} is not {_WORDS[dict]}; restore the file")
    _check_metrics(path, contract)
    for name, threshold in contract["thresholds"].items():
        if not is_share(threshold):
            raise CMBurdenError(
                f"{path}: the threshold {name} is {threshold!r} and not a number from 0 to 1; "
                "restore the file"
            )
    for name, expected in contract["weights"].items():
        _check_weights(path, name, expected)
    return contract


def load_network(folder: Path) -> dict[str, Any]:
    """:func:`load` of a model that has weights; CMBurdenError where its contract names none."""
    contract = load(folder)
    if not contract["weights"]:
        raise CMBurdenError(f"{Path(folder) / 'model.json'}: names no weights; restore the file")
    return contract


def _parsed(path: Path) -> dict[str, Any]:
    """The object in the JSON file ``path``; all its numbers are finite."""
    try:
        contract = json.loads(path.read_text(encoding="utf-8-sig"))
        bad = list(not_finite(contract))
    except FileNotFoundError:
        raise CMBurdenError(
            f"{path}: there is no model; train one or set detect.model and verify.model"
        ) from None
    except (IsADirectoryError, NotADirectoryError) as error:
        raise CMBurdenError(
            f"{path}: {error.strerror}; name a model's folder in detect.model and verify.model"
        ) from None
    except UnicodeDecodeError:
        raise CMBurdenError(f"{path}: not UTF-8; restore the file") from None
    except RecursionError:
        raise CMBurdenError(f"{path}: nested too deeply for a model; restore the file") from None
    except ValueError as error:
        raise CMBurdenError(f"{path}: not JSON ({error}); restore the file") from None
    if not isinstance(contract, dict):
        raise CMBurdenError(f"{path}: holds no keys; restore the file")
    if bad:
        raise CMBurdenError(
            f"{path}: {', '.join(bad[:5])}: not a number (NaN or infinite); restore the file"
        )
    return contract


#: Metrics that stages and tables compute with: numbers of 0 or more.
_RATES = ("sensitivity_of_candidates", "candidates_per_scan", "microbleeds", "scans")


def _check_metrics(path: Path, contract: dict[str, Any]) -> None:
    """Raise where a metric or a range of the domain that is computed with has another form."""
    metrics = contract.get("metrics") or {}
    for name in _RATES:
        rate = metrics.get(name)
        if rate is not None and not (is_number(rate) and rate >= 0):
            raise CMBurdenError(
                f"{path}: metrics.{name} is {rate!r} and not a number of 0 or more; "
                "restore the file"
            )
    if not _are_pairs(metrics.get("froc") or []):
        raise CMBurdenError(
            f"{path}: metrics.froc is not a list of two numbers each; restore the file"
        )
    for name, ends in (contract.get("domain") or {}).items():
        if not isinstance(ends, list):
            raise CMBurdenError(f"{path}: domain.{name} is not a list; restore the file")


def _are_pairs(content: Any) -> bool:
    """True for a list of lists of two numbers."""
    return isinstance(content, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair)) for pair in content
    )


def _check_weights(path: Path, name: str, expected: Any) -> None:
    """Raise where ``name`` is no file in the folder of the contract ``path``, or another file."""
    if name in ("", ".", "..") or "\0" in name or re.search(r"[/\\]", name):
        raise CMBurdenError(
            f"{path}: the weights {name!r} are no bare file name; weights lie beside model.json"
        )
    weights = path.parent / name
    if not weights.exists():
        raise CMBurdenError(f"{weights}: the weights are missing; restore the file")
    if not weights.is_file():
        raise CMBurdenError(f"{weights}: the weights are no file; restore the file")
    if sha256_of_file(weights) != expected:
        raise CMBurdenError(
            f"{weights}: sha256 differs from model.json; these are not the model's weights"
        )
    if not zipfile.is_zipfile(weights):  # as torch.save writes it; torch itself is slow to import
        raise CMBurdenError(f"{weights}: not a file of weights; restore the file")


def check_numbers(where: str, values: Any, number: int) -> None:
    """Raise CMBurdenError unless ``values`` is a list of ``number`` numbers; ``where`` names it."""
    if not isinstance(values, list) or not all(map(is_number, values)):
        raise CMBurdenError(f"{where} is not a list of numbers; restore the file")
    if len(values) != number:
        raise CMBurdenError(f"{where} has {len(values)} numbers, not {number}; restore the file")


def read(folder: Path | str) -> dict[str, Any] | None:
    """``model.json`` of ``folder`` for reports, its keys unchecked; None where it is not usable.

    None: there is no file, or no object in JSON, or a number in it is NaN or infinite.

    Relative folders start at the folder of the Snakefile, as in the configuration.
    """
    try:
        return _parsed(resources.root() / folder / "model.json")
    except CMBurdenError:
        return None


def contract_of(config: dict[str, Any], stage: str) -> dict[str, Any] | None:
    """:func:`read` of the model that ``config`` names for ``detect`` or ``verify``."""
    return read(config[stage]["model"])


def weights_hash(contract: dict[str, Any]) -> str:
    """The checksums of a contract's weight files, by name, joined: part of the keys of results."""
    return ",".join(contract["weights"][name] for name in sorted(contract["weights"]))


#: YOLO's classes, in the order of its scores. ``haemorrhage``: a bleed that is no microbleed
#: (macrohaemorrhage, cavernoma).
CLASSES = ("microbleed", "vessel", "calcification", "border", "haemorrhage")
