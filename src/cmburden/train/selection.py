"""Which slabs a network is trained on: without a fold of the people, or without an acquisition."""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cmburden.core.errors import CMBurdenError

#: Acquisitions drawn at random have this name: there is no such cohort to leave out.
RANDOM = "random"


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    return sorted([*Path(folder).glob("slab-*.npz"), *Path(folder).glob("mined-*.npz")])


def origin(path: Path) -> tuple[str, str]:
    """Acquisition name and person of a slab or mined file; '' where an old file has no person.

    Only these two members are read, so that a folder of large slabs costs milliseconds.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            person = str(content["person"]) if "person" in content.files else ""
            return str(content["name"]), person
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CMBurdenError(
            f"{path}: not a slab or mined file ({error}); remove it and write it again"
        ) from error


def names(paths: Iterable[Path]) -> list[str]:
    """Acquisition names of the files, sorted, those drawn at random left out."""
    return sorted({origin(path)[0] for path in paths} - {RANDOM})


def fold_of(text: str) -> tuple[int, int]:
    """Number and count of a fold.

    >>> fold_of("1/5")
    (1, 5)
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count) > 1):
        raise CMBurdenError(
            f"--fold {text}: write it as I/K with I from 0 to K - 1, such as 0/5 for the first of 5"
        )
    return int(number), int(count)


def select(paths: list[Path], *, fold: str | None, without: list[str]) -> list[Path]:
    """Those of ``paths`` to train on, in their order.

    ``fold`` 'i/k' leaves out the i-th of every k people in the order of their names, so that
    nobody is on both sides; ``without`` leaves out acquisitions by name. Folds depend on who is
    there: call it once, when all slabs are written. Raises CMBurdenError for what leaves out
    nothing or all.
    """
    if not fold and not without:
        return list(paths)
    origins = {path: origin(path) for path in paths}
    known = sorted({name for name, _ in origins.values()})
    unknown = sorted(set(without) - set(known))
    if unknown:
        raise CMBurdenError(
            f"--without {', '.join(unknown)}: no slab has this name; there are {', '.join(known)}"
        )
    held_out: set[str] = set()
    if fold:
        number, count = fold_of(fold)
        people = sorted({person for _, person in origins.values()})
        if count > len(people):
            raise CMBurdenError(
                f"--fold {fold}: the slabs are of {len(people)} person(s) (old slabs name none and "
                f"count as one); take at most {len(people)} folds, or slabs of more people"
            )
        held_out = set(people[number::count])
    kept = [p for p in paths if origins[p][0] not in without and origins[p][1] not in held_out]
    if not kept:
        raise CMBurdenError(
            "--fold and --without leave no slab to train on; leave out fewer, or add slabs"
        )
    return kept
