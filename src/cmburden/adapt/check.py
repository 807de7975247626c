"""Before and after on participants whom the networks have not seen, and whether it is better.

Three things are compared: lesions drawn by renderers that nothing was learnt from, detections that
readers judged, and how many detections a scan has. Sensitivities are compared at the thresholds of
the models, and at as many detections a scan as before: a lower threshold sees more of everything.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cmburden.adapt.network import AFTER, BEFORE, in_use_before
from cmburden.adapt.parts import CHECK
from cmburden.adapt.places import Places
from cmburden.adapt.plan import Plan, Study, Subject
from cmburden.core.files import read_json
from cmburden.core.tables import LABELS
from cmburden.insert import hits
from cmburden.insert.estimates import LEAST_LESIONS, LEAST_PEOPLE
from cmburden.stats.intervals import clustered_rate, clustered_wilson
from cmburden.stats.matching import hungarian
from cmburden.stats.paired import difference
from cmburden.train.calibrate import threshold
from cmburden.train.tuning import scored
from cmburden.verify.stage import VerifierInUse

#: After the adaptation a scan may have at most this many times as many detections, and so many
#: more. By choice.
MOST_TIMES, MOST_MORE = 1.5, 0.5
#: Most that the detector may lose of its sensitivity on simulated slabs. By choice.
MOST_FORGOTTEN = 0.03
#: The operating points of the comparison.
OWN, EQUAL = "at the models' thresholds", "at as many detections a scan as before"
DEFINITE = LABELS[0]
_AT = ["x_mm", "y_mm", "z_mm"]


@dataclasses.dataclass(frozen=True)
class Row:
    """A comparison: ``before`` and ``after`` with their 95 % intervals, and the difference's.

    Each is (estimate, low, high), NaN where there is none; ``number`` counts lesions, places or
    scans, ``people`` their participants.
    """

    what: str
    point: str
    contrast: str
    group: str
    number: int
    people: int
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    change: tuple[float, float, float]

    @property
    def counts(self) -> bool:
        """Whether there are enough lesions and people for an estimate."""
        return self.number >= LEAST_LESIONS and self.people >= LEAST_PEOPLE


@dataclasses.dataclass(frozen=True)
class Result:
    """All comparisons, and the reasons for which the models are not released; none: they are."""

    rows: tuple[Row, ...]
    against: tuple[str, ...]
    kept: tuple[int, int]
    forgetting: dict[str, list[float]]


DRAWN, CONFIRMED, REJECTED, NUMBER = (
    "drawn lesions detected",
    "confirmed microbleeds detected",
    "rejected places still detected",
    "detections a scan",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """A scan read by models at an operating point: its candidates, and those of its copies."""

    scan: pd.DataFrame
    copies: tuple[pd.DataFrame, ...]


def compare(places: Places, plan: Plan, study: Study, adapted: VerifierInUse) -> Result:
    """The comparison on the participants to check on; ``adapted`` is the fitted probability."""
    subjects = study.of(CHECK)
    before = [_before(places, plan, one) for one in subjects]
    own = [_after(places, plan, one, adapted) for one in subjects]
    called = [sum(_called(reading.scan)) for reading in before]
    p = np.concatenate([r.scan["probability"].to_numpy(dtype=float) for r in own] or [np.zeros(0)])
    equal_at = min(threshold(p, int(sum(called)), 0.0), 1.0)
    matched = dataclasses.replace(adapted, thresholds=dict.fromkeys(LABELS, equal_at))
    equal = [_after(places, plan, one, matched) for one in subjects]
    rows: list[Row] = []
    for point, after in ((EQUAL, equal), (OWN, own)):
        rows += _drawn_rows(places, plan, subjects, before, after, point)
        rows += _reviewed_rows(study, subjects, before, after, point)
    rows += _number_rows(subjects, before, own)
    forgetting = read_json(places.forgetting)
    return Result(tuple(rows), tuple(_against(rows, forgetting)), _kept(before, own), forgetting)


def _before(places: Places, plan: Plan, subject: Subject) -> Reading:
    """A scan as the run has read it, and its copies by the run's models."""
    return Reading(subject.candidates, _copies(places, plan, subject, BEFORE, None))


def _after(places: Places, plan: Plan, subject: Subject, model: VerifierInUse) -> Reading:
    scan, layout = subject.scan, plan.layout
    rows, extents = scored.load(places.scored(AFTER), scan.scan_id)
    labelled = scored.by_probability(rows, extents, scan, layout, model)
    return Reading(labelled, _copies(places, plan, subject, AFTER, model))


def _copies(
    places: Places, plan: Plan, subject: Subject, which: str, model: VerifierInUse | None
) -> tuple[pd.DataFrame, ...]:
    """Candidates of a scan's copies; ``model`` is None for those with the run's probability."""
    scan_id = subject.scan.scan_id
    in_use = model or in_use_before(plan)
    tables = []
    for copy in _numbers(places, plan, scan_id):
        rows, extents = scored.load(places.scored(which, copy), scan_id)
        tables.append(scored.by_probability(rows, extents, subject.scan, plan.layout, in_use))
    return tuple(tables)


def _numbers(places: Places, plan: Plan, scan_id: str) -> list[int]:
    copies = range(plan.schedule.copies)
    return [copy for copy in copies if places.drawn(scan_id, copy).exists()]


def _called(rows: pd.DataFrame) -> np.ndarray:
    return (rows["label"] == DEFINITE).fillna(False).to_numpy(dtype=bool)


# --- drawn lesions ---


def _drawn_rows(
    places: Places,
    plan: Plan,
    subjects: Sequence[Subject],
    before: Sequence[Reading],
    after: Sequence[Reading],
    point: str,
) -> Iterable[Row]:
    """Sensitivity for drawn lesions that a reader would see, by contrast and renderer."""
    lesions: list[dict[str, Any]] = []
    for subject, one, other in zip(subjects, before, after, strict=True):
        scan_id = subject.scan.scan_id
        for place, copy in enumerate(_numbers(places, plan, scan_id)):
            rows = read_json(places.drawn(scan_id, copy))
            was = hits.with_hits(rows, one.copies[place], one.scan)
            now = hits.with_hits(rows, other.copies[place], other.scan)
            for first, second in zip(was, now, strict=True):
                if first["visible"] and not first["before"] and not second["before"]:
                    lesions.append(
                        {
                            "contrast": subject.scan.contrast,
                            "group": first["renderer"],
                            "person": subject.scan.participant_id,
                            "before": first["label"] == DEFINITE,
                            "after": second["label"] == DEFINITE,
                        }
                    )
    return _rows_of(lesions, DRAWN, point)


def _rows_of(cases: list[dict[str, Any]], what: str, point: str) -> list[Row]:
    """A row for each contrast and group of cases that were detected before and after, or not."""
    if not cases:
        return []
    rows = []
    for (contrast, group), part in pd.DataFrame(cases).groupby(["contrast", "group"]):
        person = part["person"].to_numpy(dtype=str)
        hit = {name: part[name].to_numpy(dtype=float) for name in (BEFORE, AFTER)}
        share = {
            name: (float(value.mean()), *clustered_wilson(value, person))
            for name, value in hit.items()
        }
        change = difference(hit[BEFORE], hit[AFTER], person)
        rows.append(
            Row(
                what,
                point,
                str(contrast),
                str(group),
                len(part),
                len(set(person)),
                share[BEFORE],
                share[AFTER],
                change,
            )
        )
    return rows


# --- what readers judged ---


def _reviewed_rows(
    study: Study,
    subjects: Sequence[Subject],
    before: Sequence[Reading],
    after: Sequence[Reading],
    point: str,
) -> list[Row]:
    rows = []
    for what, places in (
        (CONFIRMED, study.verdicts.confirmed),
        (REJECTED, study.verdicts.rejected),
    ):
        cases: list[dict[str, Any]] = []
        for subject, one, other in zip(subjects, before, after, strict=True):
            own = places[places["scan_id"] == subject.scan.scan_id]
            found = [_at_places(reading.scan, own) for reading in (one, other)]
            cases += [
                {
                    "contrast": subject.scan.contrast,
                    "group": "readers",
                    "person": subject.scan.participant_id,
                    "before": was,
                    "after": now,
                }
                for was, now in zip(*found, strict=True)
            ]
        rows += _rows_of(cases, what, point)
    return rows


def _at_places(candidates: pd.DataFrame, places: pd.DataFrame) -> list[bool]:
    """Whether a definite detection lies at each place, one to one."""
    points = candidates[_called(candidates)][_AT].to_numpy(dtype=float)
    centres = places[_AT].to_numpy(dtype=float).reshape(-1, 3)
    radii = places["diameter_mm"].to_numpy(dtype=float, na_value=math.nan) / 2
    matched = {place for _, place in hungarian(points, centres, radii)}
    return [number in matched for number in range(len(places))]


# --- how many ---


def _number_rows(
    subjects: Sequence[Subject], before: Sequence[Reading], after: Sequence[Reading]
) -> list[Row]:
    """Definite detections a scan, by contrast."""
    cases = pd.DataFrame(
        {
            "contrast": [one.scan.contrast for one in subjects],
            "person": [one.scan.participant_id for one in subjects],
            BEFORE: [int(_called(one.scan).sum()) for one in before],
            AFTER: [int(_called(one.scan).sum()) for one in after],
        }
    )
    rows = []
    for contrast, part in cases.groupby("contrast"):
        person, ones = part["person"].to_numpy(dtype=str), np.ones(len(part))
        counts = {name: part[name].to_numpy(dtype=float) for name in (BEFORE, AFTER)}
        mean = {
            name: (float(value.mean()), *clustered_rate(value, ones, person))
            for name, value in counts.items()
        }
        people = len(set(person))
        change = difference(counts[BEFORE], counts[AFTER], person)
        rows.append(
            Row(
                NUMBER,
                OWN,
                str(contrast),
                "scans",
                len(part),
                people,
                mean[BEFORE],
                mean[AFTER],
                change,
            )
        )
    return rows


def _kept(before: Sequence[Reading], after: Sequence[Reading]) -> tuple[int, int]:
    """How many of the former definite detections are called again, and how many there were."""
    again = total = 0
    for one, other in zip(before, after, strict=True):
        was = one.scan[_called(one.scan)]
        again += sum(_at_places(other.scan, was))
        total += len(was)
    return again, total


# --- is it better? ---


def _against(rows: Sequence[Row], forgetting: dict[str, list[float]]) -> Iterable[str]:
    """Why the models are not released, in sentences."""
    drawn = [row for row in rows if row.what == DRAWN and row.point == EQUAL]
    counted = [row for row in drawn if row.counts]
    if not counted:
        yield (
            f"too few drawn lesions to tell: {LEAST_LESIONS} of {LEAST_PEOPLE} participants of one "
            "renderer and contrast are needed on the participants to check on"
        )
    elif not any(row.change[1] > 0 for row in counted):
        yield (
            "more of the drawn lesions are not detected, beyond chance, by any renderer of the "
            f"check {EQUAL}"
        )
    for row in counted:
        if row.change[0] < 0:
            yield (
                f"fewer lesions drawn by {row.group} are detected in {row.contrast}: "
                f"{row.before[0]:.2f} before, {row.after[0]:.2f} after"
            )
    yield from _against_reviewed(rows)
    for row in rows:
        if row.what == NUMBER and row.after[0] > MOST_TIMES * row.before[0] + MOST_MORE:
            yield (
                f"{row.contrast} has {row.after[0]:.2f} detections a scan, and {row.before[0]:.2f} "
                "before"
            )
    lost = forgetting[BEFORE][1] - forgetting[AFTER][1]
    if lost > MOST_FORGOTTEN:
        yield (
            f"the detector finds {100 * lost:.0f} points less of simulated microbleeds than before"
        )


def _against_reviewed(rows: Sequence[Row]) -> Iterable[str]:
    """Whether readers' verdicts are met worse: microbleeds lost against mimics no longer called."""
    net = dict.fromkeys((CONFIRMED, REJECTED), 0.0)
    for row in rows:
        if row.what in net and row.point == EQUAL:
            net[row.what] += row.number * row.change[0]
    if net[CONFIRMED] - net[REJECTED] < -0.5:
        yield (
            f"readers' verdicts are met worse: {round(net[CONFIRMED]):+d} of the confirmed "
            f"microbleeds, {round(net[REJECTED]):+d} of the rejected places are detected"
        )
