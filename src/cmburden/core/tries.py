"""Counts the processes that ended without a word while they worked on a scan.

A process that is killed (no memory, a fault within a library) can leave no record. The count stands
on disk before the work begins, and goes when the work has ended, well or not: what is left tells
the next process of whom the last one died.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cmburden.core.errors import ScanError
from cmburden.core.files import read_json, write_json
from cmburden.core.paths import Layout

#: A scan is given up after this many processes that ended at work on it. One may have had another
#: cause: another program took the memory, a node went down.
MOST = 2
#: Entry of a bucket whose scans crashed one after the other; no scan has this name.
_RESTARTED = "restarted"
#: What ended a process: number of the signal -> usual cause.
_CAUSES: dict[int, str] = {
    signal.SIGKILL: "often for want of memory",
    signal.SIGTERM: "stopped, often at the limit of time",
    signal.SIGSEGV: "a fault within a library",
    signal.SIGBUS: "a disk that is full or gone, or a fault within a library",
    signal.SIGABRT: "a library gave up, often for want of memory",
}


@contextmanager
def counted(path: Path, name: str, key: str) -> Iterator[None]:
    """Count this process for ``name`` (a scan, a participant) in ``path`` while the context lasts.

    ``key`` is a hash of all that the work depends on: processes that ended at other work do not
    count.

    Raises
    ------
    ScanError
        crashed, where ``MOST`` processes ended at this very work.
    """
    begin(path, name, key)
    try:
        yield
    finally:
        end(path, name)


def begin(path: Path, name: str, key: str) -> None:
    """Count a process for ``name`` in ``path``, until :func:`end`; as in :func:`counted`."""
    entries = _read(path)
    before = entries.get(name, {})
    ended = ended_at(path, name, key)
    if ended >= MOST:
        how = cause(before.get("signal"))
        raise ScanError("crashed", f"{ended} processes ended at it without a result{how}.")
    now = {"key": key, "ended": ended + 1, "at_work": True, "signal": before.get("signal")}
    _write(path, entries | {name: now})


def end(path: Path, name: str) -> None:
    """The process at work on ``name`` has come to an end of the work, or is not to blame."""
    entries = _read(path)
    entries.pop(name, None)
    _write(path, entries)


def ended_at(path: Path, name: str, key: str) -> int:
    """Number of processes that ended at the work ``key`` on ``name``."""
    entry = _read(path).get(name, {})
    ended = entry.get("ended") if entry.get("key") == key else 0
    return ended if isinstance(ended, int) else 0


def settle(path: Path, number: int | None = None) -> bool:
    """Note in ``path`` that no process is at work any more, and the signal that ended the last one.

    True where that process was at work on a scan. If not, the fault is not a scan's.
    """
    entries = _read(path)
    last = [entry for entry in entries.values() if entry.get("at_work")]
    for entry in last:
        entry |= {"at_work": False, "signal": entry.get("signal") if number is None else number}
    if last:
        _write(path, entries)
    return bool(last)


def died(path: Path, name: str) -> str | None:
    """How the last process at ``name`` ended, in brackets; None where none ended at it."""
    entry = _read(path).get(name)
    return None if entry is None else cause(entry.get("signal"))


def first_restart(path: Path) -> bool:
    """Whether the work of ``path`` begins anew in another process for the first time; note it."""
    entries = _read(path)
    if _RESTARTED in entries:
        return False
    _write(path, entries | {_RESTARTED: {"at_work": False}})
    return True


def forget_restart(path: Path) -> None:
    """The work of ``path`` is at its end: the next time begins as if it were the first."""
    entries = _read(path)
    if entries.pop(_RESTARTED, None) is not None:
        _write(path, entries)


def forget_all(layout: Layout) -> None:
    """Have every scan tried again, whatever happened to the processes before."""
    shutil.rmtree(layout.tries("x", "x").parents[1], ignore_errors=True)


def cause(number: int | None) -> str:
    """The signal ``number`` in words, in brackets; nothing where it is unknown.

    >>> cause(9), cause(None)
    (' (signal 9: often for want of memory)', '')
    """
    if number is None:
        return ""
    words = f": {_CAUSES[number]}" if number in _CAUSES else ""
    return f" (signal {number}{words})"


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Entries by name; none where the file is absent or torn."""
    content = read_json(path)
    if not isinstance(content, dict):
        return {}
    return {name: entry for name, entry in content.items() if isinstance(entry, dict)}


def _write(path: Path, entries: dict[str, dict[str, Any]]) -> None:
    if entries:
        write_json(path, entries, durable=False)
    else:
        path.unlink(missing_ok=True)
