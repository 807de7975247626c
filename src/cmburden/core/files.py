"""Files that are whole or absent: atomic writes, locks, checksums."""

from __future__ import annotations

import errno
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

from cmburden.core.errors import sentence

#: Characters of a file's name at the end of its temporary name. Writers of images choose the format
#: by the ending. A whole name before which something stands may exceed the 255 bytes of a name.
_ENDING = 24


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
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename the file to ``path`` on success.

    A file that exists is therefore complete, after a power failure too: its bytes are on the disk
    before the new name is, and the name before the caller goes on. Without ``durable`` the file is
    whole as long as the power does not fail: for notes that nobody needs afterwards. The temporary
    name ends as ``path`` does, since writers of images choose the format by the suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = "-" + path.name[-_ENDING:]
    descriptor, name = tempfile.mkstemp(prefix=".part-", suffix=ending, dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        if durable:
            _to_disk(temporary)
        temporary.replace(path)
        if durable:
            _to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until the file or the folder ``path`` is on the disk.

    Some network file systems know no such wait for a folder, or for anything: EINVAL.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any, *, durable: bool = True) -> None:
    """Write sorted, indented JSON as ``whole_file`` does; equal content gives equal bytes."""
    with whole_file(path, durable=durable) as temporary:
        temporary.write_text(
            json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
        )


def read_json(path: Path) -> Any:
    """Content of a JSON file that CMBurden wrote; None where there is none, or a torn one.

    A folder without permission is an error (``core.errors.MENDABLE``): the file may be sound.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        if sentence(error) is not None:
            raise
        return None
    except (ValueError, RecursionError):
        return None


def sha256_of_file(path: Path) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
