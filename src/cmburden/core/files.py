"""Files that are whole or absent: atomic writes, locks, checksums."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def locked(path: Path, *, wait: float = 0.0) -> Iterator[int]:
    """Hold the lock file ``path``; yield its descriptor.

    The operating system releases the lock when the last process with the descriptor ends, however
    the process ends. Some network file systems have no locks: the work then goes on without one.

    Raises
    ------
    BlockingIOError
        If another process still holds the lock after ``wait`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + wait
    with path.open("a", encoding="utf-8") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.5)
                continue
            except OSError:
                pass
            break
        yield stream.fileno()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename the file to ``path`` on success.

    A file that exists is therefore complete. The temporary name ends with the suffixes of ``path``,
    since writers of images choose the format by the suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".part-", suffix="-" + path.name, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write sorted, indented JSON by rename; equal content gives equal bytes."""
    with whole_file(path) as temporary:
        temporary.write_text(
            json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
        )


def sha256_of_file(path: Path) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
