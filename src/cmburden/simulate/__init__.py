"""Simulated GRE and SWI scans with known microbleeds: physics over real or template anatomy."""

from __future__ import annotations


def add_arguments(parser) -> None:
    from cmburden.simulate.cohort import add_arguments

    add_arguments(parser)


def main(args) -> int:
    from cmburden.simulate.cohort import main

    return main(args)
