"""A reader's decisions in memory: which of them stand, and whether a file still holds them all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cmburden.review import reader_file
from cmburden.review.reader_file import COLUMNS, EVERY, Row, Unfit

#: Columns that identify the lesion of a decision. The candidate's number is not among them: another
#: run may give the number to another candidate.
_LESION = ("scan_id", "mode", "mark_id", "shown_x_mm", "shown_y_mm", "shown_z_mm")
_UNDONE, _UNDONE_BY = EVERY.index("undone"), EVERY.index("undone_by")


class Decisions:
    """All decisions of a reader with their history, as the reader's file holds them."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._base = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        reader_file.create_tables(self._base)
        self.put(rows)

    def put(self, rows: Iterable[Row]) -> None:
        reader_file.put(self._base, rows)

    def rows(self) -> list[Row]:
        """All rows with the columns of the file, by number."""
        return self._selected("SELECT {every} FROM decisions ORDER BY id")

    def __len__(self) -> int:
        return int(self._base.execute("SELECT count(*) FROM decisions").fetchone()[0])

    def last(self) -> int | None:
        """The number of the last decision."""
        number: int | None = self._base.execute("SELECT max(id) FROM decisions").fetchone()[0]
        return number

    def made_by(self, request: str | None) -> Row | None:
        """The decision that the page's ``request`` made."""
        return self._one("SELECT {every} FROM decisions WHERE sent = ?", request)

    def undone_by(self, request: str | None) -> Row | None:
        """The decision that the page's ``request`` undid."""
        return self._one("SELECT {every} FROM decisions WHERE undone_by = ?", request)

    def standing(self, scan_id: str | None = None) -> list[dict[str, Any]]:
        """The last decision on each lesion that is not undone, without removed marks.

        All scans if ``scan_id`` is None. Rows have the columns of `reviews` but the reader.
        """
        condition, values = ("AND scan_id = ?", (scan_id,)) if scan_id else ("", ())
        rows = self._selected(
            "SELECT {every} FROM decisions WHERE removed = 0 AND id IN (SELECT max(id) FROM "
            f"decisions WHERE undone = 0 {condition} GROUP BY {', '.join(_LESION)}) ORDER BY id",
            values,
        )
        return [as_decision(row) for row in rows]

    def lacks_of(self, rows: Iterable[Row]) -> int:
        """The number of decisions here that ``rows`` lack, or hold with other values.

        A decision that is undone in ``rows`` alone is not lacking.
        """
        there = {row[0]: row for row in rows}
        return sum(not _is_kept(row, there.get(row[0])) for row in self.rows())

    def never_held(self, exported: list[dict[str, Any]]) -> int:
        """The number of ``exported`` decisions (columns of `reviews`) that were never made here."""
        if not exported:
            return 0
        history = {tuple(as_decision(row).values()) for row in self.rows()}
        return sum(tuple(row[name] for name in COLUMNS) not in history for row in exported)

    def _one(self, query: str, request: str | None) -> Row | None:
        rows = self._selected(query, (request,)) if request else []
        return rows[0] if rows else None

    def _selected(self, query: str, values: tuple[Any, ...] = ()) -> list[Row]:
        names = ", ".join(f'"{name}"' for name in EVERY)
        return self._base.execute(query.format(every=names), values).fetchall()


def as_decision(row: Row) -> dict[str, Any]:
    """The columns of `reviews` but the reader, of a row of the file."""
    named = dict(zip(EVERY, row, strict=True))
    return {name: named[name] for name in COLUMNS} | {"blinded": bool(named["blinded"])}


def _is_kept(row: Row, there: Row | None) -> bool:
    if there is None or there[_UNDONE] < row[_UNDONE]:
        return False
    undo = (_UNDONE, _UNDONE_BY)
    return all(a == b for n, (a, b) in enumerate(zip(row, there, strict=True)) if n not in undo)


def refuse_older(path: Path, decisions: Decisions, exported: list[dict[str, Any]]) -> None:
    """Raise :class:`Unfit` if the file lacks decisions that were exported from the reader's file.

    A file that was only continued holds each exported decision in its history.
    """
    lacking = decisions.never_held(exported)
    if lacking:
        raise Unfit(
            f"{path}: holds {len(decisions)} decisions and lacks {lacking} of the {len(exported)} "
            "in cohort/reviews.parquet, as an older copy does; put the newer file in its place, or "
            "remove cohort/reviews.parquet to count with this file"
        )
