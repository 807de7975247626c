"""Accuracy of the detections and agreement of the readers, as rows of `summary`.

Sensitivity and specificity come only from scans read free-hand. A reader who sees the detections
seldom finds other lesions, so that a review of detections overestimates the sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cmburden.cohort import readers_agreement
from cmburden.cohort.readers_counts import read_free_hand
from cmburden.cohort.verdicts import Verdicts
from cmburden.core.tables import LABELS
from cmburden.stats import intervals, survey
from cmburden.summary import read_part, reading
from cmburden.summary.cohort import ByReaders, Cohort
from cmburden.summary.measures import Review, ReviewKind
from cmburden.summary.rows import WILSON, Row, count, of_stratum, row, share
from cmburden.summary.strata import EVERYBODY, Stratum

_CLUSTERED = "Wilson 95 % interval at the effective number of lesions (Rao and Scott 1992)"
_HAND = "scans read free-hand, without detections shown"
_TRUTH = "first; truth is the readers' last word on them"
#: Behind the method of a share of a sample that was drawn by class of the software.
_BY_CLASS = "; weighted by the class of the software that the scan was drawn from"


def rows(
    verdicts: Verdicts,
    again: list[Verdicts],
    reviews: pd.DataFrame,
    cohort: Cohort,
    config: dict[str, Any],
) -> list[Row]:
    """Rows of `summary` for all scans and each contrast; none if nobody reviewed.

    ``again``: of second readings; ``reviews``: of the contract. Measures that depend on how well
    microbleeds show are not given for GRE and SWI together.
    """
    if not len(verdicts.counts):
        return []
    read = cohort.scans[cohort.scans["status"] == "ok"]
    usable = cohort.participants[cohort.participants["scan_id"].notna()]
    edges = config["report"]["bins"]
    strata = [(EVERYBODY, read, usable)]
    strata += [
        (Stratum(contrast=name), part, usable[usable["contrast"] == name])
        for name, part in read.groupby("contrast", sort=True)
    ]
    result = []
    for stratum, part, people in strata:
        ids = set(part["scan_id"])
        places, detections, decisions, readings = (
            table[table["scan_id"].isin(ids)]
            for table in (verdicts.places, cohort.lesions, reviews, verdicts.readings)
        )
        if not len(places) and not len(readings):
            continue
        estimates = [
            *_progress(part, places, detections),
            count(Review("participants settled"), int(_settled(people).sum()), len(people)),
            *readers_agreement.rows(part, detections, verdicts, edges),
            *readers_agreement.rows_again(part, detections, again, edges),
        ]
        if part["contrast"].nunique() == 1:
            estimates += _ppv(places, detections, decisions)
            estimates += _presence(people, cohort.by_readers)
            estimates += _errors(part, places, readings, cohort.by_readers)
        result += of_stratum(stratum, estimates)
    return result


def _progress(scans: pd.DataFrame, places: pd.DataFrame, lesions: pd.DataFrame) -> Iterator[Row]:
    """How much of the cohort the readers settled."""
    settled = places[places["label"].isin(LABELS) & places["microbleed"].notna()]
    yield row(Review("lesions settled"), len(settled), len(settled), len(lesions))
    disputed = int((places["settled"] == "disputed").sum())
    yield row(Review("lesions disputed"), disputed, disputed, len(places))
    added = places[places["label"].isna() & places["microbleed"].eq(True)]
    yield row(Review("lesions added"), len(added), len(added), len(places))
    whole = int(scans["n_cmb_reviewed"].notna().sum())
    yield row(Review("scans reviewed"), whole, whole, len(scans))


def _ppv(places: pd.DataFrame, lesions: pd.DataFrame, reviews: pd.DataFrame) -> Iterator[Row]:
    """Of the software's lesions that readers settled, the share that are microbleeds."""
    judgements = reviews[reviews["decision"].isin(["accept", "reject"])]
    ordered = bool((judgements["ordering"] != "random").any())
    for label, measure in (("definite", Review("ppv")), ("possible", Review("ppv possible"))):
        settled = places[(places["label"] == label) & places["microbleed"].notna()]
        total, due = len(settled), int((lesions["label"] == label).sum())
        method = f"{total} of {due} {label} lesions settled; {_CLUSTERED}"
        if total < due and ordered:
            method += "; not finished and not in random order: not a fair sample of them"
        yes = settled["microbleed"].astype(float)
        mean = float(yes.mean()) if total else math.nan
        low, high = intervals.clustered_wilson(yes.to_numpy(), settled["participant_id"].to_numpy())
        yield row(measure, mean, int(yes.sum()), total, method, low, high)


def _settled(people: pd.DataFrame) -> pd.Series:
    return people["n_cmb_reviewed"].notna()


def _presence(people: pd.DataFrame, by_readers: ByReaders | None) -> Iterator[Row]:
    """Presence by the readers, over the participants of a contrast by their chosen scan.

    A scan that nobody read counts neither as with nor as without a microbleed.
    """
    settled = people[_settled(people)]
    positive = int((settled["n_cmb_reviewed"] > 0).sum())
    method = f"{len(settled)} of {len(people)} participants whose count is settled; {WILSON}" + (
        "; the others are not like them" if len(settled) < len(people) else ""
    )
    yield share(Review("presence settled"), positive, len(settled), method)
    if by_readers is None or not len(people):
        return
    known = by_readers.part.loc[people["participant_id"]]
    sample = people[known["read"].to_numpy(bool)]
    positive = int((sample["n_cmb_reviewed"] > 0).sum())
    if known["stratified"].any():
        why = "not estimated: the sample is drawn by class of the software, not simply at random"
        yield row(Review("presence sample"), None, positive, len(sample), why)
    else:
        method = f"{len(sample)} of {len(people)} participants read free-hand, alone; {WILSON}"
        yield share(Review("presence sample"), positive, len(sample), method)
    yield read_part.presence(people, by_readers, Review("presence"))


def class_weights(by_readers: ByReaders | None) -> pd.Series | None:
    """Participants of the cohort for each one read, by participant_id.

    None where the sample was not drawn by class of the software: all then weigh alike.
    """
    if by_readers is None or not by_readers.part["stratified"].any():
        return None
    weights = []
    for _, part in by_readers.part.groupby("contrast"):
        read = part["read"].to_numpy(bool)
        classes = reading.merged(part["reading_class"].to_numpy(int), np.flatnonzero(read))
        number = np.bincount(classes[read], minlength=int(classes.max()) + 1)
        of_class = np.bincount(classes) / np.maximum(number, 1)
        weights.append(pd.Series(of_class[classes[read]], index=part.index[read]))
    return pd.concat(weights)


def _errors(
    scans: pd.DataFrame, places: pd.DataFrame, readings: pd.DataFrame, by_readers: ByReaders | None
) -> Iterator[Row]:
    """Errors of the software by scan and by lesion, over scans read free-hand."""
    weights = class_weights(by_readers)
    hand = scans[scans["scan_id"].isin(read_free_hand(readings))]
    if weights is not None:
        hand = hand[hand["participant_id"].isin(weights.index)]
    settled = hand[hand["n_cmb_reviewed"].notna()]
    called, real = settled["n_cmb"] > 0, settled["n_cmb_reviewed"] > 0
    by_scan = f"presence (definite) by scan; {_HAND} {_TRUTH}"
    yield _share("sensitivity", called[real], settled[real], weights, f"{by_scan}; {WILSON}")
    yield _share("specificity", ~called[~real], settled[~real], weights, f"{by_scan}; {WILSON}")
    sample = places[places["scan_id"].isin(hand["scan_id"])]
    # Only the lesions that were marked without detections shown: a reader who is shown a detection
    # agrees with the detection more often.
    marked = sample[sample["microbleed"].eq(True) & sample["free_hand"].astype(bool)]
    method = f"definite within 3 mm or the lesion, of those marked free-hand; {_CLUSTERED}"
    yield _share("lesion sensitivity", marked["label"] == "definite", marked, weights, method)
    wrong = sample[(sample["label"] == "definite") & sample["microbleed"].eq(False)]
    method = f"definite and not held for a microbleed; {_HAND}"
    of_scan = wrong["scan_id"].value_counts().reindex(hand["scan_id"]).fillna(0).to_numpy(float)
    rate = None
    if len(hand):
        weight = None if weights is None else hand["participant_id"].map(weights).to_numpy(float)
        rate = float(np.average(of_scan, weights=weight))
    method += "" if weights is None else _BY_CLASS
    yield row(Review("false positives per scan"), rate, len(wrong), len(hand), method)


def _share(
    kind: ReviewKind,
    positive: pd.Series,
    of: pd.DataFrame,
    weights: pd.Series | None,
    method: str,
) -> Row:
    """A share of rows ``of`` scans or lesions, clustered in participants, with their weights."""
    weight = None if weights is None else of["participant_id"].map(weights).to_numpy(float)
    people = of["participant_id"].to_numpy()
    mean, low, high = survey.share(positive.to_numpy(float), people, weight)
    method += "" if weights is None else _BY_CLASS
    return row(Review(kind), mean, int(positive.sum()), len(of), method, low, high)
