"""Options that commands on an output folder share. Imports the standard library only."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_output_dir(parser: argparse.ArgumentParser) -> None:
    """The output folder of a run, as argument."""
    parser.add_argument("output_dir", type=Path, help="output folder of `cmburden run`")


def add_settings(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Options that give settings."""
    parser.add_argument(
        "--config-file", type=Path, metavar="YAML", help="settings; config/README.md has all keys"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set one key of the configuration, such as verify.thresholds.definite=0.7",
    )


def add_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
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
