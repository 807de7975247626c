"""Tables as Stata files, with labels of variables and values."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.core.files import whole_file
from cmburden.core.schema import Column
from cmburden.export.scripts import codes, label, stata_names
from cmburden.export.tables import Exported

#: Version of the format: Stata 14 and later, text as UTF-8.
_FORMAT = 118
#: The time that the format wants. A fixed one: equal tables give equal bytes.
_NO_TIME = datetime.datetime(2000, 1, 1)


def write(path: Path, table: Exported) -> Path:
    """Write a table as .dta; returns the path. A missing number is ``.``, a missing text empty."""
    names = stata_names(table.columns)
    columns = list(zip(table.columns, names, strict=True))
    frame = pd.DataFrame({name: _values(table, column) for column, name in columns})
    longest = [
        name
        for column, name in columns
        if column.kind == "str" and not codes(column) and frame[name].str.len().max() > 2000
    ]
    with whole_file(path, durable=False) as temporary:
        frame.to_stata(
            temporary,
            write_index=False,
            version=_FORMAT,
            time_stamp=_NO_TIME,
            data_label=f"cmburden {table.name}",
            variable_labels={name: label(column) for column, name in columns},
            value_labels={name: codes(column) for column, name in columns if codes(column)},
            convert_strl=longest,
        )
    return path


def _values(table: Exported, column: Column) -> pd.Series:
    values = [row[column.name] for row in table.rows]
    if column.kind in ("int", "float"):
        return pd.Series(values, dtype="float64")
    if known := codes(column):
        numbers = {text: code for code, text in known.items()}
        return pd.Series([_code(value, numbers) for value in values], dtype="float64")
    return pd.Series(["" if value is None else str(value) for value in values], dtype=object)


def _code(value: Any, numbers: dict[str, int]) -> float | None:
    if value is None:
        return None
    return float(value) if isinstance(value, bool) else float(numbers[value])
