"""Standard populations by age and sex: two that are published, or a user's table.

Sources: Eurostat, Revision of the European Standard Population, 2013 (ISBN 978-92-79-31094-2);
Ahmad et al., Age standardization of rates: a new WHO standard, GPE Discussion Paper 31, World
Health Organization 2001, table 4. Neither gives weights by sex: each sex has half.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from itertools import pairwise
from pathlib import Path

from cmburden.core import resources
from cmburden.core.errors import CMBurdenError
from cmburden.core.foreign import UnreadableFile, read_bytes, text_of

SEXES = ("F", "M")
_STEP_YEARS = 5
#: From this age on, nobody of a standard is counted: the last band of each is open.
_END_YEARS = 105.0
#: Weights of bands of five years, the first from 0, the last open.
_EUROPEAN_2013 = (
    *(5000, 5500, 5500, 5500, 6000, 6000, 6500, 7000, 7000, 7000),
    *(7000, 6500, 6000, 5500, 5000, 4000, 2500, 1500, 800, 200),
)
_WHO_2000 = (
    *(8.86, 8.69, 8.60, 8.47, 8.22, 7.93, 7.61, 7.15, 6.59, 6.04, 5.37),
    *(4.55, 3.72, 2.96, 2.21, 1.52, 0.91, 0.44, 0.15, 0.04, 0.005),
)
_NAMED = {
    "european2013": ("European Standard Population 2013", _EUROPEAN_2013),
    "who2000": ("WHO World Standard 2000-2025", _WHO_2000),
}
_COLUMNS = ("age_from", "sex", "weight")


@dataclasses.dataclass(frozen=True)
class Standard:
    """``name`` for print. ``weights``: of each sex, (age_from in years, weight) by rising age."""

    name: str
    weights: dict[str, tuple[tuple[float, float], ...]]

    def weight(self, sex: str, low: float, high: float) -> float:
        """Weight of people of ``sex`` from ``low`` to below ``high`` years.

        A band of the standard that is cut gives a share by its length.

        >>> standard_of("european2013").weight("F", 50, 60) + standard_of("european2013").weight(
        ...     "M", 50, 60
        ... )
        13500.0
        """
        bands = self.weights[sex]
        starts = [start for start, _ in bands]
        ends = [*starts[1:], max(_END_YEARS, starts[-1] + _STEP_YEARS)]
        total = 0.0
        for (start, weight), end in zip(bands, ends, strict=True):
            inside = min(high, end) - max(low, start)
            total += weight * max(inside, 0.0) / (end - start)
        return total


def standard_of(choice: str) -> Standard:
    """The standard population of config ``report.standard``: a name, or a table of a user's.

    Raises
    ------
    CMBurdenError
        Where the table cannot be read as age_from, sex (M, F) and weight.
    """
    if choice in _NAMED:
        name, weights = _NAMED[choice]
        bands = tuple((float(_STEP_YEARS * n), w / len(SEXES)) for n, w in enumerate(weights))
        return Standard(name, dict.fromkeys(SEXES, bands))
    return Standard(Path(choice).name, _read(resources.root() / choice))


def _fault(path: Path, words: str) -> CMBurdenError:
    return CMBurdenError(
        f"config report.standard: {path}: {words}; give {', '.join(_NAMED)} or a table with "
        f"the columns {', '.join(_COLUMNS)} (sex M or F), a row a band of age and sex"
    )


def _read(path: Path) -> dict[str, tuple[tuple[float, float], ...]]:
    """Bands of each sex of the table ``path``, separated by tabs or commas."""
    of_sex: dict[str, list[tuple[float, float]]] = {sex: [] for sex in SEXES}
    for number, cells in enumerate(_rows(path), start=2):
        sex = cells.get("sex", "").upper()[:1]
        age, weight = (_number(cells.get(name, "")) for name in ("age_from", "weight"))
        if sex not in of_sex or age is None or weight is None:
            raise _fault(path, f"row {number} is no age, M or F, and weight of at least 0")
        of_sex[sex].append((age, weight))
    bands = {sex: tuple(sorted(rows)) for sex, rows in of_sex.items()}
    for sex, rows in bands.items():
        if not any(weight for _, weight in rows):
            raise _fault(path, f"it has no weight of sex {sex}")
        if any(one[0] == two[0] for one, two in pairwise(rows)):
            raise _fault(path, f"it has an age_from of sex {sex} twice")
    return bands


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of a table with the columns of a standard, by column."""
    try:
        lines = text_of(read_bytes(path)).removeprefix("\ufeff").splitlines()
    except UnreadableFile as error:
        raise _fault(path, str(error)) from error
    mark = "\t" if lines and "\t" in lines[0] else ","
    table = [row for row in csv.reader(lines, delimiter=mark) if any(map(str.strip, row))]
    names = [name.strip().lower() for name in table[0]] if table else []
    if missing := [name for name in _COLUMNS if name not in names]:
        raise _fault(path, f"it has no column {', '.join(missing)}")
    return [dict(zip(names, map(str.strip, row), strict=False)) for row in table[1:]]


def _number(cell: str) -> float | None:
    try:
        value = float(cell.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
