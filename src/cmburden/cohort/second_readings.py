"""Second readings: a reader's decisions on scans that the reader had reviewed before.

A second reading says how far a reader agrees with themself. It is kept in a file of its own, under
the reader's name and ``AGAIN``, and has no vote in a verdict.
"""

from __future__ import annotations

import pandas as pd

from cmburden.cohort.verdicts import Verdicts, settle

#: End of the names of second readings.
AGAIN = "Again"


def is_second(reader: str) -> bool:
    """Whether ``reader`` names a second reading.

    >>> is_second("ABAgain"), is_second("AB"), is_second("Again")
    (True, False, False)
    """
    return reader.endswith(AGAIN) and reader != AGAIN


def first_readings(reviews: pd.DataFrame) -> pd.DataFrame:
    """The rows of `reviews` that count."""
    return reviews[~reviews["reader"].map(is_second).astype(bool)]


def settled_again(
    reviews: pd.DataFrame, candidates: pd.DataFrame, scans: pd.DataFrame
) -> list[Verdicts]:
    """For each reader with a second reading, verdicts of both readings alone.

    The arguments are those of ``verdicts.settle``.
    """
    seconds = sorted({name for name in reviews["reader"] if is_second(name)})
    both = [(name.removesuffix(AGAIN), name) for name in seconds]
    return [settle(reviews[reviews["reader"].isin(pair)], candidates, scans) for pair in both]
