"""Days as tables write them: 20110708, 2011-07-08, 7/8/2011, 8.7.2011."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.onboard.sheets import Sheet, some, whole

DAYS_A_YEAR = 365.25
_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:[ T].*)?")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?:[ T].*)?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
#: Dates in names of files: 30Aug2024, 01-Jan-2020, 09_15_16.
_NAMED_MONTH = re.compile(r"(?<!\d)(\d{1,2})[-_]?([A-Za-z]{3})[-_]?(\d{4})(?!\d)")
_NAMED_NUMBERS = re.compile(r"(?<!\d)(\d{2})_(\d{2})_(\d{2})(?!\d)")


def day_of(text: str, day_first: bool | None = False) -> datetime.date | None:
    """The day that ``text`` names; None where it names none.

    ``day_first`` says which of 7/8/2011 is the day; with None such a text names no day, unless both
    numbers are equal. Between points the day is first.

    >>> day_of("20110708") == day_of("2011-07-08 00:00:00.0") == day_of("7/8/2011")
    True
    >>> day_of("8.7.2011"), day_of("08/07/2011", day_first=None)
    (datetime.date(2011, 7, 8), None)
    """
    text = whole(text)
    if found := _YEAR_FIRST.fullmatch(text):
        return _day(int(found[1]), int(found[3]), int(found[4]))
    if found := _YEAR_LAST.fullmatch(text):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        if found[2] == ".":
            return _day(year, second, first)
        if day_first is None:
            return _day(year, first, second) if first == second else None
        return _day(year, second, first) if day_first else _day(year, first, second)
    return None


def _day(year: int, month: int, day: int) -> datetime.date | None:
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None


def day_is_first(values: Iterable[str], doubtful: bool) -> bool | None:
    """Whether the day stands first in the dates of a column; None where nothing tells.

    ``doubtful``: the file went through a program of a country that writes the day first. Else a
    table is of the United States, where the month stands first.

    Raises
    ------
    ValueError
        Where some dates have the day first, others the month.

    >>> day_is_first(["7/8/2011", "13/8/2011"], doubtful=False)
    True
    >>> day_is_first(["7/8/2011"], doubtful=False), day_is_first(["7/8/2011"], doubtful=True)
    (False, None)
    """
    found = [match for text in values if (match := _YEAR_LAST.fullmatch(text))]
    pairs = [(int(m[1]), int(m[3])) for m in found if m[2] != "."]
    first, second = any(a > 12 for a, _ in pairs), any(b > 12 for _, b in pairs)
    if first and second:
        raise ValueError("some dates have the day first, others the month")
    if not first and not second and doubtful and any(a != b for a, b in pairs):
        return None
    return first


class Dates:
    """Days of a column of a table; ``problem`` is a sentence where the column does not tell."""

    def __init__(self, sheet: Sheet, name: str | None):
        self.problem: str | None = None
        self._first: bool | None = None
        values = sheet.values(name) if name else []
        # Excel writes semicolons where it writes the day first.
        try:
            self._first = day_is_first(values, doubtful=sheet.separator == ";")
        except ValueError as error:
            self.problem = f"{sheet.path}: column {name}: {error}; write all of them as 2011-07-08"
            return
        if self._first is None:
            self.problem = (
                f"{sheet.path}: column {name}: dates such as {values[0]} may be of the United "
                "States or not; write them as 2011-07-08, or give the table as it was downloaded"
            )

    def of(self, text: str) -> datetime.date | None:
        """The day that a cell of the column names; None where it names none, or may name two."""
        return day_of(text, self._first)


def years_between(earlier: datetime.date, later: datetime.date) -> float:
    """Years of 365.25 days."""
    return (later - earlier).days / DAYS_A_YEAR


def day_in_name(name: str) -> datetime.date | None:
    """The latest day that the name of a file holds: of its release, or of its download.

    >>> day_in_name("MAYOADIRL_MRI_MCH_11_01_22_31May2023.csv")
    datetime.date(2023, 5, 31)
    >>> day_in_name("MAYOADIRL_MRI_MCH_09_15_16.csv"), day_in_name("MRI_MCH.csv")
    (datetime.date(2016, 9, 15), None)
    """
    days = [
        _day(int(m[3]), _MONTHS.index(m[2].lower()) + 1, int(m[1]))
        for m in _NAMED_MONTH.finditer(name)
        if m[2].lower() in _MONTHS
    ]
    days += [_day(2000 + int(m[3]), int(m[1]), int(m[2])) for m in _NAMED_NUMBERS.finditer(name)]
    return max((day for day in days if day), default=None)


def newest(paths: Sequence[Path]) -> Path:
    """The file whose name holds the latest day; of files with equal content the first.

    Raises
    ------
    CMBurdenError
        When two files of different content have the latest day, or no name holds one.
    """
    days = {path: day_in_name(path.name) or datetime.date.min for path in paths}
    last = sorted(path for path in paths if days[path] == max(days.values()))
    if len({path.read_bytes() for path in last}) > 1:
        raise CMBurdenError(
            f"{some(path.name for path in last)}: which of these tables is the newest their names "
            "do not tell; name one of them"
        )
    return last[0]
