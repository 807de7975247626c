"""Complementary suppression: an attacker with a linear program learns no hidden small cell."""

import numpy as np
import pytest
from scipy.optimize import linprog

from cmburden.stats.suppression import Equation, hidden

LEAST = 5


def two_way(inner: np.ndarray) -> tuple[list[int], list[Equation]]:
    """Cells of a table with its margins, row by row, then row sums, column sums and the total."""
    rows, columns = inner.shape
    values = [*inner.ravel(), *inner.sum(axis=1), *inner.sum(axis=0), inner.sum()]
    n = rows * columns
    across = [Equation.margin(n + i, range(i * columns, (i + 1) * columns)) for i in range(rows)]
    down = [Equation.margin(n + rows + j, range(j, n, columns)) for j in range(columns)]
    total = n + rows + columns
    ends = [
        Equation.margin(total, range(n, n + rows)),
        Equation.margin(total, range(n + rows, total)),
    ]
    return [int(value) for value in values], [*across, *down, *ends]


def learned(values: list[int], shut: np.ndarray, equations: list[Equation], cell: int) -> float:
    """Width of what an attacker knows of a hidden cell: published cells are known, none < 0."""
    unknown = np.flatnonzero(shut)
    left = np.zeros((len(equations), len(unknown)))
    right = np.zeros(len(equations))
    for place, equation in enumerate(equations):
        for of, weight in zip(equation.cells, equation.weights, strict=True):
            if shut[of]:
                left[place, np.flatnonzero(unknown == of)] += weight
            else:
                right[place] -= weight * values[of]
    aim = (unknown == cell).astype(float)
    ends = [linprog(sign * aim, A_eq=left, b_eq=right).fun for sign in (1, -1)]
    return -ends[1] - ends[0]


@pytest.mark.parametrize("seed", range(12))
def test_a_small_cell_of_a_two_way_table_cannot_be_computed(seed):
    """Audit 4, item 13: cells under five, and the complements that give them away."""
    random = np.random.default_rng(seed)
    inner = random.negative_binomial(1, 0.06, size=(3 + seed % 3, 4))
    values, equations = two_way(inner)
    small = [0 < value < LEAST for value in values]
    shut = hidden(values, small, equations, LEAST)
    assert shut[small].all()
    for cell in np.flatnonzero(small):
        assert learned(values, shut, equations, int(cell)) > 0.5
    for equation in equations:
        unknown = [cell for cell in equation.cells[:-1] if shut[cell]]
        if unknown and not shut[equation.cells[-1]]:
            assert sum(values[cell] for cell in unknown) >= LEAST


def test_nothing_is_hidden_where_nothing_is_small():
    values, equations = two_way(np.full((3, 3), 9))
    assert not hidden(values, [False] * len(values), equations, LEAST).any()


def test_a_table_of_one_level_takes_its_margin_with_it():
    assert hidden([3, 3], [True, False], [Equation.margin(1, [0])], LEAST).all()
