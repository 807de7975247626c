"""Tells that a tree is as it was when it was last indexed: its tables then stand.

The key of a tree holds the name, size, times and inode of every file and folder of it: each change
changes at least one of these. What the times cannot vouch for is indexed again: links (git-annex's
content comes and goes without them), files that changed a moment ago, files that could not be read.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cmburden.core import stages
from cmburden.core.files import read_json, sha256_of_file, write_json
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout
from cmburden.core.tables import MANIFEST, REJECTED

#: A file that was changed within these seconds before it was looked at may change again within the
#: same tick of the file system's clock: two seconds on the coarsest (FAT).
SETTLED_S = 3
#: Words of a manifest's warning on a file that could not be read.
UNREAD = "cannot be read"

Row = dict[str, Any]


class _Unsure(Exception):
    """Names, sizes and times do not tell whether the tree is unchanged."""


def key_of(bids_dir: Path, *facts: Any) -> str | None:
    """Key of a tree and of all ``facts`` that its tables depend on; None where times do not tell.

    ``facts`` are written as text.
    """
    digest = hashlib.sha256(repr((_who(), str(bids_dir), facts, _contract())).encode())
    newest = 0
    try:
        for line, changed_ns in _states(str(bids_dir)):
            digest.update(line)
            newest = max(newest, changed_ns)
    except (OSError, _Unsure):
        return None
    settled = newest < time.time_ns() - SETTLED_S * 10**9
    return digest.hexdigest() if settled else None


def _who() -> tuple[Any, ...]:
    """Whose permissions this process has: another one may read other files."""
    return os.geteuid(), os.getegid(), sorted(os.getgroups())


def _contract() -> str:
    return hash_of(stages.INDEX.version, list(MANIFEST.names), list(REJECTED.names))


def _states(root: str) -> Iterable[tuple[bytes, int]]:
    """State of each file and folder that an index looks at, and when the file last changed, ns.

    All that lies in the root, and all below the folders that may be participants'.
    """
    todo = [root]
    while todo:
        folder = todo.pop()
        yield _line(folder, Path(folder).stat())
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        for entry in ordered:
            if entry.is_symlink():
                raise _Unsure
            if entry.is_dir(follow_symlinks=False):
                seen = entry.name[:3].lower() == "sub" if folder == root else entry.name[0] != "."
                if seen:
                    todo.append(entry.path)
            else:
                yield _line(entry.name, entry.stat(follow_symlinks=False))


def _line(name: str, status: os.stat_result) -> tuple[bytes, int]:
    """A line for the key, and the last change of the file or folder, ns."""
    state = (
        os.fsencode(name),
        stat.S_IFMT(status.st_mode),
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )
    return repr(state).encode(), max(status.st_mtime_ns, status.st_ctime_ns)


def stands(layout: Layout, key: str) -> bool:
    """Whether manifest and rejected table are those of a tree of this ``key``, as then written."""
    before = read_json(layout.index_key)
    return isinstance(before, dict) and before == {"key": key} | _tables(layout)


def remember(layout: Layout, key: str, rows: Iterable[Row], rejected: Iterable[Row]) -> None:
    """Note that the tables, of ``rows`` and ``rejected``, are those of a tree of this ``key``.

    Not where a file could not be read: a disk that is well again has the same times.
    """
    unread = any(UNREAD in (row["warning"] or "") for row in rows)
    if unread or any(row["reason"] == "no_access" for row in rejected):
        layout.index_key.unlink(missing_ok=True)
        return
    write_json(layout.index_key, {"key": key} | _tables(layout))


def _tables(layout: Layout) -> dict[str, str | None]:
    """Checksums of the two tables; None of an absent one."""
    paths = {"manifest": layout.manifest, "rejected": layout.rejected}
    return {name: sha256_of_file(p) if p.exists() else None for name, p in paths.items()}
