"""The cohort by each kind of count: the software's, the readers', or both combined."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal, get_args

from cmburden.summary.cohort import ByReaders, Cohort
from cmburden.summary.measures import Presence
from cmburden.summary.read_part import NO_POSSIBLE
from cmburden.summary.rows import Row
from cmburden.summary.strata import Stratum

Counts = Literal["automatic", "reviewed", "combined"]
COUNTS: tuple[Counts, ...] = get_args(Counts)
_NOTHING = {"estimate": None, "ci_low": None, "ci_high": None}
_NOT_MODELLED = (
    "not estimated: report.counts is combined, and a model needs a count of each participant; set "
    "automatic, or reviewed where all are read"
)


@dataclasses.dataclass(frozen=True)
class View:
    """A cohort by one kind of count; ``part``: of a combined one, the part that was read."""

    counts: Counts
    cohort: Cohort
    part: ByReaders | None = None


def views(cohort: Cohort) -> dict[Counts, View]:
    """The views that the cohort has; automatic ones are always there."""
    result: dict[Counts, View] = {"automatic": View("automatic", cohort)}
    readers = cohort.by_readers
    if readers is None:
        return result
    reviewed = dataclasses.replace(
        cohort, participants=readers.participants, lesions=readers.lesions
    )
    result["reviewed"] = View("reviewed", reviewed)
    if readers.part["read"].any():
        result["combined"] = View("combined", cohort, readers)
    return result


def chosen(there: Iterable[Counts], config: dict[str, Any]) -> Counts:
    """The counts that the report is of: ``report.counts``, or automatic where there are none."""
    wanted: Counts = config["report"]["counts"]
    return wanted if wanted in there else "automatic"


def shown(cohort: Cohort, config: dict[str, Any]) -> Cohort:
    """The cohort by the counts that the report is of."""
    there = views(cohort)
    return there[chosen(there, config)].cohort


def beside(counts: Counts, rows: Iterable[Row]) -> list[Row]:
    """``rows`` in strata that begin with ``counts=``."""
    return [one | {"stratum": _within(counts, one["stratum"])} for one in rows]


def _within(counts: Counts, name: str) -> str:
    stratum = Stratum.parse(name)
    assert stratum is not None
    return Stratum(counts=counts, **dict(stratum.levels)).name


def of_view(view: View, rows: list[Row]) -> list[Row]:
    """``rows`` of presence; readers' counts have no possible lesions."""
    if view.counts == "automatic":
        return rows
    name = Presence("definite or possible").name
    return [
        one | _NOTHING | {"method": NO_POSSIBLE} if one["measure"] == name else one for one in rows
    ]


def not_modelled(one: Row) -> Row:
    """A model's row without the estimate: automatic counts are those of the models."""
    return one | _NOTHING | {"method": _NOT_MODELLED}
