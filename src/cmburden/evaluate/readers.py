"""Evaluation by reader: the run against each reader, and each reader against each other.

What two readers make of the same scans is the measure for what can be asked of the run.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.tables import SCANS
from cmburden.evaluate import measures
from cmburden.evaluate.cases import gather, placed, read_truth
from cmburden.evaluate.measures import BIN_EDGES, ratio
from cmburden.stats import agreement
from cmburden.stats.matching import hungarian

Readers = dict[str, pd.DataFrame]


def read_readers(path: Path) -> Readers:
    """The truth of each reader: a truth table with the further column ``reader``.

    Raises CMBurdenError where the table cannot be used.
    """
    try:
        whole = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise CMBurdenError(f"{path}: not a readable table of readers ({error})") from error
    if "reader" not in whole:
        raise CMBurdenError(f"{path}: column(s) reader are missing")
    unnamed = whole["reader"].isin(["", "n/a"])
    if unnamed.any():
        line = int(np.flatnonzero(unnamed)[0]) + 2
        raise CMBurdenError(f"{path}, line {line}: names no reader; name one in every row")
    # A source is one of a reader: numbers of two readers may agree.
    return {
        str(name): read_truth(path, whole["reader"].to_numpy() == name)
        for name in sorted(set(whole["reader"]))
    }


def by_reader(layout: Layout, readers: Readers) -> dict[str, Any]:
    """Measures of the run against each reader's scans, and the readers' agreement.

    ``unused`` are readers none of whose scans has a result of the run.
    """
    known = {name: rows for name, rows in readers.items() if _any_read(layout, rows)}
    result: dict[str, Any] = {}
    for name, rows in known.items():
        cases = gather(layout, rows)
        result[name] = {
            measure.__name__: measure(cases, f"reader {name}")
            for measure in (measures.lesion, measures.candidate, measures.scan, measures.count)
        }
    return {"run": result, "unused": sorted(set(readers) - set(known)), "pairs": pairs(known)}


def _any_read(layout: Layout, rows: pd.DataFrame) -> bool:
    scans = SCANS.read(layout.table("scans"))
    return bool(scans.loc[scans["status"] == "ok", "scan_id"].isin(rows["scan_id"]).any())


def pairs(readers: Readers) -> list[dict[str, Any]]:
    """Agreement of each two readers on the scans that both read; pairs without any are left out."""
    rows = []
    for one, other in combinations(sorted(readers), 2):
        both = sorted(set(readers[one]["scan_id"]) & set(readers[other]["scan_id"]))
        if both:
            rows.append({"readers": [one, other]} | _agreement(readers[one], readers[other], both))
    return rows


def _agreement(one: pd.DataFrame, other: pd.DataFrame, scan_ids: list[str]) -> dict[str, Any]:
    """Lesions that both marked, and their counts by scan, over scans that both read."""
    found = [_microbleeds(rows, scan_ids) for rows in (one, other)]
    shared = sum(
        len(hungarian(placed(first)[0], *placed(second)))
        for first, second in zip(*found, strict=True)
    )
    counts = np.array([[len(rows) for rows in reader] for reader in found])
    bins = np.searchsorted(BIN_EDGES, counts, side="right") - 1
    table = np.zeros((len(BIN_EDGES), len(BIN_EDGES)))
    np.add.at(table, (bins[0], bins[1]), 1)
    return {
        "scans": len(scan_ids),
        "microbleeds": [int(number) for number in counts.sum(1)],
        "shared": int(shared),
        # F1 of two readers does not depend on which of them is called the truth.
        "f1": ratio(2 * shared, counts.sum()),
        "weighted_kappa": agreement.weighted_kappa(table),
        "icc_2_1": agreement.icc(counts.T.astype(float)).estimate,
    }


def _microbleeds(rows: pd.DataFrame, scan_ids: list[str]) -> list[pd.DataFrame]:
    """The microbleeds of each scan."""
    real = rows[rows["kind"] == "microbleed"]
    return [real[real["scan_id"] == scan_id] for scan_id in scan_ids]
