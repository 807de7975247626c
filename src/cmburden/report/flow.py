"""Section: from the files of the tree to the participants with a microbleed."""

from __future__ import annotations

import dataclasses

from cmburden.core.files import read_json
from cmburden.core.paths import Layout
from cmburden.report.overview import Arm, arms
from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row
from cmburden.summary.measures import FilesNotSearched, MissingReason, Participants, Scans
from cmburden.summary.strata import EVERYBODY

#: Reason codes in the words of a reader. The report prints a code without words as it is.
REASON_WORDS = {
    "unreadable": "not readable as NIfTI",
    "empty_file": "file without bytes",
    "truncated": "file cut short",
    "not_finite": "NaN or infinite voxels",
    "not_3d": "not one 3D volume",
    "constant": "all voxels alike",
    "reader": "a reader could not judge the scan",
    "is_phase": "phase given as magnitude",
    "voxel_size": "voxels too coarse",
    "coverage": "brain not covered",
    "not_brain": "not a brain",
    "polarity": "not a GRE or SWI contrast",
    "brain_mask": "implausible brain mask",
    "score": "score that is not a number",
    "registration": "not aligned to MNI152",
    "crashed": "crashed, or its process was killed",
    "damaged": "a damaged file of CMBurden",
    "no_scan": "no GRE or SWI scan",
    "no_access": "not readable on disk",
    "bad_name": "no BIDS name",
    "wrong_format": "not NIfTI",
    "wrong_folder": "in a folder of others",
    "other_kind": "other kinds of image",
    "wrong_suffix": "suffixes not searched",
    "part_phase": "phase, real and imaginary images",
    "projection": "minimum or maximum projections",
    "single_coil": "images of single receive coils",
    "echo_not_chosen": "other echoes of a scan",
    "rec_not_chosen": "other reconstructions of a scan",
    "filtered": "filtered out by the configuration",
    "duplicate": "duplicates",
    "not_run": "not run to the end",
}


@dataclasses.dataclass(frozen=True)
class FlowReason:
    """A reason in words, with the row of `summary` that counts it."""

    words: str
    row: Row


@dataclasses.dataclass(frozen=True)
class NotOk:
    """Scans with a status other than ok."""

    status: str
    row: Row
    reasons: list[FlowReason]


@dataclasses.dataclass(frozen=True)
class Flow:
    """Content of _flow.html.j2: rows of `summary`, and problems of participants.tsv in words."""

    participants: Row
    usable: Row
    without: Row
    missing: list[FlowReason]
    scans: Row
    ok: Row
    not_ok: list[NotOk]
    files: list[FlowReason]
    arms: list[Arm]
    problems: list[str]


def select(tables: ReportTables, layout: Layout) -> Flow:
    """The rows of everybody; reads ``layout.phenotype_problems``, which aggregate writes."""
    problems = read_json(layout.phenotype_problems)
    missing = tables.of(MissingReason, EVERYBODY)
    files = tables.of(FilesNotSearched, EVERYBODY)
    statuses = [_not_ok(tables, status) for status in ("failed", "excluded")]
    return Flow(
        participants=tables.estimate(EVERYBODY, Participants()),
        usable=tables.estimate(EVERYBODY, Participants("usable")),
        without=tables.estimate(EVERYBODY, Participants("without usable scan")),
        missing=_in_words([(measure.reason, row) for measure, row in missing]),
        scans=tables.estimate(EVERYBODY, Scans()),
        ok=tables.estimate(EVERYBODY, Scans("ok")),
        not_ok=[one for one in statuses if one.row["n"] or one.row.get("suppressed")],
        files=_in_words([(measure.reason, row) for measure, row in files]),
        arms=arms(tables),
        problems=[str(one) for one in problems] if isinstance(problems, list) else [],
    )


def _not_ok(tables: ReportTables, status: str) -> NotOk:
    reasons = [
        (measure.reason, row)
        for measure, row in tables.of(Scans, EVERYBODY)
        if measure.status == status and measure.reason
    ]
    return NotOk(status, tables.estimate(EVERYBODY, Scans(status)), _in_words(reasons))


def _in_words(rows: list[tuple[str, Row]]) -> list[FlowReason]:
    """Rows by reason code, the most frequent first."""
    ordered = sorted(rows, key=lambda pair: (-(pair[1]["n"] or 0), pair[0]))
    return [
        FlowReason(REASON_WORDS.get(code, code.replace("_", " ")), row) for code, row in ordered
    ]
