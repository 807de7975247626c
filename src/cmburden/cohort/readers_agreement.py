"""Agreement of readers with each other, themselves and the software: rows of `summary`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from cmburden.cohort.patterns import pattern_of
from cmburden.cohort.places import MICROBLEED
from cmburden.cohort.verdicts import Verdicts
from cmburden.core.tables import GROUPS, PATTERN_LEVELS
from cmburden.space.regions import UNKNOWN
from cmburden.stats import agreement
from cmburden.summary import bins
from cmburden.summary.measures import AgreementKind, ReviewAgreement
from cmburden.summary.rows import Row, row

SOFTWARE = "software"
_KAPPA = "Cohen's kappa"
_DRAWN = "95 % interval of its posterior (Jeffreys' prior)"
_DICE = "2 both / (2 both + one); Wilson 95 % interval of both / (both + one)"


@dataclasses.dataclass(frozen=True)
class _Pair:
    """Two readers over the scans that both judged: counts and groups of microbleeds by scan.

    ``lesions``: of each place in these scans, whether first and second hold a microbleed there,
    and the participant.
    """

    names: tuple[str, str]
    counts: np.ndarray
    groups: tuple[list[list[str]], list[list[str]]]
    lesions: pd.DataFrame
    over: str

    def row(self, kind: AgreementKind, result: agreement.Estimate, how: str) -> Row:
        measure = ReviewAgreement(kind, *self.names)
        method = f"{how}, over {self.over}"
        if np.isnan(result.estimate):
            method = f"not estimated: nothing varies, or too few; {method}"
        return row(measure, result.estimate, result.n, None, method, result.ci_low, result.ci_high)


def rows(
    scans: pd.DataFrame, lesions: pd.DataFrame, verdicts: Verdicts, edges: list[int]
) -> Iterator[Row]:
    """Rows of each two readers, and of each reader and the software, over ``scans``.

    ``lesions``: of the contract; ``edges`` of the count bins.
    """
    for pair in _pairs(scans, lesions, verdicts, with_software=True):
        yield from _of_pair(pair, edges)


def rows_again(
    scans: pd.DataFrame, lesions: pd.DataFrame, again: list[Verdicts], edges: list[int]
) -> Iterator[Row]:
    """Rows of each reader's first and second reading (``second_readings.settled_again``)."""
    for verdicts in again:
        for pair in _pairs(scans, lesions, verdicts, with_software=False):
            yield from _of_pair(pair, edges)


def _of_pair(pair: _Pair, edges: list[int]) -> Iterator[Row]:
    first, second = pair.counts.T
    yield from _of_presence(pair, first > 0, second > 0)
    labels = bins.bin_labels(edges)
    binned = [bins.binned(pd.Series(v), edges, labels).tolist() for v in (first, second)]
    kappa = agreement.kappa(binned[0], binned[1], weights="quadratic", levels=labels)
    yield pair.row(
        "weighted kappa bins", kappa, f"{_KAPPA}, quadratic weights, bins {', '.join(labels)}"
    )
    yield pair.row("icc count", agreement.icc(pair.counts.astype(float)), "ICC(2,1)")
    patterns = [[pattern_of(groups) for groups in of_reader] for of_reader in pair.groups]
    kappa = agreement.kappa(patterns[0], patterns[1], levels=PATTERN_LEVELS)
    yield pair.row("kappa pattern", kappa, f"{_KAPPA} of {', '.join(PATTERN_LEVELS)}")
    for group in GROUPS[:3]:
        present = [[group in groups for groups in of_reader] for of_reader in pair.groups]
        kappa = agreement.kappa(present[0], present[1], levels=[False, True])
        kind: AgreementKind = f"kappa {group}"  # type: ignore[assignment]
        yield pair.row(kind, kappa, f"{_KAPPA} of a {group} microbleed; {_DRAWN}")
    held = pair.lesions
    found = agreement.specific_agreement(
        held["first"].to_numpy(bool),
        held["second"].to_numpy(bool),
        held["participant_id"].to_numpy(),
    )
    yield pair.row("lesion agreement", found, f"F1 of lesions, {_DICE}, clustered in participants")
    yield from _of_counts(pair, first, second)


def _of_presence(pair: _Pair, first: np.ndarray, second: np.ndarray) -> Iterator[Row]:
    kappa = agreement.kappa(first.tolist(), second.tolist(), levels=[False, True])
    yield pair.row("kappa presence", kappa, f"{_KAPPA}; {_DRAWN}")
    both = agreement.binary(first.tolist(), second.tolist())
    yield pair.row("positive agreement", both.positive, _DICE)
    yield pair.row("negative agreement", both.negative, _DICE)
    yield pair.row("pabak presence", both.pabak, "2 agreement - 1; Wilson 95 % interval")


def _of_counts(pair: _Pair, first: np.ndarray, second: np.ndarray) -> Iterator[Row]:
    result = agreement.log_counts(first.tolist(), second.tolist())
    how = "Bland-Altman of log(count + 1): geometric mean of the ratio, interval of t"
    yield pair.row("ratio of counts", result.ratio, how)
    limits: tuple[tuple[AgreementKind, float], ...] = (
        ("lower limit of ratio", result.lower),
        ("upper limit of ratio", result.upper),
    )
    for kind, value in limits:
        limit = agreement.Estimate(value, np.nan, np.nan, result.ratio.n)
        yield pair.row(kind, limit, "95 % limit of agreement of a scan's ratio of count + 1")


# --- the scans of two readers ---


def _pairs(
    scans: pd.DataFrame, lesions: pd.DataFrame, verdicts: Verdicts, *, with_software: bool
) -> Iterator[_Pair]:
    ids = set(scans["scan_id"])
    readings = verdicts.readings[verdicts.readings["scan_id"].isin(ids)]
    if not len(readings):
        return
    held = _held(verdicts.places[verdicts.places["scan_id"].isin(ids)])
    groups = _groups(held)
    counts = {
        str(name): of_reader.set_index("scan_id")["n_cmb"].astype(int)
        for name, of_reader in readings.groupby("reader", sort=True)
    }
    names = list(counts)
    hand = readings.set_index(["scan_id", "reader"])["free_hand"].astype(bool)
    pairs = list(combinations(names, 2))
    if with_software:
        number = scans.set_index("scan_id")["n_cmb"].dropna().astype(int)
        counts[SOFTWARE] = number
        definite = lesions[(lesions["label"] == "definite") & ~_large(lesions)]
        if "group" in definite:
            groups |= {
                (SOFTWARE, scan_id): list(of_scan)
                for scan_id, of_scan in definite.groupby("scan_id")["group"]
            }
        pairs += [(name, SOFTWARE) for name in names]
    for first, second in pairs:
        shared = sorted(set(counts[first].index) & set(counts[second].index))
        free = int(sum(hand.get((scan_id, first), False) for scan_id in shared))
        over = f"{len(shared)} scans, {free} of them read free-hand by {first}"
        if second == SOFTWARE and free < len(shared):
            over += "; readers who see detections tend to agree with them"
        yield _Pair(
            (first, second),
            np.column_stack([counts[name].loc[shared].to_numpy(int) for name in (first, second)]),
            (
                [groups.get((first, scan_id), []) for scan_id in shared],
                [groups.get((second, scan_id), []) for scan_id in shared],
            ),
            _of_lesions(held, first, second, shared),
            over,
        )


def _large(lesions: pd.DataFrame) -> pd.Series:
    if "macrohaemorrhage" not in lesions:
        return pd.Series(False, lesions.index)
    return lesions["macrohaemorrhage"].astype(bool)


def _held(places: pd.DataFrame) -> pd.DataFrame:
    """``places`` with the readers who hold a definite microbleed there; the software is one."""
    if not len(places):
        return pd.DataFrame(columns=["scan_id", "participant_id", "group", "holders"])
    holders = [
        frozenset(
            [name for name, vote in json.loads(votes).items() if vote == MICROBLEED]
            + [SOFTWARE] * (label == "definite")
        )
        for votes, label in zip(places["votes"], places["label"], strict=True)
    ]
    group = places["group"].fillna(UNKNOWN.group)
    return places[["scan_id", "participant_id"]].assign(group=group, holders=holders)


def _groups(held: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Groups of the microbleeds of each reader and scan."""
    groups: dict[tuple[str, str], list[str]] = {}
    for scan_id, group, holders in held[["scan_id", "group", "holders"]].itertuples(index=False):
        for name in holders - {SOFTWARE}:
            groups.setdefault((name, scan_id), []).append(group)
    return groups


def _of_lesions(held: pd.DataFrame, first: str, second: str, shared: list[str]) -> pd.DataFrame:
    here = held[held["scan_id"].isin(shared)]
    return pd.DataFrame(
        {
            "first": [first in holders for holders in here["holders"]],
            "second": [second in holders for holders in here["holders"]],
            "participant_id": list(here["participant_id"]),
        }
    )
