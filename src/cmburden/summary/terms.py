"""Columns of one covariate of a regression, and whether they can be told from other columns.

A level has a column, or it is the reference, or the rare level's people are out of the model: no
level is ever put into the reference, whose name would then be wrong.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from cmburden.core.text import natural

#: Events a term needs (Vittinghoff and McCulloch 2007, Am J Epidemiol 165:710: 5 to 9 do), and
#: participants of each outcome that a level needs to be one of its own.
EVENTS_PER_TERM = 5
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
OTHER = "other levels"
#: Levels that a sentence lists before it says how many more there are.
_MOST_LISTED = 5
#: A column that varies less than this share of its largest value is constant but for rounding.
_CONSTANT = 1e-9
#: A column of which the others leave less than this share is a combination of them.
_COLLINEAR = 1e-6
#: Generalised variance inflation factor (Fox and Monette 1992, JASA 87:178), to the power
#: 1 / columns, above which terms cannot be told apart. The usual bound of such a factor.
MOST_INFLATION = 10.0

#: A term that is no column, or a covariate that is none, and the reason.
LeftOut = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """``codes`` (n,) from 0 to below ``classes``. ``two_sided``: whether code 0 is an event too."""

    codes: np.ndarray
    classes: int
    two_sided: bool

    def events(self, rows: np.ndarray | slice = slice(None)) -> int:
        """Participants of the rarest outcome among ``rows``."""
        numbers = np.bincount(self.codes[rows], minlength=self.classes)
        return int((numbers if self.two_sided else numbers[1:]).min())

    def of(self, rows: np.ndarray) -> Outcome:
        return dataclasses.replace(self, codes=self.codes[rows])


@dataclasses.dataclass(frozen=True)
class Block:
    """The terms of one covariate, with the column (rows,) of each.

    ``values`` (rows,): the level of each participant, None of a numeric covariate. ``reference``:
    the level without a column; several, by contrast, where each level lies within one contrast
    (``references`` by contrast).
    """

    covariate: str
    terms: tuple[str, ...]
    columns: np.ndarray  # (rows, terms)
    values: np.ndarray | None = None
    levels: tuple[str, ...] = ()
    reference: str = ""
    references: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        return len(self.terms)

    def level_of(self, place: int) -> str:
        """The level whose column is at ``place``."""
        return [level for level in self.levels if level not in self.without_column][place]

    @property
    def without_column(self) -> tuple[str, ...]:
        return tuple(level for _, level in self.references) or (self.reference,)

    def at(self, level: str) -> np.ndarray:
        """The columns' values (terms,) of a participant of ``level``."""
        with_column = [one for one in self.levels if one not in self.without_column]
        return np.array([float(one == level) for one in with_column])


@dataclasses.dataclass(frozen=True)
class Levels:
    """Levels of a covariate: rare ones together, or their people out.

    ``values`` (rows,) with rare levels as ``OTHER``. ``drop`` (rows,): people of rare levels that
    are too few even together. ``left_out``: the sentence about rare levels.
    """

    values: np.ndarray
    common: tuple[str, ...]
    drop: np.ndarray
    left_out: tuple[LeftOut, ...]

    @property
    def all(self) -> list[str]:
        """Levels in the model, in natural order."""
        return sorted(set(self.values[~self.drop]), key=natural)


def is_nominal(values: pd.Series, name: str, nominal: tuple[str, ...]) -> bool:
    """Whether a covariate has levels and not amounts: text, categories, and what is named so."""
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return name in nominal or not numeric


def text_of(values: pd.Series) -> np.ndarray:
    """Levels as text (rows,); 1.0 reads 1."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return np.array([f"{value:g}" for value in values.to_numpy(dtype=float)], dtype=object)
    return values.astype("string").to_numpy(dtype=object).astype(str).astype(object)


def levels_of(values: np.ndarray, outcome: Outcome, name: str) -> Levels:
    """``values`` (rows,) with rare levels taken together, or marked to be dropped."""
    names, place = np.unique(values.astype(str), return_inverse=True)
    rare = [
        str(names[n]) for n in range(len(names)) if outcome.events(place == n) < EVENTS_PER_TERM
    ]
    rare.sort(key=natural)
    common = tuple(str(level) for level in names if str(level) not in rare)
    together = np.isin(values, rare)
    nobody = np.zeros(len(values), bool)
    if not rare or not common:
        return Levels(values, common, nobody, ())
    listed = ", ".join(rare[:_MOST_LISTED])
    if len(rare) > _MOST_LISTED:
        listed += f" and {len(rare) - _MOST_LISTED} more"
    few = f"fewer than {EVENTS_PER_TERM} participants of an outcome"
    # One rare level alone would keep its name, and is as rare as before.
    if len(rare) > 1 and outcome.events(together) >= EVENTS_PER_TERM:
        left_out = ((f"{name}={listed}", f"{few}; taken together as '{OTHER}'"),)
        return Levels(np.where(together, OTHER, values), common, nobody, left_out)
    why = f"{few}; the {int(together.sum())} participant(s) with it are not in the model"
    return Levels(values, common, together, ((f"{name}={listed}", why),))


def of_levels(levels: Levels, name: str, contrast: np.ndarray | None) -> Block:
    """The block of a nominal covariate without rare levels to drop.

    ``contrast`` (rows,): where each level lies within one contrast, levels are compared within it.
    """
    values, people = levels.values, pd.Series(levels.values).value_counts()
    groups = _within(values, contrast)

    def reference_of(candidates: list[str]) -> str:
        preferred = _REFERENCES.get(name, "")
        if preferred in candidates:
            return preferred
        common = [level for level in candidates if level in levels.common] or candidates
        return max(common, key=lambda level: people[level])

    references = {
        group: reference_of([one for one in levels.all if groups[one] == group])
        for group in sorted(set(groups.values()))
    }
    against = [one for one in levels.all if one not in references.values()]
    return Block(
        covariate=name,
        terms=tuple(f"{name}={one} against {references[groups[one]]}" for one in against),
        columns=np.column_stack([np.zeros((len(values), 0)), *(values == one for one in against)])
        * 1.0,
        values=values,
        levels=tuple(levels.all),
        reference=next(iter(references.values()), ""),
        references=tuple(references.items()) if len(references) > 1 else (),
    )


def _within(values: np.ndarray, contrast: np.ndarray | None) -> dict[str, str]:
    """Contrast of each level; one name for all where a level has both, or there is one alone."""
    levels = sorted(set(values))
    alike = dict.fromkeys(levels, "")
    if contrast is None or len(set(contrast)) < 2:
        return alike
    pairs = pd.DataFrame({"level": values, "contrast": contrast}).drop_duplicates()
    if len(pairs) != len(levels):
        return alike
    return dict(zip(pairs["level"], pairs["contrast"], strict=True))


def of_numbers(values: pd.Series, name: str) -> Block:
    """The block of a numeric covariate: its distance from the mean, in steps."""
    step, unit = STEPS.get(name, (1.0, "unit"))
    numbers = values.to_numpy(dtype=float)
    centred = (numbers - numbers.mean()) / step if len(numbers) else numbers
    return Block(name, (f"{name} per {unit}",), centred[:, None])


def determines(fine: np.ndarray, coarse: np.ndarray) -> bool:
    """Whether each level of ``fine`` (rows,) lies within one level of ``coarse`` (rows,)."""
    pairs = pd.DataFrame({"fine": fine, "coarse": coarse}).drop_duplicates()
    return len(pairs) == pairs["fine"].nunique()


def redundant(block: Block, before: list[Block]) -> str | None:
    """Why ``block`` adds nothing to the blocks before it, or cannot be told apart from them."""
    centred = block.columns - block.columns.mean(axis=0)
    size = np.linalg.norm(centred, axis=0)
    largest = np.maximum(1.0, np.abs(block.columns).max(axis=0, initial=0.0))
    if block.size == 0 or (size < _CONSTANT * largest * np.sqrt(len(centred))).all():
        return "all participants of the model have the same value"
    others = np.column_stack([np.zeros((len(centred), 0)), *(one.columns for one in before)])
    terms = [term for one in before for term in one.terms]
    others = others - others.mean(axis=0)
    weights = (
        np.linalg.lstsq(others, centred, rcond=None)[0] if terms else np.zeros((0, block.size))
    )
    rest = np.linalg.norm(centred - others @ weights, axis=0)
    aliased = rest <= _COLLINEAR * size
    if aliased.any():
        share = np.abs(weights[:, aliased]) * np.linalg.norm(others, axis=0)[:, None]
        tell = [
            term
            for term, part in zip(terms, share, strict=True)
            if (part > _COLLINEAR * size[aliased]).any()
        ]
        return f"collinear: {', '.join(tell)} already tell(s) it"
    return _inflated(block, before)


def _inflated(block: Block, before: list[Block]) -> str | None:
    """The sentence where ``block`` makes a covariate's variance inflation too large.

    Levels that lie within a contrast share its information by design and are not held against it.
    """
    nested = {"contrast"} if block.references else set()
    blocks = [one for one in before if one.covariate not in nested]
    worst, name = 0.0, ""
    for one in [*blocks, block]:
        others = [other for other in [*blocks, block] if other is not one]
        if others and (value := _inflation(one, others)) > worst:
            worst, name = value, one.covariate
    if worst <= MOST_INFLATION:
        return None
    with_whom = ", ".join(term for one in blocks for term in one.terms)
    of_whom = "" if name == block.covariate else f" of {name}"
    return (
        f"nearly collinear with {with_whom} (variance inflation{of_whom} {min(worst, 1e6):.0f}, "
        f"above {MOST_INFLATION:g}): these participants do not tell them apart"
    )


def _inflation(block: Block, others: list[Block]) -> float:
    """Generalised variance inflation factor of ``block`` to the power 1 / columns."""
    mine = block.columns - block.columns.mean(axis=0)
    theirs = np.column_stack([one.columns for one in others])
    theirs = theirs - theirs.mean(axis=0)
    scale = np.linalg.norm(mine, axis=0)
    if not (scale > 0).all():
        return 0.0
    mine = mine / scale
    rest = mine - theirs @ np.linalg.lstsq(theirs, mine, rcond=None)[0]
    (_, whole), (sign, part) = np.linalg.slogdet(mine.T @ mine), np.linalg.slogdet(rest.T @ rest)
    if sign <= 0:
        return np.inf
    return float(np.exp((whole - part) / block.size))
