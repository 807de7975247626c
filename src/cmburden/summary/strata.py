"""Strata of the participants: by cohort, contrast and phenotype, alone and crossed."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from cmburden.core.text import natural

#: Level of a stratum for people whose value is not known: the levels then add up to all.
MISSING = "missing"


def strata(participants: pd.DataFrame, variables: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """('all', everybody), then ('variable=level', those people) and cohort by contrast.

    A variable that nobody has a value of is left out.
    """
    yield "all", participants
    for variable in dict.fromkeys([*variables, "age_band"]):
        if variable not in participants or participants[variable].isna().all():
            continue
        levels = participants[variable].astype("string").fillna(MISSING)
        for level in sorted(set(levels), key=_level_order):
            yield f"{variable}={level}", participants[levels == level]
    known = participants[participants["contrast"].notna()]
    for (cohort, contrast), members in known.groupby(["cohort", "contrast"], sort=True):
        yield f"cohort={cohort} & contrast={contrast}", members


def crossed_strata(
    participants: pd.DataFrame, variables: list[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Strata of one contrast: by each variable, then by age band, sex and site together.

    Only the level of people whose value is known, but for the single variables.
    """
    names = [
        name
        for name in dict.fromkeys([*variables, "age_band"])
        if name not in ("cohort", "contrast")
        and name in participants
        and participants[name].notna().any()
    ]
    together = [name for name in ("age_band", "sex", "site") if name in names]
    sets = [(name,) for name in names]
    # Age and sex together are the chart's; with the site they are the table's.
    sets += [tuple(together[:size]) for size in (2, 3) if len(together) >= size]
    for contrast, people in participants.groupby("contrast", sort=True):
        for own in sets:
            levels = people[list(own)].astype("string").astype(object)
            levels = levels.fillna(MISSING) if len(own) == 1 else levels.dropna()
            for key, rows in levels.groupby(list(own)):
                parts = [f"{name}={value}" for name, value in zip(own, key, strict=True)]
                yield " & ".join([f"contrast={contrast}", *parts]), people.loc[rows.index]


def stratum_order(stratum: str) -> tuple:
    """Sort key of strata within a variable.

    >>> sorted(["age_band=missing", "age_band=>=90", "age_band=50-59", "age_band=<50"],
    ...        key=stratum_order)
    ['age_band=<50', 'age_band=50-59', 'age_band=>=90', 'age_band=missing']
    """
    return tuple(_level_order(part.partition("=")[2]) for part in stratum.split(" & "))


def _level_order(name: str) -> tuple:
    """Age bands by age, other levels by natural order, unknown last."""
    return (name == MISSING, name.startswith(">="), not name.startswith("<"), natural(name))
