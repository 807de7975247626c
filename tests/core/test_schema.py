"""Rows that break a table's contract are refused, with a sentence of table and column."""

import numpy as np
import pandas as pd
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.core.schema import Column, Table

TABLE = Table(
    "cells",
    "a cell",
    ("id",),
    (
        Column("id", "int", "Number", nullable=False),
        Column("probability", "float", "Probability"),
        Column("volume", "float", "Volume", nullable=False),
    ),
)


def masked(value: float) -> pd.Series:
    """A nullable column whose value is there, and is ``value``."""
    return pd.Series(pd.arrays.FloatingArray(np.array([value]), np.array([False])))


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"id": [1], "probability": [0.5], "volume": [np.nan]}, "volume"),
        ({"id": [1], "probability": [0.5], "volume": [None]}, "volume"),
        ({"id": [1], "probability": [np.inf], "volume": [1.0]}, "probability"),
        ({"id": [1], "probability": [-np.inf], "volume": [1.0]}, "probability"),
        ({"id": [1], "probability": masked(np.nan), "volume": [1.0]}, "probability"),
    ],
)
def test_no_number_where_there_is_none(tmp_path, row, column):
    with pytest.raises(CMBurdenError, match=f"table cells: column {column} holds"):
        TABLE.write(tmp_path / "cells.parquet", pd.DataFrame(row))
    assert not (tmp_path / "cells.parquet").exists()


def test_missing_is_null():
    frame = TABLE.frame(pd.DataFrame({"id": [1, 2], "probability": [0.5, None], "volume": 1.0}))
    assert frame["probability"].isna().tolist() == [False, True]
