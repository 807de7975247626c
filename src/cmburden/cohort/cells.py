"""Reads a TSV file as people write it: cells of text, whatever encoding, line end or separator."""

from __future__ import annotations

import codecs
import csv
import re
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.cohort.columns import is_date

_MISSING = frozenset(
    (
        *("", "n/a", "na", "nan", "n.a.", "null", ".", "-", "--", "#n/a", "<na>"),
        *("#value!", "#ref!", "#div/0!", "#name?", "#null!", "#num!"),
    )
)
#: Words for a missing value among numbers. A site may have such a name.
_NO_NUMBER = frozenset(
    (
        *("missing", "unknown", "unk", "?", "none", "not available", "not done", "not tested"),
        *("nd", "n.d.", "nt", "n.t.", "refused", "no data", "n.k.", "nk", "not known"),
    )
)
#: Most items that a sentence lists, and most characters of an item.
_MOST_LISTED, _MOST_SHOWN = 5, 40
#: Byte order marks and the encodings that they stand for; that of UTF-32 begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Separators of files that are not separated by tabs.
_SEPARATORS = {",": "commas", ";": "semicolons"}


def read_tsv(path: Path, problems: list[str]) -> pd.DataFrame | None:
    """All cells as text, missing ones None; None where there is no such file or no row in it.

    A quote is a letter as any other, as BIDS says, but for a pair of quotes around a whole cell. A
    row ends at a line end only. ``problems`` gets a sentence for each oddity.
    """
    if not path.is_file():
        return None
    lines = [line for line in _lines(_text(path, problems)) if line.strip()]
    if not lines:
        problems.append(f"{path.name} is empty")
        return None
    header, *rows = _cells(lines, path.name, problems)
    names = [name.strip() for name in header]
    ragged = [number for number, row in enumerate(rows, start=2) if len(row) != len(names)]
    if ragged:
        problems.append(
            f"{path.name}: line(s) {some(ragged)} have not {len(names)} cells; missing cells are "
            "taken as n/a, surplus cells are dropped"
        )
    whole = [(row + [""] * len(names))[: len(names)] for row in rows]
    frame = pd.DataFrame(whole, columns=names, dtype=object)
    return _each_column_once(frame, path.name, problems).map(_cell)


def _text(path: Path, problems: list[str]) -> str:
    """The text of ``path``: UTF-8, or what its first bytes say, or else Windows-1252."""
    content = path.read_bytes()
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is None and content[1:2] == b"\0":
        encoding = "utf-16-le"  # without a mark; every second byte of plain letters is 0
    elif encoding is None and content[:1] == b"\0":
        encoding = "utf-16-be"
    try:
        text = content.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        if encoding not in (None, "utf-8"):
            problems.append(f"{path.name} is damaged {encoding.upper()}: some letters are lost")
            text = content.decode(encoding, errors="replace")
        else:
            problems.append(
                f"{path.name} is not UTF-8: read as Windows-1252 (Latin-1); save it as UTF-8"
            )
            # Five bytes have no letter in Windows-1252; Latin-1 has one for each byte.
            text = content.decode("cp1252", errors="replace")
    else:
        if encoding not in (None, "utf-8"):
            problems.append(f"{path.name} is {encoding.upper()}: read as such; save it as UTF-8")
    return text.removeprefix("\ufeff").replace("\0", "")


def _lines(text: str) -> list[str]:
    """Lines of ``text``, which end with a line feed, or with a carriage return where there is none.

    Other letters that Unicode calls line ends stay in their cells.
    """
    return text.split("\n" if "\n" in text else "\r")


def _cells(lines: list[str], name: str, problems: list[str]) -> list[list[str]]:
    """The cells of each line."""
    first = lines[0]
    if "\t" in first:
        return _unquoted([line.split("\t") for line in lines], name, problems)
    marks = [mark for mark in _SEPARATORS if mark in first]
    if marks:
        mark = max(marks, key=first.count)
        problems.append(f"{name} is separated by {_SEPARATORS[mark]}, not tabs; read as such")
        return [_csv_cells(line, mark) for line in lines]
    spaced = [line.split() for line in lines]
    if len(spaced[0]) > 1 and len(set(map(len, spaced))) == 1:
        problems.append(f"{name} is separated by blanks, not tabs; read as such")
        return spaced
    return _unquoted([[line] for line in lines], name, problems)


def _csv_cells(line: str, mark: str) -> list[str]:
    """Cells of a line of CSV. A quote that does not close reaches no further than its line."""
    try:
        return next(csv.reader([line], delimiter=mark))
    except csv.Error:  # a cell of more than 131,072 letters
        return line.split(mark)


def _unquoted(rows: list[list[str]], name: str, problems: list[str]) -> list[list[str]]:
    """``rows`` without the quotes around whole cells, which spreadsheets write."""
    number = 0
    for row in rows:
        for place, cell in enumerate(row):
            bare = cell.strip()
            if len(bare) > 1 and bare[0] == bare[-1] == '"':
                row[place] = bare[1:-1].replace('""', '"')
                number += 1
    if number:
        problems.append(f"{name}: {number} cell(s) are in quotes; the quotes are taken away")
    return rows


def _each_column_once(frame: pd.DataFrame, name: str, problems: list[str]) -> pd.DataFrame:
    """``frame`` without columns that have no name, and without repeated ones."""
    frame = frame.loc[:, [bool(column) for column in frame.columns]]
    again = frame.columns.duplicated()
    if again.any():
        twice = sorted(set(frame.columns[again]))
        problems.append(f"{name}: column(s) {some(twice)} occur twice; the first is used")
    return frame.loc[:, ~again]


def _cell(value: str) -> str | None:
    value = value.strip()
    return None if value.lower() in _MISSING else value


#: A number as people write one. Each letter has one place in the pattern: a search takes linear
#: time.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_YEAR = re.compile(r"(?:19|20)[0-9]{2}")
_WHOLE = re.compile(r"[+-]?[0-9]+")
#: Zeros before a number make a code of it, such as a postcode: the number would lose them.
_CODE = re.compile(r"[+-]?0[0-9]")
#: Longer numbers stay text, and 64 bits hold no larger ones.
_LONGEST, _LARGEST = 40, 2**63 - 1
#: Whole numbers up to this one are exact in double precision.
_EXACT = 2**53


def typed(values: pd.Series, name: str, problems: list[str]) -> pd.Series:
    """``values`` (text or None) as Int64 or Float64 where that changes no number, else as text.

    Among numbers, a word for a missing value is n/a, and a comma is that of decimals. ``name`` is
    that of file and column, for the sentence in ``problems``.
    """
    values = _with_points(_without_words(values, name, problems), name, problems)
    cells = [cell for cell in values if cell is not None and not pd.isna(cell)]
    if not cells or not all(map(_NUMBER.fullmatch, cells)):
        _say_mixed(cells, name, problems)
        return values.astype("string")
    if any(map(_CODE.match, cells)):
        problems.append(f"{name}: its numbers begin with zeros; kept as text")
        return values.astype("string")
    if max(map(len, cells)) <= _LONGEST:
        if all(map(_WHOLE.fullmatch, cells)):
            if all(abs(int(cell)) <= _LARGEST for cell in cells):
                return values.map(int, na_action="ignore").astype("Int64")
        elif all(abs(float(cell)) <= _EXACT for cell in cells):
            numbers = values.map(float, na_action="ignore").astype("Float64")
            whole = all(float(cell).is_integer() for cell in cells)
            return numbers.astype("Int64") if whole else numbers
    problems.append(f"{name}: some numbers are too long to stay exact; kept as text")
    return values.astype("string")


def _without_words(values: pd.Series, name: str, problems: list[str]) -> pd.Series:
    """``values`` without words such as "missing", where at least half of the cells are numbers."""
    words = values.map(lambda cell: cell.lower() in _NO_NUMBER, na_action="ignore").eq(True)
    if not words.any() or 2 * sum(map(_looks_a_number, values.dropna())) < values.notna().sum():
        return values
    problems.append(
        f"{name}: {int(words.sum())} cell(s) {some(sorted(set(values[words])))} among numbers are "
        "taken as n/a"
    )
    return values.mask(words, None)


def _with_points(values: pd.Series, name: str, problems: list[str]) -> pd.Series:
    """``values`` with points for the commas of decimals, where all cells are then numbers.

    1,500 may be 1.5 or 1500: where every comma has three digits behind it, the cells stay text.
    """
    cells = list(values.dropna())
    commas = [cell for cell in cells if "," in cell]
    if not commas or not all(map(_looks_a_number, cells)):
        return values
    if all(_THOUSANDS.fullmatch(cell) for cell in commas):
        problems.append(
            f"{name}: {some(commas)}: the comma may be that of decimals or of thousands; kept as "
            "text: write numbers with a point"
        )
        return values
    problems.append(f"{name}: {len(commas)} number(s) have a comma for decimals; read as a point")
    return values.map(lambda cell: cell.replace(",", "."), na_action="ignore")


def _looks_a_number(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell) or _DECIMAL_COMMA.fullmatch(cell))


def _say_mixed(cells: list[str], name: str, problems: list[str]) -> None:
    """A sentence where most cells are numbers and some are not: a model takes each as a level."""
    others = [cell for cell in cells if not _looks_a_number(cell)]
    if others and 2 * len(others) < len(cells):
        problems.append(
            f"{name}: {len(others)} cell(s) are no numbers ({some(sorted(map(shown, set(others))))}"
            "); the column is kept as text, each value a level: write numbers, or n/a"
        )


def shown(text: str, longest: int = 20) -> str:
    """A cell in a sentence: not when somebody was born, nor what may be a note.

    >>> shown("1951-03-02"), shown("1951"), shown("AD")
    ('(a date)', '(a year)', 'AD')
    """
    if is_date(text):
        return "(a date)"
    if _YEAR.fullmatch(text):
        return "(a year)"
    return text if len(text) <= longest else "(a long text)"


def some(items: list[Any]) -> str:
    """The first items, each cut to a length that one reads, and how many more there are."""
    texts = [str(item) for item in items[:_MOST_LISTED]]
    listed = ", ".join(t if len(t) <= _MOST_SHOWN else f"{t[:_MOST_SHOWN]}..." for t in texts)
    left = len(items) - _MOST_LISTED
    return f"{listed} and {left} more" if left > 0 else listed
