"""The steps of training. A step's module is imported when the step is chosen: some load torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Protocol


class Step(Protocol):
    """What the module of a step offers."""

    def parser(self) -> argparse.ArgumentParser:
        """The step's arguments."""

    def main(self, arguments: list[str] | None = None) -> int:
        """Run the step with the command line ``arguments``; its exit code."""


def _dataset() -> Step:
    from cmburden.train import dataset

    return dataset


def _labels() -> Step:
    from cmburden.train import labels

    return labels


def _detector() -> Step:
    from cmburden.train import detector

    return detector


def _mine() -> Step:
    from cmburden.train import mine

    return mine


def _verifier() -> Step:
    from cmburden.train import verifier

    return verifier


def _calibrate() -> Step:
    from cmburden.train import calibrate

    return calibrate


def _release() -> Step:
    from cmburden.train import release

    return release


def _network() -> Step:
    from cmburden.train.tuning import network

    return network


_MODULES: dict[str, Callable[[], Step]] = {
    "dataset": _dataset,
    "labels": _labels,
    "detector": _detector,
    "mine": _mine,
    "verifier": _verifier,
    "calibrate": _calibrate,
    "release": _release,
    # A job of `cmburden tune`, which nobody calls by hand.
    "network": _network,
}
#: Steps in the order that they are run in; each is also ``python -m cmburden.train.<step>``.
STEPS = {
    "dataset": "simulate training slabs",
    "labels": "make training slabs from your own labels",
    "detector": "train the 3D CNN",
    "mine": "collect the CNN's candidates on fresh slabs",
    "verifier": "train YOLO on these candidates",
    "calibrate": "fit probability and thresholds",
    "release": "write model folder, contract and card",
}


def module_of(step: str) -> Step:
    """The module of ``step``, one of ``STEPS`` or a job of `cmburden tune`."""
    return _MODULES[step]()
