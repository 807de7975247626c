"""Training of the networks on simulated scans, or on a user's own labels."""

from __future__ import annotations

import argparse
import importlib

#: Steps in the order that they are run in; each is also ``python -m cmburden.train.<step>``.
STEPS = {
    "dataset": "simulate training slabs",
    "detector": "train the 3D CNN",
    "mine": "collect the CNN's candidates on fresh slabs",
    "verifier": "train YOLO on them",
    "calibrate": "fit probability and thresholds",
    "release": "write model folder, contract and card",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "step", choices=STEPS, help="; ".join(f"{k}: {v}" for k, v in STEPS.items())
    )
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="arguments of the step")


def main(args: argparse.Namespace) -> int:
    return importlib.import_module(f"cmburden.train.{args.step}").main(args.rest)
