"""Accuracy of the detections and agreement of the readers, as rows of `summary`.

Sensitivity and specificity come only from scans read free-hand. A reader who sees the detections
seldom finds other lesions, so that a review of detections overestimates the sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pandas as pd

from cmburden.cohort.verdicts import Verdicts
from cmburden.core.tables import LABELS
from cmburden.stats import agreement, intervals
from cmburden.summary import bins
from cmburden.summary.correction import presence_counts
from cmburden.summary.measures import Review, ReviewAgreement
from cmburden.summary.rows import Row, of_stratum, row, share
from cmburden.summary.strata import EVERYBODY, Stratum

SOFTWARE = "software"
_CLUSTERED = "Wilson 95 % interval at the effective number of lesions (Rao and Scott 1992)"
_HAND = "scans read free-hand, without detections shown"
_TRUTH = "first; truth is the readers' last word on them"
#: Errors of presence: number of scans by name, as `correction.presence_counts` gives them.
PresenceErrors = dict[str, int]


def rows(
    verdicts: Verdicts,
    reviews: pd.DataFrame,
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    config: dict[str, Any],
) -> list[Row]:
    """Rows of `summary` for all scans and each contrast; none if nobody reviewed.

    ``reviews``, ``scans`` and ``lesions`` are the cohort's tables. Measures that depend on how well
    microbleeds show are not given for GRE and SWI together.
    """
    if not len(verdicts.counts):
        return []
    read = scans[scans["status"] == "ok"]
    strata = [(EVERYBODY, read)]
    strata += [(Stratum(contrast=name), part) for name, part in read.groupby("contrast", sort=True)]
    result = []
    for stratum, part in strata:
        ids = set(part["scan_id"])
        places, detections, decisions, readings = (
            table[table["scan_id"].isin(ids)]
            for table in (verdicts.places, lesions, reviews, verdicts.readings)
        )
        if not len(places) and not len(readings):
            continue
        estimates = [
            *_progress(part, places, detections),
            *_agreement(part, readings, config["report"]["bins"]),
        ]
        if part["contrast"].nunique() == 1:
            estimates += _ppv(places, detections, decisions)
            estimates += _presence(part)
            estimates += _errors(part, places, readings)
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


def _presence(scans: pd.DataFrame) -> Iterator[Row]:
    """Presence after review, over the scans whose number of microbleeds is settled."""
    none = (scans["n_cmb"].fillna(0) + scans["n_possible"].fillna(0)) == 0
    # A scan whose only lesions are macrohaemorrhages has lesions that readers must judge.
    none &= scans["n_macrohaemorrhage"].fillna(0) == 0
    unread = none & scans["n_cmb_reviewed"].isna() & ~(scans["n_review_open"] > 0)
    settled = scans["n_cmb_reviewed"].notna() | unread
    positive = int((scans.loc[settled, "n_cmb_reviewed"].fillna(0) > 0).sum())
    method = (
        f"scans with all lesions settled, of {len(scans)}; {int(unread.sum())} without a "
        "definite or possible lesion count as without, unread; share, Wilson 95 % interval"
    )
    yield share(Review("presence"), positive, int(settled.sum()), method)


def _read_free_hand(readings: pd.DataFrame) -> set[str]:
    """Scans that a reader read free-hand."""
    return set(readings.loc[readings["free_hand"].astype(bool), "scan_id"])


def _scan_errors(scans: pd.DataFrame, readings: pd.DataFrame) -> dict[str, PresenceErrors]:
    """By label, the errors of presence of the software over scans read free-hand and settled."""
    is_sample = scans["scan_id"].isin(_read_free_hand(readings))
    sample = scans[is_sample & scans["n_cmb_reviewed"].notna()]
    real = (sample["n_cmb_reviewed"] > 0).to_numpy(bool)
    numbers = {
        "definite": sample["n_cmb"],
        "possible": sample["n_cmb"] + sample["n_possible"],
    }
    return {
        label: presence_counts((number > 0).to_numpy(bool), real)
        for label, number in numbers.items()
    }


def _errors(scans: pd.DataFrame, places: pd.DataFrame, readings: pd.DataFrame) -> Iterator[Row]:
    """Errors of the software by scan and by lesion, over scans read free-hand."""
    hand = _read_free_hand(readings)
    errors = _scan_errors(scans, readings)["definite"]
    method = f"presence (definite) by scan; {_HAND} {_TRUTH}; Wilson 95 % interval"
    yield share(Review("sensitivity"), errors["positive_found"], errors["positive_scans"], method)
    yield share(Review("specificity"), errors["negative_clean"], errors["negative_scans"], method)
    sample = places[places["scan_id"].isin(hand)]
    # Only the lesions that were marked without detections shown: a reader who is shown a detection
    # agrees with the detection more often.
    real = sample[sample["microbleed"].eq(True) & sample["free_hand"].astype(bool)]
    hits = (real["label"] == "definite").astype(float)
    low, high = intervals.clustered_wilson(hits.to_numpy(), real["participant_id"].to_numpy())
    mean = float(hits.mean()) if len(real) else None
    method = f"definite within 3 mm or the lesion, of those marked free-hand; {_CLUSTERED}"
    yield row(Review("lesion sensitivity"), mean, int(hits.sum()), len(real), method, low, high)
    wrong = int(((sample["label"] == "definite") & sample["microbleed"].eq(False)).sum())
    method = f"definite and not held for a microbleed; {_HAND}"
    rate = wrong / len(hand) if hand else None
    yield row(Review("false positives per scan"), rate, wrong, len(hand), method)


def _agreement(scans: pd.DataFrame, readings: pd.DataFrame, edges: list[int]) -> Iterator[Row]:
    """Kappa and ICC of each two readers, and of each reader and the software."""
    counts = readings.pivot(index="scan_id", columns="reader", values="n_cmb")
    names = sorted(counts.columns)
    software = scans.set_index("scan_id")["n_cmb"].reindex(counts.index)
    counts = counts.assign(**{SOFTWARE: software})
    pairs = [*combinations(names, 2), *((name, SOFTWARE) for name in names)]
    hand = readings.set_index(["scan_id", "reader"])["free_hand"].astype(bool)
    labels = bins.bin_labels(edges)
    for first, second in pairs:
        both = counts[[first, second]].dropna().astype(int)
        free = int(sum(hand.get((scan_id, first), False) for scan_id in both.index))
        over = f"{len(both)} scans, {free} of them read free-hand by {first}"
        if second == SOFTWARE and free < len(both):
            over += "; who is shown detections agrees with them more"
        a, b = both[first], both[second]
        kappa = agreement.kappa((a > 0).tolist(), (b > 0).tolist(), levels=[False, True])
        yield _with_interval(
            ReviewAgreement("kappa presence", first, second), kappa, f"Cohen's kappa over {over}"
        )
        bins_a, bins_b = (bins.binned(v, edges, labels).tolist() for v in (a, b))
        kappa = agreement.kappa(bins_a, bins_b, weights="quadratic", levels=labels)
        method = f"Cohen's kappa, quadratic weights, bins {', '.join(labels)}, over {over}"
        yield _with_interval(ReviewAgreement("weighted kappa bins", first, second), kappa, method)
        icc = agreement.icc(both.to_numpy(float))
        yield _with_interval(
            ReviewAgreement("icc count", first, second), icc, f"ICC(2,1) over {over}"
        )


def _with_interval(measure: ReviewAgreement, result: agreement.Estimate, method: str) -> Row:
    return row(measure, result.estimate, result.n, None, method, result.ci_low, result.ci_high)
