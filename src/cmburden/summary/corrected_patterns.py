"""Shares of the anatomical patterns, corrected by a matrix of true and called patterns.

The matrix holds for people with like numbers of microbleeds: who has many is seldom called without,
and more often mixed. Numbers of lesions by group and region are not corrected.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.core.tables import PATTERNS
from cmburden.stats.intervals import median_and_ends
from cmburden.stats.misclassification import true_shares
from cmburden.summary.detector_figures import Figures
from cmburden.summary.guards import Checked
from cmburden.summary.measures import CorrectedPattern
from cmburden.summary.rows import Row, not_estimated, row

#: Scans of a true pattern that the contract needs, and the largest condition number of its matrix.
_LEAST_SCANS = 10
_MOST_CONDITION = 20.0
#: Posterior predictive p below which the called patterns refute the matrix.
_LEAST_FIT = 0.005
_HOW = (
    "matrix of true and called patterns, posterior median and 95 % interval of shares and matrix "
    "together (Gibbs sampling); the matrix holds for people with like numbers of microbleeds"
)


def rows(people: pd.DataFrame, checked: Checked, contrast: str) -> Iterator[Row]:
    """Corrected shares of all usable ``people`` of a contrast, and of those with a microbleed."""
    called = people["pattern"].fillna(PATTERNS[0]).astype(str)
    numbers = {name: int((called == name).sum()) for name in sorted(set(called) | set(PATTERNS))}
    positive = len(called) - numbers[PATTERNS[0]]
    why, result = checked.refusal or _why_not(checked.figures), None
    if why is None and checked.figures is not None:
        columns = list(numbers)
        known = matrix_of(checked.figures, columns)
        random = np.random.default_rng(seed_of("patterns", contrast))
        result = true_shares(np.array(list(numbers.values())), known, random)
        if result.fit < _LEAST_FIT:
            why = "no shares of true patterns explain the called ones with the contract's matrix"
    if why is not None or checked.figures is None or result is None:
        for name in PATTERNS:
            yield row(
                CorrectedPattern(name), None, numbers[name], len(called), not_estimated(str(why))
            )
        for name in PATTERNS[1:]:
            measure = CorrectedPattern(name, "positive")
            yield row(measure, None, numbers[name], positive, not_estimated(str(why)))
        return
    method = "; ".join([_HOW, checked.figures.source, *checked.warnings])
    of_positive = result.draws[:, 1:] / result.draws[:, 1:].sum(axis=1, keepdims=True)
    for place, name in enumerate(PATTERNS):
        yield _row(
            CorrectedPattern(name), result.draws[:, place], numbers[name], len(called), method
        )
    for place, name in enumerate(PATTERNS[1:]):
        measure = CorrectedPattern(name, "positive")
        yield _row(measure, of_positive[:, place], numbers[name], positive, method)


def _row(measure: CorrectedPattern, draws: np.ndarray, number: int, of: int, method: str) -> Row:
    estimate, low, high = median_and_ends(draws)
    return row(measure, estimate, number, of, method, low, high)


def matrix_of(figures: Figures, columns: list[str]) -> np.ndarray:
    """Scans by true pattern (of PATTERNS) and called pattern (of ``columns``), int."""
    known = [
        [int(figures.patterns.get(true, {}).get(called, 0)) for called in columns]
        for true in PATTERNS
    ]
    return np.array(known, dtype=int)


def _why_not(figures: Figures | None) -> str | None:
    """Why the contract's matrix cannot correct a cohort; None where it can."""
    if figures is None or not figures.patterns:
        return "the contract has no matrix of true and called patterns"
    called = {name for row_ in figures.patterns.values() for name in row_}
    known = matrix_of(figures, sorted(called | set(PATTERNS)))
    scans = known.sum(axis=1)
    if scans.min() < _LEAST_SCANS:
        least = PATTERNS[int(scans.argmin())]
        return f"the contract has {scans.min()} scans of pattern {least}; {_LEAST_SCANS} are needed"
    condition = float(np.linalg.cond(known / scans[:, None]))
    if not condition <= _MOST_CONDITION:
        return (
            f"the contract's matrix of patterns tells them badly apart (condition {condition:.0f})"
        )
    return None
