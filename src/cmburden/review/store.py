"""A reader's decisions on disk: one SQLite file a reader, written before the next lesion is shown.

A file a reader blinds readers to each other by construction, lets two of them work at once on a
network disk that has no locks between machines, and can be sent about alone. Rows are only ever
added: a decision is superseded by a later one on the same lesion and undone by a mark on it, so
the history with its times stays here. Times never leave this file: tables are equal to the byte.
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
#: Columns of a decision, in the table's order: those of the contract but the reader, who is the
#: file's name.
COLUMNS = tuple(name for name in REVIEWS.names if name != "reader")
_KINDS = {"str": "TEXT", "int": "INTEGER", "float": "REAL", "bool": "INTEGER"}
#: What says which lesion a decision is on. The number of a candidate does not: another run may
#: give it to another.
_LESION = ("scan_id", "mode", "mark_id", "shown_x_mm", "shown_y_mm", "shown_z_mm")


def checked_reader(name: str) -> str:
    """``name`` if it can be a reader's; it becomes the name of a file."""
    if not _READER.fullmatch(name):
        raise CMBurdenError(
            f"--reader {name!r}: give 1 to 32 letters and digits, such as initials or R1"
        )
    return name


class Store:
    """The decisions of one reader. Safe to call from several threads; each call is one commit."""

    def __init__(self, layout: Layout, reader: str):
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
            # A commit is on disk when the reader reads "saved", also if the power fails.
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

    def decide(self, decision: dict[str, Any], *, removed: bool = False) -> int:
        """Add a decision (columns of the contract); ``removed`` takes back an own mark."""
        row = {name: decision.get(name) for name in COLUMNS}
        row |= {
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "removed": int(removed),
            "undone": 0,
        }
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" for _ in row)
        with self._lock, self._base:
            done = self._base.execute(
                f"INSERT INTO decisions ({names}) VALUES ({marks})", tuple(row.values())
            )
            return int(done.lastrowid)

    def undo(self) -> dict[str, Any] | None:
        """Undo the last decision that stands and return it; None where there is none."""
        with self._lock, self._base:
            last = self._base.execute("SELECT max(id) FROM decisions WHERE undone = 0").fetchone()[
                0
            ]
            if last is None:
                return None
            self._base.execute("UPDATE decisions SET undone = 1 WHERE id = ?", (last,))
            return self._rows("id = ?", (last,))[0]

    def standing(self, scan_id: str | None = None) -> list[dict[str, Any]]:
        """Of each lesion and scan the last decision that is not undone, without removed marks."""
        of, values = ("AND scan_id = ?", (scan_id,)) if scan_id else ("", ())
        with self._lock:
            return self._rows(
                f"removed = 0 AND id IN (SELECT max(id) FROM decisions WHERE undone = 0 {of} "
                f"GROUP BY {', '.join(_LESION)})",
                values,
            )

    def next_mark(self, scan_id: str) -> int:
        """A number for a new mark in the scan; a removed or undone one's is not given again."""
        with self._lock:
            found = self._base.execute(
                "SELECT max(mark_id) FROM decisions WHERE scan_id = ?", (scan_id,)
            ).fetchone()[0]
        return (found or 0) + 1

    def _rows(self, where: str, values: tuple = ()) -> list[dict[str, Any]]:
        names = ", ".join(f'"{name}"' for name in COLUMNS)
        found = self._base.execute(
            f"SELECT {names} FROM decisions WHERE {where} ORDER BY id", values
        ).fetchall()
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in found]
        return [row | {"blinded": bool(row["blinded"])} for row in rows]


def readers(layout: Layout) -> list[str]:
    """Readers who have a file of decisions."""
    names = sorted(path.stem for path in layout.reader_file("x").parent.glob("*.sqlite"))
    return [name for name in names if _READER.fullmatch(name)]


def export(layout: Layout) -> Path | None:
    """Write cohort/reviews.parquet from all readers' files; None where nobody reviewed.

    What a reader without a file here decided stays as it was exported: the file may be elsewhere.
    The table is left as it is where nothing changed, so that nothing is made again from it.
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
        before = REVIEWS.read(layout.reviews)
        others = before[~before["reader"].isin(names)]
        rows += as_records(others)
    fresh = layout.reviews.with_name(".reviews-new.parquet")
    REVIEWS.write(fresh, rows)
    if layout.reviews.exists() and layout.reviews.read_bytes() == fresh.read_bytes():
        fresh.unlink()
    else:
        fresh.replace(layout.reviews)
    write_json(layout.table_sidecar("reviews"), REVIEWS.sidecar())
    return layout.reviews
