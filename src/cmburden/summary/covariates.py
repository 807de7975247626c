"""The terms of a regression, chosen by plain rules; a sentence says why a term is left out.

A model takes the covariates in their order, as many as its events allow. Contrast comes first. If
both contrasts occur, contrast is never left out: GRE and SWI are not pooled unadjusted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd

from cmburden.core.text import natural

#: Events a term needs (Vittinghoff and McCulloch 2007, Am J Epidemiol 165:710: 5 to 9 do), and
#: participants of each outcome that a level needs to be one of its own.
EVENTS_PER_TERM = 5
#: A covariate that more than this share has no value of would cost too many participants.
MOST_MISSING = 0.5
#: Numeric covariates: how many of their units a ratio is for, and its name.
STEPS = {
    "age": (10.0, "decade"),
    "slice_mm": (1.0, "mm"),
    "voxel_x_mm": (0.1, "0.1 mm"),
    "voxel_y_mm": (0.1, "0.1 mm"),
    "field_strength_t": (1.0, "T"),
    "echo_time_s": (0.001, "ms"),
    "repetition_time_s": (0.01, "10 ms"),
    "flip_angle_deg": (1.0, "degree"),
    "slice_gap_mm": (1.0, "mm"),
}
#: Levels that others are compared with; else the most frequent one.
_REFERENCES = {"contrast": "GRE", "sex": "F"}
_OTHER = "other levels"


#: Levels that a sentence lists before it says how many more there are.
_MOST_LISTED = 5
#: A column that varies less than this share of its largest value is constant but for rounding.
_CONSTANT = 1e-9
#: A column of which the others leave less than this share is a combination of them.
_COLLINEAR = 1e-6
#: A term that is no column, or a covariate that is none, and the reason.
_LeftOut = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Design:
    """The matrix of a model.

    ``used``: whether each row of the table is in the model, bool (n,). ``matrix``: (used rows,
    1 + terms), the constant first. ``terms``: their names. ``left_out``: names of terms and
    covariates that are not in the model, each with the reason. ``problem``: the sentence why there
    can be no model.
    """

    used: np.ndarray
    matrix: np.ndarray
    terms: tuple[str, ...]
    left_out: tuple[_LeftOut, ...]
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """``codes`` (n,) from 0 to below ``classes``. ``two_sided``: whether code 0 is an event too."""

    codes: np.ndarray
    classes: int
    two_sided: bool

    def events(self, rows: np.ndarray | slice = slice(None)) -> int:
        """Participants of the rarest outcome among ``rows``."""
        numbers = np.bincount(self.codes[rows], minlength=self.classes)
        return int((numbers if self.two_sided else numbers[1:]).min())

    def of(self, rows: np.ndarray) -> _Outcome:
        return dataclasses.replace(self, codes=self.codes[rows])


@dataclasses.dataclass(frozen=True)
class _Terms:
    """Columns of one covariate by the name of the term, and levels without a column."""

    columns: tuple[tuple[str, np.ndarray], ...] = ()
    left_out: tuple[_LeftOut, ...] = ()


def design(
    table: pd.DataFrame, outcome: np.ndarray, covariates: list[str], *, two_sided: bool = True
) -> Design:
    """Terms for a model of ``outcome`` (int codes (n,), 0: no microbleed) over rows of ``table``.

    ``two_sided``: whether rows with code 0 are as much needed as the others (for counts they are
    not).
    """
    left_out: list[_LeftOut] = []
    names = []
    for name in dict.fromkeys(["contrast", *covariates]):
        if why := _unusable(table, name):
            left_out.append((name, why))
        else:
            names.append(name)
    everybody = _Outcome(outcome, max(int(outcome.max(initial=1)) + 1, 2), two_sided)
    used = table[names].notna().all(axis=1).to_numpy(dtype=bool)
    used, alone = _one_contrast(table, everybody, used)
    if alone:
        left_out.append(("contrast", alone))
        names.remove("contrast")
    of_used = everybody.of(used)
    taken = _Columns(int(used.sum()))
    smallest = of_used.events()
    problem = _too_few(of_used.codes, smallest)
    if problem is None:
        for name in names:
            terms = _columns(table[used], of_used, name)
            left_out += [*terms.left_out, *_add(terms, taken, smallest)]
    matrix = np.column_stack(taken.columns)
    return Design(used, matrix, tuple(taken.terms), tuple(left_out), problem)


def _add(terms: _Terms, taken: _Columns, smallest: int) -> Iterator[_LeftOut]:
    """Add columns to ``taken`` as far as ``smallest`` events allow; yield those that are not."""
    budget = smallest // EVENTS_PER_TERM
    for term, column in terms.columns:
        if why := _redundant(column, taken):
            yield term, why
        elif len(taken.terms) >= budget:
            yield (
                term,
                f"the smallest outcome has {smallest} participants, enough for "
                f"{budget} term(s) at {EVENTS_PER_TERM} each",
            )
        else:
            taken.add(term, column)


class _Columns:
    """Columns taken so far, the constant first, with an orthonormal basis of them."""

    def __init__(self, rows: int):
        self.terms: list[str] = []
        self.columns = [np.ones(rows)]
        self._basis = [self.columns[0] / np.sqrt(max(rows, 1))]

    def rest(self, column: np.ndarray) -> np.ndarray:
        """The part of ``column`` orthogonal to the columns; projected twice, for rounding."""
        basis = np.array(self._basis)
        for _ in range(2):
            column = column - (basis @ column) @ basis
        return column

    def add(self, term: str, column: np.ndarray) -> None:
        rest = self.rest(column)
        self._basis.append(rest / np.linalg.norm(rest))
        self.terms.append(term)
        self.columns.append(column)


def _unusable(table: pd.DataFrame, name: str) -> str | None:
    """The reason why a covariate cannot be in any model."""
    if name not in table:
        return "neither participants nor scans have a column of that name"
    missing = int(table[name].isna().sum())
    if len(table) and missing == len(table):
        return "nobody has a value of it"
    if missing > MOST_MISSING * len(table):
        return f"{missing} of {len(table)} participants have no value of it"
    if table[name].nunique() < 2:
        return "all participants have the same value"
    return None


def _too_few(codes: np.ndarray, smallest: int) -> str | None:
    if smallest >= EVENTS_PER_TERM:
        return None
    return (
        f"{int((codes > 0).sum())} of {len(codes)} participants have a definite microbleed; a "
        f"model needs at least {EVENTS_PER_TERM} of each outcome"
    )


def _one_contrast(
    table: pd.DataFrame, outcome: _Outcome, used: np.ndarray
) -> tuple[np.ndarray, str | None]:
    """``used`` without the contrast that has too few events to be adjusted for, and why."""
    if "contrast" not in table:
        return used, None
    contrast = table["contrast"].to_numpy(dtype=object)
    rows = {level: used & (contrast == level) for level in sorted(set(contrast[used]))}
    if len(rows) < 2 or outcome.events(used) < EVENTS_PER_TERM:
        return used, None
    events = {level: outcome.events(rows[level]) for level in rows}
    small = [number for number in events.values() if number < EVENTS_PER_TERM]
    if not small:
        return used, None
    largest = max(rows, key=lambda level: (events[level], int(rows[level].sum())))
    dropped = ", ".join(level for level in rows if level != largest)
    return rows[largest], (
        f"{dropped} has {min(small)} participants of the smallest "
        f"outcome, too few to adjust for: the model is of {largest} alone"
    )


def _columns(rows: pd.DataFrame, outcome: _Outcome, name: str) -> _Terms:
    """Columns of one covariate: one where it is numeric, else one a level but the reference."""
    values = rows[name]
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return _levels(values.astype("string").to_numpy(dtype=object).astype(str), outcome, name)
    step, unit = STEPS.get(name, (1.0, "unit"))
    numbers = values.to_numpy(dtype=float)
    if not len(numbers):
        return _Terms()
    return _Terms(((f"{name} per {unit}", (numbers - numbers.mean()) / step),))


def _levels(values: np.ndarray, outcome: _Outcome, name: str) -> _Terms:
    """Indicators of the levels of a covariate against the reference; rare levels are merged."""
    names, place = np.unique(values, return_inverse=True)
    people = dict(zip(names, np.bincount(place), strict=True))
    events = {
        level: outcome.events(place == number)
        for number, level in sorted(enumerate(names), key=lambda pair: natural(pair[1]))
    }
    levels = values.astype(object)
    common = [level for level, number in events.items() if number >= EVENTS_PER_TERM]
    if not common:
        why = f"no level has {EVENTS_PER_TERM} participants of each outcome"
        return _Terms(left_out=((name, why),))
    reference = _REFERENCES.get(name, "")
    if reference not in common:
        reference = max(common, key=lambda level: people[level])
    left_out: tuple[tuple[str, str], ...] = ()
    if rare := [level for level in events if level not in common]:
        together = np.isin(values, rare)
        into = _OTHER if outcome.events(together) >= EVENTS_PER_TERM else reference
        levels = np.where(together, into, levels)
        listed = ", ".join(rare[:_MOST_LISTED])
        if len(rare) > _MOST_LISTED:
            listed += f" and {len(rare) - _MOST_LISTED} more"
        why = f"fewer than {EVENTS_PER_TERM} participants of an outcome; taken together with {into}"
        left_out = ((f"{name}={listed}", why),)
    against = [level for level in sorted(set(levels), key=natural) if level != reference]
    columns = [
        (f"{name}={level} against {reference}", (levels == level) * 1.0) for level in against
    ]
    return _Terms(tuple(columns), left_out)


def _redundant(column: np.ndarray, before: _Columns) -> str | None:
    """Why ``column`` adds nothing to the columns before it."""
    centred = column - column.mean()
    size = np.linalg.norm(centred)
    if size < _CONSTANT * max(1.0, np.abs(column).max()) * np.sqrt(len(column)):
        return "all participants of the model have the same value"
    if np.linalg.norm(before.rest(centred)) > _COLLINEAR * size:
        return None
    weights, *_ = np.linalg.lstsq(np.column_stack(before.columns), centred, rcond=None)
    others = [
        term
        for term, weight, other in zip(before.terms, weights[1:], before.columns[1:], strict=True)
        if abs(weight) * np.linalg.norm(other - other.mean()) > _COLLINEAR * size
    ]
    return f"collinear: {', '.join(others)} already tell(s) it"
