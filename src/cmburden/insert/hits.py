"""Which inserted lesions the pipeline found in the copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.tables import LABELS
from cmburden.stats.matching import HIT_MM, hungarian

_AT = ["x_mm", "y_mm", "z_mm"]


def with_hits(
    rows: list[dict[str, Any]], now: pd.DataFrame, before: pd.DataFrame
) -> list[dict[str, Any]]:
    """The inserted lesions of a copy with ``before``, ``label``, ``p_cnn`` and ``probability``.

    ``now`` are the candidates of the copy, ``before`` those of the original. A lesion is matched
    one to one to the definite candidates; one without a match to those that are definite or
    possible; at last to all. A hit counts only where nothing was found before.
    """
    centres = np.array([[row[name] for name in _AT] for row in rows], dtype=float).reshape(-1, 3)
    radii = np.array([row["diameter_mm"] / 2 for row in rows], dtype=float)
    earlier = before[before["label"].isin(LABELS)][_AT].to_numpy(dtype=float)
    matched: dict[int, int] = {}
    for labels in (LABELS[:1], LABELS, (*LABELS, "rejected")):
        left = [n for n in range(len(rows)) if n not in matched]
        index = np.flatnonzero(now["label"].isin(labels).to_numpy(dtype=bool))
        index = np.array([i for i in index if i not in matched.values()], dtype=int)
        points = now[_AT].to_numpy(dtype=float)[index]
        for candidate, lesion in hungarian(points, centres[left], radii[left]):
            matched[left[lesion]] = int(index[candidate])
    return [
        row
        | {"before": _any_within(centre, earlier, max(HIT_MM, radius))}
        | _candidate(now, matched.get(number))
        for number, (row, centre, radius) in enumerate(zip(rows, centres, radii, strict=True))
    ]


def _any_within(centre: np.ndarray, others: np.ndarray, reach: float) -> bool:
    return bool((np.linalg.norm(others - centre, axis=1) <= reach).any())


def _candidate(now: pd.DataFrame, index: int | None) -> dict[str, Any]:
    """Label and scores of the matched candidate."""
    if index is None:
        return {"label": "not proposed", "p_cnn": None, "probability": None}
    row = now.iloc[index]
    return {
        "label": str(row["label"]),
        "p_cnn": float(row["p_cnn"]),
        "probability": float(row["probability"]),
    }


def steadiness(
    rows: list[dict[str, Any]], now: pd.DataFrame, before: pd.DataFrame
) -> dict[str, int]:
    """Definite lesions of the original, those of them in the copy, and others in the copy.

    The insertion leaves all but a few voxels as they are, so that the rest of the scan must be read
    as before. ``rows`` are the inserted lesions.
    """
    was = before[before["label"] == LABELS[0]][_AT].to_numpy(dtype=float)
    here = now[now["label"] == LABELS[0]][_AT].to_numpy(dtype=float)
    centres = np.array([[row[name] for name in _AT] for row in rows], dtype=float).reshape(-1, 3)
    radii = np.array([row["diameter_mm"] / 2 for row in rows], dtype=float)
    inserted = {point for point, _ in hungarian(here, centres, radii)}
    rest = np.array([point for n, point in enumerate(here) if n not in inserted]).reshape(-1, 3)
    again = len(hungarian(rest, was, np.full(len(was), HIT_MM)))
    return {"before": len(was), "again": again, "other": len(rest) - again}
