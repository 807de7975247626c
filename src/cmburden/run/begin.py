"""Beginning a run: models checked, tree indexed, decisions exported, dataset described."""

from __future__ import annotations

from cmburden.core import resources
from cmburden.detect.contract import of_detector
from cmburden.verify.contract import of_verifier


def check(settings: dict) -> None:
    """CMBurdenError where a model of the configuration ``settings`` cannot be used."""
    of_detector(resources.root() / settings["detect"]["model"])
    of_verifier(resources.root() / settings["verify"]["model"])
