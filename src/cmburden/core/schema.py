"""A table's contract: columns, types and null rules. Schema and sidecar follow from it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cmburden.core.errors import CMBurdenError, DamagedFile, sentence
from cmburden.core.files import whole_file

#: Pages carry a checksum: a flipped bit is an error and not another number.
PARQUET = {"compression": "zstd", "version": "2.6", "write_page_checksum": True}


class BrokenContract(CMBurdenError, ValueError):
    """Rows that a table's contract forbids; the sentence names table and column."""

    def __init__(self, table: str, column: str, fault: str):
        super().__init__(
            f"table {table}: column {column} {fault}; nothing was written: run the stage again, "
            "and report this if it happens again"
        )


_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
}


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    kind: str  # str | int | float | bool
    description: str
    unit: str = ""
    nullable: bool = True
    levels: tuple[str, ...] = ()

    def fault(self, array: pa.Array) -> str | None:
        """What the column must not hold and ``array`` holds, in words; None if all is well."""
        if array.null_count and not self.nullable:
            return f"holds {array.null_count} nulls"
        if self.kind == "float" and pc.all(pc.is_finite(array)).as_py() is False:
            return "holds NaN or infinity"
        unknown = set(array.to_pylist()) - set(self.levels) - {None} if self.levels else None
        return f"holds {sorted(unknown)}" if unknown else None


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of ``table`` as dictionaries. A missing value is None: pandas' nulls do not compare."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


@dataclasses.dataclass(frozen=True)
class Table:
    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    #: True if other columns may follow, such as phenotypes. These columns keep their types.
    open: bool = False
    #: Nullable columns that a file of an earlier version may lack: they are then null. For files
    #: that people made, which cannot be made again.
    later: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                pa.field(
                    column.name,
                    _TYPES[column.kind],
                    nullable=column.nullable,
                    metadata={"description": column.description, "unit": column.unit},
                )
                for column in self.columns
            ]
        )

    def sidecar(self) -> dict[str, dict]:
        """BIDS sidecar: one entry a column with Description, Units and Levels."""
        described = {}
        for column in self.columns:
            entry: dict = {"Description": column.description}
            if column.unit:
                entry["Units"] = column.unit
            if column.levels:
                entry["Levels"] = {level: level for level in column.levels}
            described[column.name] = entry
        return described

    def frame(self, rows: pd.DataFrame | list[dict]) -> pd.DataFrame:
        """``rows`` as a frame with the contract's columns, types and order, sorted by key."""
        return self.arrow(rows).to_pandas(types_mapper=_pandas_type)

    def arrow(self, rows: pd.DataFrame | list[dict]) -> pa.Table:
        """``rows`` as an Arrow table of the contract.

        NaN in a plain column of pandas means a missing value and becomes null. Infinity, and NaN
        in a nullable column of pandas, is a fault of the rows.

        Raises
        ------
        BrokenContract
            When a column holds nulls that it must not, an unknown level, NaN or infinity.
        ValueError
            When the rows have columns that the contract lacks.
        """
        table = pd.DataFrame(rows)
        extra = [name for name in table.columns if name not in self.names]
        if extra and not self.open:
            raise ValueError(f"table {self.name}: columns not in the contract: {extra}")
        arrays, fields = [], []
        for column, field in zip(self.columns, self.schema(), strict=True):
            values = table[column.name] if column.name in table else [None] * len(table)
            array = pa.array(values, type=_TYPES[column.kind], from_pandas=True)
            if fault := column.fault(array):
                raise BrokenContract(self.name, column.name, fault)
            arrays.append(array)
            fields.append(field)
        for name in extra:
            array = pa.array(table[name], from_pandas=True)
            if pa.types.is_null(array.type):
                array = array.cast(pa.string())
            arrays.append(array)
            fields.append(pa.field(name, array.type))
        result = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
        return result.sort_by([(name, "ascending") for name in self.key])

    def write(
        self,
        path: Path,
        rows: pd.DataFrame | list[dict],
        *,
        note: dict[str, str] | None = None,
    ) -> None:
        """Write Parquet by rename, sorted by key, without times: equal rows give equal bytes.

        ``note`` goes into the file's metadata.
        """
        table = self.arrow(rows).replace_schema_metadata(note)
        with whole_file(path) as temporary:
            pq.write_table(table, temporary, **PARQUET)

    def read(self, path: Path) -> pd.DataFrame:
        """Read a table that ``write`` wrote, with pandas' nullable types: missing is not zero."""
        try:
            table = pq.read_table(path, partitioning=None, page_checksum_verification=True)
        except FileNotFoundError as error:
            raise CMBurdenError(
                f"{path}: is not there; was the output folder's run finished?"
            ) from error
        except (OSError, pa.ArrowException) as error:
            if sentence(error):
                raise  # a folder without permission: the table may be sound
            raise DamagedFile(
                path, f"not a readable Parquet table: {error}", "remove it and run again"
            ) from error
        missing = [name for name in self.names if name not in table.column_names]
        if missing and set(missing) <= set(self.later):
            return self.frame(table.to_pandas(types_mapper=_pandas_type))
        if missing:
            raise CMBurdenError(
                f"{path}: columns {missing} are missing; it is of another version, run again"
            )
        return table.to_pandas(types_mapper=_pandas_type)


def _pandas_type(kind: pa.DataType) -> Any:
    return {
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype(),
    }.get(kind)
