"""Score of calls of change against a known truth: tables `pairs`, `changes` and `lesions`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core import schema
from cmburden.core.markdown import table as markdown_table
from cmburden.stats.intervals import wilson
from cmburden.stats.matching import hungarian

#: Kinds of the truth that are microbleeds, whether or not a reader would see them in that scan.
THERE = ("microbleed", "faint", "unseen")
CALLS = ("persisting", "new", "lost")
CONVENTIONS = {
    "truth": "a microbleed is persisting where it is in both scans of a pair, new or lost where in "
    "one; one that no reader would see in a scan is there all the same",
    "counted": "microbleeds found (definite or possible) in either scan of a pair of consecutive "
    "sessions: a lesion is a microbleed's by one-to-one matching within max(3 mm, its radius)",
    "right": "all its found lesions are in one track, whose call is the truth's; 'not comparable' "
    "is not right",
    "false new": "a definite lesion called new that is no microbleed gained in that pair",
    "interval": "Wilson 95 %; microbleeds of a person are not independent, so it is somewhat short",
}


@dataclasses.dataclass(frozen=True)
class Score:
    """Calls of change over all pairs of sessions.

    ``called[truth][call]`` counts microbleeds. ``unchanged`` counts pairs without a true change.
    ``false_new`` counts definite lesions called new that are no gained microbleed, in all pairs and
    in unchanged ones.
    """

    called: dict[str, dict[str, int]]
    pairs: int
    unchanged: int
    false_new: int
    false_new_unchanged: int

    def share(self, truth: str) -> tuple[int, int]:
        """Microbleeds with this truth: how many were called so, and how many there are."""
        calls = self.called[truth]
        return calls.get(truth, 0), sum(calls.values())


@dataclasses.dataclass(frozen=True)
class _Pair:
    """A pair of consecutive sessions: rows of `changes`, and the microbleeds of both scans.

    ``microbleed_of`` names the microbleed of a lesion, by scan and number of the lesion.
    """

    scans: tuple[str, str]
    rows: list[dict[str, Any]]
    before: set[int]
    after: set[int]
    microbleed_of: dict[tuple[str, int], int]

    def microbleeds(self, row: dict[str, Any]) -> set[int]:
        """The microbleeds of a row's lesions: none, one or, of a wrong track, two."""
        lesions = (
            (scan, row[f"lesion_id_{number}"]) for number, scan in enumerate(self.scans, start=1)
        )
        return {self.microbleed_of[key] for key in lesions if key in self.microbleed_of}

    def truth(self, microbleed: int) -> str:
        if microbleed in self.before & self.after:
            return "persisting"
        return "new" if microbleed in self.after else "lost"

    def calls(self) -> Iterator[tuple[str, str]]:
        """Truth and call of each microbleed that has a lesion in the pair."""
        calls: dict[int, list[str]] = {}
        for row in self.rows:
            microbleeds = self.microbleeds(row)
            for microbleed in microbleeds:
                call = row["change"] if len(microbleeds) == 1 else "mixed"
                calls.setdefault(microbleed, []).append(call)
        for microbleed, of_rows in calls.items():
            # Two rows for one microbleed: its lesions are in two tracks.
            yield self.truth(microbleed), of_rows[0] if len(of_rows) == 1 else "split"

    def false_new(self) -> int:
        """Definite lesions called new without a gained microbleed."""
        gained = self.after - self.before
        return sum(
            row["change"] == "new"
            and row["label"] == "definite"
            and not self.microbleeds(row) & gained
            for row in self.rows
        )


def score(
    pairs: pd.DataFrame, called: pd.DataFrame, lesions: pd.DataFrame, truth: pd.DataFrame
) -> Score:
    """Tables `pairs`, `changes` and `lesions` against ``truth`` (``tables.TRACKED_TRUTH``)."""
    table: dict[str, Counter[str]] = {name: Counter() for name in CALLS}
    number = unchanged = false_new = false_unchanged = 0
    for pair in _pairs(pairs, called, lesions, truth):
        number += 1
        for real, call in pair.calls():
            table[real][call] += 1
        wrong = pair.false_new()
        false_new += wrong
        if pair.before == pair.after:
            unchanged += 1
            false_unchanged += wrong
    calls = {name: dict(counts) for name, counts in table.items()}
    return Score(calls, number, unchanged, false_new, false_unchanged)


def _pairs(
    pairs: pd.DataFrame, called: pd.DataFrame, lesions: pd.DataFrame, truth: pd.DataFrame
) -> Iterator[_Pair]:
    """Pairs of consecutive sessions with their rows of `changes` and their microbleeds."""
    steps = pairs[pairs["consecutive"].astype(bool)]
    there = truth[truth["kind"].isin(THERE)]
    tracks = {name: set(rows["track_id"]) for name, rows in there.groupby("scan_id")}
    microbleed_of: dict[tuple[str, int], int] = {}
    for scan_id in sorted({*steps["scan_id_1"], *steps["scan_id_2"]}):
        microbleed_of |= _microbleeds_of(
            scan_id, lesions[lesions["scan_id"] == scan_id], there[there["scan_id"] == scan_id]
        )
    for one, other in zip(steps["scan_id_1"], steps["scan_id_2"], strict=True):
        rows = called[(called["scan_id_1"] == one) & (called["scan_id_2"] == other)]
        yield _Pair(
            scans=(one, other),
            rows=schema.as_records(rows),
            before=tracks.get(one, set()),
            after=tracks.get(other, set()),
            microbleed_of=microbleed_of,
        )


def _microbleeds_of(
    scan_id: str, lesions: pd.DataFrame, real: pd.DataFrame
) -> dict[tuple[str, int], int]:
    """(scan, lesion) -> track of its microbleed, by matching within the scan."""
    centre = ["x_mm", "y_mm", "z_mm"]
    points, truth = (rows[centre].to_numpy(dtype=float) for rows in (lesions, real))
    hits = hungarian(points, truth, real["radius_mm"].to_numpy(dtype=float, na_value=np.nan))
    numbers, tracks = lesions["lesion_id"].tolist(), real["track_id"].tolist()
    return {(scan_id, int(numbers[i])): int(tracks[j]) for i, j in hits}


def as_plain(result: Score) -> dict[str, Any]:
    """Content of changes.json: shares with Wilson intervals, false new lesions, conventions."""
    return {
        "microbleeds": {name: _share(result, name) for name in CALLS},
        "pairs": result.pairs,
        "pairs_without_change": result.unchanged,
        "false_new": result.false_new,
        "false_new_in_pairs_without_change": result.false_new_unchanged,
        "conventions": CONVENTIONS,
    }


def _share(result: Score, truth: str) -> dict[str, Any]:
    right, number = result.share(truth)
    low, high = wilson(right, number)
    return {
        "right": right,
        "number": number,
        "called": dict(sorted(result.called[truth].items())),
        "share": right / number if number else None,
        "ci_low": low if number else None,
        "ci_high": high if number else None,
    }


def markdown(result: dict[str, Any]) -> str:
    """Table and sentences of the content of changes.json."""
    rows = []
    for name, row in result["microbleeds"].items():
        other = ", ".join(f"{call} {n}" for call, n in row["called"].items() if call != name)
        share = "-"
        if row["number"]:
            share = f"{row['share']:.3f} ({row['ci_low']:.3f}-{row['ci_high']:.3f})"
        rows.append([name, row["number"], row["right"], share, other or "-"])
    header = ["truth", "microbleeds", "called so", "share, 95 %", "called otherwise"]
    lines = [
        markdown_table(header, rows),
        "",
        f"{result['pairs']} pairs; {result['pairs_without_change']} without any true change, in "
        f"which {result['false_new_in_pairs_without_change']} definite lesions were called new "
        f"({result['false_new']} in all pairs).",
    ]
    if error := result.get("registration_error_mm"):
        lines.append(
            f"Registration error over the brain, {error['pairs']} pairs: mean {error['mean']:.2f} "
            f"mm, largest mean of a pair {error['worst_mean']:.2f} mm, largest anywhere "
            f"{error['largest']:.2f} mm."
        )
    return "\n".join(lines) + "\n"
