"""Chooses the slabs that a network is trained on: without a fold of people, or an acquisition."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.train import slabs
from cmburden.train.slabs import Origin

#: Name of acquisitions that are drawn at random: they are no cohort that could be left out.
RANDOM = "random"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--fold`` and ``--without`` to a step's ``parser``."""
    parser.add_argument(
        "--fold", metavar="I/K", help="leave out every K-th person from the I-th on (from 0)"
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="NAME",
        help="leave out slabs of this acquisition or cohort; may be given again",
    )


def files(folder: Path) -> list[Path]:
    """The slab and mined files of a folder, by name."""
    return sorted([*slabs.slab_files(folder), *slabs.mined_files(folder)])


def names(paths: Iterable[Path]) -> list[str]:
    """Acquisition names of the files, sorted, without those drawn at random."""
    return sorted({slabs.load(path, Origin).name for path in paths} - {RANDOM})


def fold_of(text: str) -> tuple[int, int]:
    """Number and count of a fold; CMBurdenError where ``text`` is no I/K.

    >>> fold_of("1/5")
    (1, 5)
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count) > 1):
        raise CMBurdenError(
            f"--fold {text}: write it as I/K with I from 0 to K - 1, such as 0/5 for the first of 5"
        )
    return int(number), int(count)


def select(paths: Sequence[Path], *, fold: str | None, without: Sequence[str]) -> list[Path]:
    """The slab or mined files of ``paths`` to train on, in their order.

    ``fold`` 'i/k' leaves out the i-th of every k people in the order of their names, so that
    nobody is on both sides; ``without`` leaves out acquisitions by name. Folds depend on all
    people of ``paths``: write all slabs first, then call this function once. Raises CMBurdenError
    where nothing or everything would be left out.
    """
    if not fold and not without:
        return list(paths)
    origins = {path: slabs.load(path, Origin) for path in paths}
    present = sorted({origin.name for origin in origins.values()})
    unknown = sorted(set(without) - set(present))
    if unknown:
        raise CMBurdenError(
            f"--without {', '.join(unknown)}: no slab has this name; there are {', '.join(present)}"
        )
    people = _people_of(fold, origins.values()) if fold else set()
    remaining = [
        path
        for path in paths
        if origins[path].name not in without and origins[path].person not in people
    ]
    if not remaining:
        raise CMBurdenError(
            "--fold and --without leave no slab to train on; leave out fewer, or add slabs"
        )
    return remaining


def _people_of(fold: str, origins: Iterable[Origin]) -> set[str]:
    """The people that ``fold`` leaves out."""
    number, count = fold_of(fold)
    people = sorted({origin.person for origin in origins})
    if count > len(people):
        raise CMBurdenError(
            f"--fold {fold}: the slabs are of {len(people)} person(s) (old slabs name none and "
            f"count as one); take at most {len(people)} folds, or slabs of more people"
        )
    return set(people[number::count])
