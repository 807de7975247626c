"""Which scans each of several readers is given: by a file, or so many readers a scan."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.core.keys import seed_of

#: Scans by reader.
Worklists = Mapping[str, frozenset[str]]
_COLUMNS = ("reader", "scan_id")
#: Unknown names that a sentence lists.
_NAMED = 3


def shared_out(scans: Collection[str], readers: Sequence[str], each: int, seed: int) -> Worklists:
    """Give each scan to ``each`` of the ``readers``; every reader has as many as any, to one scan.

    The order of scans and readers does not matter, and the same seed gives the same lists.

    Raises
    ------
    CMBurdenError
        If there are not so many readers.

    >>> lists = shared_out(["s1", "s2", "s3"], ["A", "B", "C"], each=2, seed=0)
    >>> sorted(len(scans) for scans in lists.values())
    [2, 2, 2]
    """
    if not 1 <= each <= len(readers):
        raise CMBurdenError(f"--each {each}: give a number from 1 to the number of readers")
    lists: dict[str, set[str]] = {reader: set() for reader in sorted(readers)}
    for scan_id in sorted(scans, key=lambda one: seed_of("worklist", seed, one)):
        by_load = sorted(
            lists, key=lambda one: (len(lists[one]), seed_of("worklist", seed, scan_id, one))
        )
        for reader in by_load[:each]:
            lists[reader].add(scan_id)
    return {reader: frozenset(own) for reader, own in lists.items()}


def read(path: Path, readers: Collection[str], scans: Collection[str]) -> Worklists:
    """The worklists of a table with the columns reader and scan_id, separated by tabs.

    Raises
    ------
    CMBurdenError
        If the file cannot be read, names a scan that the review has not, or gives a reader none.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CMBurdenError(f"--worklists {path}: cannot be read ({error})") from error
    if not rows or any(name not in rows[0] for name in _COLUMNS):
        raise CMBurdenError(
            f"--worklists {path}: give a row for each reader and scan, under the heading "
            f"{' and '.join(_COLUMNS)}, separated by a tab"
        )
    lists = {
        reader: frozenset(row["scan_id"] for row in rows if row["reader"] == reader)
        for reader in readers
    }
    unknown = sorted({one for own in lists.values() for one in own} - set(scans), key=str)
    if unknown:
        named = ", ".join(str(one) for one in unknown[:_NAMED])
        raise CMBurdenError(
            f"--worklists {path}: {len(unknown)} scan(s) are not in this review, such as {named}; "
            "scan_id is that of cohort/scans.parquet, status ok"
        )
    for reader, own in lists.items():
        if not own:
            raise CMBurdenError(f"--worklists {path}: has no scan for --reader {reader}")
    return lists
