"""Digests of files, stored between runs: indexing an unchanged cohort again reads no image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from cmburden.core.files import sha256_of_file, whole_file
from cmburden.images import annex


class Digests:
    """sha256 of files, or git-annex's key of an annexed file.

    A digest is used again while the file has the same size and modification time. ``path`` is the
    table with the digests of the last run. ``save`` writes the digests of this run.
    """

    def __init__(self, path: Path):
        self.path = path
        self._before: dict[str, tuple[int, int, str]] = {}
        self._used: dict[str, tuple[int, int, str]] = {}
        if path.exists():
            for row in pq.read_table(path, partitioning=None).to_pylist():
                self._before[row["path"]] = (row["size"], row["mtime_ns"], row["sha256"])

    def digest(self, path: Path, was_read: Callable[[], bool]) -> str:
        """Digest of a file's bytes. Of an annexed file (DataLad) it is git-annex's key, unread.

        A file without its content has a digest of its own, so that the scan runs when the content
        has come. A file that a run read before (``was_read``) keeps its digest: users of DataLad
        drop the content of a finished scan.
        """
        key = annex.key_of(path)
        try:
            stat = path.stat()
        except OSError:
            return f"annex:{key}" if key and was_read() else f"absent:{key or ''}"
        if key:
            return f"annex:{key}"
        name, state = str(path), (stat.st_size, stat.st_mtime_ns)
        before = self._before.get(name)
        digest = before[2] if before and before[:2] == state else sha256_of_file(path)
        self._used[name] = (*state, digest)
        return digest

    def save(self) -> None:
        """Write the digests of the files that this run asked for."""
        rows = [(path, *values) for path, values in sorted(self._used.items())]
        with whole_file(self.path) as temporary:
            pd.DataFrame(rows, columns=["path", "size", "mtime_ns", "sha256"]).to_parquet(temporary)
