"""Estimates by stratum: every number that the report prints is a row of `summary`.

GRE and SWI show microbleeds to different degrees. A stratum with both has counts only, and
each contrast has strata of its own. `measures` and `strata` name the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.tables import BOSTON_AGE, GROUPS, PATTERN_LEVELS
from cmburden.models.contract import contract_of
from cmburden.space.regions import REGIONS, UNKNOWN
from cmburden.summary import (
    averages,
    bins,
    changes,
    contracts,
    correction,
    counted,
    read_part,
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
    BostonAge,
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
from cmburden.summary.measures.people import BostonWhich
from cmburden.summary.rows import COUNTED, Row, count, not_pooled, of_stratum, share, tally
from cmburden.summary.sampling import Sampling, sampling_of
from cmburden.summary.strata import crossed_strata, strata


def estimates(cohort: Cohort, config: dict[str, Any]) -> list[Row]:
    """Rows of `summary` of a cohort, except those about the review by readers.

    Burden and models are of the counts that ``report.counts`` names; the burden by the other counts
    has strata that begin with ``counts=``.
    """
    people = cohort.participants
    contract, in_use = contract_of(config, "verify"), thresholds.in_use(config)
    views = counted.views(cohort)
    of_report = counted.chosen(views, config)
    shown, settings = views[of_report].cohort.participants, config["report"]
    samplings = {
        name: sampling_of(view.cohort.participants, settings) for name, view in views.items()
    }
    rows = [
        *_by_stratum(views[of_report], config, samplings[of_report]),
        *_by_crossed_stratum(views[of_report], config, samplings[of_report]),
    ]
    for name in views:
        if name != of_report:
            rows += counted.beside(name, _by_stratum(views[name], config, samplings[name]))
    errors = correction.detector_errors(people, cohort.scans, contract, in_use)
    of_people = samplings["automatic"]
    return [
        *rows,
        *samplings[of_report].facts(shown),
        *table_one.rows(shown, cohort.scans, settings["covariates"]),
        *standardised.rows(
            shown, standards.standard_of(settings["standard"]), settings["age_bands"]
        ),
        *scans.rows(cohort, config),
        *contracts.rows(config),
        *contracts.published_rows(),
        *correction.rows(people, errors, settings["strata"], of_people.cluster, of_people.weights),
        *_models(views[of_report], config, errors, samplings[of_report]),
        *changes.estimates(cohort, config),
    ]


def _models(
    view: counted.View,
    config: dict[str, Any],
    errors: correction.DetectorErrors | str,
    sampling: Sampling,
) -> list[Row]:
    people, settings = view.cohort.participants, config["report"]
    if view.counts != "automatic":
        errors = "the counts are the readers', who call no false positives"
    rows = regressions.rows(
        people,
        view.cohort.scans,
        settings["covariates"],
        errors,
        sampling=sampling,
        nominal=settings["nominal"],
        site=settings["site"],
    )
    return [counted.not_modelled(one) for one in rows] if view.counts == "combined" else rows


def _by_stratum(view: counted.View, config: dict[str, Any], sampling: Sampling) -> Iterator[Row]:
    cohort, edges = view.cohort, config["report"]["bins"]
    for stratum, members in strata(cohort.participants, config["report"]["strata"]):
        usable = members[members["scan_id"].notna()]
        pooled = usable["contrast"].nunique() > 1
        lesions = cohort.lesions[cohort.lesions["scan_id"].isin(usable["scan_id"])]
        yield from of_stratum(stratum, _flow(members, usable))
        if view.part is not None:
            by_part = _unweighted(read_part.burden(usable, view.part, edges), sampling)
            if pooled:
                by_part = list(map(not_pooled, by_part))
            yield from of_stratum(stratum, [*by_part, *_of_software(usable, lesions, sampling)])
            continue
        burden = (
            *counted.of_view(view, _presence(usable, sampling)),
            *_shapes_of_burden(usable, edges, sampling),
            *_counts(usable, sampling),
            *_places(usable, lesions, sampling),
        )
        if pooled:
            burden = tuple(map(not_pooled, burden))
        yield from of_stratum(stratum, burden)


def _of_software(usable: pd.DataFrame, lesions: pd.DataFrame, sampling: Sampling) -> list[Row]:
    """Numbers of lesions: those of the scans that nobody read are not known."""
    method = "counted by the software; not corrected by the part read"
    numbers = [one for one in _places(usable, lesions, sampling) if one["method"] == COUNTED]
    return [one | {"method": method} for one in numbers]


def _unweighted(rows: list[Row], sampling: Sampling) -> list[Row]:
    """``rows`` by double sampling, which say where weights or clusters were asked for."""
    if sampling.weights is None and sampling.cluster is None:
        return rows
    note = "; weights and clusters (report.weights, report.cluster) are not used"
    return [one | {"method": one["method"] + note} for one in rows]


def _by_crossed_stratum(
    view: counted.View, config: dict[str, Any], sampling: Sampling
) -> Iterator[Row]:
    people, settings = view.cohort.participants, config["report"]
    for stratum, members in crossed_strata(people, settings["strata"]):
        usable = members[members["scan_id"].notna()]
        if view.part is not None:
            by_part = _unweighted(read_part.crossed(usable, view.part), sampling)
            yield from of_stratum(stratum, [*_flow(members, usable), *by_part])
            continue
        mean = averages.mean(usable, sampling, AverageCount("mean"))
        definite, definite_or_possible, *_ = counted.of_view(view, _presence(usable, sampling))
        rows = (*_flow(members, usable), definite, definite_or_possible, mean)
        yield from of_stratum(stratum, rows)


def _flow(members: pd.DataFrame, usable: pd.DataFrame) -> Iterator[Row]:
    yield count(Participants(), len(members))
    yield share(Participants("usable"), len(usable), len(members))
    yield count(Participants("without usable scan"), len(members) - len(usable), len(members))
    for reason, number in tally(members["missing_reason"]):
        yield count(MissingReason(reason), number, len(members))


def _presence(usable: pd.DataFrame, sampling: Sampling) -> list[Row]:
    """Definite first, then definite or possible."""
    definite = usable["n_cmb"].fillna(0)
    either = definite + usable["n_possible"].fillna(0)
    large = usable["n_macrohaemorrhage"].fillna(0)
    return [
        sampling.share(Presence("definite"), definite > 0, usable),
        sampling.share(Presence("definite or possible"), either > 0, usable),
        sampling.share(Presence("macrohaemorrhage"), large > 0, usable),
        *_boston(usable, sampling),
    ]


def _boston(usable: pd.DataFrame, sampling: Sampling) -> Iterator[Row]:
    """The item of the Boston criteria among those whom it applies to, and who these are not."""
    judged = usable["boston_imaging"].notna()
    young = (usable["age"] < BOSTON_AGE).fillna(False).astype(bool)
    positive = usable.loc[judged, "boston_imaging"].astype(bool)
    yield sampling.share(BostonImaging(), positive, usable[judged])
    numbers: dict[BostonWhich, pd.Series] = {
        "below 50, left out": young,
        "not classifiable, left out": ~judged & ~young,
        "of unknown age": judged & usable["age"].isna(),
    }
    for which, members in numbers.items():
        yield count(BostonAge(which), int(members.sum()), len(usable))


def _shapes_of_burden(usable: pd.DataFrame, edges: list[int], sampling: Sampling) -> Iterator[Row]:
    patterns, labels = (
        usable[name].to_numpy(dtype=object, na_value=None) for name in ("pattern", "cmb_bin")
    )
    positive = (usable["n_cmb"].fillna(0) > 0).to_numpy(dtype=bool)
    for pattern in PATTERN_LEVELS:
        yield sampling.share(PatternShare(pattern), patterns == pattern, usable)
    for pattern in PATTERN_LEVELS[1:]:
        of_pattern = patterns[positive] == pattern
        yield sampling.share(PatternShare(pattern, of="positive"), of_pattern, usable[positive])
    for label in bins.bin_labels(edges):
        yield sampling.share(CountBin(label), labels == label, usable)


def _counts(usable: pd.DataFrame, sampling: Sampling) -> Iterator[Row]:
    """Averages of the count, and the number of participants with each count."""
    yield from averages.rows(usable, sampling)
    # Counts that occur, rising, and the participants with each.
    counts = usable["n_cmb"].dropna().to_numpy(dtype=np.int64)
    values, numbers = np.unique(counts, return_counts=True)
    for value, number in zip(values, numbers, strict=True):
        yield count(ParticipantsByCount(int(value)), int(number), int(numbers.sum()))


def _places(usable: pd.DataFrame, lesions: pd.DataFrame, sampling: Sampling) -> Iterator[Row]:
    small = lesions[~lesions["macrohaemorrhage"]]
    definite = small[small["label"] == "definite"]
    yield count(Lesions("definite"), len(definite))
    yield count(Lesions("possible"), int((small["label"] == "possible").sum()))
    yield count(Lesions("macrohaemorrhage"), int((lesions["macrohaemorrhage"]).sum()))
    for group in GROUPS[:3]:
        with_lesion = usable["scan_id"].isin(definite.loc[definite["group"] == group, "scan_id"])
        yield sampling.share(PresenceInGroup(group), with_lesion, usable)
    numbers = definite.groupby(["region", "hemisphere"]).size().to_dict()
    places = [(region.name, side) for region in REGIONS for side in ("left", "right")]
    places.append((UNKNOWN.name, "unknown"))
    for region, side in [*places, *sorted(set(numbers) - set(places))]:
        yield count(
            LesionsInRegion(region, side), int(numbers.get((region, side), 0)), len(definite)
        )
