"""Precision of a training, and the options by which a step takes it and its processes.

Weights of a seed are those of single precision everywhere. Mixed precision is asked for, and stands
in the checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import read_json, write_json

#: Single precision, or bfloat16 where torch allows it. On processors without instructions for
#: bfloat16 a step takes 15 times as long with it.
SINGLE, MIXED = PRECISIONS = ("single", "mixed")
#: The file beside trained weights that says their precision.
_FILE = "precision.json"


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


def state(weights: Path, precision: str) -> None:
    """Write beside ``weights`` in which precision they were trained."""
    write_json(weights.parent / _FILE, {"precision": precision})


def stated(weights: Path) -> str | None:
    """The precision that ``weights`` were trained in; None where nothing says so."""
    content = read_json(weights.parent / _FILE)
    precision = content.get("precision") if isinstance(content, dict) else None
    return precision if precision in PRECISIONS else None
