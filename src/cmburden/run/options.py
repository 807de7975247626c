"""Options that commands on an output folder share. Imports the standard library only."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options about what the output folder remembers of its last run."""
    parser.add_argument(
        "--forget-settings",
        action="store_true",
        help="start from the defaults, not from the settings of this folder's last run",
    )
    parser.add_argument(
        "--other-bids-dir",
        action="store_true",
        help="accept another BIDS folder than that of this folder's last run",
    )
