"""Sensitivity for inserted lesions: by size and depth, by stratum, and as published ones are.

A lesion counts if a reader would see it and nothing was found there before. Intervals are clustered
by participant. GRE and SWI are never pooled. The renderers are not pooled either: of each stratum
the lowest of their estimates is believed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.tables import INSERTION, LABELS, RENDERERS
from cmburden.insert import published
from cmburden.stats import survey

#: Lesions, and participants with one, below which there is no estimate (by choice).
LEAST_LESIONS, LEAST_PEOPLE = 10, 5
#: Name of the rows of the renderer with the lowest estimate.
LOWEST = "lowest"
#: Axes that are no strata: all lesions, all weighted to the published sizes, and those that count
#: apart because no reader would see them.
ALL, PUBLISHED, UNSEEN = "all", "published sizes", "below visibility"
DIAMETER, LOSS = "apparent diameter, mm", "loss of signal"
#: Ends of the levels of the two curves.
_DIAMETERS, _LOSSES = (0.0, 2.0, 3.0, 4.0, 8.0), (0.4, 0.7, 0.9, 1.0)
#: Ends of levels of strata: echo time in ms, slice in mm.
_ECHO_MS, _SLICE_MM = (0.0, 15.0, 25.0, 100.0), (0.0, 1.5, 3.0, 10.0)
#: Diameters between which published sizes are compared, mm, and least lesions between two of them.
_STANDARD, _LEAST_IN_CELL = (0.0, 2.0, 2.4, 2.8, 3.2, 4.0, 4.8, math.inf), 3
_METHOD = "Share of the lesions; Wilson's interval, clustered by participant (Rao and Scott 1992)"
_WEIGHTED = (
    f"Share of the lesions, weighted to the apparent sizes of {published.NAME}; Wilson's interval "
    "of the effective number, clustered by participant (Korn and Graubard 1998)"
)


@dataclasses.dataclass(frozen=True)
class Level:
    """A level of an axis, and the middle of it where it is one of a curve."""

    name: str
    x: float | None = None


def estimates(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `insertion` from those of `inserted`."""
    counted = rows[~rows["before"].astype(bool)]
    out: list[dict[str, Any]] = []
    for contrast, of_contrast in counted.groupby("contrast"):
        for axis, level, members in _strata(of_contrast):
            of_renderers = [
                (name, members[members["renderer"] == name])
                for name in RENDERERS
                if (of_contrast["renderer"] == name).any()
            ]
            for label in LABELS:
                key = {"contrast": str(contrast), "label": label, "axis": axis} | {
                    "level": level.name,
                    "x": level.x,
                }
                each = [
                    key | {"renderer": name} | estimate_of(part, label, axis)
                    for name, part in of_renderers
                ]
                out += [*each, key | _lowest(each)]
    return INSERTION.frame(out)


def _strata(rows: pd.DataFrame) -> Iterator[tuple[str, Level, pd.DataFrame]]:
    """Axis, level and lesions of each stratum; only those of ``UNSEEN`` are no reader's."""
    seen = rows["visible"].astype(bool)
    yield UNSEEN, Level(UNSEEN), rows[~seen]
    rows = rows[seen]
    yield ALL, Level(ALL), rows
    yield PUBLISHED, Level(PUBLISHED), rows
    for axis, column, ends in (
        (DIAMETER, "diameter_mm", _DIAMETERS),
        (LOSS, "signal_loss", _LOSSES),
    ):
        for low, high in pairwise(ends):
            yield (
                axis,
                Level(f"{low:g} to {high:g}", (low + high) / 2),
                rows[_between(rows[column], low, high)],
            )
    for axis, name_of in _AXES.items():
        names = rows.apply(name_of, axis=1) if len(rows) else pd.Series([], dtype=object)
        for name in sorted(set(names.dropna())):
            yield axis, Level(name), rows[names == name]


def _between(values: pd.Series, low: float, high: float) -> np.ndarray:
    """Whether each value lies from ``low`` to below ``high``; the last end of shares is in."""
    numbers = values.to_numpy(dtype=float)
    return (numbers >= low) & ((numbers < high) | ((high == 1) & (numbers <= high)))


def _range(value: Any, ends: tuple[float, ...], unit: str) -> str | None:
    """The range between two of ``ends`` that holds a value, in words; None without a value."""
    if value is None or pd.isna(value):
        return None
    place = int(np.clip(np.searchsorted(ends, value, side="right"), 1, len(ends) - 1))
    return f"{ends[place - 1]:g} to {ends[place]:g} {unit}"


def _scanner(row: pd.Series) -> str | None:
    known = [str(row[name]) for name in ("manufacturer", "scanner_model") if pd.notna(row[name])]
    if pd.notna(row["field_strength_t"]):
        known.append(f"{row['field_strength_t']:g} T")
    return " ".join(known) or None


_AXES: dict[str, Callable[[pd.Series], str | None]] = {
    "site or cohort": lambda row: str(row["cohort"]),
    "scanner": _scanner,
    "echo time": lambda row: _range(
        None if pd.isna(row["echo_time_s"]) else row["echo_time_s"] * 1000, _ECHO_MS, "ms"
    ),
    "slice": lambda row: _range(row["slice_mm"], _SLICE_MM, "mm"),
    "place": lambda row: str(row["group"]),
}


def estimate_of(members: pd.DataFrame, label: str, axis: str) -> dict[str, Any]:
    """Estimate and interval of the lesions of one renderer; none where they are too few.

    ``members`` are rows of `inserted` that count; on the axis ``PUBLISHED`` they are weighted.
    """
    taken = LABELS[: LABELS.index(label) + 1]
    hit = members["label"].isin(taken).to_numpy(dtype=float)
    people = members["participant_id"].to_numpy(dtype=str)
    persons = len(set(people))
    due = max(LEAST_LESIONS - len(hit), LEAST_PEOPLE - persons, 0)
    counts = {
        "n": int(hit.sum()),
        "denominator": len(hit),
        "participants": persons,
        "due": due,
    }
    if due:
        return counts | {
            "estimate": None,
            "ci_low": None,
            "ci_high": None,
            "method": f"Not estimated: {LEAST_LESIONS} lesions of {LEAST_PEOPLE} participants are "
            "needed",
        }
    standard = axis == PUBLISHED
    weight = weights(members["diameter_mm"].to_numpy(dtype=float)) if standard else None
    estimate, low, high = survey.share(hit, people, weight)
    return counts | {
        "estimate": round(estimate, 6),
        "ci_low": round(low, 6),
        "ci_high": round(high, 6),
        "method": _WEIGHTED if standard else _METHOD,
    }


def weights(diameters: np.ndarray) -> np.ndarray:
    """Weight of each lesion by its apparent diameter (n,) mm, as published sizes are.

    Ranges of sizes with few lesions are joined with the next larger one.
    """
    ends = [_STANDARD[0]]
    for end in _STANDARD[1:]:
        inside = (diameters >= ends[-1]) & (diameters < end)
        rest = (diameters >= end).sum()
        if inside.sum() >= _LEAST_IN_CELL and (rest >= _LEAST_IN_CELL or math.isinf(end)):
            ends.append(end)
    if len(ends) == 1:
        return np.ones(len(diameters))
    weight = np.zeros(len(diameters))
    for low, high in pairwise(ends):
        cell = (diameters >= low) & (diameters < high)
        share = published.share_below(high) - published.share_below(low)
        weight[cell] = share / max(int(cell.sum()), 1)
    return weight * len(diameters)


def _lowest(each: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of the renderer with the lowest estimate; of none, what is lacking."""
    known = [row for row in each if row["estimate"] is not None]
    kept = ("estimate", "ci_low", "ci_high", "n", "denominator", "participants", "due", "method")
    if not known:
        nearest = min(each, key=lambda row: row["due"])
        return {name: nearest[name] for name in kept} | {"renderer": LOWEST}
    low = min(known, key=lambda row: (row["estimate"], row["ci_low"]))
    return {name: low[name] for name in kept} | {"renderer": LOWEST, "lowest_is": low["renderer"]}
