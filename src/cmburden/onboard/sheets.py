"""Tables of others: CSV, TSV and Excel's XLSX, whatever separator, encoding or spelling of names.

All cells are text. Names of columns are compared without regard to case, blanks and punctuation:
``Definite.MCH`` is ``definite_mch``.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import functools
import io
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import openpyxl

from cmburden.core.errors import CMBurdenError
from cmburden.core.foreign import UnreadableFile, printable, read_bytes, text_of
from cmburden.core.numbers import is_number

#: Cells that say: no value.
_EMPTY = {"", "n/a", "na", "nan", "null", "#n/a", "<na>", "."}
#: Codes of ADNI's and AIBL's tables that say the same. Never of a coordinate.
_CODES = {"-4", "-1"}
#: Endings of the names of tables.
ENDINGS = {".csv", ".tsv", ".txt", ".xlsx"}
_SEPARATORS = "\t;,|"
#: First bytes of an XLSX file (a zip archive), and of Excel's format before 2007.
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
#: Most bytes that an XLSX file unpacks to.
_MOST_UNPACKED = 2**29
#: Letters of a cell that csv reads at most.
_LONGEST_CELL = 2**24
#: Most names, lines or files that a sentence lists.
MOST_LISTED = 8


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table: its line in the file, and its cells by the plain names of the columns."""

    line: int
    cells: tuple[str, ...]
    places: dict[str, int]

    def text(self, *names: str) -> str:
        """The cell of the first of ``names`` that has a value; '' where none has."""
        for name in names:
            place = self.places.get(plain(name))
            if place is not None and self.cells[place].casefold() not in _EMPTY:
                return self.cells[place]
        return ""

    def coded(self, *names: str) -> str:
        """As ``text``, with the codes -4 and -1 as no value, and 1.0 as 1."""
        for name in names:
            value = whole(self.text(name))
            if value and value not in _CODES:
                return value
        return ""

    def number(self, *names: str) -> float | None:
        """As ``coded``, as a finite number; None where the cell holds none."""
        return number(self.coded(*names))


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A table of others.

    Attributes
    ----------
    path : Path
    header : tuple of str
        Names of the columns as the file spells them, without blanks at the ends.
    rows : tuple of Row
        Rows with at least one cell that is not empty.
    separator : str
        ',', ';', tab or '|'; '' for XLSX.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    separator: str = ""

    def column(self, *names: str) -> str | None:
        """The first of ``names`` that is a column, as the file spells it; None where none is."""
        for name in names:
            for spelled in self.header:
                if plain(spelled) == plain(name):
                    return spelled
        return None

    def values(self, name: str) -> list[str]:
        """Cells of a column that have a value, as written."""
        return [text for row in self.rows if (text := row.text(name))]

    def levels(self, name: str) -> dict[str, int]:
        """Level -> number of rows of a column, sorted; empty cells are the level ''."""
        return dict(sorted(Counter(row.text(name) for row in self.rows).items()))

    def described(self, name: str) -> str:
        """The levels of a column with their numbers of rows, for a sentence."""
        return some(f"{level or 'empty'} ({n})" for level, n in self.levels(name).items())

    def need(self, *groups: Sequence[str]) -> None:
        """Raise CMBurdenError unless each of ``groups`` has a column; it lists what was seen."""
        lacking = [" or ".join(names) for names in groups if self.column(*names) is None]
        if lacking:
            raise CMBurdenError(
                f"{self.path}: column(s) {', '.join(lacking)} are missing; the file has "
                f"{', '.join(filter(None, self.header)) or 'none'}; name the table that was meant, "
                "or report its header if the table is of a newer release"
            )


@functools.lru_cache(4096)
def plain(name: str) -> str:
    """``name`` of a column for comparison.

    >>> plain("NIFTI File Name ") == plain("nifti_file_name")
    True
    """
    return re.sub(r"[\W_]+", "", name.casefold())


def whole(text: str) -> str:
    """``text`` without the decimals that a program put behind a whole number.

    >>> whole("685.0"), whole("6.9"), whole("I346239")
    ('685', '6.9', 'I346239')
    """
    return re.sub(r"^([-+]?\d+)\.0+$", r"\1", text.strip())


def number(text: str) -> float | None:
    """A finite number, with a point or a comma for the decimals; None where ``text`` is none.

    >>> number("6,9"), number("-20.8"), number("1,234.5"), number("nan")
    (6.9, -20.8, None, None)
    """
    if re.fullmatch(r"[-+]?\d+,\d+", text.strip()):
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if is_number(value) else None


def some(items: Iterable[Any]) -> str:
    """``items`` for a sentence, in their order.

    >>> some(range(1, 11))
    '1, 2, 3, 4, 5, 6, 7, 8 and 2 more'
    """
    listed = [str(item) for item in items]
    more = f" and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
    return ", ".join(listed[:MOST_LISTED]) + more


def stop(problems: Sequence[str]) -> None:
    """Raise one CMBurdenError of all ``problems``, if there are any."""
    if problems:
        more = len(problems) - 5 * MOST_LISTED
        listed = [*problems[: 5 * MOST_LISTED], *([f"and {more} more"] if more > 0 else [])]
        raise CMBurdenError("\n".join(listed))


def read(path: Path) -> Sheet:
    """The table at ``path``.

    Raises
    ------
    CMBurdenError
        When the file cannot be read, is no table, names a column twice, or has rows with more
        cells than its header.
    """
    path = Path(path)
    try:
        content = read_bytes(path)
    except UnreadableFile as error:
        raise CMBurdenError(f"{path}: cannot be read: {error}; name a table") from None
    if content.startswith(_OLD_EXCEL):
        raise CMBurdenError(f"{path}: is of Excel before 2007; save it as .xlsx or as CSV")
    if content.startswith(_ZIP):
        separator, lines = "", list(_workbook(path, content))
    else:
        separator, lines = _text_table(path, content)
    if not lines:
        raise CMBurdenError(f"{path}: holds no rows; name a table with a header")
    (_, header), *rest = lines
    return _sheet(path, tuple(header), rest, separator)


def _sheet(
    path: Path, header: tuple[str, ...], lines: list[tuple[int, list[str]]], separator: str
) -> Sheet:
    known = Counter(plain(name) for name in header if plain(name))
    twice = sorted({name for name in header if known[plain(name)] > 1})
    if twice:
        raise CMBurdenError(
            f"{path}: column(s) {some(twice)} stand twice in its header; remove one of them"
        )
    long = [line for line, cells in lines if any(cells[len(header) :])]
    if long:
        raise CMBurdenError(
            f"{path}: line(s) {some(long)} have more cells than the header; mend the quotes or the "
            "separators there"
        )
    places = {plain(name): place for place, name in enumerate(header) if plain(name)}
    rows = tuple(
        Row(line, tuple((cells + [""] * len(header))[: len(header)]), places)
        for line, cells in lines
    )
    return Sheet(path, header, rows, separator)


def _text_table(path: Path, content: bytes) -> tuple[str, list[tuple[int, list[str]]]]:
    """Separator, and (line, cells) of the rows that are not empty, the header first."""
    text = text_of(content).removeprefix("\ufeff")
    if "\0" in text:
        raise CMBurdenError(f"{path}: is no text but a binary file; name a CSV, TSV or XLSX table")
    start = re.match(r"\s*sep=(.)\r?\n", text)  # a line that Excel understands
    first = text[start.end() :] if start else text.lstrip("\r\n")
    separator = start[1] if start else _separator(first.splitlines()[0] if first else "")
    begun = text[: len(text) - len(first)].count("\n")
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(first, newline=""), delimiter=separator)
    lines: list[tuple[int, list[str]]] = []
    line = begun + 1
    try:
        for cells in reader:
            tidy = [cell.strip() for cell in cells]
            if any(tidy):
                lines.append((line, tidy))
            line = begun + reader.line_num + 1
    except csv.Error as error:
        raise CMBurdenError(f"{path}, line {line}: is no table ({error}); mend it") from None
    return separator, lines


def _separator(header: str) -> str:
    """The separator of most cells of a header line, not counting what stands in quotes.

    >>> _separator('"RID","SCAN;DATE",X'), _separator("a;b;c"), _separator("a")
    (',', ';', ',')
    """
    bare = re.sub(r'"[^"]*"', "", header)
    return max(_SEPARATORS, key=bare.count) if any(s in bare for s in _SEPARATORS) else ","


def _workbook(path: Path, content: bytes) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of the rows that are not empty, of the first sheet that has any."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MOST_UNPACKED:
                raise ValueError(f"it unpacks to more than {_MOST_UNPACKED} bytes")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which no cell depends on
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            for sheet in book.worksheets:
                lines = []
                for line, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
                    tidy = [_cell(cell) for cell in cells]
                    if any(tidy):
                        lines.append((line, tidy))
                if lines:
                    return iter(lines)
    except Exception as error:  # openpyxl raises many kinds for a file that makes no sense
        raise CMBurdenError(
            f"{path}: cannot be read as a table of Excel ({printable(str(error))[:200]}); save it "
            "as .xlsx or as CSV"
        ) from None
    return iter(())


def _cell(value: Any) -> str:
    """A cell of Excel as text: whole numbers without decimals, days as 2011-07-08."""
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        return value.date().isoformat()
    return whole(str(value)) if isinstance(value, float) else str(value).strip()
