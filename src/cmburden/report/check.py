"""Section: the scans that a reader should look at first, with pictures of their lesions."""

from __future__ import annotations

import base64
import dataclasses

import pandas as pd

from cmburden.core.paths import Layout
from cmburden.core.schema import as_records
from cmburden.report.tables import QUALITY, ReportTables
from cmburden.report.typeset import Row, decimal
from cmburden.summary.measures import ToCheckFirst
from cmburden.summary.reading_list import REASONS
from cmburden.summary.strata import EVERYBODY

#: Pictures are embedded while their files have no more bytes together; the others stay on the pages
#: of their participants. By eye: the page is to be sent by mail.
EMBED_BYTES = 4_000_000


@dataclasses.dataclass(frozen=True)
class Listed:
    """A scan of the list. ``outlying``: its most outlying QC measure with the robust z."""

    scan_id: str
    participant_id: str
    contrast: str
    definite: int
    probability: str
    outlying: str
    reasons: list[str]


@dataclasses.dataclass(frozen=True)
class CheckReason:
    """A reason to look, with the row of `summary` that counts the scans listed for it."""

    name: str
    words: str
    row: Row


@dataclasses.dataclass(frozen=True)
class Montage:
    """Picture of the lesions of a scan: its file, from the output folder, and as a data URI."""

    scan: Listed
    file: str
    source: str


@dataclasses.dataclass(frozen=True)
class ToCheck:
    """Content of _check.html.j2; ``montages_left`` montages are not embedded."""

    rows: list[Listed]
    whole: Row
    reasons: list[CheckReason]
    montages: list[Montage]
    montages_left: int


def select(tables: ReportTables, to_check: pd.DataFrame, layout: Layout) -> ToCheck:
    """``to_check`` of ``summary.reading_list``. Reads the montages of the scans."""
    rows = [_listed(row) for row in as_records(to_check)]
    montages, left = _montages(rows, tables, layout)
    return ToCheck(
        rows=rows,
        whole=tables.estimate(EVERYBODY, ToCheckFirst()),
        reasons=[
            CheckReason(name, words, tables.estimate(EVERYBODY, ToCheckFirst(name)))
            for name, words in REASONS.items()
        ],
        montages=montages,
        montages_left=left,
    )


def _listed(row: Row) -> Listed:
    outlying = "–"
    if row["z"] is not None:
        # A QC measure without a title is judged too.
        title = QUALITY.get(row["measure"])
        outlying = f"{title.text if title else row['measure']} {decimal(row['z'], 1)}"
    return Listed(
        scan_id=row["scan_id"],
        participant_id=row["participant_id"],
        contrast=row["contrast"],
        definite=row["n_cmb"],
        probability=decimal(row["probability"], 2),
        outlying=outlying,
        reasons=row["reasons"],
    )


def _montages(
    rows: list[Listed], tables: ReportTables, layout: Layout
) -> tuple[list[Montage], int]:
    """Montages of the scans, as many as ``EMBED_BYTES`` allows, and how many are left."""
    montages, n_bytes, n_left = [], 0, 0
    for row in rows:
        source = tables.sources.get(row.scan_id)
        path = layout.montage(source) if source else None
        if path is None or not path.exists():
            continue
        n_bytes += path.stat().st_size
        if n_bytes > EMBED_BYTES:
            n_left += 1
            continue
        content = base64.b64encode(path.read_bytes()).decode()
        file = path.relative_to(layout.root).as_posix()
        montages.append(Montage(row, file, f"data:image/png;base64,{content}"))
    return montages, n_left
