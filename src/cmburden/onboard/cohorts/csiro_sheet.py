"""The sheet of CSIRO's set: a row a scan, with the points of its microbleeds, three cells each."""

from __future__ import annotations

import dataclasses
import io
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import openpyxl

from cmburden.core.errors import CMBurdenError
from cmburden.core.foreign import UnreadableFile, printable, read_bytes
from cmburden.index.names import without_ending
from cmburden.onboard.voxel_points import Point, refuse, unique

#: Most bytes that the sheet unpacks to, and most rows: the set has 60.
_MOST_UNPACKED, _MOST_ROWS = 256 * 2**20, 100_000
#: Beginning of the header of the column of names, and of each first column of a triple.
_NAMES, _POINTS = "nifti file name", "location"


@dataclasses.dataclass(frozen=True)
class Row:
    """Points of a scan as the sheet gives them, each once.

    ``doubled`` is the number of cells' triples that repeat another one, ``repeats`` that of further
    rows of the same scan, of which the first counts.
    """

    where: str
    points: tuple[Point, ...]
    doubled: int
    repeats: int = 0


def read(path: Path) -> Mapping[str, Row]:
    """Rows of the sheet by the scan's file name without ending.

    Raises
    ------
    CMBurdenError
        Where the file is no sheet of the set, or has cells that are no points: all at once.
    """
    cells = list(_cells(path))
    if not cells:
        raise CMBurdenError(f"{path}: its first sheet is empty; give rCMBInformationInfo.xlsx")
    names, points = _columns(path, cells[0])
    rows: dict[str, Row] = {}
    problems: list[str] = []
    for line, row in enumerate(cells[1:], start=2):
        name = without_ending(_text(row[names] if names < len(row) else None))
        if not name:
            continue
        where = f"{path.name}, row {line}"
        if name in rows:
            rows[name] = dataclasses.replace(rows[name], repeats=rows[name].repeats + 1)
            continue
        try:
            given = [point for point in (_point(row[at : at + 3]) for at in points) if point]
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        distinct = tuple(unique(given))
        rows[name] = Row(where, distinct, len(given) - len(distinct))
    refuse(problems, str(path))
    return rows


def _cells(path: Path) -> Iterator[Sequence[Any]]:
    """Rows of cells of the first sheet; formulas give the values that Excel stored."""
    try:
        content = read_bytes(path)
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            unpacked = sum(info.file_size for info in packed.infolist())
        if unpacked > _MOST_UNPACKED:
            raise UnreadableFile(f"it unpacks to {unpacked / 1e9:.1f} GB")
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        rows = list(book.worksheets[0].iter_rows(values_only=True, max_row=_MOST_ROWS))
    except UnreadableFile as error:
        raise CMBurdenError(f"{path}: cannot be read ({error}); download it again") from None
    except Exception as error:  # openpyxl raises many kinds for a torn file
        raise CMBurdenError(
            f"{path}: is no Excel file (.xlsx), or torn; download it again"
        ) from error
    yield from rows


def _columns(path: Path, header: Sequence[Any]) -> tuple[int, list[int]]:
    """Place of the column of names, and of the first column of each triple."""
    texts = [_text(cell).lower() for cell in header]
    names = [at for at, text in enumerate(texts) if text.startswith(_NAMES)]
    points = [at for at, text in enumerate(texts) if text.startswith(_POINTS)]
    if len(names) != 1 or not points:
        seen = ", ".join(printable(_text(cell)) for cell in header if _text(cell))
        raise CMBurdenError(
            f"{path}: has no columns 'NIFTI File Name' and 'Location CMB # 1' (it has: {seen});"
            " give rCMBInformationInfo.xlsx"
        )
    return names[0], points


def _point(cells: Sequence[Any]) -> Point | None:
    """The point of three cells, None where all are blank; ValueError for anything else."""
    texts = [_text(cell) for cell in cells]
    texts += [""] * (3 - len(texts))
    if not any(texts):
        return None
    shown = ", ".join(texts)
    try:
        x, y, z = (float(text) for text in texts)
    except ValueError:
        raise ValueError(f"the cells ({shown}) are no point of three numbers") from None
    if not all(math.isfinite(value) for value in (x, y, z)):
        raise ValueError(f"the cells ({shown}) are no point of three numbers")
    return x, y, z


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()
