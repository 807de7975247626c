"""Section: participants with a usable scan beside those without one (STROBE item 13)."""

from __future__ import annotations

import dataclasses

from markupsafe import Markup

from cmburden.report.flow import REASON_WORDS
from cmburden.report.table_one import NO_VALUE, Block, blocks
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row, interval, number
from cmburden.summary.measures import (
    MissingReason,
    Participants,
    StandardisedDifference,
    TableOnePeople,
)
from cmburden.summary.strata import EVERYBODY, Stratum
from cmburden.summary.table_one import EXCLUDED, INCLUDED


@dataclasses.dataclass(frozen=True)
class Compared:
    """A variable: its block of both groups, and the standardised difference."""

    block: Block
    difference: Markup
    why: str


@dataclasses.dataclass(frozen=True)
class Reasons:
    """Participants of a cohort without a usable scan, by reason in the order of the columns."""

    cohort: str
    people: Row
    without: Row
    numbers: list[Markup]


@dataclasses.dataclass(frozen=True)
class Included:
    """Content of _included.html.j2: both groups, variables compared, reasons by cohort."""

    groups: list[Row]
    variables: list[Compared]
    reasons: list[str]
    cohorts: list[Reasons]


def select(tables: ReportTables) -> Included | None:
    """None where everybody has a usable scan."""
    groups = [tables.estimate(stratum, TableOnePeople()) for stratum in (INCLUDED, EXCLUDED)]
    if not groups[1]["n"]:
        return None
    rows = {one.variable: row for one, row in tables.of(StandardisedDifference, EVERYBODY)}
    compared = [
        Compared(block, interval(rows[block.variable]), _why(rows[block.variable]))
        for block in blocks(tables, [INCLUDED, EXCLUDED])
        if block.variable in rows
    ]
    reasons = [measure.reason for measure, _ in tables.of(MissingReason, EVERYBODY)]
    cohorts = [
        _reasons(tables, Stratum(cohort=cohort), reasons) for cohort in tables.levels("cohort")
    ]
    words = [REASON_WORDS.get(code, code.replace("_", " ")) for code in reasons]
    return Included(groups, compared, words, cohorts)


def _why(row: Row) -> str:
    """Why there is no standardised difference; nothing where there is one."""
    return row["method"] if row["estimate"] is None else ""


def _reasons(tables: ReportTables, stratum: Stratum, reasons: list[str]) -> Reasons:
    return Reasons(
        stratum["cohort"],
        tables.estimate(stratum, Participants()),
        tables.estimate(stratum, Participants("without usable scan")),
        [
            number(row) if row["n"] else NO_VALUE
            for reason in reasons
            for row in [tables.estimate(stratum, MissingReason(reason))]
        ],
    )
