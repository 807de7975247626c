"""The terms of a regression, chosen by plain rules; whatever is left out has its sentence.

A model takes its covariates in their order, as many as its events allow. Contrast comes first and
is never left out where both occur: GRE and SWI are not pooled unadjusted.
"""

from __future__ import annotations

import dataclasses

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
}
#: Levels that others are compared with; else the most frequent one.
_REFERENCES = {"contrast": "GRE", "sex": "F"}
_OTHER = "other levels"


@dataclasses.dataclass(frozen=True)
class Design:
    """``used``: rows of the table in the model, bool. ``matrix``: (used rows, 1 + terms), first the
    constant. ``terms``: names in order. ``left_out``: what is no term, with the reason."""

    used: np.ndarray
    matrix: np.ndarray
    terms: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    problem: str | None = None


def design(
    table: pd.DataFrame, outcome: np.ndarray, covariates: list[str], *, two_sided: bool = True
) -> Design:
    """Terms for a model of ``outcome`` (int codes (n,), 0: no microbleed) over rows of ``table``.

    ``two_sided``: whether rows with code 0 are as much needed as the others (for counts they are
    not). ``problem`` is the sentence why there can be no model.
    """
    left_out: list[tuple[str, str]] = []
    wanted = ["contrast", *(name for name in dict.fromkeys(covariates) if name != "contrast")]
    known = [name for name in wanted if _has_values(table, name, left_out)]
    used = table[known].notna().all(axis=1).to_numpy(dtype=bool)
    used, alone = _one_contrast(table, outcome, used, two_sided)
    if alone:
        left_out.append(("contrast", alone))
        known.remove("contrast")
    rows, codes = table[used], outcome[used]
    taken = _Columns(len(rows))
    classes = max(int(outcome.max(initial=1)) + 1, 2)
    smallest = _events(codes, classes, two_sided)
    problem = _too_few(codes, smallest)
    budget = smallest // EVENTS_PER_TERM
    for name in known if not problem else ():
        for term, column in _columns(rows, codes, name, classes, two_sided, left_out):
            if why := _redundant(column, taken):
                left_out.append((term, why))
            elif len(taken.terms) >= budget:
                left_out.append(
                    (
                        term,
                        f"the smallest outcome has {smallest} participants, enough for "
                        f"{budget} term(s) at {EVENTS_PER_TERM} each",
                    )
                )
            else:
                taken.add(term, column)
    matrix, terms = np.column_stack(taken.columns), tuple(taken.terms)
    return Design(used, matrix, terms, tuple(left_out), problem)


class _Columns:
    """Columns taken so far, the constant first, with an orthonormal basis of them."""

    def __init__(self, rows: int):
        self.terms: list[str] = []
        self.columns = [np.ones(rows)]
        self._basis = [self.columns[0] / np.sqrt(max(rows, 1))]

    def rest(self, column: np.ndarray) -> np.ndarray:
        """What the columns do not tell of ``column``; projected twice, for rounding."""
        basis = np.array(self._basis)
        for _ in range(2):
            column = column - (basis @ column) @ basis
        return column

    def add(self, term: str, column: np.ndarray) -> None:
        rest = self.rest(column)
        self._basis.append(rest / np.linalg.norm(rest))
        self.terms.append(term)
        self.columns.append(column)


def _has_values(table: pd.DataFrame, name: str, left_out: list) -> bool:
    if name not in table:
        left_out.append((name, "neither participants nor scans have a column of that name"))
        return False
    missing = int(table[name].isna().sum())
    if len(table) and missing == len(table):
        left_out.append((name, "nobody has a value of it"))
    elif missing > MOST_MISSING * len(table):
        left_out.append((name, f"{missing} of {len(table)} participants have no value of it"))
    elif table[name].nunique() < 2:
        left_out.append((name, "all participants have the same value"))
    else:
        return True
    return False


def _events(codes: np.ndarray, classes: int, two_sided: bool) -> int:
    """Participants of the smallest outcome."""
    numbers = np.bincount(codes, minlength=classes)
    return int((numbers if two_sided else numbers[1:]).min())


def _too_few(codes: np.ndarray, smallest: int) -> str | None:
    if smallest >= EVENTS_PER_TERM:
        return None
    return (
        f"{int((codes > 0).sum())} of {len(codes)} participants have a definite microbleed; a "
        f"model needs at least {EVENTS_PER_TERM} of each outcome"
    )


def _one_contrast(table, outcome, used, two_sided) -> tuple[np.ndarray, str | None]:
    """``used`` without the contrast that has too few events to be adjusted for, and why."""
    if "contrast" not in table:
        return used, None
    contrast = table["contrast"].to_numpy(dtype=object)
    levels = sorted(set(contrast[used]))
    classes = max(int(outcome.max(initial=1)) + 1, 2)
    if len(levels) < 2 or _events(outcome[used], classes, two_sided) < EVENTS_PER_TERM:
        return used, None
    events = {
        level: _events(outcome[used & (contrast == level)], classes, two_sided) for level in levels
    }
    small = [level for level in levels if events[level] < EVENTS_PER_TERM]
    if not small:
        return used, None
    kept = max(levels, key=lambda level: (events[level], int((used & (contrast == level)).sum())))
    dropped = ", ".join(level for level in levels if level != kept)
    return used & (contrast == kept), (
        f"{dropped} has {min(events[level] for level in small)} participants of the smallest "
        f"outcome, too few to adjust for: the model is of {kept} alone"
    )


def _columns(rows, codes, name, classes, two_sided, left_out) -> list[tuple[str, np.ndarray]]:
    """Columns of one covariate: one where it is numeric, else one a level but the reference."""
    values = rows[name]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        step, unit = STEPS.get(name, (1.0, "unit"))
        numbers = values.to_numpy(dtype=float)
        return [(f"{name} per {unit}", (numbers - numbers.mean()) / step)] if len(numbers) else []
    levels = values.astype("string").to_numpy(dtype=object)
    names, place = np.unique(levels.astype(str), return_inverse=True)
    numbers = np.zeros((len(names), classes), int)
    np.add.at(numbers, (place, codes), 1)
    smallest = (numbers if two_sided else numbers[:, 1:]).min(axis=1)
    people = dict(zip(names, numbers.sum(axis=1), strict=True))
    events = dict(sorted(zip(names, smallest, strict=True), key=lambda e: natural(e[0])))
    levels = names[place].astype(object)
    common = [level for level, number in events.items() if number >= EVENTS_PER_TERM]
    if not common:
        why = f"no level has {EVENTS_PER_TERM} participants of each outcome"
        left_out.append((name, why))
        return []
    reference = _REFERENCES.get(name)
    if reference not in common:
        reference = max(common, key=lambda level: people[level])
    if rare := [level for level in events if level not in common]:
        together = np.isin(levels, rare)
        enough = _events(codes[together], classes, two_sided) >= EVENTS_PER_TERM
        into = _OTHER if enough else reference
        levels = np.where(together, into, levels)
        shown = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
        left_out.append(
            (
                f"{name}={shown}",
                f"fewer than {EVENTS_PER_TERM} participants of an outcome; taken together with "
                f"{into}",
            )
        )
    shown = [level for level in sorted(set(levels), key=natural) if level != reference]
    return [(f"{name}={level} against {reference}", (levels == level) * 1.0) for level in shown]


def _redundant(column: np.ndarray, before: _Columns) -> str | None:
    """Why ``column`` adds nothing to the columns before it."""
    centred = column - column.mean()
    size = np.linalg.norm(centred)
    if size < 1e-9 * max(1.0, np.abs(column).max()) * np.sqrt(len(column)):
        return "all participants of the model have the same value"
    if np.linalg.norm(before.rest(centred)) > 1e-6 * size:
        return None
    weights, *_ = np.linalg.lstsq(np.column_stack(before.columns), centred, rcond=None)
    told = [
        term
        for term, weight, other in zip(before.terms, weights[1:], before.columns[1:], strict=True)
        if abs(weight) * np.linalg.norm(other - other.mean()) > 1e-6 * size
    ]
    return f"collinear: {', '.join(told)} already tell(s) it"
