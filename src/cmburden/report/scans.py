"""Sections: the scans that were not read, and all scans."""

from __future__ import annotations

import dataclasses

from markupsafe import Markup

from cmburden.core.schema import as_records
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, script_json

#: Most rows of the table of scans not read; all stand in `scans`.
_MOST_ROWS = 500
#: Columns of the list of all scans, in the order that index.js.j2 reads.
_LISTED = (
    "scan_id",
    "participant_id",
    "cohort",
    "contrast",
    "status",
    "reason",
    "n_cmb",
    "n_possible",
    "pattern",
)


@dataclasses.dataclass(frozen=True)
class NotUsed:
    """Content of _not_used.html.j2: rows of `scans`, and the number of rows left out."""

    rows: list[Row]
    left: int


@dataclasses.dataclass(frozen=True)
class EveryScan:
    """Content of _every_scan.html.j2: JSON of a list a scan, from which the script makes rows."""

    rows: Markup


def select_not_used(tables: ReportTables) -> NotUsed:
    """Scans with a status other than ok."""
    rows = tables.scans[tables.scans["status"] != "ok"]
    return NotUsed(as_records(rows.head(_MOST_ROWS)), max(0, len(rows) - _MOST_ROWS))


def select_every(tables: ReportTables) -> EveryScan:
    """All scans: lists instead of mappings, since there may be thousands."""
    rows = [list(row.values()) for row in as_records(tables.scans[list(_LISTED)])]
    return EveryScan(script_json(rows))
