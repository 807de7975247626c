"""What a review says of detections, of readers and of the software, as rows of `summary`.

Sensitivity and specificity come from scans read free-hand only: who is shown detections sees those.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from cmburden import agreement, burden
from cmburden.correction import presence_counts
from cmburden.review.settle import Verdicts
from cmburden.summary_rows import row, share
from cmburden.tables import LABELS

SOFTWARE = "software"
_CLUSTERED = "Wilson 95 % interval at the effective number of lesions (Rao and Scott 1992)"
_HAND = "scans read free-hand, without detections shown"
_TRUTH = "first; truth is the readers' last word on them"


def rows(
    verdicts: Verdicts,
    reviews: pd.DataFrame,
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    config: dict[str, Any],
) -> list[dict[str, Any]]:
    """Rows of `summary` for all scans and each contrast; none where nobody reviewed.

    What depends on how well microbleeds show is not given for GRE and SWI together.
    """
    if not len(verdicts.counts):
        return []
    read = scans[scans["status"] == "ok"]
    found = []
    strata = [("all", read)]
    strata += [(f"contrast={name}", own) for name, own in read.groupby("contrast", sort=True)]
    for stratum, own in strata:
        ids = set(own["scan_id"])
        places = verdicts.places[verdicts.places["scan_id"].isin(ids)]
        kept = lesions[lesions["scan_id"].isin(ids)]
        judged = reviews[reviews["scan_id"].isin(ids)]
        readings = verdicts.readings[verdicts.readings["scan_id"].isin(ids)]
        if not len(places) and not len(readings):
            continue
        mine = [
            *_progress(own, places, kept),
            *_agreement(own, readings, config["report"]["bins"]),
        ]
        if own["contrast"].nunique() == 1:
            mine += [*_ppv(places, kept, judged), *_presence(own), *_errors(own, places, readings)]
        found += [{"stratum": stratum} | one for one in mine]
    return found


def _row(measure: str, *values, **further) -> dict[str, Any]:
    return row(f"review {measure}", *values, **further)


def _share(measure: str, positive: int, total: int, method: str) -> dict[str, Any]:
    return share(f"review {measure}", positive, total, method)


def _progress(scans, places, kept) -> Iterator[dict[str, Any]]:
    judged = places[places["label"].isin(LABELS) & places["microbleed"].notna()]
    yield _row("lesions settled", len(judged), len(judged), len(kept))
    disputed = int((places["settled"] == "disputed").sum())
    yield _row("lesions disputed", disputed, disputed, len(places))
    added = places[places["label"].isna() & places["microbleed"].eq(True)]
    yield _row("lesions added", len(added), len(added), len(places))
    whole = int(scans["n_cmb_reviewed"].notna().sum())
    yield _row("scans reviewed", whole, whole, len(scans))


def _ppv(places, kept, reviews) -> Iterator[dict[str, Any]]:
    """Of the software's lesions that readers settled, the share that are microbleeds."""
    shown = reviews[reviews["decision"].isin(["accept", "reject"])]
    ordered = bool(len(shown)) and (shown["ordering"] != "random").any()
    for label, name in (("definite", "ppv"), ("possible", "ppv possible")):
        settled = places[(places["label"] == label) & places["microbleed"].notna()]
        total, due = len(settled), int((kept["label"] == label).sum())
        method = f"{total} of {due} {label} lesions settled; {_CLUSTERED}"
        if total < due and ordered:
            method += "; not finished and not in random order: not a fair sample of them"
        yes = settled["microbleed"].astype(float)
        mean = float(yes.mean()) if total else math.nan
        low, high = clustered_wilson(yes.to_numpy(), settled["participant_id"].to_numpy())
        yield _row(name, mean, int(yes.sum()), total, method, low, high)


def clustered_wilson(positive: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """Wilson's interval of a share of lesions that are clustered in participants.

    At n / deff, deff the variance of the ratio estimate over that of independent lesions, at least
    1. Rao and Scott, Biometrics 1992;48:577. NaN where there are none.

    >>> low, high = clustered_wilson(np.repeat([1.0, 0.0], 50), np.repeat([1, 2, 3, 4], 25))
    >>> low < 0.15 < 0.85 < high  # as few as four people say little
    True
    """
    n = len(positive)
    if not n:
        return math.nan, math.nan
    share = float(np.mean(positive))
    _, index = np.unique(cluster.astype(str), return_inverse=True)
    m, effect = int(index.max()) + 1, 1.0
    if m > 1 and 0 < share < 1:
        residual = np.bincount(index, positive - share)
        variance = m / (m - 1) * float((residual**2).sum()) / n**2
        effect = max(1.0, variance / (share * (1 - share) / n))
    return burden.wilson(share * n / effect, n / effect)


def _presence(scans) -> Iterator[dict[str, Any]]:
    """Presence after review: what lesions the software reports count only where readers agree."""
    none = (scans["n_cmb"].fillna(0) + scans["n_possible"].fillna(0)) == 0
    # A scan whose kept lesions are all macrohaemorrhages has lesions to be judged too.
    none &= scans["n_macrohaemorrhage"].fillna(0) == 0
    unread = none & scans["n_cmb_reviewed"].isna() & ~(scans["n_review_open"] > 0)
    known = scans["n_cmb_reviewed"].notna() | unread
    positive = int((scans.loc[known, "n_cmb_reviewed"].fillna(0) > 0).sum())
    method = (
        f"scans with all lesions settled, of {len(scans)}; {int(unread.sum())} without a "
        "definite or possible lesion count as without, unread; share, Wilson 95 % interval"
    )
    yield _share("presence", positive, int(known.sum()), method)


def detector_errors(verdicts: Verdicts, scans: pd.DataFrame) -> dict[str, dict[str, dict]]:
    """The software's errors of presence in this cohort, as `correction.rows` takes them.

    By threshold and contrast, over scans read free-hand without an open dispute.
    """
    found: dict[str, dict[str, dict]] = {"presence": {}, "presence_possible": {}}
    for contrast, own in scans.groupby("contrast", sort=True):
        errors = _scan_errors(own, verdicts.readings)
        for name, key in (("definite", "presence"), ("possible", "presence_possible")):
            if errors[name]["positive_scans"] + errors[name]["negative_scans"]:
                found[key][str(contrast)] = errors[name]
    return found


def _scan_errors(scans: pd.DataFrame, readings: pd.DataFrame) -> dict[str, dict[str, int]]:
    hand = set(readings.loc[readings["free_hand"].astype(bool), "scan_id"])
    sample = scans[scans["scan_id"].isin(hand) & scans["n_cmb_reviewed"].notna()]
    real = (sample["n_cmb_reviewed"] > 0).to_numpy(bool)
    errors = {}
    for name, calls in (
        ("definite", sample["n_cmb"]),
        ("possible", sample["n_cmb"] + sample["n_possible"]),
    ):
        said = (calls > 0).to_numpy(bool)
        errors[name] = presence_counts(said, real)
    return errors


def _errors(scans, places, readings) -> Iterator[dict[str, Any]]:
    hand = set(readings.loc[readings["free_hand"].astype(bool), "scan_id"])
    errors = _scan_errors(scans, readings)["definite"]
    method = f"presence (definite) by scan; {_HAND} {_TRUTH}; Wilson 95 % interval"
    yield _share("sensitivity", errors["positive_found"], errors["positive_scans"], method)
    yield _share("specificity", errors["negative_clean"], errors["negative_scans"], method)
    own = places[places["scan_id"].isin(hand)]
    # Only what was marked unprompted: a reader who is shown a detection finds what it shows.
    real = own[own["microbleed"].eq(True) & own["free_hand"].astype(bool)]
    seen = (real["label"] == "definite").astype(float)
    low, high = clustered_wilson(seen.to_numpy(), real["participant_id"].to_numpy())
    mean = float(seen.mean()) if len(real) else None
    method = f"definite within 3 mm or the lesion, of those marked free-hand; {_CLUSTERED}"
    yield _row("lesion sensitivity", mean, int(seen.sum()), len(real), method, low, high)
    wrong = int(((own["label"] == "definite") & own["microbleed"].eq(False)).sum())
    method = f"definite and not held for a microbleed; {_HAND}"
    rate = wrong / len(hand) if hand else None
    yield _row("false positives per scan", rate, wrong, len(hand), method)


def _agreement(scans, readings, edges) -> Iterator[dict[str, Any]]:
    """Kappa and ICC of each two readers, and of each reader and the software."""
    counts = readings.pivot(index="scan_id", columns="reader", values="n_cmb")
    names = sorted(counts.columns)
    software = scans.set_index("scan_id")["n_cmb"].reindex(counts.index)
    counts = counts.assign(**{SOFTWARE: software})
    pairs = [*combinations(names, 2), *((name, SOFTWARE) for name in names)]
    hand = readings.set_index(["scan_id", "reader"])["free_hand"].astype(bool)
    labels = burden.bin_labels(edges)
    for first, second in pairs:
        both = counts[[first, second]].dropna().astype(int)
        free = int(sum(hand.get((scan_id, first), False) for scan_id in both.index))
        over = f"{len(both)} scans, {free} of them read free-hand by {first}"
        if second == SOFTWARE and free < len(both):
            over += "; who is shown detections agrees with them more"
        a, b = both[first], both[second]
        who = f"{first} / {second}"
        found = agreement.kappa((a > 0).tolist(), (b > 0).tolist(), levels=[False, True])
        yield _agreed(f"kappa presence: {who}", found, f"Cohen's kappa over {over}")
        binned = [burden.binned(v, edges, labels).tolist() for v in (a, b)]
        found = agreement.kappa(*binned, weights="quadratic", levels=labels)
        method = f"Cohen's kappa, quadratic weights, bins {', '.join(labels)}, over {over}"
        yield _agreed(f"weighted kappa bins: {who}", found, method)
        found = agreement.icc(both.to_numpy(float))
        yield _agreed(f"icc count: {who}", found, f"ICC(2,1) over {over}")


def _agreed(measure: str, found: agreement.Estimate, method: str) -> dict[str, Any]:
    return _row(measure, found.estimate, found.n, None, method, found.ci_low, found.ci_high)
