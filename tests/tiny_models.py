"""Models that load and run and know nothing: for tests of everything around the networks."""

from __future__ import annotations

from pathlib import Path

import torch

from cmburden.core.files import sha256_of_file, whole_file, write_json
from cmburden.detect.network import SpotNet
from cmburden.images.views import VIEW_MM
from cmburden.models.contract import CLASSES
from cmburden.verify.network import untrained
from cmburden.verify.probability import FEATURES

WIDTH = 4


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
        # A fresh network calls everything improbable (its bias): then nothing would be found.
        torch.nn.init.zeros_(network.head.bias)
        _write(folder, "detector", network, {"input": {"channels": WIDTH}})
    if "verifier" in kinds:
        network = untrained(0.25)
        model = {
            "features": list(FEATURES),
            "mean": [0.0] * len(FEATURES),
            "scale": [1.0] * len(FEATURES),
            "coefficient": [float(name == "logit_p_cnn") for name in FEATURES],
            "intercept": 0.0,
        }
        _write(
            folder, "verifier", network,
            {"classes": list(CLASSES), "input": {"millimetres": VIEW_MM},
             "probability_model": model},
        )  # fmt: skip
    return folder


def settings(folder: Path) -> list[str]:
    """Options of ``cmburden run`` that choose the models of ``folder``."""
    return [
        "--set", f"detect.model={folder / 'detector'}",
        "--set", f"verify.model={folder / 'verifier'}",
    ]  # fmt: skip


def _write(folder: Path, kind: str, network: torch.nn.Module, further: dict) -> None:
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
