"""The page for readers outside of the study: no id, no row a scan, no picture, no small number.

Numbers are suppressed in the tables that the sections read (``tables.ReportTables``). This module
leaves out the sections of single scans, and takes ids, readers' names and sentences with them out
of the others. A section that is not listed here is left out: a new one is on the page once somebody
has looked through what it shows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from cmburden.report.changes import Changes
from cmburden.report.flow import Flow
from cmburden.report.provenance import Provenance
from cmburden.report.quality import Quality
from cmburden.report.review import ReviewSection

#: Sections by id that hold nothing of a single scan, or nothing else once ``stripped``.
SECTIONS = (
    "flow",
    "acquisition",
    "operating-point",
    "burden",
    "where",
    "who",
    "models",
    "correction",
    "review",
    "changes",
    "quality",
    "methods",
    "limitations",
    "strobe",
    "provenance",
)
#: Sentence of the tables' part in place of the one that names labels and counts.
PART = "A subset of the cohort."


@dataclasses.dataclass(frozen=True)
class Shareable:
    """Variable ``shareable`` of the templates; ``most``: the largest suppressed count."""

    most: int


def stripped(content: Any) -> Any:
    """``content`` of a section without what names a participant, a scan or a reader."""
    if isinstance(content, Flow):
        return dataclasses.replace(content, problems=[])
    if isinstance(content, Quality):
        return dataclasses.replace(content, warnings=[], dots=None)
    if isinstance(content, ReviewSection):
        return dataclasses.replace(
            content, problems=[], readers=["Readers"], disputed=[], disputed_left=0
        )
    if isinstance(content, Changes):
        return dataclasses.replace(content, gained=[], gained_left=0, flagged=[], links={})
    if isinstance(content, Provenance):
        # The number of runs of a stage is a number of scans.
        return dataclasses.replace(content, stages=[], facts=[])
    return content
