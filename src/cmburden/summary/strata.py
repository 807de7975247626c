"""Strata of the participants: by cohort, contrast and phenotype, alone and crossed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, Self

import pandas as pd

from cmburden.core.text import natural

#: Level of a stratum for people whose value is missing: the levels then add up to all. No level of
#: a user's column has this name: tables that are read take the cell for a missing one.
MISSING = "n/a"
_EVERYBODY = "all"
#: Between two levels. A level may hold ' & ' itself; where a name and '=' follow, a backslash
#: stands before the '&'.
_AND = re.compile(" & (?=[^=&]+=)")
_ESCAPE = "\\"
_HELD = re.compile(r" (\\*)& (?=[^=&]+=)")


@dataclasses.dataclass(frozen=True, init=False)
class Stratum:
    """Who an estimate is of: everybody, or those with the given levels of variables, in order.

    The column ``stratum`` of `summary` holds ``name``. No other module composes or splits it.

    >>> Stratum().name, Stratum(contrast="GRE", site="X").name
    ('all', 'contrast=GRE & site=X')
    >>> Stratum.parse("cohort=ADNI & contrast=SWI")["contrast"]
    'SWI'
    >>> Stratum.parse(Stratum(site="A & sex=F", sex="M").name).levels
    (('site', 'A & sex=F'), ('sex', 'M'))
    """

    levels: tuple[tuple[str, str], ...]

    def __init__(self, /, **levels: str):
        object.__setattr__(self, "levels", tuple(levels.items()))

    @property
    def name(self) -> str:
        parts = [
            f"{variable}={_HELD.sub(lambda match: f' {match[1]}{_ESCAPE}& ', level)}"
            for variable, level in self.levels
        ]
        return " & ".join(parts) or _EVERYBODY

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The stratum with this name; None where the text names none."""
        if name == _EVERYBODY:
            return cls()
        parts = [part.partition("=") for part in _AND.split(name)]
        if not all(variable and equals for variable, equals, _ in parts):
            return None
        return cls(
            **{
                variable: _HELD.sub(lambda match: f" {match[1][1:]}& ", level)
                for variable, _, level in parts
            }
        )

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(variable for variable, _ in self.levels)

    def __getitem__(self, variable: str) -> str:
        """Level of a variable; KeyError where the stratum is not by the variable."""
        return dict(self.levels)[variable]

    @property
    def order(self) -> tuple[tuple[Any, ...], ...]:
        """Sort key of strata by the same variables.

        >>> bands = ["n/a", ">=90", "50-59", "<50"]
        >>> strata = sorted((Stratum(age_band=band) for band in bands), key=lambda one: one.order)
        >>> [stratum["age_band"] for stratum in strata]
        ['<50', '50-59', '>=90', 'n/a']
        """
        return tuple(_level_order(level) for _, level in self.levels)


EVERYBODY = Stratum()


def strata(
    participants: pd.DataFrame, variables: list[str]
) -> Iterator[tuple[Stratum, pd.DataFrame]]:
    """Everybody, then each level of each variable, then each cohort by contrast, with the people.

    A variable that nobody has a value of is left out.
    """
    yield EVERYBODY, participants
    for variable in dict.fromkeys([*variables, "age_band"]):
        if variable not in participants or participants[variable].isna().all():
            continue
        levels = participants[variable].astype("string").fillna(MISSING)
        for level in sorted(set(levels), key=_level_order):
            yield Stratum(**{variable: level}), participants[levels == level]
    with_contrast = participants[participants["contrast"].notna()]
    for (cohort, contrast), members in with_contrast.groupby(["cohort", "contrast"], sort=True):
        yield Stratum(cohort=cohort, contrast=contrast), members


def crossed_strata(
    participants: pd.DataFrame, variables: list[str]
) -> Iterator[tuple[Stratum, pd.DataFrame]]:
    """Strata of one contrast: by each variable, then by age band, sex and site together.

    People without a value have a stratum of their own where one variable is crossed with the
    contrast. They are left out where several are.
    """
    names = [
        name
        for name in dict.fromkeys([*variables, "age_band"])
        if name not in ("cohort", "contrast")
        and name in participants
        and participants[name].notna().any()
    ]
    together = [name for name in ("age_band", "sex", "site") if name in names]
    sets: list[tuple[str, ...]] = [(name,) for name in names]
    # The chart shows age and sex together; the table shows both with the site.
    sets += [tuple(together[:size]) for size in (2, 3) if len(together) >= size]
    for contrast, people in participants.groupby("contrast", sort=True):
        for crossed in sets:
            levels = people[list(crossed)].astype("string").astype(object)
            levels = levels.fillna(MISSING) if len(crossed) == 1 else levels.dropna()
            for key, rows in levels.groupby(list(crossed)):
                stratum = Stratum(contrast=contrast, **dict(zip(crossed, key, strict=True)))
                yield stratum, people.loc[rows.index]


def _level_order(name: str) -> tuple[Any, ...]:
    """Age bands by age, other levels by natural order, unknown last."""
    return (name == MISSING, name.startswith(">="), not name.startswith("<"), natural(name))
