"""Restricted cubic splines (Harrell, Regression Modeling Strategies, 2015, section 2.4.5)."""

from __future__ import annotations

import numpy as np

#: Quantiles of Harrell's knots, by their number.
_PLACES = {3: (0.10, 0.50, 0.90), 4: (0.05, 0.35, 0.65, 0.95)}


def knots(values: np.ndarray, number: int) -> np.ndarray:
    """``number`` (3 or 4) knots of ``values`` (n,); fewer where several coincide."""
    return np.unique(np.quantile(values, _PLACES[number]))


def bends(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The columns (n, knots - 2) that a restricted cubic spline has beside ``values`` (n,).

    The curve is straight before the first and after the last knot. In the unit of ``values``.

    >>> x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    >>> bends(x, np.array([1.0, 2.0, 3.0])).ravel().tolist()
    [0.0, 0.0, 0.25, 1.5, 3.0]
    """
    last, before = at[-1], at[-2]

    def cube(knot: float) -> np.ndarray:
        return np.maximum(values - knot, 0.0) ** 3

    columns = [
        cube(knot)
        - cube(before) * (last - knot) / (last - before)
        + cube(last) * (before - knot) / (last - before)
        for knot in at[:-2]
    ]
    return np.column_stack(columns) / (last - at[0]) ** 2
