"""Value objects that travel between stages, and files that are either whole or absent."""

from __future__ import annotations

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Scan:
    """One scan of the manifest: a magnitude GRE or SWI volume.

    ``entities`` are the BIDS entities of the source in their order (short keys: sub, ses, acq ...).
    ``path``, ``t1w_path`` and ``phase_path`` are absolute; the latter two may be None.
    ``content_key`` hashes image bytes, used sidecar fields and the T1w: it says when to redo.
    """

    scan_id: str
    cohort: str
    participant_id: str
    session_id: str | None
    suffix: str
    contrast: str
    path: Path
    entities: tuple[tuple[str, str], ...]
    t1w_path: Path | None = None
    phase_path: Path | None = None
    echo_time_s: float | None = None
    field_strength_t: float | None = None
    content_key: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one scan in one stage; written as JSON, read by every later stage.

    ``measures`` holds plain numbers (QC measures of the stage); null where it did not succeed.
    ``log`` is the log of the job that wrote the record, relative to the output folder; None where
    the stage ran without a job, and in records of before logs were named.
    """

    stage: str
    scan_id: str
    status: str  # ok | failed | excluded
    reason: str | None = None
    message: str | None = None
    seconds: float | None = None
    version: int = 1
    log: str | None = None
    measures: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    def write(self, path: Path) -> None:
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> Outcome:
        return cls(**json.loads(Path(path).read_text()))


@contextmanager
def locked(path: Path, *, wait: float = 0.0) -> Iterator[int]:
    """Hold the lock file ``path``; yield its descriptor.

    The system lets go when the last process that holds it ends, however it ends. Some network file
    systems have no locks: that is no reason not to work.

    Raises
    ------
    BlockingIOError
        Where another process holds it, after ``wait`` seconds still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + wait
    with path.open("a") as stream:
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
    """Yield a temporary name in the folder of ``path``; rename to it on success.

    So "exists" means "complete". The temporary name keeps the suffixes, since writers of images
    choose the format by them.
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
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def hash_of(*parts: Any) -> str:
    """sha256 over the JSON of ``parts`` (bytes by their own digest): the key of a cached result."""
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def sha256_of_file(path: Path) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def bucket_of(scan_id: str, buckets: int) -> int:
    """Bucket 0..buckets-1 of a scan by its id alone: a new scan disturbs only its own bucket."""
    return int.from_bytes(hashlib.sha256(scan_id.encode()).digest()[:8], "big") % buckets


def seed_of(*parts: Any) -> int:
    """A 63-bit seed from ids, so that results do not depend on the order of work."""
    return int(hash_of(*parts)[:15], 16)
