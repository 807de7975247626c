"""Digests of files, kept between runs: a second look at an unchanged cohort reads no image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from cmburden.core.files import sha256_of_file, whole_file
from cmburden.images import annex


class Digests:
    """sha256 of files, reused while size and modification time stay; git-annex's key if any.

    ``path`` is the table that holds the digests of the last run. ``save`` writes those of this run.
    """

    def __init__(self, path: Path):
        self.path = path
        self._before: dict[str, tuple[int, int, str]] = {}
        self._used: dict[str, tuple[int, int, str]] = {}
        if path.exists():
            for row in pq.read_table(path, partitioning=None).to_pylist():
                self._before[row["path"]] = (row["size"], row["mtime_ns"], row["sha256"])

    def digest(self, path: Path, was_read: Callable[[], bool]) -> str:
        """Digest of a file's bytes. An annexed file (DataLad) has git-annex's key, unread.

        A file whose content is absent has another digest, so that the file is read once its content
        has come. A file that ``was_read`` before keeps its digest: DataLad users drop content when
        a scan is done.
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
