"""Writes the export of a cohort: tables, codebook, dictionary, scripts, maps and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cmburden.core import table_set
from cmburden.core.paths import Layout
from cmburden.core.tables import ALL
from cmburden.export import codebook, figures, maps, mars, redcap, scripts, stata
from cmburden.export.tables import Exported, cells, csv_text, read, tsv_text, write_text
from cmburden.images.volume import sidecar
from cmburden.report import stage as report
from cmburden.report.tables import ReportTables

_BOOK, _BOOK_TEXT = "codebook.csv", "codebook.md"
_R, _STATA = "read_cmburden.R", "read_cmburden.do"
_REDCAP, _MARS = "redcap_data_dictionary.csv", "mars.csv"
_FILES = (_BOOK, _BOOK_TEXT, _R, _STATA, _REDCAP, _MARS)


def run(
    layout: Layout,
    config: dict[str, Any],
    folder: Path,
    formats: Iterable[str] = ("csv", "tsv", "stata"),
    least: int | None = None,
) -> list[Path]:
    """Write the export to ``folder``; returns its files. Equal tables give equal bytes.

    ``formats``: csv, tsv, stata. ``least``: the smallest count of an export to share; None exports
    everything.

    Raises
    ------
    CMBurdenError
        If there are no tables.
    """
    table_set.check(layout)
    tables = read(layout, least)
    _without_former(folder)
    paths = [path for table in tables for path in _written(folder, table, set(formats))]
    lines = [dataclasses.astuple(one) for one in codebook.entries(tables)]
    paths += [
        write_text(folder / _BOOK, csv_text(codebook.HEADER, lines)),
        write_text(folder / _BOOK_TEXT, codebook.as_markdown(tables)),
    ]
    if "csv" in formats:
        paths.append(write_text(folder / _R, scripts.R))
        paths.append(write_text(folder / _STATA, scripts.stata(tables)))
    by_name = {table.name: table for table in tables}
    if least is None:
        dictionary = csv_text(redcap.COLUMNS, redcap.rows(tables))
        form = csv_text(*mars.form(by_name["scans"], by_name["counts"]))
        paths.append(write_text(folder / _REDCAP, dictionary))
        paths.append(write_text(folder / _MARS, form))
    paths += maps.write(folder / "maps", by_name)
    return [*paths, *_drawn(layout, config, folder / "figures", least)]


def _without_former(folder: Path) -> None:
    """Remove what an export of before may have left: a table that this one does not write.

    Other files of the folder stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{name}.{ending}" for name in ALL for ending in ("csv", "tsv", "dta")]
    for name in (*names, *_FILES):
        (folder / name).unlink(missing_ok=True)
    for path in (folder / "figures").glob("*.svg"):
        path.unlink()
    for name in maps.names():
        for path in (folder / "maps" / name, sidecar(folder / "maps" / name)):
            path.unlink(missing_ok=True)


def _written(folder: Path, table: Exported, formats: set[str]) -> Iterable[Path]:
    if "csv" in formats:
        yield write_text(folder / f"{table.name}.csv", csv_text(*cells(table)))
    if "tsv" in formats:
        yield write_text(folder / f"{table.name}.tsv", tsv_text(*cells(table)))
    if "stata" in formats:
        yield stata.write(folder / f"{table.name}.dta", table)


def _drawn(layout: Layout, config: dict[str, Any], folder: Path, least: int | None) -> list[Path]:
    """Charts of the page as SVG."""
    tables = ReportTables(layout, least)
    content = report.cohort_content(tables, layout, config, report.environment(), least)
    return [
        figures.write(folder / f"{chart.name}.svg", chart)
        for chart in figures.charts_of(section.content for section in content["sections"])
    ]
