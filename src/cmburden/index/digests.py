"""Digests of files, stored between runs: indexing an unchanged cohort again reads no image."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cmburden.core.files import sha256_of_file, whole_file
from cmburden.images import annex

_log = logging.getLogger(__name__)
#: What identifies a file's content without reading it. The time of the last change and the inode
#: change when a file is replaced by one of equal size and modification time (rsync -t, archives).
_STATE = ("size", "mtime_ns", "ctime_ns", "inode")


class Digests:
    """sha256 of files, or git-annex's key of an annexed file.

    A digest is used again while the file has the same size, times and inode. ``path`` is the table
    with the digests of the last run. ``save`` writes the digests of this run.
    """

    def __init__(self, path: Path):
        self.path = path
        self._before: dict[str, tuple[tuple[int, ...], str]] = {}
        self._used: dict[str, tuple[tuple[int, ...], str]] = {}
        if not path.exists():
            return
        try:
            for row in pq.read_table(path, partitioning=None).to_pylist():
                state = tuple(row[name] for name in _STATE)
                self._before[row["path"]] = (state, row["sha256"])
        except (OSError, KeyError, pa.ArrowInvalid):
            _log.warning("%s: not the digests of this version; all files are read again", path)
            self._before = {}

    def digest(self, path: Path, was_read: Callable[[], bool]) -> str:
        """Digest of a file's bytes. Of an annexed file (DataLad) it is git-annex's key, unread.

        A file without its content has a digest of its own, so that the scan runs when the content
        has come. A file that a run read before (``was_read``) keeps its digest: users of DataLad
        drop the content of a finished scan.

        Raises
        ------
        OSError
            Where the file is here and cannot be read.
        """
        key = annex.key_of(path)
        try:
            stat = path.stat()
        except FileNotFoundError:
            return f"annex:{key}" if key and was_read() else f"absent:{key or ''}"
        if key:
            return f"annex:{key}"
        name = str(path)
        state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        before = self._before.get(name)
        digest = before[1] if before and before[0] == state else sha256_of_file(path)
        self._used[name] = (state, digest)
        return digest

    def save(self) -> None:
        """Write the digests of the files that this run asked for."""
        rows = [(path, *state, digest) for path, (state, digest) in sorted(self._used.items())]
        table = pd.DataFrame(rows, columns=["path", *_STATE, "sha256"])
        # An inode of some file systems needs all 64 bits.
        table = table.astype({"inode": "uint64"})
        with whole_file(self.path) as temporary:
            table.to_parquet(temporary)
