"""Codes of participants.tsv: of sex, of missing values, of categories; spellings of one level.

A code with one meaning is read. A code without one is named in a sentence and becomes n/a: it never
becomes a level, or a number, in silence.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

import pandas as pd

from cmburden.cohort.cells import shown, some
from cmburden.cohort.dictionary import Meaning, code_of

_SEXES = {
    **dict.fromkeys(("m", "male", "males", "man", "men"), "M"),
    **dict.fromkeys(("f", "female", "females", "woman", "women"), "F"),
    # BIDS: "O", "other".
    **dict.fromkeys(("o", "other", "intersex", "diverse", "non-binary", "nonbinary"), "O"),
}
#: Codes of missing values in use where nothing is declared.
_BELOW = frozenset((-7, -8, -9, -77, -88, -99, -777, -888, -999, -9999, -99999))
_ABOVE = frozenset((99, 777, 888, 999, 9999, 99999))
#: Codes of missing values that are as often numbers.
_FEW = frozenset((-1, -2, -4))
#: Largest codes of missing values that a sentence names even where they are kept.
_PLAIN = frozenset((999, 9999, 99999))
#: A code is none of a column's values where it is more than this many times their largest.
_FAR = 3
#: Words of names of columns whose whole numbers name something.
_NOMINAL = frozenset(
    (
        *("scanner", "site", "centre", "center", "arm", "group", "treatment"),
        *("race", "ethnicity", "language", "genotype", "cohort"),
    )
)
_WORD = re.compile(r"[a-z]+")
_LONGEST_LABEL = 40


def sexes(
    values: pd.Series, where: str, column: str, meaning: Meaning, problems: list[str]
) -> pd.Series:
    """``values`` (text or None) as M, F or O, by ``Levels`` where they are declared."""

    def read(cell: str) -> str | None:
        label = meaning.levels.get(code_of(cell))
        known = _SEXES.get(label.lower()) if label else None
        return known or _SEXES.get(cell.lower()) or label

    given = values.dropna()
    declared = given.map(code_of).isin(meaning.missing)
    read_as = given[~declared].map(read)
    lost = read_as.isna()
    if lost.any():
        codes = sorted({shown(text) for text in given[~declared][lost]})
        problems.append(
            f"{where}: code(s) {some(codes)} of column {column!r} are no sex (M, F, O) and taken "
            f"as n/a for {int(lost.sum())} row(s); say what they mean by Levels of {column!r} in "
            'the .json beside the file, such as "1": "male"'
        )
    own = sorted(set(read_as.dropna()) - {"M", "F", "O"})
    if own:
        problems.append(
            f"{where}: {some(own)}, by Levels of column {column!r}, is neither male nor female; "
            "kept as a level of its own"
        )
    return read_as.reindex(values.index).astype(object).where(lambda one: one.notna(), None)


def without_declared(values: pd.Series, meaning: Meaning) -> pd.Series:
    """``values`` without the codes that the dictionary says are missing values."""
    if not meaning.missing:
        return values
    return values.mask(values.map(code_of, na_action="ignore").isin(meaning.missing), None)


def labelled(values: pd.Series, where: str, meaning: Meaning, problems: list[str]) -> pd.Series:
    """``values`` with numbers replaced by their labels of ``Levels``; other cells stay.

    Not where the labels are numbers themselves, or Levels name less than half of the codes in use.
    """
    labels = meaning.levels
    used = set(values.dropna().map(code_of))
    numbers = {code for code in used if _is_number(code)}
    named = numbers & set(labels)
    if not named or all(map(_is_number, labels.values())):
        return values
    if 2 * len(named) < len(used):
        problems.append(
            f"{where}: Levels name {len(named)} of its {len(used)} values; they are not used"
        )
        return values
    if unnamed := sorted(numbers - named):
        problems.append(
            f"{where}: Levels do not name {some(unnamed)}; kept as level(s): name them in the "
            ".json beside the file, or write n/a"
        )
    words = _words_of(labels)
    read_as = {cell: words.get(code_of(cell), cell) for cell in set(values.dropna())}
    return values.map(lambda cell: read_as[cell] if _is_number(cell) else cell, na_action="ignore")


def _words_of(labels: Mapping[str, str]) -> dict[str, str]:
    """A word for each code: its label; the code where that is long; both where two are alike."""
    short = {c: text if len(text) <= _LONGEST_LABEL else c for c, text in labels.items()}
    if len(set(short.values())) == len(short):
        return short
    return {code: f"{code}: {text}"[:_LONGEST_LABEL] for code, text in labels.items()}


def names_something(numbers: pd.Series, column: str, meaning: Meaning) -> bool:
    """True for whole numbers that name something by the column's name, such as scanner 1 to 4.

    Two of them are one contrast, as levels or as numbers. Levels that are numbers say numbers.
    """
    used = set(numbers.dropna())
    named = bool(_NOMINAL & set(_WORD.findall(column.lower())))
    whole = all(float(value).is_integer() for value in used)
    return named and not meaning.levels and len(used) > 2 and whole


def without_codes(
    numbers: pd.Series, where: str, meaning: Meaning, problems: list[str]
) -> pd.Series:
    """``numbers`` without usual codes of missing values (-9, 999) that are far from the others."""
    present = sorted(set(numbers.dropna().astype(float)))
    candidates = [value for value in present if not meaning.allows(value)]
    gone = _far(candidates, present)
    if gone:
        number = int(numbers.isin(gone).sum())
        problems.append(
            f"{where}: {number} value(s) {_listed(gone)} are taken as n/a, as a usual code of "
            'missing values; if they are values, say "Minimum" and "Maximum" of the column in the '
            ".json beside the file"
        )
        numbers = numbers.mask(numbers.isin(gone))
    left = [value for value in present if value not in gone]
    if kept := [value for value in candidates if value in left and _doubtful(value, left)]:
        problems.append(
            f"{where}: {_listed(kept)} may be a code of missing values; kept as a number: write "
            "n/a if it is one"
        )
    return numbers


def _far(candidates: list[float], present: list[float]) -> list[float]:
    """Codes among ``candidates`` that are far from all values ``present`` that are no codes."""
    others = [value for value in present if value not in _BELOW | _ABOVE]
    low, high = min([*others, 0.0]), max([*others, 0.0])
    below = [value for value in candidates if value in _BELOW and value < _FAR * low]
    return below + [value for value in candidates if value in _ABOVE and value > _FAR * high]


def _doubtful(value: float, present: list[float]) -> bool:
    """True for a number that may be a code, though it is not far from the others ``present``."""
    if value in _BELOW:
        return True
    if value in _PLAIN:
        return value == max(present)
    # Some cohorts have -4 and -1 for missing: the only negative one among whole numbers.
    alone = [one for one in present if one < 0] == [value]
    return alone and value in _FEW and len(present) > 2 and all(v.is_integer() for v in present)


def without_codes_of_text(values: pd.Series, where: str, problems: list[str]) -> pd.Series:
    """``values`` (text) without cells such as -9, which name no site and no diagnosis."""
    codes = values.map(code_of, na_action="ignore")
    gone = codes.isin([f"{code:g}" for code in _BELOW])
    if gone.any():
        problems.append(
            f"{where}: {int(gone.sum())} value(s) {some(sorted(set(codes[gone])))} are taken as "
            "n/a, as a usual code of missing values"
        )
        return values.mask(gone, None)
    return values


def one_spelling(cells: Iterable[pd.Series]) -> tuple[dict[str, str], list[list[str]]]:
    """The most frequent spelling of each level that ``cells`` spell in several ways, by spelling.

    Spellings of one level differ in the case of letters, in blanks, or in how Unicode composes a
    letter. Returns the replacements, and the spellings that each level had.
    """
    numbers: Counter[str] = Counter()
    for values in cells:
        numbers.update(values.dropna().astype(str))
    alike: dict[str, list[str]] = {}
    for text in sorted(numbers, key=lambda text: (-numbers[text], text)):
        key = " ".join(unicodedata.normalize("NFC", text).split()).casefold()
        alike.setdefault(key, []).append(text)
    several = [spellings for spellings in alike.values() if len(spellings) > 1]
    return {text: one[0] for one in several for text in one[1:]}, several


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(numbers: list[float]) -> str:
    return some([f"{number:g}" for number in numbers])
