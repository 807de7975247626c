"""Complementary suppression: which cells of additive tables to hide beside the sensitive ones.

Hundepool et al., Statistical Disclosure Control (Wiley 2012), chapter 4. A table with margins is a
set of linear equations over its cells. Somebody who subtracts published cells from published
margins solves the equations for the hidden cells. ``hidden`` adds cells until no sensitive cell has
a single solution, and until no sum of hidden cells is itself a small number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import lsmr

#: Below this share of a random direction a cell does not move in the equations' null space.
_STILL = 1e-6
#: Most unknown cells of a dense solution; a larger one is iterative.
_DENSE = 300
#: Passes of the propagation of bounds. A pass carries a bound over one more equation.
_PASSES = 20


@dataclasses.dataclass(frozen=True)
class Equation:
    """The weighted sum of ``cells`` is zero. A margin has weight -1 and its parts have weight 1.

    ``soft``: the sum is nobody's to know; one hidden cell alone still gets a second one.
    """

    cells: tuple[int, ...]
    weights: tuple[int, ...]
    soft: bool = False

    @classmethod
    def margin(cls, total: int, parts: Sequence[int]) -> Equation:
        """``total`` is the sum of ``parts``."""
        return cls((*parts, total), (*([1] * len(parts)), -1))


def hidden(
    values: Sequence[int],
    sensitive: Sequence[bool],
    equations: Sequence[Equation],
    least: int,
    together: Mapping[int, Sequence[int]] | None = None,
    fixed: Collection[int] = (),
    withheld: Sequence[int] = (),
) -> np.ndarray:
    """Cells (n,) to hide: the sensitive ones, and what would give them away.

    ``values`` (n,) are counts, ``least`` is the smallest count that may be shown. ``together``: a
    hidden cell takes these cells with it. ``fixed`` cells, and those that go with them, are hidden
    for others only where nothing else is left to hide. ``withheld`` cells are hidden to begin with.

    One small cell of a margin takes the next smallest one with it, and a third one, since the two
    add up to a small number:

    >>> margin = Equation.margin(4, [0, 1, 2, 3])
    >>> hidden([2, 1, 6, 30, 39], [True, True, False, False, False], [margin], 5).tolist()
    [True, True, True, False, False]
    """
    number = np.asarray(values, dtype=np.int64)
    shut = np.zeros(len(number), dtype=bool)
    table = _Table(number, shut, equations, least, together or {}, fixed)
    small = np.flatnonzero(np.asarray(sensitive, dtype=bool))
    table.hide([*withheld, *small])
    while True:
        table.close_margins()
        # Nobody of a whole that is nobody cannot be hidden.
        exposed = small[table.solved()[small] & (number[small] > 0)]
        if not len(exposed) or not (table.widen(exposed) or table.loosen()):
            return table.shut


class _Table:
    """Cells, their equations, and which cells are hidden so far."""

    def __init__(
        self,
        values: np.ndarray,
        shut: np.ndarray,
        equations: Sequence[Equation],
        least: int,
        together: Mapping[int, Sequence[int]],
        fixed: Collection[int],
    ):
        self.values, self.shut, self.least, self.together = values, shut, least, together
        self.equations = equations
        self.of_cell: dict[int, list[int]] = {}
        for place, equation in enumerate(equations):
            for cell in equation.cells:
                self.of_cell.setdefault(cell, []).append(place)
        self.to_look_at: set[int] = set()
        self.fixed: set[int] = set()
        waiting = list(fixed)
        while waiting:
            cell = waiting.pop()
            if cell not in self.fixed:
                self.fixed.add(cell)
                waiting += together.get(cell, ())

    def loosen(self) -> bool:
        """Let fixed cells be hidden as well; False where there is none."""
        loosened = bool(self.fixed)
        self.fixed = set()
        self.to_look_at = {
            place for place, one in enumerate(self.equations) if self.shut[list(one.cells)].any()
        }
        return loosened

    def hide(self, cells: Sequence[int] | np.ndarray) -> None:
        """Hide ``cells`` and what goes with them; their equations are to be looked at again."""
        waiting = [int(cell) for cell in cells]
        while waiting:
            cell = waiting.pop()
            if self.shut[cell]:
                continue
            self.shut[cell] = True
            self.to_look_at.update(self.of_cell.get(cell, ()))
            waiting += self.together.get(cell, ())

    def close_margins(self) -> None:
        """Hide a further cell of each equation whose hidden cells add up to something telling."""
        while self.to_look_at:
            equation = self.equations[self.to_look_at.pop()]
            while self._tells(equation):
                further = self._next(equation)
                if further is None:
                    break
                self.hide([further])

    def _tells(self, equation: Equation) -> bool:
        unknown = [cell for cell in equation.cells if self.shut[cell]]
        if len(unknown) == 1:
            return True
        if equation.soft or -1 not in equation.weights or self.shut[equation.cells[-1]]:
            return False
        together = int(self.values[unknown].sum())
        return set(equation.weights) == {1, -1} and 0 < together < self.least

    def _next(self, equation: Equation) -> int | None:
        """The smallest part that still shows, zero last, then the margin; None: there is none."""
        open_cells = [
            (weight < 0, self.values[cell] == 0, int(self.values[cell]), cell)
            for cell, weight in zip(equation.cells, equation.weights, strict=True)
            if not self.shut[cell] and cell not in self.fixed
        ]
        return min(open_cells)[-1] if open_cells else None

    def widen(self, exposed: np.ndarray) -> bool:
        """Hide more cells beside each exposed one; False where there is none left."""
        wider = False
        # Equations within reach of a cell, smallest first; those used up are taken off.
        reach: dict[int, list[int]] = {}
        for cell in map(int, exposed):
            cells = list(self._next_of(self.of_cell.get(cell, ())))
            if not cells:
                if cell not in reach:
                    reach |= self._component(cell)
                cells = self._first_of(reach[cell])
            wider = wider or bool(cells)
            self.hide(cells)
        return wider

    def _next_of(self, places: Iterable[int]) -> Iterator[int]:
        further = (self._next(self.equations[place]) for place in places)
        return (cell for cell in further if cell is not None)

    def _first_of(self, places: list[int]) -> list[int]:
        """The next cell of the first of ``places`` that has one; those before it are taken off."""
        while places:
            further = self._next(self.equations[places[0]])
            if further is not None:
                return [further]
            places.pop(0)
        return []

    def _component(self, cell: int) -> dict[int, list[int]]:
        """Equations that hold the cell, or are joined to one of those by hidden cells.

        One list, smallest equation first, for each hidden cell of the component.
        """
        places: set[int] = set()
        waiting, cells = [cell], {cell}
        while waiting:
            for place in self.of_cell.get(waiting.pop(), ()):
                if place in places:
                    continue
                places.add(place)
                for other in self.equations[place].cells:
                    if self.shut[other] and other not in cells:
                        cells.add(other)
                        waiting.append(other)
        in_order = sorted(places, key=lambda at: (len(self.equations[at].cells), at))
        return dict.fromkeys(cells, in_order)

    def solved(self) -> np.ndarray:
        """Hidden cells (n,) that the equations, or the equations and non-negativity, determine."""
        known = np.zeros(len(self.values), dtype=bool)
        rows = [
            {c: w for c, w in zip(one.cells, one.weights, strict=True) if self.shut[c]}
            for one in self.equations
            if not one.soft
        ]
        rows = [row for row in rows if row]
        known[list(_determined(rows))] = True
        for row in _bounded(rows, self.values):
            known[row] = True
        return known


def _determined(rows: list[dict[int, int]]) -> set[int]:
    """Cells with one solution of the equations ``rows``, which map a cell to its weight.

    A cell of one equation alone takes any value that the others ask for: the equation says nothing
    of the others. Such equations are set aside, one after the other. What is left is small.
    """
    aside, core = _set_aside(rows)
    single = _single_solutions(core)
    within = {cell for row in core for cell in row}
    for place in reversed(aside):
        free = [cell for cell in rows[place] if cell not in within]
        if len(free) == 1 and single.issuperset(rows[place].keys() & within):
            single.add(free[0])
        within.update(rows[place])
    return single


def _set_aside(rows: list[dict[int, int]]) -> tuple[list[int], list[dict[int, int]]]:
    """Places of the equations that a cell of one equation frees, in turn, and the other ones."""
    places: dict[int, set[int]] = {}
    for place, row in enumerate(rows):
        for cell in row:
            places.setdefault(cell, set()).add(place)
    aside: list[int] = []
    waiting = [cell for cell, of in places.items() if len(of) == 1]
    while waiting:
        of = places[waiting.pop()]
        if len(of) != 1:
            continue
        place = next(iter(of))
        aside.append(place)
        for cell in rows[place]:
            places[cell].discard(place)
            if len(places[cell]) == 1:
                waiting.append(cell)
    gone = set(aside)
    return aside, [row for place, row in enumerate(rows) if place not in gone]


def _single_solutions(rows: list[dict[int, int]]) -> set[int]:
    """Cells that are zero in the null space of the equations ``rows``.

    What remains of a random direction after its part in the row space is its part in the null
    space. It is zero in a coordinate only where the whole null space is.
    """
    cells = sorted({cell for row in rows for cell in row})
    if not cells:
        return set()
    at = {cell: place for place, cell in enumerate(cells)}
    entries = [(i, at[cell], float(w)) for i, row in enumerate(rows) for cell, w in row.items()]
    i, j, w = map(np.array, zip(*entries, strict=True))
    matrix = coo_matrix((w, (i, j)), shape=(len(rows), len(cells))).tocsr()
    direction = np.random.default_rng(0).normal(size=len(cells))
    target = matrix @ direction
    if len(cells) <= _DENSE:
        part = np.linalg.lstsq(matrix.toarray(), target, rcond=None)[0]
    else:
        part = lsmr(matrix, target, atol=1e-12, btol=1e-12, conlim=0, maxiter=4 * len(cells))[0]
    still = np.abs(direction - part) < _STILL
    return {cell for cell, one in zip(cells, still, strict=True) if one}


def _bounded(rows: list[dict[int, int]], values: np.ndarray) -> list[int]:
    """Cells whose bounds meet, given that none is negative."""
    if not rows:
        return []
    entries = [(i, cell, weight) for i, row in enumerate(rows) for cell, weight in row.items()]
    row, cell, weight = map(np.array, zip(*entries, strict=True))
    total = np.bincount(row, weight * values[cell])
    low, high = np.zeros(len(values)), np.full(len(values), np.inf)
    for _ in range(_PASSES):
        before = low.copy(), high.copy()
        ends = np.sort([weight * low[cell], weight * high[cell]], axis=0)
        bounds = [(total[row] - _rests(row, end)) / weight for end in ends]
        least, most = np.sort(bounds, axis=0)
        np.maximum.at(low, cell, least)
        np.minimum.at(high, cell, most)
        if np.array_equal(before, (low, high)):
            break
    return [int(one) for one in np.unique(cell) if high[one] - low[one] < _STILL]


def _rests(row: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """For each of ``terms`` (n,) the sum of the others of its ``row`` (n,).

    Infinite terms of a row have one sign.

    >>> _rests(np.array([0, 0, 0, 1, 1]), np.array([1.0, 2, 4, 1, np.inf])).tolist()
    [6.0, 5.0, 3.0, inf, 1.0]
    """
    endless = np.isinf(terms)
    finite = np.where(endless, 0.0, terms)
    others = np.bincount(row, endless)[row] - endless
    sign = np.bincount(row, np.where(endless, np.sign(terms), 0.0))[row]
    rest = np.bincount(row, finite)[row] - finite
    return np.where(others > 0, np.copysign(np.inf, sign), rest)
