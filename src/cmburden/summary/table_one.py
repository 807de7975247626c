"""Characteristics of participants (Table 1), and of those without a usable scan: rows of `summary`.

Groups are strata by ``included``: everybody with a usable scan, by cohort, by contrast and presence
of a definite microbleed; and those without. References: STROBE items 13 and 14 (von Elm et al.,
Lancet 2007;370:1453).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd

from cmburden.core.text import natural
from cmburden.stats.standards import (
    difference_interval,
    difference_of_levels,
    difference_of_numbers,
)
from cmburden.summary.measures import (
    Characteristic,
    CharacteristicLevel,
    StandardisedDifference,
    TableOnePeople,
)
from cmburden.summary.regressions.people import table_of
from cmburden.summary.rows import Row, count, not_estimated, of_stratum, row
from cmburden.summary.strata import EVERYBODY, Stratum

#: Variables of people, then those of the scan chosen; further ones are the models' covariates.
_OF_PEOPLE = ("age", "sex", "site", "diagnosis")
_OF_SCAN = ("contrast", "field_strength_t")
_LEVEL_METHOD = "share of those with a value"
#: Field strengths are nominal: 2.89 T and 3 T are one.
_FIELD_STEP_T = 0.5

INCLUDED, EXCLUDED = Stratum(included="yes"), Stratum(included="no")


@dataclasses.dataclass(frozen=True)
class _Variable:
    """A column of Table 1: numbers, or levels in the order of print."""

    name: str
    levels: tuple[str, ...] | None


def rows(participants: pd.DataFrame, scans: pd.DataFrame, covariates: list[str]) -> list[Row]:
    """Rows of all groups, and the standardised differences of included and excluded people."""
    included = _with_levels(table_of(participants, scans))
    excluded = _with_levels(participants[participants["scan_id"].isna()])
    names = dict.fromkeys([*_OF_PEOPLE, *_OF_SCAN, *covariates])
    variables = [
        _variable(included, name)
        for name in names
        if name in included and name not in ("cohort",) and included[name].notna().any()
    ]
    made: list[Row] = []
    for stratum, people in _groups(included):
        made += of_stratum(stratum, _characteristics(people, variables))
    if len(excluded):
        both = [one for one in variables if one.name not in _OF_SCAN and one.name in excluded]
        both = [_variable(pd.concat([included, excluded]), one.name) for one in both]
        made += of_stratum(EXCLUDED, _characteristics(excluded, both))
        made += of_stratum(EVERYBODY, _differences(included, excluded, both))
    return made


def _groups(included: pd.DataFrame) -> Iterator[tuple[Stratum, pd.DataFrame]]:
    yield INCLUDED, included
    for cohort, people in included.groupby("cohort", sort=True):
        yield Stratum(included="yes", cohort=str(cohort)), people
    for contrast, people in included.groupby("contrast", sort=True):
        positive = (people["n_cmb"] > 0).fillna(False).astype(bool)
        for name, members in (("yes", people[positive]), ("no", people[~positive])):
            yield Stratum(included="yes", contrast=str(contrast), microbleed=name), members


def _with_levels(people: pd.DataFrame) -> pd.DataFrame:
    """``people`` with field strengths as levels such as '3 T'."""
    if "field_strength_t" not in people:
        return people
    steps = (people["field_strength_t"].astype("Float64") / _FIELD_STEP_T).round() * _FIELD_STEP_T
    return people.assign(
        field_strength_t=steps.map(lambda tesla: f"{tesla:g} T", na_action="ignore").astype(
            "string"
        )
    )


def _variable(people: pd.DataFrame, name: str) -> _Variable:
    values = people[name]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return _Variable(name, None)
    return _Variable(name, tuple(sorted(set(values.dropna().astype(str)), key=natural)))


def _characteristics(people: pd.DataFrame, variables: list[_Variable]) -> Iterator[Row]:
    yield count(TableOnePeople(), len(people))
    for one in variables:
        values = people[one.name].dropna()
        if one.levels is None:
            yield from _numbers(one.name, values.to_numpy(float), len(people))
        else:
            texts = values.astype(str)
            for level in one.levels:
                number = int((texts == level).sum())
                share = number / len(texts) if len(texts) else None
                measure = CharacteristicLevel(one.name, level)
                yield row(measure, share, number, len(texts), _LEVEL_METHOD)
        missing = len(people) - len(values)
        yield count(Characteristic("missing", one.name), missing, len(people))


def _numbers(name: str, values: np.ndarray, total: int) -> Iterator[Row]:
    n = len(values)
    q1, median, q3 = np.percentile(values, (25, 50, 75)) if n else (None, None, None)
    yield row(Characteristic("mean", name), values.mean() if n else None, n, total, "mean")
    spread = values.std(ddof=1) if n > 1 else None
    method = "standard deviation" if n > 1 else "not estimated: fewer than two values"
    yield row(Characteristic("sd", name), spread, n, total, method)
    yield row(Characteristic("median", name), median, n, total, "median")
    yield row(Characteristic("q1", name), q1, n, total, "25th percentile")
    yield row(Characteristic("q3", name), q3, n, total, "75th percentile")
    yield row(Characteristic("min", name), values.min() if n else None, n, total, "min")
    yield row(Characteristic("max", name), values.max() if n else None, n, total, "max")


def _differences(
    included: pd.DataFrame, excluded: pd.DataFrame, variables: list[_Variable]
) -> Iterator[Row]:
    """Standardised differences, included against excluded, of those with a value."""
    for one in variables:
        measure = StandardisedDifference(one.name)
        first, second = included[one.name].dropna(), excluded[one.name].dropna()
        sizes = len(first), len(second)
        if one.levels is None:
            difference = difference_of_numbers(first.to_numpy(float), second.to_numpy(float))
            method = "standardised difference of means, included minus excluded (Austin 2009)"
        else:
            numbers = [
                np.array([(people.astype(str) == level).sum() for level in one.levels], float)
                for people in (first, second)
            ]
            difference = difference_of_levels(*numbers)
            method = "standardised difference of shares (Yang and Dalton 2012)"
        if np.isnan(difference):
            why = f"{sizes[0]} included and {sizes[1]} excluded participants have a value"
            if min(sizes) > 1:
                why = "the groups share no value, or nobody within a group differs"
            yield row(measure, None, sum(sizes), sum(sizes), not_estimated(why))
            continue
        # A difference of levels is a distance: near 0 this interval would not hold.
        signed = one.levels is None
        low, high = difference_interval(difference, *sizes) if signed else (None, None)
        yield row(measure, difference, sum(sizes), sum(sizes), method, low, high)
