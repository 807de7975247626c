"""`cmburden report`: makes the pages again, or one page for readers outside of the study."""

from __future__ import annotations

import argparse

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.run import options, settings
from cmburden.run.lock import only_run
from cmburden.summary.disclosure import LEAST


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    options.add_output_dir(parser)
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
    layout, least = Layout(args.output_dir), checked_least(args.least)
    if not args.shareable:
        return make_again(layout)
    from cmburden.report import stage as report

    _check_tables(layout)
    with only_run(layout):
        print(report.run_shareable(layout, settings.of_tables(layout), least))
    return 0


def make_again(layout: Layout) -> int:
    """Write the pages anew from the tables; returns the exit code."""
    from cmburden.report import stage as report

    _check_tables(layout)
    with only_run(layout):
        report.run(layout, settings.of_tables(layout))
    print(layout.report)
    return 0


def _check_tables(layout: Layout) -> None:
    """Raise CMBurdenError where there are no tables."""
    if not layout.table("summary").exists():
        raise CMBurdenError(f"{layout.root}: no tables are here; cmburden run makes them first")
