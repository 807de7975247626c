"""Ages as people write them: years, months and days, with or without a unit, rounded, or no age."""

from __future__ import annotations

import re

import pandas as pd

from cmburden.cohort.cells import shown, some
from cmburden.cohort.dictionary import Meaning

#: An age above this is taken as none: the oldest people who ever lived were 115 to 122.
_OLDEST = 115
#: Below this an age is implausible in a cohort whose median age is at least ``_OLD_COHORT``.
_ADULT, _OLD_COHORT = 18, 40
#: A longer text is no age.
_LONGEST = 20
#: Units in a cell (DICOM writes 071Y and 852M) or of a column: how many are a year.
_A_YEAR = {"y": 1.0, "m": 12.0, "w": 365.25 / 7, "d": 365.25}
_AGE = re.compile(
    r"[>≥]?=? *(\d+(?:[.,]\d+)?) *(\+|y(?:rs?|ears?)?|m(?:os?|onths?)?|w(?:eeks?)?|d(?:ays?)?)?",
    re.IGNORECASE,
)
#: Words of a column's name that say its unit.
_IN_NAME = {"months": "m", "month": "m", "mo": "m", "weeks": "w", "days": "d", "day": "d"}


def parse_age(text: str, unit: str = "y") -> float | None:
    """Age in years; '90+' and '>89' are read as their number. ``unit``: of a number without one.

    >>> parse_age("90+"), parse_age("71.5"), parse_age("n/a"), parse_age("n.k.")
    (90.0, 71.5, None, None)
    >>> parse_age("852", "m"), parse_age("852M"), parse_age("071Y"), parse_age("852")
    (71.0, 71.0, 71.0, None)
    """
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    match = _AGE.fullmatch(text)
    if not match:
        return None
    given = (match[2] or "").lower()[:1].replace("+", "") or unit
    age = float(match[1].replace(",", ".")) / _A_YEAR[given]
    return age if age <= _OLDEST else None


def unit_of(column: str, meaning: Meaning) -> str:
    """The unit of ages in ``column``: y, m, w or d. Units of the dictionary come first.

    >>> unit_of("age_months", Meaning()), unit_of("age", Meaning(units="months"))
    ('m', 'm')
    >>> unit_of("age_mri", Meaning())
    'y'
    """
    if meaning.units[:1] in _A_YEAR:
        return meaning.units[:1]
    words = re.findall("[a-z]+", column.lower())
    return next((unit for word, unit in _IN_NAME.items() if word in words), "y")


def ages(
    values: pd.Series, where: str, column: str, meaning: Meaning, problems: list[str]
) -> pd.Series:
    """``values`` (text or None) of ``column`` of the file ``where`` as years, Float64."""
    unit = unit_of(column, meaning)
    years = values.map(lambda text: parse_age(text, unit), na_action="ignore").astype("Float64")
    read = values[years.notna()]
    if unit != "y" and len(read):
        words = {"m": "months", "w": "weeks", "d": "days"}[unit]
        problems.append(f"{where}: column {column!r} is in {words}; converted to years")
    elif len(inside := sorted({t for t in read if re.search(r"[mwd]", t, re.IGNORECASE)})):
        problems.append(
            f"{where}: age(s) {some(inside)} of column {column!r} are in months, weeks or days; "
            "converted to years"
        )
    capped = sorted({text for text in read if re.search(r"[+>≥]", text)})
    if capped:
        problems.append(f"{where}: age(s) {some(capped)} are read as the number they hold")
    lost = sorted({shown(text, _LONGEST) for text in values[years.isna() & values.notna()]})
    if lost:
        problems.append(
            f"{where}: age(s) {some(lost)} of column {column!r} are no age in years and taken as "
            'n/a; write years such as 71.5, or say "Units": "months" in the .json beside the file'
        )
    return years


def plausible(years: pd.Series, where: str, meaning: Meaning, problems: list[str]) -> pd.Series:
    """``years`` without ages of children in a cohort of older people; a sentence lists them.

    A declared ``Minimum`` of participants.json that holds an age makes it plausible.
    """
    young = (years < _ADULT).fillna(False)
    if not young.any():
        return years
    low = young & ~years.map(meaning.allows, na_action="ignore").fillna(False).astype(bool)
    if not low.any():
        return years
    listed = some([f"{age:g}" for age in sorted(set(years[low]))])
    many = f"{where}: {int(low.sum())} age(s) are below {_ADULT} years ({listed})"
    if float(years.median()) < _OLD_COHORT:
        problems.append(f"{many}; they are taken as they are: mend those that are wrong")
        return years
    problems.append(
        f"{many} in a cohort of median age {years.median():g}; they are taken as n/a: mend them, "
        'or say "Minimum" of age in participants.json if they are right'
    )
    return years.mask(low)
