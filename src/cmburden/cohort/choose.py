"""From lesions to what an epidemiologist reports: bins, patterns, intervals, one scan a person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.core.text import natural

#: The standard normal's 97.5th percentile: standard errors from an estimate to either 95 % end.
Z95 = 1.959963984540054

#: Rules of config ``aggregate.choose_scan``, applied one after another until one scan is left;
#: a tie after the last is broken by the order of config ``index.suffixes``, then by scan_id.
CHOICE_RULES = {
    "most_recent_session": "the latest session (by acq_time of sessions.tsv, else by its label)",
    "first_session": "the earliest session (by acq_time of sessions.tsv, else by its label)",
    "swi_first": "SWI rather than GRE",
    "gre_first": "GRE rather than SWI",
    "thinnest_slice": "the thinnest slices",
    "highest_field": "the highest field strength",
    "longest_echo": "the longest echo time",
}


def wilson(positive: float, total: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (Wilson 1927; Newcombe 1998, method 3).

    NaN where there is nobody. statsmodels' ``proportion_confint`` agrees within rounding (a test
    compares), but its ends at no and all positives are not always exactly 0 and 1, and the last
    bits would change in `summary.parquet`. The AGES study's 218 of 1962:

    >>> low, high = wilson(218, 1962)
    >>> f"{low:.3f} {high:.3f}"
    '0.098 0.126'
    """
    if total <= 0:
        return math.nan, math.nan
    share, z2 = positive / total, Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    # The ends are exactly 0 and 1 at no and all positives; rounding would miss them.
    low = 0.0 if positive == 0 else middle - half
    high = 1.0 if positive == total else middle + half
    return low, high


def checked_edges(edges: Sequence[float], key: str) -> list[float]:
    """``edges`` if they rise strictly; else the user is told which config key to mend."""
    if not edges or any(low >= high for low, high in pairwise(edges)):
        raise CMBurdenError(f"config {key}: give rising lower edges, not {list(edges)}")
    return list(edges)


def bin_labels(edges: Sequence[int]) -> list[str]:
    """Labels of count bins by their lower edges.

    >>> bin_labels([0, 1, 2, 5])
    ['0', '1', '2-4', '>=5']
    """
    labels = []
    for low, high in pairwise(edges):
        labels.append(f"{low}" if high - low == 1 else f"{low}-{high - 1}")
    return [*labels, f">={edges[-1]}"]


def age_band_labels(edges: Sequence[int]) -> list[str]:
    """Labels of age bands; a first edge of 0 reads as "below the next".

    >>> age_band_labels([0, 50, 60])
    ['<50', '50-59', '>=60']
    """
    labels = bin_labels(edges)
    if len(edges) > 1 and edges[0] == 0:
        labels[0] = f"<{edges[1]}"
    return labels


def binned(values: pd.Series, edges: Sequence[float], labels: Sequence[str]) -> pd.Series:
    """Label of each value's bin; null where the value is null or below the first edge."""
    numbers = values.astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    place = np.searchsorted(np.asarray(edges, float), numbers, side="right") - 1
    names = np.array([*labels, None], dtype=object)
    place[np.isnan(numbers) | (place < 0)] = len(labels)
    return pd.Series(names[place], index=values.index, dtype="string")


def lesion_numbers(kept: pd.DataFrame) -> pd.Series:
    """Lesion ids of kept candidates: 1, 2 ... within a scan by rising candidate_id.

    The value of a lesion in ``_label-CMB_dseg.nii.gz`` and its ``lesion_id`` in every table.

    >>> kept = pd.DataFrame({"scan_id": ["a", "b", "a"], "candidate_id": [7, 2, 3]})
    >>> lesion_numbers(kept).tolist()
    [2, 1, 1]
    """
    rank = kept.groupby("scan_id")["candidate_id"].rank(method="first")
    return rank.astype("Int64")


def is_boston_imaging(groups: Sequence[str]) -> bool:
    """Imaging item of the Boston criteria v2.0: at least 2 microbleeds, all of them lobar.

    The criteria themselves need clinical data, which CMBurden has not.

    >>> is_boston_imaging(["lobar", "lobar"]), is_boston_imaging(["lobar", "lobar", "deep"])
    (True, False)
    """
    return len(groups) >= 2 and set(groups) == {"lobar"}


def check_rules(rules: Sequence[str]) -> None:
    unknown = [rule for rule in rules if rule not in CHOICE_RULES]
    if unknown:
        raise CMBurdenError(
            f"config aggregate.choose_scan: {', '.join(map(repr, unknown))} unknown; "
            f"choose among {', '.join(CHOICE_RULES)}"
        )


def choose_scan(
    scans: list[dict[str, Any]], rules: Sequence[str], suffixes: Sequence[str] = ()
) -> tuple[dict[str, Any], str]:
    """The one scan that stands for a participant, and why.

    ``scans`` are usable scans of one participant (keys scan_id, session_id, suffix, contrast,
    slice_mm, field_strength_t, echo_time_s and, where known, acq_time as ISO text). A scan whose
    value for a rule is unknown loses against one whose value is known. ``suffixes``, the most
    wanted first, decide between scans that no rule tells apart.

    >>> scans = [{"scan_id": "b", "contrast": "GRE"}, {"scan_id": "a", "contrast": "SWI"}]
    >>> choose_scan(scans, ["swi_first"])[1]
    'swi_first'
    """
    check_rules(rules)
    left, decided = sorted(scans, key=lambda scan: scan["scan_id"]), []
    if len(left) == 1:
        return left[0], "only usable scan"
    for rule in rules:
        best = min(_rank(scan, rule, left) for scan in left)
        kept = [scan for scan in left if _rank(scan, rule, left) == best]
        if len(kept) < len(left):
            decided.append(rule)
        left = kept
        if len(left) == 1:
            return left[0], ", then ".join(decided)
    places = {suffix: place for place, suffix in enumerate(suffixes)}
    ranks = [places.get(_text(scan.get("suffix")), len(places)) for scan in left]
    kept = [scan for scan, rank in zip(left, ranks, strict=True) if rank == min(ranks)]
    if len(kept) < len(left):
        decided.append("suffix order")
    left = kept
    if len(left) == 1:
        return left[0], ", then ".join(decided)
    return left[0], ", then ".join([*decided, "first scan_id"])


def _rank(scan: dict[str, Any], rule: str, among: list[dict[str, Any]]) -> float:
    """Rank by one rule, smaller is better; infinite where unknown."""
    if rule in ("most_recent_session", "first_session"):
        by_time = all(_known(other.get("acq_time")) for other in among)

        def when(other):
            return other["acq_time"] if by_time else natural(_text(other.get("session_id")))

        place = sorted({when(other) for other in among}).index(when(scan))
        return -place if rule == "most_recent_session" else place
    if rule in ("swi_first", "gre_first"):
        return float(_text(scan.get("contrast")) != rule[:3].upper())
    column, sign = {
        "thinnest_slice": ("slice_mm", 1),
        "highest_field": ("field_strength_t", -1),
        "longest_echo": ("echo_time_s", -1),
    }[rule]
    value = scan.get(column)
    return sign * float(value) if _known(value) else math.inf


def _known(value: Any) -> bool:
    return value is not None and not pd.isna(value)


def _text(value: Any) -> str | None:
    return str(value) if _known(value) else None
