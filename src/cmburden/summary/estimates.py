"""Estimates by stratum: every number that the report prints is a row of `summary`.

GRE and SWI show microbleeds to different degrees. A stratum with both has counts only, and
each contrast has strata of its own. `measures` and `strata` name the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.core.tables import GROUPS, PATTERNS
from cmburden.models.contract import contract_of
from cmburden.space.regions import REGIONS, UNKNOWN
from cmburden.stats.intervals import PERCENTILES
from cmburden.summary import (
    bins,
    changes,
    contracts,
    correction,
    regressions,
    scans,
    standardised,
    standards,
    table_one,
    thresholds,
)
from cmburden.summary.cohort import Cohort
from cmburden.summary.measures import (
    AverageCount,
    BostonImaging,
    CountBin,
    Lesions,
    LesionsInRegion,
    MissingReason,
    Participants,
    ParticipantsByCount,
    PatternShare,
    Presence,
    PresenceInGroup,
)
from cmburden.summary.rows import COUNTED, Row, count, of_stratum, row, share, tally
from cmburden.summary.strata import Stratum, crossed_strata, strata

#: Draws of the bootstrap: the ends of an interval are then stable to about 1 % of its width.
_DRAWS = 1000
BOOTSTRAP = f"percentile bootstrap over participants, {_DRAWS} draws"
#: Method of an estimate that would pool both contrasts without adjustment.
POOLED = "not estimated: holds GRE and SWI, which show microbleeds to different degrees; see the "
POOLED += "strata of one contrast"


def estimates(cohort: Cohort, config: dict[str, Any]) -> list[Row]:
    """Rows of `summary` of a cohort, except those about the review by readers."""
    people, variables = cohort.participants, config["report"]["strata"]
    contract, in_use = contract_of(config, "verify"), thresholds.in_use(config)
    background = correction.false_positives(contract, in_use)
    return [
        *_by_stratum(cohort, config),
        *_by_crossed_stratum(people, variables),
        *table_one.rows(people, cohort.scans, config["report"]["covariates"]),
        *standardised.rows(
            people,
            standards.standard_of(config["report"]["standard"]),
            config["report"]["age_bands"],
        ),
        *scans.rows(cohort, config),
        *contracts.rows(config),
        *contracts.published_rows(),
        *correction.rows(people, contract, in_use, cohort.presence_errors),
        *regressions.rows(people, cohort.scans, config["report"]["covariates"], background),
        *changes.estimates(cohort.pairs, cohort.followed, people, config),
    ]


def _by_stratum(cohort: Cohort, config: dict[str, Any]) -> Iterator[Row]:
    for stratum, members in strata(cohort.participants, config["report"]["strata"]):
        usable = members[members["scan_id"].notna()]
        pooled = usable["contrast"].nunique() > 1
        lesions = cohort.lesions[cohort.lesions["scan_id"].isin(usable["scan_id"])]
        yield from of_stratum(stratum, _flow(members, usable))
        burden = (
            *_presence(usable),
            *_shapes_of_burden(usable, config["report"]["bins"]),
            *_counts(stratum, usable),
            *_places(usable, lesions),
        )
        if pooled:
            burden = tuple(map(_not_pooled, burden))
        yield from of_stratum(stratum, burden)


def _not_pooled(estimate: Row) -> Row:
    """The row without its estimate, unless a count."""
    if estimate["method"] == COUNTED:
        return estimate
    return estimate | {"estimate": None, "ci_low": None, "ci_high": None, "method": POOLED}


def _by_crossed_stratum(participants: pd.DataFrame, variables: list[str]) -> Iterator[Row]:
    for stratum, members in crossed_strata(participants, variables):
        usable = members[members["scan_id"].notna()]
        mean, _ = _averages(stratum, usable)
        definite, definite_or_possible, *_ = _presence(usable)
        rows = (*_flow(members, usable), definite, definite_or_possible, mean)
        yield from of_stratum(stratum, rows)


def _flow(members: pd.DataFrame, usable: pd.DataFrame) -> Iterator[Row]:
    yield count(Participants(), len(members))
    yield share(Participants("usable"), len(usable), len(members))
    yield count(Participants("without usable scan"), len(members) - len(usable), len(members))
    for reason, number in tally(members["missing_reason"]):
        yield count(MissingReason(reason), number, len(members))


def _presence(usable: pd.DataFrame) -> list[Row]:
    """Definite first, then definite or possible."""
    definite = usable["n_cmb"].fillna(0)
    either = definite + usable["n_possible"].fillna(0)
    lobar = usable["boston_imaging"].fillna(False)
    large = usable["n_macrohaemorrhage"].fillna(0)
    return [
        share(Presence("definite"), int((definite > 0).sum()), len(usable)),
        share(Presence("definite or possible"), int((either > 0).sum()), len(usable)),
        share(BostonImaging(), int(lobar.sum()), len(usable)),
        share(Presence("macrohaemorrhage"), int((large > 0).sum()), len(usable)),
    ]


def _shapes_of_burden(usable: pd.DataFrame, edges: list[int]) -> Iterator[Row]:
    patterns = usable["pattern"].value_counts()
    positive = int((usable["n_cmb"].fillna(0) > 0).sum())
    for pattern in PATTERNS:
        yield share(PatternShare(pattern), int(patterns.get(pattern, 0)), len(usable))
    for pattern in PATTERNS[1:]:
        number = int(patterns.get(pattern, 0))
        yield share(PatternShare(pattern, of="positive"), number, positive)
    numbers = usable["cmb_bin"].value_counts()
    for label in bins.bin_labels(edges):
        yield share(CountBin(label), int(numbers.get(label, 0)), len(usable))


def _counts(stratum: Stratum, usable: pd.DataFrame) -> Iterator[Row]:
    """Mean and median count, and the number of participants with each count."""
    yield from _averages(stratum, usable)
    values, numbers = _tallied(usable)
    for value, number in zip(values, numbers, strict=True):
        yield count(ParticipantsByCount(int(value)), int(number), int(numbers.sum()))


def _tallied(usable: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Counts that occur, rising, and the participants with each."""
    counts = usable["n_cmb"].dropna().to_numpy(dtype=np.int64)
    return np.unique(counts, return_counts=True)


def _averages(stratum: Stratum, usable: pd.DataFrame) -> tuple[Row, Row]:
    """Mean and median count with their intervals."""
    mean, median = AverageCount("mean"), AverageCount("median")
    values, numbers = _tallied(usable)
    total = int(numbers.sum())
    if not total:
        return row(mean, None, 0, 0, BOOTSTRAP), row(median, None, 0, 0, BOOTSTRAP)
    # Drawing people with replacement is drawing how often each count occurs. 20,000 people then
    # cost no more than 20.
    random = np.random.default_rng(seed_of("summary", stratum.name))
    drawn = random.multinomial(total, numbers / total, size=_DRAWS)
    means = np.percentile(drawn @ values / total, PERCENTILES)
    medians = np.percentile(medians_of_counts(values, drawn), PERCENTILES)
    middle = medians_of_counts(values, numbers[None, :])[0]
    return (
        row(mean, values @ numbers / total, total, total, BOOTSTRAP, *means),
        row(median, middle, total, total, BOOTSTRAP, *medians),
    )


def medians_of_counts(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Medians (draws,) of samples given as counts (draws, values) of rising ``values``.

    >>> medians_of_counts(np.array([0, 1, 4]), np.array([[3, 0, 1], [1, 1, 0]])).tolist()
    [0.0, 0.5]
    """
    below = drawn.cumsum(axis=1)
    total = below[:, -1]
    low = values[(below >= ((total + 1) // 2)[:, None]).argmax(axis=1)]
    high = values[(below >= (total // 2 + 1)[:, None]).argmax(axis=1)]
    return (low + high) / 2


def _places(usable: pd.DataFrame, lesions: pd.DataFrame) -> Iterator[Row]:
    small = lesions[~lesions["macrohaemorrhage"]]
    definite = small[small["label"] == "definite"]
    yield count(Lesions("definite"), len(definite))
    yield count(Lesions("possible"), int((small["label"] == "possible").sum()))
    yield count(Lesions("macrohaemorrhage"), int((lesions["macrohaemorrhage"]).sum()))
    for group in GROUPS[:3]:
        of_group = definite[definite["group"] == group]
        yield share(PresenceInGroup(group), of_group["scan_id"].nunique(), len(usable))
    numbers = definite.groupby(["region", "hemisphere"]).size().to_dict()
    places = [(region.name, side) for region in REGIONS for side in ("left", "right")]
    places.append((UNKNOWN.name, "unknown"))
    for region, side in [*places, *sorted(set(numbers) - set(places))]:
        yield count(
            LesionsInRegion(region, side), int(numbers.get((region, side), 0)), len(definite)
        )
