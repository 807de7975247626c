"""Simulated GRE and SWI scans with known microbleeds: physics over real or template anatomy."""

from __future__ import annotations


def add_arguments(parser) -> None:
    from cmburden.simulate.cohort import add_arguments

    add_arguments(parser)
    parser.add_argument(
        "--sessions", type=int, default=1,
        help="of each participant, with microbleeds that stay, come and go (default 1)",
    )  # fmt: skip


def main(args) -> int:
    if args.sessions != 1:
        from cmburden.simulate.courses import main
    else:
        from cmburden.simulate.cohort import main

    return main(args)
