"""Content of the page of one participant.

The content comes from the tables. The page links the pictures and the viewer file that stages made.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from cmburden.core import remarks
from cmburden.core.paths import Layout
from cmburden.core.rows import grouped
from cmburden.report import forms, scan_files
from cmburden.report.tables import ACQUISITION, QUALITY, ReportTables, Title
from cmburden.report.typeset import Row, decimal, first_upper, shortest
from cmburden.summary import image_checks
from cmburden.summary.measures import ImageMeasure
from cmburden.summary.strata import Stratum
from cmburden.verify.planes import TILE, TILES

#: Columns of `participants` that the page prints.
_FACTS = ("cohort", "age", "sex", "site", "diagnosis")


@dataclasses.dataclass(frozen=True)
class LesionTile:
    """A tile of the picture of lesions: offset of its corner in pixels; ``plain``: without ring.

    ``left``: letter of the side of the person that is on the left of the tile.
    """

    name: str
    left: str
    plain: bool
    x: int
    y: int


@dataclasses.dataclass(frozen=True)
class LesionRow:
    """A row of `lesions`, its place in words, and its tiles if there is a picture."""

    row: Row
    anchor: str
    place: str
    tiles: list[LesionTile]


@dataclasses.dataclass(frozen=True)
class MeasureOfScan:
    """Value of the scan and the median of its cohort and contrast, in words."""

    name: str
    value: str
    usual: str
    outlying: bool


@dataclasses.dataclass(frozen=True)
class ScanPart:
    """A scan on the page: row of `scans`; ``marks`` is JSON for the viewer."""

    row: Row
    chosen: bool
    sentence: str
    warnings: list[str]
    files: scan_files.Files
    lesions: list[LesionRow]
    forms: list[forms.Form]
    marks: str
    measures: list[MeasureOfScan]


@dataclasses.dataclass(frozen=True)
class PersonPage:
    """Variable ``person`` of participant.html.j2. ``library``: link to the viewer's script."""

    name: str
    lede: str
    facts: list[tuple[str, str]]
    scans: list[ScanPart]
    library: str
    regions: dict[int, dict[str, Any]]
    region_legend: list[dict[str, Any]]

    @property
    def has_viewer(self) -> bool:
        return any(scan.files.viewer for scan in self.scans)


class People:
    """Pages of participants; what all pages look up is made once."""

    def __init__(self, tables: ReportTables, layout: Layout, z: pd.DataFrame):
        """``z``: robust z of QC measures, of ``reading_list.checks``."""
        self._tables, self._layout = tables, layout
        self._scans = grouped(tables.scans, "participant_id")
        self._lesions = grouped(tables.lesions, "scan_id")
        outlying = z.abs() > image_checks.OUTLYING
        ids = tables.scans["scan_id"]
        self._outlying = {
            ids[row]: set(outlying.columns[outlying.loc[row]])
            for row in outlying.index[outlying.any(axis=1)]
        }

    def page(self, person: Row) -> PersonPage:
        """The page of ``person``, a row of `participants`."""
        name = person["participant_id"]
        page = self._layout.subject_page(name)
        scans = [
            self._scan(row, row["scan_id"] == person["scan_id"], page) for row in self._scans[name]
        ]
        return PersonPage(
            name=name,
            lede=_lede(person),
            facts=[
                (column.capitalize(), shortest(person[column]))
                for column in _FACTS
                if person[column] is not None
            ],
            scans=scans,
            library=scan_files.link(self._layout.viewer_script, page),
            regions=scan_files.regions(),
            region_legend=scan_files.region_legend(),
        )

    def _scan(self, row: Row, chosen: bool, page: Path) -> ScanPart:
        read = row["status"] == "ok"
        rows = self._lesions.get(row["scan_id"], []) if read else []
        files = scan_files.Files()
        if read:
            files = scan_files.files(self._tables, self._layout, row["scan_id"], page)
        lesions = _lesions(rows, has_picture=files.planes is not None)
        return ScanPart(
            row=row,
            chosen=chosen,
            sentence=_sentence(row) if read else "",
            warnings=remarks.split(row["warning"]),
            files=files,
            lesions=lesions,
            forms=forms.of_scan(rows) if read else [],
            marks=json.dumps([scan_files.mark(lesion.row) for lesion in lesions]),
            measures=self._measures(row),
        )

    def _measures(self, scan: Row) -> list[MeasureOfScan]:
        """Acquisition and quality, with the median of the scans of its cohort and contrast."""
        return [
            *[
                self._measure(scan, "acquisition", *named)
                for named in ACQUISITION.items()
                if scan[named[0]] is not None
            ],
            *[
                self._measure(scan, "qc", *named)
                for named in QUALITY.items()
                if scan[named[0]] is not None
            ],
        ]

    def _measure(
        self, scan: Row, kind: Literal["acquisition", "qc"], column: str, title: Title
    ) -> MeasureOfScan:
        stratum = Stratum(cohort=str(scan["cohort"]), contrast=str(scan["contrast"]))
        median = self._tables.estimate(stratum, ImageMeasure(kind, column, "median"))["estimate"]
        usual = None if median is None else median * title.factor
        return MeasureOfScan(
            name=title.text,
            value=decimal(scan[column] * title.factor, title.digits),
            usual=decimal(usual, title.digits),
            outlying=column in self._outlying.get(scan["scan_id"], set()),
        )


def _lede(person: Row) -> str:
    """The participant in a sentence."""
    if person["scan_id"] is None:
        return first_upper(person["chosen_because"])
    pattern = "no pattern" if person["pattern"] == "none" else f"pattern {person['pattern']}"
    lede = f"{_many(person['n_cmb'], 'definite microbleed')}, {pattern}"
    if person["n_scans"] > 1:
        lede += f"; scan chosen by {person['chosen_because']}"
    return lede


def _sentence(scan: Row) -> str:
    large = scan["n_macrohaemorrhage"]
    return (
        f"{scan['contrast']}, {_many(scan['n_cmb'], 'definite microbleed')}, "
        f"{scan['n_possible']} possible{f', {large} too large for a microbleed' if large else ''}. "
        "Large haemorrhages are not searched for."
    )


def _lesions(rows: list[Row], has_picture: bool) -> list[LesionRow]:
    """Lesions by number, as the picture's rows of tiles, the label image and the viewer have it."""
    return [
        LesionRow(
            row=row,
            anchor=f"{row['scan_id']}-lesion-{row['lesion_id']}",
            place=_place(row),
            tiles=_tiles(at) if has_picture else [],
        )
        for at, row in enumerate(sorted(rows, key=lambda row: row["lesion_id"]))
    ]


def _tiles(row: int) -> list[LesionTile]:
    """The tiles in a row of the picture of a scan."""
    words = {"projection": "minimum over neighbouring slices"}
    return [
        LesionTile(
            words.get(name, f"{name} slice"),
            "A" if name == "sagittal" else "R",
            name == "projection",
            column * TILE,
            row * TILE,
        )
        for column, name in enumerate(TILES)
    ]


def _place(lesion: Row) -> str:
    """Side, region and group in words."""
    side = "" if lesion["hemisphere"] in (None, "unknown") else f"{lesion['hemisphere']} "
    group = "" if lesion["group"] == "unknown" else f" ({lesion['group']})"
    return f"{side}{lesion['region']}{group}"


def _many(number: int, noun: str) -> str:
    return f"{'no' if number == 0 else number} {noun}{'' if number == 1 else 's'}"
