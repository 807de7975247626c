"""Section: quality measures by cohort and contrast, and the stages' warnings."""

from __future__ import annotations

import dataclasses

from markupsafe import Markup

from cmburden.core import remarks
from cmburden.core.schema import as_records
from cmburden.report.acquisition import median_and_range
from cmburden.report.tables import QUALITY, ReportTables, Title
from cmburden.report.typeset import Row, script_json
from cmburden.summary.measures import ImageMeasure
from cmburden.summary.strata import Stratum

#: Most scans that are listed of a kind of warning; `scans` has all.
_MOST_LISTED = 20


@dataclasses.dataclass(frozen=True)
class QualityCell:
    """Median and range; ``outlying`` counts the outlying scans, None with too few scans to tell."""

    range: Markup
    outlying: Row | None


@dataclasses.dataclass(frozen=True)
class QualityRow:
    """A measure, with a cell a cohort and contrast."""

    name: str
    cells: list[QualityCell]


@dataclasses.dataclass(frozen=True)
class WarnedScan:
    """A scan with a warning: ids of scan and participant."""

    scan_id: str
    participant_id: str


@dataclasses.dataclass(frozen=True)
class Warned:
    """A kind of warning: in the words of its first scan, the number of scans, the first of them."""

    words: str
    number: int
    scans: list[WarnedScan]

    @property
    def left(self) -> int:
        """Number of scans that are not listed."""
        return self.number - len(self.scans)


@dataclasses.dataclass(frozen=True)
class Quality:
    """Content of _quality.html.j2: ``columns`` names cohort and contrast.

    ``dots``: JSON of titles and of a list a scan, from which the script draws a dot a scan.
    """

    columns: list[str]
    rows: list[QualityRow]
    warnings: list[Warned]
    dots: Markup | None = None


def select(tables: ReportTables) -> Quality:
    """The measures that a scan of the cohort has."""
    kinds = tables.kinds()
    lines = [
        QualityRow(title.text, [_cell(tables, kind, name, title) for kind in kinds])
        for name, title in QUALITY.items()
        if any(_median(tables, kind, name) is not None for kind in kinds)
    ]
    columns = [f"{kind['cohort']} {kind['contrast']}" for kind in kinds]
    return Quality(columns, lines, _warnings(tables), _dots(tables))


def _dots(tables: ReportTables) -> Markup | None:
    """Measures of the scans that have any, in the units of the titles, to four digits."""
    names = [name for name in QUALITY if tables.scans[name].notna().any()]
    scans = tables.scans[tables.scans[names].notna().any(axis=1)] if names else tables.scans[:0]
    if scans.empty:
        return None
    rows = [
        [row["scan_id"], row["participant_id"], row["contrast"]]
        + [
            None if row[name] is None else float(f"{row[name] * QUALITY[name].factor:.4g}")
            for name in names
        ]
        for row in as_records(scans[["scan_id", "participant_id", "contrast", *names]])
    ]
    titles = [QUALITY[name].text for name in names]
    digits = [QUALITY[name].digits for name in names]
    return script_json({"titles": titles, "digits": digits, "rows": rows})


def _warnings(tables: ReportTables) -> list[Warned]:
    """Warnings of all scans by kind, the most frequent first."""
    words: dict[str, str] = {}
    scans: dict[str, list[WarnedScan]] = {}
    columns = ["scan_id", "participant_id", "warning"]
    for row in as_records(tables.scans.loc[tables.scans["warning"].notna(), columns]):
        for remark in remarks.split(row["warning"]):
            kind = remarks.kind(remark)
            # Sentences that differ in their facts share no more than the kind.
            words[kind] = remark if words.get(kind, remark) == remark else kind
            scans.setdefault(kind, []).append(WarnedScan(row["scan_id"], row["participant_id"]))
    return [
        Warned(words[kind], len(of_kind), of_kind[:_MOST_LISTED])
        for kind, of_kind in sorted(scans.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _median(tables: ReportTables, kind: Stratum, name: str) -> float | None:
    return tables.estimate(kind, ImageMeasure("qc", name, "median"))["estimate"]


def _cell(tables: ReportTables, kind: Stratum, name: str, title: Title) -> QualityCell:
    outlying = tables.estimate(kind, ImageMeasure("qc", name, "outlying"))
    return QualityCell(
        median_and_range(tables, kind, "qc", name, title),
        None if outlying["estimate"] is None else outlying,
    )
