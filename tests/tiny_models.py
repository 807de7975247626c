"""Untrained models that load and run, for tests of everything around the networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cmburden.core.files import sha256_of_file, whole_file, write_json
from cmburden.detect.network import SpotNet
from cmburden.images.view_size import VIEW_MM
from cmburden.models.contract import CLASSES
from cmburden.verify.features import FEATURES
from cmburden.verify.network import untrained

#: Channels of the detector.
WIDTH = 4
#: The stages that use a model, and the folder of each.
STAGES = {"detect": "detector", "verify": "verifier"}


def write(
    folder: Path, *, seed: int = 0, kinds: tuple[str, ...] = ("detector", "verifier")
) -> Path:
    """``folder``/{detector,verifier} as ``cmburden train release`` writes them, untrained.

    Their probabilities lie about one half, so that scans have candidates, definite and possible
    lesions. Another ``seed`` gives other weights.
    """
    torch.manual_seed(seed)
    if "detector" in kinds:
        network = SpotNet(WIDTH)
        # By its bias a new network calls everything improbable and would have no candidate.
        assert network.head.bias is not None
        torch.nn.init.zeros_(network.head.bias)
        _write(folder, "detector", network, {"input": {"channels": WIDTH}})
    if "verifier" in kinds:
        yolo = untrained(0.25)
        model = {
            "features": list(FEATURES),
            "mean": [0.0] * len(FEATURES),
            "scale": [1.0] * len(FEATURES),
            "coefficient": [float(name == "logit_p_cnn") for name in FEATURES],
            "intercept": 0.0,
        }
        further = {
            "classes": list(CLASSES),
            "input": {"millimetres": VIEW_MM},
            "probability_model": model,
        }
        _write(folder, "verifier", yolo, further)
    return folder


def settings(folder: Path) -> list[str]:
    """Options of ``cmburden run`` that choose the models of ``folder``."""
    chosen = [f"{stage}.model={folder / kind}" for stage, kind in STAGES.items()]
    return [word for setting in chosen for word in ("--set", setting)]


def _write(folder: Path, kind: str, network: torch.nn.Module, further: dict[str, Any]) -> None:
    weights = folder / kind / f"{kind}.pt"
    state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    with whole_file(weights) as temporary:
        torch.save(state, temporary)
    write_json(
        weights.with_name("model.json"),
        {
            "id": f"tiny-{kind}",
            "version": "0",
            "weights": {weights.name: sha256_of_file(weights)},
            "training_data": "none",
            "intended_use": "tests",
            "thresholds": {"p_cnn": 0.5, "definite": 0.55, "possible": 0.5},
            **further,
        },
    )
