"""A reader's file: its SQLite schema, how it is written whole, and how it is read without trust.

The file has a rollback journal, since SQLite's write-ahead log does not work on network file
systems. A reader's file comes from other machines, copies and synchronising tools. Each value is
therefore checked when the file is read, and the file of one reader is never a traceback.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError
from cmburden.core.tables import REVIEWS
from cmburden.models.contract import CLASSES

VERSION = 4
#: Columns of a decision, in the order of `reviews`. The reader is no column but the file's name.
COLUMNS = tuple(name for name in REVIEWS.names if name != "reader")
#: All columns. ``sent`` and ``undone_by`` are the page's keys of the request that made or undid the
#: decision: a request that the page repeats is carried out once.
EVERY = ("id", "at", "removed", "undone", *COLUMNS, "sent", "undone_by")
#: Columns that files of earlier versions lack; there they are null.
_LATER = ("sent", "undone_by", *REVIEWS.later)
_KINDS = {"str": "TEXT", "int": "INTEGER", "float": "REAL", "bool": "INTEGER"}
_AT = ("x_mm", "y_mm", "z_mm")
_SHOWN = ("shown_x_mm", "shown_y_mm", "shown_z_mm")
#: Permissions of a new file, before the umask: notes are free text, which others need not read.
_MODE = 0o660
#: Bytes 18 and 19 of the header of a file with a write-ahead log.
_WAL = b"\x02\x02"
#: Seconds to wait for another program that writes to the file.
_WAIT_S = 10.0

Row = tuple[Any, ...]


class Unfit(CMBurdenError):
    """A reader's file that cannot be used; ``str`` says why and what to do."""


class Damaged(Unfit):
    """A reader's file that holds no sound decisions: torn, flipped bits, or of another program."""


class NotKept(CMBurdenError):
    """A decision that is not on disk, in a sentence.

    ``full``: the disk has no room for it. ``damaged``: the file is no sound database.
    """

    def __init__(self, sentence: str, *, full: bool = False, damaged: bool = False):
        super().__init__(sentence)
        self.full, self.damaged = full, damaged


def in_words(path: Path, error: Exception) -> NotKept:
    """The reason for which SQLite or the operating system did not write to ``path``."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return NotKept(f"{path}: the disk is full or ill ({error}); free space there", full=True)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return NotKept(f"{path}: another program writes to it ({error}); close that program")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return NotKept(
            f"{path}: cannot be written ({error}); see that you may write to it and its folder"
        )
    if isinstance(error, OSError):
        return NotKept(f"{path}: {error.strerror or error}; see to the disk and the folder")
    return NotKept(f"{path}: is damaged ({error}); restore it from a copy", damaged=True)


# --- writing ---


def create_tables(base: sqlite3.Connection) -> None:
    columns = ", ".join(f'"{name}" {_kind_of(name)}' for name in COLUMNS)
    base.executescript(
        "BEGIN; CREATE TABLE decisions (id INTEGER PRIMARY KEY AUTOINCREMENT, "
        f"at TEXT NOT NULL, removed INTEGER NOT NULL, undone INTEGER NOT NULL, {columns}, "
        "sent TEXT, undone_by TEXT); "
        "CREATE INDEX of_scan ON decisions (scan_id); "
        "CREATE UNIQUE INDEX of_request ON decisions (sent); "
        f"PRAGMA user_version={VERSION}; COMMIT"
    )


def _kind_of(name: str) -> str:
    return {column.name: _KINDS[column.kind] for column in REVIEWS.columns}.get(name, "TEXT")


def put(base: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add ``rows`` of the columns ``EVERY``; a row replaces the row of its number."""
    names = ", ".join(f'"{name}"' for name in EVERY)
    marks = ", ".join("?" for _ in EVERY)
    base.executemany(f"INSERT OR REPLACE INTO decisions ({names}) VALUES ({marks})", rows)


def write_whole(path: Path, rows: Iterable[Row], mode: int | None = None) -> None:
    """Write a file of decisions in place of none or of ``path``; it is on disk on return.

    ``mode``: permissions, by default those that the umask leaves to owner and group.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode is None:
        umask = os.umask(0)
        os.umask(umask)
        mode = _MODE & ~umask
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as base:
            base.execute("PRAGMA synchronous=EXTRA")
            create_tables(base)
            base.execute("BEGIN")
            put(base, rows)
            base.execute("COMMIT")
        temporary.chmod(mode)
        # SQLite would take a journal beside the former file for one of this file.
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Put the names in ``folder`` on disk; some network file systems cannot and need not."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction on the file that ``path`` names now. It is on disk when the block ends.

    The block may commit itself, and see to the file while the file is still open.
    """
    with contextlib.closing(_connected(path, "rw")) as base:
        # EXTRA: the folder, too, is on disk before a commit returns, so that a power failure does
        # not bring back the journal and with it the state before the commit.
        base.execute("PRAGMA synchronous=EXTRA")
        base.execute("BEGIN IMMEDIATE")
        try:
            yield base
            if base.in_transaction:
                base.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                base.execute("ROLLBACK")
            raise


def bring_up_to_date(path: Path) -> bool:
    """Give a sound file of an earlier version the present journal and columns; True if it had not.

    Raises SQLite's error where the file cannot be written.
    """
    with contextlib.closing(_connected(path, "rw")) as base:
        base.execute("PRAGMA journal_mode=DELETE")
    with writing(path) as base:
        if base.execute("PRAGMA user_version").fetchone() == (VERSION,):
            return False
        present = {column[1] for column in base.execute("PRAGMA table_info(decisions)")}
        for name in _LATER:
            if name not in present:
                base.execute(f'ALTER TABLE decisions ADD COLUMN "{name}" {_kind_of(name)}')
        base.execute("CREATE UNIQUE INDEX IF NOT EXISTS of_request ON decisions (sent)")
        base.execute(f"PRAGMA user_version={VERSION}")
    return True


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=_WAIT_S)


# --- reading ---


def rows_of(path: Path) -> list[Row]:
    """All rows of the file with the columns ``EVERY``, by number; the file and its folder stay.

    Raises
    ------
    Damaged
        If it is not a sound file of decisions.
    Unfit
        If this user, or this version of CMBurden, cannot read it.
    """
    _refuse_unless_file(path)
    try:
        with _read_only(path) as base:
            return _sound_rows(path, base)
    except sqlite3.Error as error:
        words = in_words(path, error)
        if not words.damaged:
            raise Unfit(str(words)) from error
        raise Damaged(
            f"{path}: not a readable file of decisions ({error}); restore it from a copy"
        ) from error
    except OSError as error:
        raise Unfit(
            f"{path}: cannot be read ({error.strerror or error}); let this user read it"
        ) from error


def _refuse_unless_file(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise Unfit(f"{path}: cannot be read ({error.strerror}); restore it from a copy") from error
    if not stat.S_ISREG(status.st_mode):
        raise Damaged(f"{path}: is not a file; remove it or restore the reader's file from a copy")
    if not status.st_size:
        raise Damaged(
            f"{path}: is empty (0 bytes), as after a power failure or a torn copy; restore it from "
            "a copy, or remove it if the reader has not begun"
        )


@contextlib.contextmanager
def _read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that writes nothing beside ``path``.

    SQLite must write to read a file with a write-ahead log, or one whose writer was killed in a
    commit. Such a file is copied with its journal and read from the copy.
    """
    with path.open("rb") as stream:
        header = stream.read(20)
    if header[18:20] != _WAL:
        with contextlib.closing(_connected(path, "ro")) as base:
            try:
                base.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            except sqlite3.OperationalError as error:
                name = getattr(error, "sqlite_errorname", "")
                if not name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
                    raise
            else:
                yield base
                return
    with tempfile.TemporaryDirectory(prefix="cmburden-review-") as folder:
        for end in ("", "-journal", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{end}", Path(folder) / f"copy.sqlite{end}")
        with contextlib.closing(_connected(Path(folder) / "copy.sqlite", "rw")) as base:
            yield base


def _sound_rows(path: Path, base: sqlite3.Connection) -> list[Row]:
    base.execute("PRAGMA trusted_schema=OFF")
    version = base.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise Unfit(f"{path}: written by a later version of CMBurden; use that one")
    kind = base.execute("SELECT type FROM sqlite_schema WHERE name = 'decisions'").fetchone()
    columns = {column[1] for column in base.execute("PRAGMA table_info(decisions)")}
    missing = sorted(set(EVERY) - set(_LATER) - columns)
    if kind != ("table",) or missing:
        raise Damaged(
            f"{path}: not a file of decisions (its tables are those of another program); restore "
            "the reader's file from a copy"
        )
    said = base.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if said != "ok":
        raise Damaged(f"{path}: is damaged ({' '.join(str(said).split())}); restore it from a copy")
    names = ", ".join(f'"{name}"' if name in columns else "NULL" for name in EVERY)
    rows = base.execute(f"SELECT {names} FROM decisions ORDER BY id").fetchall()
    _refuse_wrong_values(path, rows)
    return rows


def _refuse_wrong_values(path: Path, rows: list[Row]) -> None:
    """Raise :class:`Unfit` if the page cannot have sent one of the decisions."""
    decisions = [dict(zip(EVERY, row, strict=True)) for row in rows]
    for decision in decisions:
        if fault := _fault(decision):
            raise Damaged(
                f"{path}: decision {decision['id']} is damaged ({fault}); restore it from a copy"
            )
    columns = [{name: row[name] for name in COLUMNS} | {"reader": "x"} for row in decisions]
    try:
        REVIEWS.arrow([row | {"blinded": bool(row["blinded"])} for row in columns])
    except (ValueError, TypeError, OverflowError) as error:
        raise Damaged(f"{path}: is damaged ({error}); restore it from a copy") from error


def _fault(decision: dict[str, Any]) -> str:
    """What is wrong with the values that the contract of `reviews` does not check; "" if none."""
    for name in ("removed", "undone", "blinded"):
        if decision[name] not in (0, 1):
            return f"{name} is {_short(decision[name])}"
    if decision["class"] not in (None, *CLASSES):
        return f"class is {_short(decision['class'])}"
    for name in (*_AT, *_SHOWN):
        value = decision[name]
        if value is not None and not (isinstance(value, float) and math.isfinite(value)):
            return f"{name} is {_short(value)}"
    if not _is_time(decision["seconds"]):
        return f"seconds is {_short(decision['seconds'])}"
    needed: tuple[str, ...] = ()
    if decision["decision"] in ("accept", "reject"):
        needed = (*_AT, *_SHOWN)
    elif decision["decision"] == "add":
        needed = ("mark_id",) if decision["removed"] else ("mark_id", *_AT)
    missing = [name for name in needed if decision[name] is None]
    return f"{missing[0]} is missing" if missing else ""


def _is_time(seconds: Any) -> bool:
    return seconds is None or (isinstance(seconds, float) and 0 <= seconds < math.inf)


def _short(value: Any) -> str:
    return repr(value)[:40]
