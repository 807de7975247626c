"""A reader's decisions on disk: one SQLite file a reader. A decision is on disk at once.

Each reader has a file. Readers therefore do not see each other's decisions, can work at the same
time on a network disk without locks between machines, and can send their file alone. No row is
deleted or changed, except that undo marks a row. A later decision on a lesion supersedes an earlier
one, so that the file holds the history with its times. Times do not enter the tables: equal
decisions give tables of equal bytes.

The decisions are also held in memory while a review is open. Before each decision the file is
compared with them, so that a file that was removed, emptied or replaced takes no decision with it.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import re
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import locked, write_json
from cmburden.core.paths import Layout
from cmburden.core.schema import as_records
from cmburden.core.tables import REVIEWS
from cmburden.review import reader_file
from cmburden.review.decisions import Decisions, as_decision, refuse_older
from cmburden.review.reader_file import COLUMNS, EVERY, Damaged, NotKept, Row, Unfit

_READER = re.compile(r"[A-Za-z0-9]{1,32}")
#: How often a decision is written where another program changes or replaces the file meanwhile.
_ATTEMPTS = 20
#: Device, inode, bytes and time of change of a file.
_Stamp = tuple[int, int, int, int]


def is_reader(name: str) -> bool:
    return bool(_READER.fullmatch(name))


def checked_reader(name: str) -> str:
    """``name`` if a reader can have it; raises CMBurdenError if not. It becomes a file's name."""
    if not is_reader(name):
        raise CMBurdenError(
            f"--reader {name!r}: give 1 to 32 letters and digits, such as initials or R1"
        )
    return name


@contextlib.contextmanager
def alone(layout: Layout, reader: str) -> Iterator[None]:
    """Hold the review of ``reader``; raises CMBurdenError if another review of theirs is open."""
    path = layout.reader_file(checked_reader(reader))
    try:
        lock = contextlib.ExitStack()
        lock.enter_context(locked(path.with_name(f".{reader}.lock")))
    except BlockingIOError as error:
        raise CMBurdenError(
            f"{layout.root}: a review of --reader {reader} is already open; use its address, or "
            "end it with Ctrl-C where it was started"
        ) from error
    with lock:
        yield


class _Replaced(Exception):
    """The reader's file is another one than before the decision."""


class Store:
    """The decisions of one reader. Safe to call from several threads; each call is one commit."""

    def __init__(self, layout: Layout, reader: str) -> None:
        self.reader = checked_reader(reader)
        self.path = layout.reader_file(reader)
        self._root = layout.root
        self._lock = threading.Lock()
        #: What happened to the file that the reader should know; "" if nothing.
        self.notice = ""
        #: Where the decisions were kept beside a file that lacks some, and how many.
        self._kept: tuple[Path, int] | None = None
        try:
            self._decisions = self._opened(exported_of(layout, reader))
            self._mode = self.path.stat().st_mode & 0o777
            self._device = self._root.stat().st_dev
        except (sqlite3.Error, OSError) as error:
            raise reader_file.in_words(self.path, error) from error
        self._stamp = self._present()

    def _opened(self, exported: list[dict[str, Any]]) -> Decisions:
        if not os.path.lexists(self.path):
            if exported:
                raise Unfit(
                    f"{self.path}: is not here, but cohort/reviews.parquet holds {len(exported)} "
                    f"decisions of {self.reader}; copy the file from where the reader reviewed, "
                    "or remove cohort/reviews.parquet to begin anew"
                )
            reader_file.write_whole(self.path, [])
        rows = reader_file.rows_of(self.path)
        if reader_file.bring_up_to_date(self.path):
            rows = reader_file.rows_of(self.path)
        decisions = Decisions(rows)
        refuse_older(self.path, decisions, exported)
        return decisions

    def close(self) -> None:
        """Write the file again where it was lost since the last decision.

        Raises
        ------
        NotKept
            If another file is there that lacks decisions; ``str`` says where they are.
        """
        with self._lock:
            self._stamp = None
            self._agree_with_file()

    # --- read ---

    def standing(self, scan_id: str | None = None) -> list[dict[str, Any]]:
        """The last decision on each lesion that is not undone, without removed marks.

        All scans if ``scan_id`` is None. Rows have the columns of `reviews` but the reader.
        """
        with self._lock:
            return self._decisions.standing(scan_id)

    def has(self, request: str | None) -> bool:
        """True if the decision of the page's ``request`` is kept."""
        with self._lock:
            return self._decisions.made_by(request) is not None

    # --- written ---

    def decide(
        self, decision: dict[str, Any], *, removed: bool = False, request: str | None = None
    ) -> None:
        """Add a decision (columns of `reviews`).

        A new mark gets its number here: the number of a removed mark is not given again.
        ``removed`` takes back a mark of the reader. ``request``: the page's key of the decision; a
        decision whose key is kept already is not added again.

        Raises
        ------
        NotKept
            If the decision is not on disk.
        """
        row = {name: decision.get(name) for name in COLUMNS}
        row |= {
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "removed": int(removed),
            "undone": 0,
            "sent": request,
        }
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join(f":{name}" for name in row)
        if row["decision"] == "add" and row["mark_id"] is None:
            numbered = (
                "(SELECT coalesce(max(mark_id), 0) + 1 FROM decisions WHERE scan_id = :scan_id)"
            )
            marks = marks.replace(":mark_id", numbered)

        def insert(base: sqlite3.Connection) -> int | None:
            if self._decisions.made_by(request) is not None:
                return None
            return base.execute(f"INSERT INTO decisions ({names}) VALUES ({marks})", row).lastrowid

        self._write(insert)

    def undo(self, request: str | None = None) -> dict[str, Any] | None:
        """Undo the last standing decision and return it; None if there is none.

        An undo whose ``request`` was carried out before returns what was undone then. Raises
        NotKept as ``decide`` does.
        """

        def mark(base: sqlite3.Connection) -> int | None:
            if self._decisions.undone_by(request) is not None:
                return None
            query = "SELECT max(id) FROM decisions WHERE undone = 0"
            last: int | None = base.execute(query).fetchone()[0]
            if last is not None:
                change = "UPDATE decisions SET undone = 1, undone_by = ? WHERE id = ?"
                base.execute(change, (request, last))
            return last

        row = self._write(mark)
        if row is None:
            with self._lock:
                row = self._decisions.undone_by(request)
        return None if row is None else as_decision(row)

    def _write(self, change: Callable[[sqlite3.Connection], int | None]) -> Row | None:
        """Commit ``change``, which returns the number of its row; return the row as it is then."""
        with self._lock:
            for _ in range(_ATTEMPTS):
                self._agree_with_file()
                try:
                    row = self._committed(change)
                except _Replaced:
                    self._stamp = None  # The next attempt reads the whole file.
                except (sqlite3.Error, OSError) as error:
                    words = reader_file.in_words(self.path, error)
                    self._stamp = None
                    if not words.damaged:
                        raise words from error
                else:
                    if row is not None:
                        self._decisions.put([row])
                    return row
            raise NotKept(f"{self.path}: another program changes it again and again; end that one")

    def _committed(self, change: Callable[[sqlite3.Connection], int | None]) -> Row | None:
        """Commit ``change``; raise :class:`_Replaced` if the file is not the one compared."""
        names = ", ".join(f'"{name}"' for name in EVERY)
        row: Row | None = None
        before = self._stamp
        with reader_file.writing(self.path) as base:
            if (
                base.execute("SELECT max(id) FROM decisions").fetchone()[0]
                != self._decisions.last()
            ):
                raise _Replaced
            number = change(base)
            if number is not None:
                query = f"SELECT {names} FROM decisions WHERE id = ?"
                row = base.execute(query, (number,)).fetchone()
            base.execute("COMMIT")
            # While the file is open no other file can have its inode. A file that was put in place,
            # or cut, since the comparison has not got the decision.
            after = self._present()
            if not before or not after or before[:2] != after[:2] or before[2] > after[2]:
                raise _Replaced
            self._stamp = after
        return row

    # --- the file, whatever happened to it ---

    def _present(self) -> _Stamp | None:
        """The stamp of the file that has the reader's name now; None if there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def _agree_with_file(self) -> None:
        """Make file and memory hold the same decisions; raise NotKept where that loses some."""
        present = self._present()
        if present is None or not present[2]:
            self._write_again("was gone" if present is None else "was empty")
        elif present != self._stamp:
            try:
                self._agree_with_rows(reader_file.rows_of(self.path), present)
            except Damaged as error:
                self._write_again(f"was replaced or damaged ({error})", aside=True)
            except Unfit as error:
                raise NotKept(f"{error}; {self._keep_beside()}") from error

    def _agree_with_rows(self, rows: list[Row], stamp: _Stamp) -> None:
        there = Decisions(rows)
        lacking = self._decisions.lacks_of(rows)
        if not lacking:
            self._decisions, self._stamp = there, stamp
        elif not there.lacks_of(self._decisions.rows()):
            self._write_again("was replaced by an older copy")
        else:
            raise NotKept(
                f"{self.path}: was replaced while this review is open, by a file that has other "
                f"decisions and lacks {lacking} of this review; {self._keep_beside()}"
            )

    def _write_again(self, what: str, *, aside: bool = False) -> None:
        """Write the file anew from memory, which holds all that the present file holds.

        ``aside``: the present file is kept under another name.
        """
        try:
            if self._root.stat().st_dev != self._device:
                raise NotKept(f"{self._root}: is no longer mounted; mount it again")
            if aside:
                self.path.rename(_free(f"{self.path}.damaged-"))
            reader_file.write_whole(self.path, self._decisions.rows(), self._mode)
        except (sqlite3.Error, OSError) as error:
            raise reader_file.in_words(self.path, error) from error
        self._stamp = self._present()
        self.notice = (
            f"{self.path}: {what} while this review is open; it is written again with all "
            f"{len(self._decisions)} decisions"
        )
        with contextlib.suppress(OSError):  # the terminal of a review may be gone
            print(self.notice, file=sys.stderr, flush=True)

    def _keep_beside(self) -> str:
        """Write the decisions in a file of another name, once; the sentence that says where."""
        number = len(self._decisions)
        if self._kept is None or self._kept[1] != number or not self._kept[0].exists():
            path = _free(str(self.path.with_suffix("")) + "-kept-", ".sqlite")
            try:
                reader_file.write_whole(path, self._decisions.rows(), self._mode)
            except (sqlite3.Error, OSError) as error:
                words = reader_file.in_words(path, error)
                return f"leave the review open, since its decisions cannot be kept now ({words})"
            self._kept = (path, number)
        return (
            f"all {number} decisions of this review are in {self._kept[0].name} beside it: name "
            f"that file {self.path.name} to go on"
        )


def _free(before: str, after: str = "") -> Path:
    """The first path ``before`` + number + ``after`` that no file has."""
    names = (Path(f"{before}{number}{after}") for number in itertools.count(1))
    return next(path for path in names if not os.path.lexists(path))


# --- compared with the last export ---


def exported_of(layout: Layout, reader: str) -> list[dict[str, Any]]:
    """The reader's decisions in cohort/reviews.parquet; none if the table cannot be read."""
    try:
        table = REVIEWS.read(layout.reviews)
    except (CMBurdenError, OSError):
        return []
    return as_records(table[table["reader"] == reader])


# --- the table of all readers ---


def readers(layout: Layout) -> list[str]:
    """Readers who have a file of decisions in the output folder, by name."""
    return sorted(path.stem for path in _reader_files(layout) if is_reader(path.stem))


def _reader_files(layout: Layout) -> list[Path]:
    return sorted(layout.reader_file("x").parent.glob("*.sqlite"))


def export(layout: Layout) -> Path | None:
    """Write cohort/reviews.parquet from all readers' files and return its path; None without any.

    Rows of a reader without a file here are kept: the file may lie on another machine. So are those
    of a reader whose file cannot be used: ``layout.review_problems`` then has a sentence. Readers'
    files and their folder are only read. The table is not written if no row changed, so that no
    table is made from it again.
    """
    problems = [
        f"{path}: {path.stem!r} is no reader's name (letters and digits): its decisions do not "
        "count; give it its reader's name, or remove it"
        for path in _reader_files(layout)
        if not is_reader(path.stem)
    ]
    former = _former(layout, problems)
    names = readers(layout)
    rows = [row for row in former if row["reader"] not in names]
    for reader in names:
        exported = [row for row in former if row["reader"] == reader]
        try:
            rows += _standing_of(layout.reader_file(reader), reader, exported)
        except Exception as error:  # the file is foreign: what is wrong with it is not foreseen
            rows += exported
            problems.append(_not_counted(layout.reader_file(reader), reader, exported, error))
    _write_problems(layout, problems)
    if not names:
        return layout.reviews if layout.reviews.exists() else None
    _write_if_changed(layout, rows)
    return layout.reviews


def problems_of(layout: Layout) -> list[str]:
    """The sentences that the last export wrote about readers' files."""
    try:
        problems = json.loads(layout.review_problems.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(problem) for problem in problems] if isinstance(problems, list) else []


def _standing_of(path: Path, reader: str, exported: list[dict[str, Any]]) -> list[dict[str, Any]]:
    decisions = Decisions(reader_file.rows_of(path))
    refuse_older(path, decisions, exported)
    return [row | {"reader": reader} for row in decisions.standing()]


def _not_counted(path: Path, reader: str, exported: list[Any], error: Exception) -> str:
    why = (
        str(error)
        if isinstance(error, CMBurdenError)
        else f"{path}: cannot be read ({type(error).__name__}: {error}); restore it from a copy"
    )
    so = (
        f"the {len(exported)} decisions of {reader} that were exported before count until then"
        if exported
        else f"no decision of {reader} counts until then"
    )
    return f"{why}; {so}"


def _former(layout: Layout, problems: list[str]) -> list[dict[str, Any]]:
    """The rows of the last export; a table that cannot be read is set aside."""
    if not layout.reviews.exists():
        return []
    try:
        return as_records(REVIEWS.read(layout.reviews))
    except CMBurdenError as error:
        aside = layout.reviews.with_suffix(".damaged")
        layout.reviews.replace(aside)
        problems.append(
            f"{error}; it is now {aside.name}, and the table is made again from the files in "
            "reviews/: copy the files of readers on other machines there"
        )
        return []


def _write_problems(layout: Layout, problems: list[str]) -> None:
    if problems != problems_of(layout):
        write_json(layout.review_problems, problems)


def _write_if_changed(layout: Layout, rows: list[dict[str, Any]]) -> None:
    layout.cohort.mkdir(parents=True, exist_ok=True)
    # A folder of its own: two readers may end their reviews at once.
    with tempfile.TemporaryDirectory(prefix=".reviews-", dir=layout.cohort) as folder:
        fresh = Path(folder) / layout.reviews.name
        REVIEWS.write(fresh, rows)
        # Notes are free text, which others than owner and group need not read.
        fresh.chmod(fresh.stat().st_mode & 0o770)
        if not layout.reviews.exists() or layout.reviews.read_bytes() != fresh.read_bytes():
            fresh.replace(layout.reviews)
    write_json(layout.table_sidecar("reviews"), REVIEWS.sidecar())
