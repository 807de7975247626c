"""The verifier's contract: requirements of `verify` on a model folder, and thresholds in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cmburden.core import tables
from cmburden.core.errors import CMBurdenError
from cmburden.images.views import VIEW_MM
from cmburden.models.contract import CLASSES, load
from cmburden.verify.probability import FEATURES


def of_verifier(folder: Path) -> dict[str, Any]:
    """The contract in ``folder``.

    Raises
    ------
    CMBurdenError
        When `verify` cannot use the model: it is no YOLO with a probability, or one of other views,
        other features or without thresholds.
    """
    contract = load(folder)
    model = contract.get("probability_model")
    if model is None or contract.get("classes") != list(CLASSES):
        raise CMBurdenError(f"{folder}: this is no verifier; name one in verify.model")
    view_mm = contract["input"].get("millimetres")
    if view_mm != VIEW_MM:
        raise CMBurdenError(
            f"{folder}: this YOLO was trained on views of {view_mm} mm, and candidates are shown "
            f"on {VIEW_MM:g} mm; name one of this version, or train yours again"
        )
    if model.get("features") != list(FEATURES):
        raise CMBurdenError(
            f"{folder}: its probability was fitted to other measures than this version takes; "
            "name a verifier of this version, or run cmburden train calibrate again"
        )
    missing = [name for name in tables.LABELS if name not in contract["thresholds"]]
    if missing:
        raise CMBurdenError(
            f"{folder}: the thresholds {missing} are missing; run cmburden train calibrate again"
        )
    return contract


def thresholds_of(contract: dict[str, Any] | None, settings: dict[str, Any]) -> dict[str, float]:
    """The thresholds in use: a candidate of this probability or more is definite, or possible.

    They are those of the verifier's ``contract``, except where ``settings`` (section ``verify`` of
    the configuration) name others. This function alone decides, in the stage and in all that is
    reported of it. A threshold that neither names is not in the result: a report may have to do
    without the model's folder. A contract of :func:`of_verifier` names both.

    >>> thresholds_of({"thresholds": {"definite": 0.3, "possible": 0.05}}, {"thresholds": None})
    {'definite': 0.3, 'possible': 0.05}
    >>> thresholds_of(None, {"thresholds": {"definite": 0.6}})
    {'definite': 0.6}
    """
    stated = (contract or {}).get("thresholds") or {}
    chosen = stated | (settings.get("thresholds") or {})
    return {name: float(chosen[name]) for name in tables.LABELS if name in chosen}
