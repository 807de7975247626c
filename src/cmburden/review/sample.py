"""The sample of scans that readers read free-hand: drawn by class of the software, and kept.

The sample is of participants: each has the scan chosen for them. Whether a scan is read depends on
its class alone, so that `stats.double_sampling` can weight what the readers find.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cmburden.cohort import verdicts
from cmburden.cohort.readers_counts import frame_of, read_sample
from cmburden.cohort.second_readings import first_readings
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.tables import FREE_HAND_SAMPLE, PARTICIPANTS, REVIEWS
from cmburden.review import store
from cmburden.stats import double_sampling
from cmburden.summary import reading

if TYPE_CHECKING:
    from cmburden.review.worklist import Study

#: Numbers of scans read for which a plan gives the width.
_TRIED = (50, 100, 200)


def first_decisions(layout: Layout) -> pd.DataFrame:
    """`reviews` of all readers as they are now, without second readings."""
    path = store.export(layout)
    return first_readings(REVIEWS.read(path) if path else REVIEWS.frame([]))


def drawn(study: Study, seed: int, number: int) -> list[str]:
    """The first ``number`` scans of the sample, in the order of reading.

    The sample is drawn once and kept in ``layout.free_hand_sample``; scans of participants who came
    later are added to it. ``seed`` is that of the scans which are drawn now.
    """
    path = study.layout.free_hand_sample
    former = read_sample(study.layout)
    frame = _frame(study, seed, former)
    if len(frame) > len(former):
        path.parent.mkdir(parents=True, exist_ok=True)
        FREE_HAND_SAMPLE.write(path, frame)
    here = frame[frame["scan_id"].isin(study.scans)].reset_index(drop=True)
    contrast = here["contrast"].astype("category").cat.codes.to_numpy(int)
    classes = contrast * len(reading.CLASSES) + here["reading_class"].to_numpy(int)
    expected = reading.expected_of(here["expected"].to_numpy(float))
    order = reading.order(classes, expected, here["number"].to_numpy(float))
    return [str(here.loc[place, "scan_id"]) for place in order[:number]]


def _frame(study: Study, seed: int, former: pd.DataFrame) -> pd.DataFrame:
    """`free_hand_sample` of the study's participants."""
    people = PARTICIPANTS.read(study.layout.table("participants"))
    reviews = first_decisions(study.layout)
    candidates = verdicts.candidates_of(study.layout, set(reviews["scan_id"]))
    settled = verdicts.settle(reviews, candidates, study.table)
    return frame_of(people, study.lesions, settled, seed, former)


def plan(study: Study, width: float) -> Iterator[str]:
    """A sentence a contrast: how many scans to read for a prevalence to within ``width``.

    ``width``: of the 95 % interval, as a share. The shares expected are the software's calibrated
    probabilities, and ``reading.MISSED`` of the scans in which it has no lesion.

    Raises
    ------
    CMBurdenError
        If ``width`` is no share.
    """
    if not 0 < width < 1:
        raise CMBurdenError(f"--plan {width:g}: give a width between 0 and 1, such as 0.10")
    frame = _frame(study, 0, read_sample(study.layout))
    for contrast, of_contrast in frame.groupby("contrast", sort=True):
        classes = of_contrast["reading_class"].to_numpy(int)
        expected = reading.expected_of(of_contrast["expected"].to_numpy(float))
        sizes = np.bincount(classes, minlength=len(reading.CLASSES))
        shares = np.bincount(classes, expected, len(sizes)) / np.maximum(sizes, 1)
        number = double_sampling.number_to_read(width, shares, sizes)
        total = len(of_contrast)
        least = double_sampling.planned_width(total, shares, sizes)
        what = f"{contrast}: {total} participants, about {expected.mean():.0%} with a microbleed"
        if number is None:
            yield f"{what}: no reading gives a width of {width:g}; reading all gives {least:.3f}"
            continue
        widths = [
            f"{n} give {double_sampling.planned_width(n, shares, sizes):.3f}"
            for n in _TRIED
            if n < total and not math.isnan(double_sampling.planned_width(n, shares, sizes))
        ]
        also = f" ({', '.join(widths)}; all give {least:.3f})"
        yield f"{what}: read {number} free-hand for a 95 % interval {width:g} wide{also}"
