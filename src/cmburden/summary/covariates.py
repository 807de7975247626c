"""The terms of a regression, chosen by plain rules; a sentence says why a term is left out.

A model takes the covariates in their order, as many as its events allow; a nominal covariate whole
or not at all. Contrast comes first. If both contrasts occur, contrast is never left out: GRE and
SWI are not pooled unadjusted.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from cmburden.summary import terms
from cmburden.summary.terms import EVENTS_PER_TERM, Block, LeftOut, Levels, Outcome

#: A covariate that more than this share has no value of would cost too many participants.
MOST_MISSING = 0.5
#: Rare levels of more than this share of the participants cost the covariate, not the people.
_MOST_DROPPED = 0.1


@dataclasses.dataclass(frozen=True)
class Design:
    """The matrix of a model.

    ``used``: whether each row of the table is in the model, bool (n,). ``matrix``: (used rows,
    1 + terms), the constant first. ``terms``: their names. ``left_out``: names of terms and
    covariates that are not in the model, each with the reason. ``problem``: the sentence why there
    can be no model. ``blocks``: the terms by covariate, in the order of the columns.
    """

    used: np.ndarray
    matrix: np.ndarray
    terms: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    problem: str | None = None
    blocks: tuple[Block, ...] = ()

    def places(self, block: Block) -> np.ndarray:
        """Columns of ``matrix`` of a block, int (terms,)."""
        first = 1
        for one in self.blocks:
            if one is block:
                break
            first += one.size
        return np.arange(first, first + block.size)

    def block(self, covariate: str) -> Block | None:
        return next((one for one in self.blocks if one.covariate == covariate), None)


def design(
    table: pd.DataFrame,
    outcome: np.ndarray,
    covariates: list[str],
    *,
    two_sided: bool = True,
    nominal: tuple[str, ...] = (),
) -> Design:
    """Terms for a model of ``outcome`` (int codes (n,), 0: no microbleed) over rows of ``table``.

    ``two_sided``: whether rows with code 0 are as much needed as the others (for counts they are
    not). ``nominal``: covariates whose numbers are codes of levels.
    """
    left_out: list[LeftOut] = []
    names = []
    for name in dict.fromkeys(["contrast", *covariates]):
        if why := _unusable(table, name):
            left_out.append((name, why))
        else:
            names.append(name)
    everybody = Outcome(outcome, max(int(outcome.max(initial=1)) + 1, 2), two_sided)
    complete = table[names].notna().all(axis=1).to_numpy(dtype=bool)
    problem = _too_few(everybody, complete)
    used, alone = _one_contrast(table, everybody, complete)
    if alone:
        left_out.append(("contrast", alone))
        names.remove("contrast")
    if problem is None:
        problem = _too_few_of_each(table, everybody, complete, used)
    builder = _Builder(table, everybody, used, nominal)
    if problem is None:
        for name in names:
            builder.consider(name)
    return builder.design([*left_out, *builder.left_out], problem)


class _Builder:
    """A design as it grows. ``used`` shrinks by the people of rare levels."""

    def __init__(
        self, table: pd.DataFrame, outcome: Outcome, used: np.ndarray, nominal: tuple[str, ...]
    ):
        self.table, self.outcome, self.used, self.nominal = table, outcome, used, nominal
        self.left_out: list[LeftOut] = []
        self.blocks: list[Block] = []
        self._considered: list[str] = []
        self._stands_for: dict[str, list[str]] = {}

    def consider(self, name: str) -> None:
        """Take a covariate, or note why not."""
        self._considered.append(name)
        rows = self.table[self.used]
        values = rows[name]
        if not terms.is_nominal(values, name, self.nominal):
            self._take(terms.of_numbers(values, name), ())
            return
        outcome = self.outcome.of(self.used)
        levels = terms.levels_of(terms.text_of(values), outcome, name)
        if not levels.common:
            why = f"no level has {EVENTS_PER_TERM} participants of each outcome"
            self.left_out.append((name, why))
        elif levels.drop.any():
            self._without_rare(name, levels)
        else:
            self._take(terms.of_levels(levels, name, self._contrast(name)), levels.left_out)

    def _contrast(self, name: str) -> np.ndarray | None:
        """Contrast of the participants (rows,), where contrast is another term of the model."""
        block = next((one for one in self.blocks if one.covariate == "contrast"), None)
        return None if block is None or name == "contrast" else block.values

    def _without_rare(self, name: str, levels: Levels) -> None:
        """Drop the people of rare levels and begin again; or leave the covariate out."""
        rare = int(levels.drop.sum())
        if len(levels.all) < 2 or rare > _MOST_DROPPED * len(levels.drop):
            label, why = levels.left_out[0]
            few, _, _ = why.partition(";")
            why = f"{label}: {few}, {rare} participants; without them " + (
                "one level is left" if len(levels.all) < 2 else "too many would be lost"
            )
            self.left_out.append((name, why))
            return
        used = self.used.copy()
        used[np.flatnonzero(used)[levels.drop]] = False
        smaller = _Builder(self.table, self.outcome, used, self.nominal)
        for one in self._considered:
            smaller.consider(one)
        if not any(block.covariate == name for block in smaller.blocks):
            # The covariate does not come in anyway: nobody is dropped for it.
            self.left_out.append((name, dict(smaller.left_out).get(name, levels.left_out[0][1])))
            return
        self.__dict__.update(smaller.__dict__)
        self.left_out.extend(levels.left_out)

    def _take(self, block: Block, notes: tuple[LeftOut, ...]) -> None:
        """Add a block as far as the events allow, in the place of blocks that it determines."""
        alike = next((one for one in self.blocks if _same(block, one)), None)
        if alike is not None:
            why = f"collinear: {', '.join(alike.terms)} already tell(s) it"
            self.left_out.append((block.covariate, why))
            self._coincide(alike, block)
            return
        coarser = [one for one in self.blocks if _finer(block, one)]
        before = [one for one in self.blocks if not _finer(block, one)]
        why_not = terms.redundant(block, before) or self._beyond_events(block, before)
        if why_not:
            name = block.terms[0] if block.size == 1 else block.covariate
            self.left_out.append((name, why_not))
            return
        for one in coarser:
            fine = block.covariate
            why = f"each level of {fine} lies in one of {one.covariate}: see {fine}"
            self.left_out.append((one.covariate, why))
        self.left_out.extend(notes)
        self.blocks = [*before, block]
        if block.references:
            self._name_contrast(block)

    def _beyond_events(self, block: Block, before: list[Block]) -> str | None:
        """The sentence where the events do not allow the terms of ``block``."""
        smallest = self.outcome.of(self.used).events()
        taken, budget = sum(one.size for one in before), smallest // EVENTS_PER_TERM
        if taken + block.size <= budget:
            return None
        why = (
            f"the smallest outcome has {smallest} participants, enough for "
            f"{budget} term(s) at {EVENTS_PER_TERM} each"
        )
        return f"{why}, and it needs {block.size} beside {taken}" if block.size > 1 else why

    def _name_contrast(self, block: Block) -> None:
        """Say in the contrast's term which levels it compares."""
        self._rename({contrast: f"{block.covariate} {one}" for contrast, one in block.references})

    def _coincide(self, block: Block, other: Block) -> None:
        """Say in the terms of ``block`` that ``other`` has the same levels by other names."""
        if block.covariate != "contrast" or other.values is None or block.values is None:
            return
        pairs = dict(zip(block.values, other.values, strict=True))
        self._rename({level: f"{other.covariate} {name}" for level, name in pairs.items()})

    def _rename(self, by_level: dict[str, str]) -> None:
        """Add what stands for each contrast to the name of its term."""

        def renamed(block: Block) -> Block:
            if block.covariate != "contrast" or block.size != 1:
                return block
            level, reference = block.level_of(0), block.reference
            for one in (level, reference):
                self._stands_for.setdefault(one, []).append(by_level[one])
            above, below = (", ".join(self._stands_for[one]) for one in (level, reference))
            name = f"contrast={level} ({above}) against {reference} ({below})"
            return dataclasses.replace(block, terms=(name,))

        self.blocks = [renamed(block) for block in self.blocks]

    def design(self, left_out: list[LeftOut], problem: str | None) -> Design:
        columns = [np.ones((int(self.used.sum()), 1)), *(one.columns for one in self.blocks)]
        names = tuple(term for one in self.blocks for term in one.terms)
        return Design(
            self.used, np.column_stack(columns), names, tuple(left_out), problem, tuple(self.blocks)
        )


def _finer(block: Block, other: Block) -> bool:
    """Whether ``block`` tells the levels of ``other``, which may then go (a contrast may not)."""
    if block.values is None or other.values is None or other.covariate == "contrast":
        return False
    return len(block.levels) > len(other.levels) and terms.determines(block.values, other.values)


def _same(block: Block, other: Block) -> bool:
    """Whether two nominal covariates have the same levels by other names."""
    return (
        block.values is not None
        and other.values is not None
        and len(block.levels) == len(other.levels)
        and terms.determines(block.values, other.values)
    )


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


def _too_few(outcome: Outcome, complete: np.ndarray) -> str | None:
    """The sentence where the participants with every covariate are too few, of an outcome."""
    if outcome.events(complete) >= EVENTS_PER_TERM:
        return None
    codes = outcome.codes[complete]
    return _sentence(int((codes > 0).sum()), len(codes), len(complete) - len(codes))


def _sentence(positive: int, number: int, incomplete: int) -> str:
    who = "participants"
    if incomplete:
        who += f" with a value of every covariate ({incomplete} more have none of one)"
    return (
        f"{positive} of {number} {who} have a definite microbleed; a "
        f"model needs at least {EVENTS_PER_TERM} of each outcome"
    )


def _too_few_of_each(
    table: pd.DataFrame, outcome: Outcome, complete: np.ndarray, used: np.ndarray
) -> str | None:
    """The sentence where no contrast has events enough, though both together have."""
    if outcome.events(used) >= EVENTS_PER_TERM:
        return None
    contrast = table["contrast"].to_numpy(dtype=object)
    numbers = []
    for level in sorted(set(contrast[complete])):
        codes = outcome.codes[complete & (contrast == level)]
        numbers.append(f"{int((codes > 0).sum())} of {len(codes)} with {level}")
    return (
        f"{_sentence(int((outcome.codes[complete] > 0).sum()), int(complete.sum()), 0)} of one "
        f"contrast, and has {', '.join(numbers)}"
    )


def _one_contrast(
    table: pd.DataFrame, outcome: Outcome, used: np.ndarray
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
