"""Precision of a training, and the options by which a step takes it and its processes.

Weights of a seed are those of single precision everywhere. Mixed precision is asked for, and stands
in the checkpoint.
"""

from __future__ import annotations

import argparse

import torch

from cmburden.core.errors import CMBurdenError

#: Single precision, or bfloat16 where torch allows it. On processors without instructions for
#: bfloat16 a step takes 15 times as long with it.
SINGLE, MIXED = PRECISIONS = ("single", "mixed")


def add_arguments(parser: argparse.ArgumentParser, work: str) -> None:
    """Add ``--workers``, processes that do ``work``, and ``--precision`` to a step's ``parser``."""
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help=f"processes that {work}; the weights do not depend on N (default 0: none)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=SINGLE,
        help="mixed: bfloat16 in part, on an NVIDIA GPU (default single)",
    )


def check(precision: str, device: torch.device) -> None:
    """CMBurdenError where ``device`` does not train in this precision."""
    if precision == MIXED and device.type != "cuda":
        raise CMBurdenError(
            "--precision mixed: is for an NVIDIA GPU, and none is here; leave it away"
        )
