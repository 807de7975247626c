"""Where a participant's id stands in files, and how files go on without it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file
from cmburden.core.schema import PARQUET

_SQLITE, _PARQUET = b"SQLite format 3\0", b"PAR1"
#: Endings of files whose content is compressed and holds no ids.
IMAGES = (".gz", ".png", ".npz", ".mat", ".pt")
#: Endings of files that lose single lines; any other text that names the participant is removed.
_LINES = (".log", ".tsv", ".out", ".err")


class Traces:
    """Recognises the id of one participant among ``others``, whose ids may begin with it.

    >>> traces = Traces("sub-01", ["sub-01", "sub-011", "sub-01_S_2"])
    >>> traces.names("sub-01_T2starw.nii.gz"), traces.names("/sub-01/anat"), traces.names("sub-01")
    (True, True, True)
    >>> traces.names("sub-011_T2starw"), traces.names("sub-01_S_2_swi"), traces.names("xsub-01")
    (False, False, False)
    """

    def __init__(self, participant: str, others: Iterable[str]):
        longer = {other[len(participant) :] for other in others if other.startswith(participant)}
        end = r"(?![^\W_])"
        but = "".join(f"(?!{re.escape(rest)}{end})" for rest in sorted(longer - {""}))
        # JSON may hold a letter as its number.
        forms = {participant, json.dumps(participant)[1:-1]}
        texts = "|".join(re.escape(form) for form in sorted(forms))
        self._pattern = re.compile(rf"(?<![^\W_])(?:{texts}){end}{but}")

    def names(self, text: str) -> bool:
        """Whether ``text`` names the participant."""
        return self._pattern.search(text) is not None

    def named_by(self, path: Path) -> bool:
        """Whether the last part of ``path`` names the participant, as text or in base64.

        Snakemake's records of an output have its path in base64 as name; a long one is split into
        folders whose names begin with ``@``.
        """
        if self.names(path.name):
            return True
        coded = path.name.removeprefix("@")
        for folder in path.parents:
            if not folder.name.startswith("@"):
                break
            coded = folder.name[1:] + coded
        with contextlib.suppress(binascii.Error, ValueError):
            whole = coded[: len(coded) // 4 * 4]
            return self.names(
                base64.b64decode(whole, b"-_", validate=True).decode(errors="replace")
            )
        return False

    def clean(self, path: Path, *, dry: bool) -> str | None:
        """Take the participant out of the content of ``path``; what was done, None for nothing.

        Rows of Parquet and SQLite, and lines of logs and TSVs, are taken out. Any other text that
        names the participant is removed as a whole. With ``dry`` the file stays as it is.
        """
        with path.open("rb") as stream:
            start = stream.read(len(_SQLITE))
        if start == _SQLITE:
            return _counted(self._clean_sqlite(path, dry), "decisions")
        if start.startswith(_PARQUET):
            return _counted(self._clean_parquet(path, dry), "rows of tables")
        # A path of the system may hold bytes that are no text.
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        if not self.names(text):
            return None
        if path.suffix not in _LINES:
            if not dry:
                path.unlink()
            return "1 files that named the participant"
        lines = text.splitlines(keepends=True)
        kept = [line for line in lines if not self.names(line)]
        if not dry:
            with whole_file(path) as temporary:
                temporary.write_bytes("".join(kept).encode("utf-8", "surrogateescape"))
        return f"{len(lines) - len(kept)} lines of logs"

    def _clean_parquet(self, path: Path, dry: bool) -> int:
        try:
            table = pq.read_table(path, partitioning=None)
        except (OSError, pa.ArrowInvalid) as error:
            raise CMBurdenError(
                f"{path}: not a readable table; remove it and give this again"
            ) from error
        named = [False] * len(table)
        for column in table.columns:
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                here = [text is not None and self.names(text) for text in column.to_pylist()]
                named = [before or now for before, now in zip(named, here, strict=True)]
        if any(named) and not dry:
            kept = table.filter(pa.array([not one for one in named]))
            with whole_file(path) as temporary:
                pq.write_table(kept, temporary, **PARQUET)
        return sum(named)

    def _clean_sqlite(self, path: Path, dry: bool) -> int:
        """Delete rows and overwrite their place; the number of rows."""
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=10)) as base:
                base.execute("PRAGMA secure_delete=ON")
                number = sum(self._clean_rows(base, name, dry) for name in _tables_of(base))
                if number and not dry:
                    base.commit()
                    base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    base.execute("VACUUM")
                    base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return number
        except sqlite3.Error as error:
            raise CMBurdenError(
                f"{path}: cannot be changed ({error}); end cmburden review, or restore the file, "
                "and give this again"
            ) from error

    def _clean_rows(self, base: sqlite3.Connection, table: str, dry: bool) -> int:
        quoted = '"' + table.replace('"', '""') + '"'
        # The name is one of the file's own tables, in SQLite's quotes.
        rows = base.execute(f"SELECT rowid, * FROM {quoted}").fetchall()
        named = [
            (row[0],) for row in rows if any(isinstance(v, str) and self.names(v) for v in row[1:])
        ]
        if not dry:
            base.executemany(f"DELETE FROM {quoted} WHERE rowid = ?", named)
        return len(named)


def _tables_of(base: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [name for (name,) in base.execute(query)]


def _counted(number: int, what: str) -> str | None:
    return f"{number} {what}" if number else None
