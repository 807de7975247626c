"""`cmburden report`: makes the pages again, or one page for readers outside of the study."""

from __future__ import annotations

import argparse
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.run import settings
from cmburden.run.lock import only_run
from cmburden.summary.disclosure import LEAST


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("output_dir", type=Path)
    parser.add_argument(
        "--shareable",
        action="store_true",
        help="write report/shareable.html: no ids, no row a scan, no small numbers",
    )
    add_least(parser)


def add_least(parser: argparse.ArgumentParser) -> None:
    """Add ``--least``, of pages and tables to share."""
    parser.add_argument(
        "--least",
        type=int,
        default=LEAST,
        metavar="N",
        help=f"with --shareable: the smallest count to show ({LEAST})",
    )


def checked_least(number: int) -> int:
    """``number`` if it is a smallest count: from 2 on something is suppressed."""
    if number < 2:
        raise CMBurdenError(f"--least {number}: give 2 or more, the smallest count to show")
    return number


def main(args: argparse.Namespace) -> int:
    """Write the pages that ``args`` asks for; returns the exit code."""
    from cmburden.report import stage as report

    layout = Layout(args.output_dir)
    least = checked_least(args.least)
    if not layout.table("summary").exists():
        raise CMBurdenError(f"{layout.root}: no tables are here; cmburden run makes them first")
    with only_run(layout):
        config = settings.of_tables(layout)
        if args.shareable:
            print(report.run_shareable(layout, config, least))
        else:
            report.run(layout, config)
            print(layout.report)
    return 0
