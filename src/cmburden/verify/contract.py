"""The verifier's contract: requirements of `verify` on a model folder, and thresholds in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cmburden.core import tables
from cmburden.core.errors import CMBurdenError
from cmburden.core.numbers import is_number, is_share
from cmburden.images.view_size import VIEW_MM
from cmburden.models.contract import CLASSES, check_numbers, load_network
from cmburden.verify.features import FEATURES

#: Networks whose scores the contract's ``cnn_yolo_model`` joins.
_N_NETWORKS = 2


def of_verifier(folder: Path) -> dict[str, Any]:
    """The contract in ``folder``.

    Raises
    ------
    CMBurdenError
        When `verify` cannot use the model: it is no YOLO with a probability, or one of other views,
        other features or without thresholds.
    """
    contract = load_network(folder)
    model = contract.get("probability_model")
    if not isinstance(model, dict) or contract.get("classes") != list(CLASSES):
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
    _check_probability(folder, model)
    if (networks := contract.get("cnn_yolo_model")) is not None:
        _check_logistic(f"{folder}: cnn_yolo_model", networks, _N_NETWORKS)
    thresholds_of(contract, {})
    return contract


def _check_probability(folder: Path, model: dict[str, Any]) -> None:
    """Raise where the probability's numbers are not one a feature, or a scale is not above 0."""
    where = f"{folder}: probability_model"
    _check_logistic(where, model, len(FEATURES))
    for name in ("mean", "scale"):
        check_numbers(f"{where}.{name}", model.get(name), len(FEATURES))
    if not all(scale > 0 for scale in model["scale"]):
        raise CMBurdenError(f"{where}.scale holds a number that is not above 0; restore the file")
    phase = model.get("phase")
    if phase is not None and not (
        isinstance(phase, dict)
        and all(is_number(phase.get(name)) for name in ("coefficient", "intercept"))
    ):
        raise CMBurdenError(
            f"{where}.phase has no numbers coefficient and intercept; restore the file"
        )


def _check_logistic(where: str, model: Any, number: int) -> None:
    """Raise unless ``model`` has an intercept and ``number`` coefficients, all numbers."""
    if not isinstance(model, dict):
        raise CMBurdenError(f"{where} is not an object; restore the file")
    check_numbers(f"{where}.coefficient", model.get("coefficient"), number)
    if not is_number(model.get("intercept")):
        raise CMBurdenError(f"{where}.intercept is not a number; restore the file")


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

    Raises
    ------
    CMBurdenError
        When a threshold is not a number from 0 to 1, or possible lies above definite.
    """
    stated = (contract or {}).get("thresholds") or {}
    named = settings.get("thresholds") or {}
    chosen = stated | named
    for name in tables.LABELS:
        if name in chosen and not is_share(chosen[name]):
            raise CMBurdenError(
                f"the threshold {name} is {chosen[name]!r}, not a number from 0 to 1; "
                "mend verify.thresholds or the verifier's model.json"
            )
    used = {name: float(chosen[name]) for name in tables.LABELS if name in chosen}
    if used.get("possible", 0.0) > used.get("definite", 1.0):
        owner = {name: "verify.thresholds" if name in named else "the model" for name in used}
        whose = [f"{name} {used[name]:g} of {owner[name]}" for name in sorted(used, reverse=True)]
        raise CMBurdenError(
            f"the threshold possible lies above definite ({', '.join(whose)}): no lesion would be "
            "possible; set both in verify.thresholds"
        )
    return used
