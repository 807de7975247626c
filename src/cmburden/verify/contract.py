"""The verifier's contract: what `verify` asks of a model folder, and the thresholds in use."""

from __future__ import annotations

from pathlib import Path

from cmburden.core import tables
from cmburden.core.errors import CMBurdenError
from cmburden.images.views import VIEW_MM
from cmburden.models.contract import CLASSES, load
from cmburden.verify.probability import FEATURES


def of_verifier(folder: Path) -> dict:
    """The contract in ``folder``; CMBurdenError where it is of no YOLO that `verify` can use."""
    contract = load(folder)
    model = contract.get("probability_model")
    if model is None or contract.get("classes") != list(CLASSES):
        raise CMBurdenError(f"{folder}: this is no verifier; name one in verify.model")
    seen = contract["input"].get("millimetres")
    if seen != VIEW_MM:
        raise CMBurdenError(
            f"{folder}: this YOLO was trained on views of {seen} mm, and candidates are shown "
            f"on {VIEW_MM:g} mm; name one of this version, or train yours again"
        )
    if model.get("features") != list(FEATURES):
        raise CMBurdenError(
            f"{folder}: its probability was fitted to other measures than this version takes; "
            "name a verifier of this version, or run cmburden train calibrate again"
        )
    return contract


def thresholds_of(contract: dict, settings: dict) -> dict[str, float]:
    """Definite and possible: the contract's, or the configuration's where it names them."""
    chosen = dict(contract["thresholds"]) | (settings.get("thresholds") or {})
    return {name: float(chosen[name]) for name in tables.LABELS}
