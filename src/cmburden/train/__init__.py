"""Training of the networks on simulated scans, or on a user's own labels."""

from __future__ import annotations

import argparse

#: Steps in the order that they are run in; each is also ``python -m cmburden.train.<step>``.
STEPS = {
    "dataset": "simulate training slabs",
    "labels": "training slabs from your own labels",
    "detector": "train the 3D CNN",
    "mine": "collect the CNN's candidates on fresh slabs",
    "verifier": "train YOLO on them",
    "calibrate": "fit probability and thresholds",
    "release": "write model folder, contract and card",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from cmburden.train import submission

    # A step's own options pass through this parser: none may be taken for the start of one here.
    parser.allow_abbrev = False
    parser.add_argument(
        "step", choices=STEPS, help="; ".join(f"{k}: {v}" for k, v in STEPS.items())
    )
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="arguments of the step")
    submission.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    from cmburden.train import submission

    return submission.main(args.step, args.rest, args)
