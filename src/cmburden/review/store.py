"""A reader's decisions on disk: one SQLite file a reader. A decision is on disk at once.

Each reader has a file. Readers therefore do not see each other's decisions, can work at the same
time on a network disk without locks between machines, and can send their file alone. No row is
deleted or changed, except that undo marks a row. A later decision on a lesion supersedes an earlier
one, so that the file holds the history with its times. Times do not enter the tables: equal
decisions give tables of equal bytes.
"""

from __future__ import annotations

import datetime
import re
import sqlite3
import threading
from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.schema import as_records
from cmburden.core.tables import REVIEWS

_READER = re.compile(r"[A-Za-z0-9]{1,32}")
_VERSION = 1
#: Columns of a decision, in the order of `reviews`. The reader is no column but the file's name.
COLUMNS = tuple(name for name in REVIEWS.names if name != "reader")
_KINDS = {"str": "TEXT", "int": "INTEGER", "float": "REAL", "bool": "INTEGER"}
#: Columns that identify the lesion of a decision. The candidate's number is not among them: another
#: run may give the number to another candidate.
_LESION = ("scan_id", "mode", "mark_id", "shown_x_mm", "shown_y_mm", "shown_z_mm")


def checked_reader(name: str) -> str:
    """``name`` if a reader can have it; raises CMBurdenError if not. It becomes a file's name."""
    if not _READER.fullmatch(name):
        raise CMBurdenError(
            f"--reader {name!r}: give 1 to 32 letters and digits, such as initials or R1"
        )
    return name


class Store:
    """The decisions of one reader. Safe to call from several threads; each call is one commit."""

    def __init__(self, layout: Layout, reader: str) -> None:
        self.reader = checked_reader(reader)
        self.path = layout.reader_file(reader)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._base = sqlite3.connect(self.path, check_same_thread=False, timeout=10)
            self._prepare()
        except sqlite3.OperationalError as error:
            raise CMBurdenError(
                f"{self.path}: cannot be written ({error}); see that the folder can, and that no "
                "other machine holds the file open"
            ) from error
        except sqlite3.DatabaseError as error:
            raise CMBurdenError(
                f"{self.path}: not a readable file of decisions ({error}); restore it from a copy"
            ) from error

    def _prepare(self) -> None:
        kinds = {column.name: _KINDS[column.kind] for column in REVIEWS.columns}
        columns = ", ".join(f'"{name}" {kinds[name]}' for name in COLUMNS)
        with self._base:
            self._base.execute("PRAGMA journal_mode=WAL")
            # A commit is on disk before the page says "saved", also if the power then fails.
            self._base.execute("PRAGMA synchronous=FULL")
            version = self._base.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise CMBurdenError(
                    f"{self.path}: written by a later version of CMBurden; use that one"
                )
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS decisions (id INTEGER PRIMARY KEY AUTOINCREMENT, "
                f"at TEXT NOT NULL, removed INTEGER NOT NULL, undone INTEGER NOT NULL, {columns})"
            )
            self._base.execute("CREATE INDEX IF NOT EXISTS of_scan ON decisions (scan_id)")
            self._base.execute(f"PRAGMA user_version={_VERSION}")

    def close(self) -> None:
        with self._lock:
            self._base.close()

    def decide(self, decision: dict[str, Any], *, removed: bool = False) -> None:
        """Add a decision (columns of `reviews`); ``removed`` takes back a mark of the reader."""
        row = {name: decision.get(name) for name in COLUMNS}
        row |= {
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "removed": int(removed),
            "undone": 0,
        }
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" for _ in row)
        with self._lock, self._base:
            self._base.execute(
                f"INSERT INTO decisions ({names}) VALUES ({marks})", tuple(row.values())
            )

    def undo(self) -> dict[str, Any] | None:
        """Undo the last standing decision and return it; None if there is none."""
        with self._lock, self._base:
            query = "SELECT max(id) FROM decisions WHERE undone = 0"
            last = self._base.execute(query).fetchone()[0]
            if last is None:
                return None
            self._base.execute("UPDATE decisions SET undone = 1 WHERE id = ?", (last,))
            return self._rows("id = ?", (last,))[0]

    def standing(self, scan_id: str | None = None) -> list[dict[str, Any]]:
        """The last decision on each lesion that is not undone, without removed marks.

        All scans if ``scan_id`` is None. Rows have the columns of `reviews` but the reader.
        """
        condition, values = ("AND scan_id = ?", (scan_id,)) if scan_id else ("", ())
        with self._lock:
            return self._rows(
                f"removed = 0 AND id IN (SELECT max(id) FROM decisions WHERE undone = 0 {condition}"
                f" GROUP BY {', '.join(_LESION)})",
                values,
            )

    def next_mark(self, scan_id: str) -> int:
        """A number for a new mark in the scan. The number of a removed mark is not given again."""
        query = "SELECT max(mark_id) FROM decisions WHERE scan_id = ?"
        with self._lock:
            highest = self._base.execute(query, (scan_id,)).fetchone()[0]
        return (highest or 0) + 1

    def _rows(self, condition: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        names = ", ".join(f'"{name}"' for name in COLUMNS)
        query = f"SELECT {names} FROM decisions WHERE {condition} ORDER BY id"
        rows = [
            dict(zip(COLUMNS, values_of_row, strict=True))
            for values_of_row in self._base.execute(query, values)
        ]
        return [row | {"blinded": bool(row["blinded"])} for row in rows]


def readers(layout: Layout) -> list[str]:
    """Readers who have a file of decisions in the output folder, by name."""
    names = sorted(path.stem for path in layout.reader_file("x").parent.glob("*.sqlite"))
    return [name for name in names if _READER.fullmatch(name)]


def export(layout: Layout) -> Path | None:
    """Write cohort/reviews.parquet from all readers' files and return its path; None without any.

    Rows of a reader without a file here are kept: the file may lie on another machine. The table is
    not written if no row changed, so that no table is made from it again.
    """
    rows: list[dict[str, Any]] = []
    names = readers(layout)
    for reader in names:
        store = Store(layout, reader)
        rows += [row | {"reader": reader} for row in store.standing()]
        store.close()
    if not names:
        return layout.reviews if layout.reviews.exists() else None
    if layout.reviews.exists():
        former = REVIEWS.read(layout.reviews)
        rows += as_records(former[~former["reader"].isin(names)])
    fresh = layout.reviews.with_name(".reviews-new.parquet")
    REVIEWS.write(fresh, rows)
    if layout.reviews.exists() and layout.reviews.read_bytes() == fresh.read_bytes():
        fresh.unlink()
    else:
        fresh.replace(layout.reviews)
    write_json(layout.table_sidecar("reviews"), REVIEWS.sidecar())
    return layout.reviews
