"""`cmburden export`: the cohort's tables, codebook and figures for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.run import options, settings
from cmburden.run.lock import only_run
from cmburden.run.report import add_least, checked_least

FORMATS = ("csv", "tsv", "stata")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    options.add_output_dir(parser)
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="folder to write to (OUTPUT_DIR/export, or OUTPUT_DIR/export_shareable)",
    )
    parser.add_argument(
        "--format",
        nargs="+",
        choices=FORMATS,
        default=list(FORMATS),
        help="formats of the tables (default all)",
    )
    parser.add_argument(
        "--shareable",
        action="store_true",
        help="only tables and figures without ids, with small numbers suppressed",
    )
    add_least(parser)


def main(args: argparse.Namespace) -> int:
    """Export what ``args`` asks for; returns the exit code."""
    from cmburden.export import stage as export

    layout = Layout(args.output_dir)
    least = checked_least(args.least) if args.shareable else None
    folder = args.to or (layout.shareable_export if args.shareable else layout.export)
    if folder.exists() and not folder.is_dir():
        raise CMBurdenError(f"{folder}: is a file; name a folder with --to")
    with only_run(layout):
        paths = export.run(layout, settings.of_tables(layout), folder, args.format, least)
    print(f"{len(paths)} files in {folder}")
    return 0
