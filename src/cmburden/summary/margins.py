"""How the counts of `summary` add up: the cells and equations that suppression works on.

Equations that a name alone implies (levels of a variable, reasons of a status, shares of one
denominator) hold for families of measures that are added later, too. A set that does not add up is
taken as no margin, and one hidden member still gets a second one.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, get_type_hints

import numpy as np

from cmburden.stats.suppression import Equation, hidden
from cmburden.summary import measures
from cmburden.summary.measures import (
    Attended,
    AverageCount,
    BostonImaging,
    CorrectedMean,
    CorrectedPattern,
    CorrectionCheck,
    CountBin,
    Lesions,
    Likelihood,
    MissingReason,
    Participants,
    ParticipantsByCount,
    PatternShare,
    Presence,
    PresenceInGroup,
    Prevalence,
    PrevalenceAt,
    Scans,
)
from cmburden.summary.names import Measure
from cmburden.summary.rows import COUNTED, Row
from cmburden.summary.strata import Stratum

#: Variables of strata that hold no participant of the cohort.
_ELSEWHERE = {"published", "model"}
_USABLE, _ALL = Participants("usable"), Participants()
#: Measures whose number other rows of their stratum have as denominator.
_TOTALS = (
    _ALL,
    Presence("definite"),
    Lesions("definite"),
    Scans(),
    Scans("ok"),
    Participants("with several sessions"),
    Participants("compared"),
)
_WITHOUT = Participants("without usable scan")
#: What a report to share is read for, of everybody and of a contrast: hidden for others only where
#: nothing else is left to hide.
_MAIN = (
    _USABLE,
    Presence("definite"),
    Presence("definite or possible"),
    Prevalence("apparent"),
    Prevalence("corrected"),
)
#: Measures whose number is that of the participants with a lesion called.
_OF_CALLED = (Prevalence, PrevalenceAt, CorrectedMean, CorrectionCheck, Likelihood)


@dataclasses.dataclass(frozen=True)
class Named:
    """A row of `summary` with its names read. ``n``: the cell of its numerator.

    ``total`` is the cell of the lesions behind a mean. Rows of no cohort have no cell.
    """

    row: Row
    stratum: Stratum
    measure: Measure | None
    n: int | None = None
    total: int | None = None

    @property
    def share(self) -> bool:
        """Whether the estimate is ``n`` over the denominator, or a number that was counted."""
        row = self.row
        if row["method"] == COUNTED or row["estimate"] is None or not row["denominator"]:
            return bool(row["method"] == COUNTED)
        return bool(np.isclose(row["estimate"], row["n"] / row["denominator"]))

    def small(self, least: int) -> bool:
        """Whether numerator, denominator or their difference is small, or everybody is positive."""
        n, of = self.row["n"], self.row["denominator"]
        if 0 < n < least or (of is not None and (0 < of < least or 0 < of - n < least)):
            return not isinstance(self.measure, Participants) or 0 < n < least
        everybody = n > 0 and of == n and self.share and self.row["method"] != COUNTED
        return everybody and not isinstance(self.measure, Participants)


class Margins:
    """Cells and equations of the rows of `summary` of a cohort."""

    def __init__(self, rows: Iterable[Row], least: int):
        """``least``: the smallest count that may be shown."""
        self.least = least
        self.values: list[int] = []
        self.sensitive: list[bool] = []
        self.fixed: set[int] = set()
        self.withheld: list[int] = []
        self.equations: list[Equation] = []
        self.together: dict[int, list[int]] = defaultdict(list)
        named = [_named(row) for row in rows]
        shut = _hidden_strata(named, least)
        self.rows = [self._with_cells(one, one.stratum in shut) for one in named]
        self.by_name = {(one.row["stratum"], one.row["measure"]): one for one in self.rows}
        for total, parts in _by_levels(self.rows):
            self._of_levels(total, parts)
        by_stratum: dict[str, list[Named]] = defaultdict(list)
        for one in self.rows:
            if one.n is not None:
                by_stratum[one.row["stratum"]].append(one)
        for stratum, here in by_stratum.items():
            self._of_families(here)
            self._of_names(stratum, here)

    def hidden(self) -> np.ndarray:
        """Cells (n,) to hide."""
        return hidden(
            self.values,
            self.sensitive,
            self.equations,
            self.least,
            self.together,
            self.fixed,
            self.withheld,
        )

    # --- cells ---

    def _cell(self, value: int, *, sensitive: bool = False, fixed: bool = False) -> int:
        self.values.append(value)
        self.sensitive.append(sensitive)
        if fixed and not sensitive:
            self.fixed.add(len(self.values) - 1)
        return len(self.values) - 1

    def _with_cells(self, one: Named, shut: bool) -> Named:
        if _ELSEWHERE & set(one.stratum.variables) or one.row["n"] is None:
            return one
        n = self._cell(
            int(one.row["n"]),
            sensitive=shut or one.small(self.least),
            fixed=one.measure in _MAIN and set(one.stratum.variables) <= {"contrast"},
        )
        total = None
        if one.measure == AverageCount("mean") and one.row["estimate"] is not None:
            total = self._cell(round(one.row["estimate"] * one.row["n"]), sensitive=shut)
        return dataclasses.replace(one, n=n, total=total)

    # --- equations ---

    def _margin(self, total: int, parts: list[int]) -> None:
        """``parts`` make up ``total``, together with people who have no part."""
        slack = self.values[total] - sum(self.values[part] for part in parts)
        if slack < 0:
            return
        if slack > 0:
            # No row says how many have no part.
            rest = self._cell(slack, sensitive=slack < self.least)
            self.withheld.append(rest)
            parts = [*parts, rest]
        self.equations.append(Equation.margin(total, parts))

    def _same(self, one: int | None, other: int | None) -> None:
        """Two cells count the same people, or those of one are known from those of the other."""
        if one is not None and other is not None and one != other:
            self.together[one].append(other)
            self.together[other].append(one)

    def _of_levels(self, whole: Named, parts: list[Named]) -> None:
        assert whole.n is not None
        self._margin(whole.n, [one.n for one in parts if one.n is not None])
        sums = [one.total for one in parts if one.total is not None]
        if whole.total is not None and sums:
            self._margin(whole.total, sums)

    def _of_families(self, here: list[Named]) -> None:
        """Members of a family that differ in one field: shares of one whole, reasons, bins."""
        groups: dict[Any, list[tuple[Any, Named]]] = defaultdict(list)
        for one in here:
            fields = {} if one.measure is None else vars(one.measure)
            for name in fields:
                rest = tuple(pair for pair in fields.items() if pair[0] != name)
                groups[type(one.measure), rest, name].append((fields[name], one))
        for (family, _, name), members in groups.items():
            parts = [one for value, one in members if value != ""]
            self._of_family([one for value, one in members if value == ""], parts)
            # Levels may add up to a sum that stands elsewhere: one is not hidden alone. Words that
            # a type lists, as those of Presence, are other questions and no levels.
            if get_type_hints(family)[name] is str:
                cells = tuple(one.n for one in parts if one.n is not None)
                self.equations.append(Equation(cells, (1,) * len(cells), soft=True))

    def _of_family(self, wholes: list[Named], parts: list[Named]) -> None:
        """``parts`` add up to one of ``wholes``, to their denominator, or to nothing known."""
        cells = [one.n for one in parts if one.n is not None]
        if len(cells) < 2:
            return
        number = sum(self.values[cell] for cell in cells)
        totals = [one.n for one in wholes if one.n is not None]
        if {one.row["denominator"] for one in parts} == {number}:
            totals.append(self._cell(number, fixed=True))
        for total in totals:
            if self.values[total] == number:
                self._margin(total, cells)

    def _of_names(self, stratum: str, here: list[Named]) -> None:
        """What measures of one stratum say of each other by their definition."""

        def at(measure: Measure) -> int | None:
            one = self.by_name.get((stratum, measure.name))
            return None if one is None else one.n

        self._flow(here, at(_ALL), at(_USABLE), at(_WITHOUT))
        presence = at(Presence("definite"))
        for none in (PatternShare("none"), CountBin("0"), ParticipantsByCount(0)):
            self._same(presence, at(none))
        for one in here:
            if isinstance(one.measure, PatternShare) and one.measure.of:
                self._same(one.n, at(PatternShare(one.measure.pattern)))
            if isinstance(one.measure, _OF_CALLED):
                self._same(one.n, at(Presence(one.measure.of or "definite")))
            if isinstance(one.measure, CorrectedPattern):
                self._same(one.n, at(PatternShare(one.measure.pattern)))
            self._same(one.total, at(Lesions("definite")))
            self._same(one.total, one.n if one.total is not None else None)
        self._nested(at)
        self._attended(here)
        self._counts(here, at(Lesions("definite")))

    def _flow(
        self, here: list[Named], whole: int | None, usable: int | None, without: int | None
    ) -> None:
        """Participants with and without a usable scan, the latter by reason."""
        if whole is not None and usable is not None and without is not None:
            self._margin(whole, [usable, without])
        reasons = [
            one.n for one in here if isinstance(one.measure, MissingReason) and one.n is not None
        ]
        if without is not None and reasons:
            self._margin(without, reasons)

    def _nested(self, at: Any) -> None:
        """Definite lies in definite or possible, the Boston item and mixed in their patterns."""
        lobar, mixed = PatternShare("strictly lobar"), PatternShare("mixed")
        for whole, *parts in (
            (Presence("definite or possible"), Presence("definite")),
            (lobar, BostonImaging()),
            (PresenceInGroup("lobar"), lobar, mixed),
        ):
            cells = [at(part) for part in parts]
            if at(whole) is None or None in cells:
                continue
            # The rest stands in no row: it gives nothing away unless it is small.
            if 0 < self.values[at(whole)] - sum(self.values[one] for one in cells) < self.least:
                self._margin(at(whole), cells)

    def _attended(self, here: list[Named]) -> None:
        """Who came to three sessions came to two: the difference is the number who came to two."""
        came = sorted(
            (one.measure.number, one.n)
            for one in here
            if isinstance(one.measure, Attended) and one.n is not None
        )
        for (_, more), (_, fewer) in pairwise(came):
            if 0 < self.values[more] - self.values[fewer] < self.least:
                self._margin(more, [fewer])

    def _counts(self, here: list[Named], lesions: int | None) -> None:
        """Bins hold counts, and counts times their people are lesions."""
        counts = {
            one.measure.count: one.n
            for one in here
            if isinstance(one.measure, ParticipantsByCount) and one.n is not None
        }
        for one in here:
            if isinstance(one.measure, CountBin) and one.n is not None:
                low, high = _ends(one.measure.label)
                self._margin(
                    one.n, [cell for count, cell in counts.items() if low <= count <= high]
                )
        several = {count: cell for count, cell in counts.items() if count}
        if lesions is not None and several:
            weights = (*several.keys(), -1)
            self.equations.append(Equation((*several.values(), lesions), weights))


def _named(row: Row) -> Named:
    stratum = Stratum.parse(row["stratum"]) or Stratum(other=row["stratum"])
    return Named(row, stratum, measures.parse(row["measure"]))


def _hidden_strata(rows: list[Named], least: int) -> set[Stratum]:
    """Strata of few usable people, and those that would give them away: they show no row."""
    people = [one for one in rows if one.measure == _USABLE and one.row["n"] is not None]
    values = [int(one.row["n"]) for one in people]
    cells = [dataclasses.replace(one, n=place) for place, one in enumerate(people)]
    small = [0 < value < least for value in values]
    shut = hidden(values, small, _people_margins(cells, values), least)
    return {one.stratum for place, one in enumerate(people) if shut[place]}


def _people_margins(cells: list[Named], values: list[int]) -> list[Equation]:
    margins = []
    for total, parts in _by_levels(cells):
        numbers = [one.n for one in parts if one.n is not None]
        if total.n is not None and sum(values[cell] for cell in numbers) == values[total.n]:
            margins.append(Equation.margin(total.n, numbers))
    return margins


def _by_levels(rows: list[Named]) -> Iterator[tuple[Named, list[Named]]]:
    """A row, and the rows of its measure by the levels of one more set of variables."""
    by_variables: dict[frozenset[str], list[Named]] = defaultdict(list)
    for one in rows:
        if one.n is not None:
            by_variables[frozenset(one.stratum.variables)].append(one)
    for fewer, wholes in by_variables.items():
        totals = {(_levels(one, fewer), one.row["measure"]): one for one in wholes}
        for more, others in by_variables.items():
            if not fewer < more:
                continue
            parts: dict[Any, list[Named]] = defaultdict(list)
            for one in others:
                parts[_levels(one, fewer), one.row["measure"]].append(one)
            yield from ((totals[key], of) for key, of in parts.items() if key in totals)


def _levels(one: Named, variables: frozenset[str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, one.stratum[name]) for name in variables))


def _ends(label: str) -> tuple[float, float]:
    """Least and largest count of a bin by its label.

    >>> _ends("2 to 4"), _ends(">=5"), _ends("0")
    ((2.0, 4.0), (5.0, inf), (0.0, 0.0))
    """
    if label.startswith(">="):
        return float(label[2:]), float("inf")
    low, _, high = label.partition(" to ")
    return float(low), float(high or low)


@dataclasses.dataclass(frozen=True)
class Judged:
    """What of a row is to be hidden, as its counts say: its numerator, its denominator."""

    named: Named
    n: bool
    denominator: bool


def of_rows(rows: Iterable[Row], least: int) -> Iterator[Judged]:
    """Each row with what of it is to be hidden."""
    margins = Margins(rows, least)
    shut = margins.hidden()
    lost: dict[str, set[int]] = defaultdict(set)
    for one in margins.rows:
        if one.n is not None and shut[one.n] and one.measure in _TOTALS:
            lost[one.row["stratum"]].add(one.row["n"])
    for one in margins.rows:
        n = any(shut[cell] for cell in (one.n, one.total) if cell is not None)
        yield Judged(one, bool(n), one.row["denominator"] in lost[one.row["stratum"]])
