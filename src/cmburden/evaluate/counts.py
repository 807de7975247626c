"""Evaluation against counts without places: presence, counts and prevalence by scan.

A reader who counted the microbleeds of a scan, and marked none, says nothing of single lesions.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core import table_set
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.tables import CANDIDATES, LESIONS, SCANS
from cmburden.evaluate import measures
from cmburden.evaluate.cases import Cases, decided, scans_read
from cmburden.evaluate.measures import by_stratum

WHY_NO_LESIONS = (
    "The truth are counts by scan without places. Lesion and candidate measures, FROC and "
    "calibration need to know which spot was meant, so that they are absent."
)
_TEXT = ("scan_id", "cohort", "participant_id")
#: Column of the counts -> MARS groups whose microbleeds it counts.
_PLACES = {"n_lobar": ("lobar",), "n_deep": ("deep", "infratentorial")}


def read_counts(path: Path) -> pd.DataFrame:
    """A table of counts (TSV): scan_id, cohort, participant_id, n_cmb; may have n_lobar, n_deep.

    A row is a scan that was read. Raises CMBurdenError where the table cannot be used.
    """
    try:
        rows = pd.read_csv(path, sep="\t", dtype=dict.fromkeys(_TEXT, str), na_values=["n/a"])
    except (OSError, ValueError) as error:
        raise CMBurdenError(f"{path}: not a readable table of counts ({error})") from error
    missing = [name for name in (*_TEXT, "n_cmb") if name not in rows]
    if missing:
        raise CMBurdenError(f"{path}: column(s) {', '.join(missing)} are missing")
    twice = rows.loc[rows["scan_id"].duplicated(), "scan_id"]
    if len(twice):
        raise CMBurdenError(f"{path}: {twice.iloc[0]} has two rows; leave one")
    for name in ("n_cmb", *(name for name in _PLACES if name in rows)):
        rows[name] = _counts(rows, name, path)
    return rows[rows["n_cmb"].notna()].reset_index(drop=True)


def _counts(rows: pd.DataFrame, name: str, path: Path) -> pd.Series:
    """The column as whole numbers of 0 or more; a scan that was not read has none."""
    values = pd.to_numeric(rows[name], errors="coerce")
    wrong = (values.isna() & rows[name].notna()) | (values < 0) | (values % 1 > 0)
    if wrong.any():
        row = rows[wrong].iloc[0]
        raise CMBurdenError(
            f"{path}: {name} of {row['scan_id']} is {str(row[name])!r}; give a count, or leave it "
            "empty where the scan was not read"
        )
    return values.astype("Int64")


def gather(layout: Layout, counts: pd.DataFrame) -> Cases:
    """The run's scans with the counts of ``counts`` (of :func:`read_counts`); no lesions.

    Raises CMBurdenError when no scan of the table was read.
    """
    table_set.check(layout)
    scans = SCANS.read(layout.table("scans"))
    read = scans_read(layout, scans, counts)
    if read.empty:
        raise CMBurdenError(f"no scan of the counts was read in {layout.root}: scan_id must agree")
    read["person"], participants = pd.factorize(read["participant_id"])
    lesions = LESIONS.read(layout.table("lesions"))
    of_scan = counts.set_index("scan_id").reindex(read["scan_id"])
    candidates = decided(CANDIDATES.read(layout.candidates), lesions, None)
    top = candidates.groupby("scan_id")["final"].max()
    read = read.assign(
        n_true=of_scan["n_cmb"].to_numpy(dtype=int),
        n_pred=read["n_cmb"].astype(int),
        top=read["scan_id"].map(top).fillna(0.0).astype(float),
        tp=0,
        fp=0,
        **_by_place(read, of_scan, lesions),
    ).drop(columns="n_cmb")
    nothing = pd.DataFrame(columns=["scan_id", "person", "cohort", "contrast"])
    return Cases(
        scans=read,
        real=nothing,
        candidates=nothing,
        mimics=pd.DataFrame({"kind": [], "called": []}),
        people=len(participants),
        counted=_counted(scans, read, counts),
    )


def _by_place(
    read: pd.DataFrame, of_scan: pd.DataFrame, lesions: pd.DataFrame
) -> dict[str, np.ndarray]:
    """``true_`` and ``pred_`` of each place that the table counts; NaN where it has no number."""
    large = lesions["macrohaemorrhage"].fillna(False).to_numpy(dtype=bool)
    definite = lesions[(lesions["label"] == "definite") & ~large]
    columns = {}
    for name, groups in _PLACES.items():
        if name in of_scan and of_scan[name].notna().any():
            number = definite[definite["group"].isin(groups)].groupby("scan_id").size()
            columns[f"true_{name}"] = of_scan[name].to_numpy(dtype=float, na_value=np.nan)
            columns[f"pred_{name}"] = read["scan_id"].map(number).fillna(0).to_numpy(dtype=float)
    return columns


def _counted(scans: pd.DataFrame, read: pd.DataFrame, counts: pd.DataFrame) -> dict[str, Any]:
    """As ``Cases.counted``."""
    unread = counts[~counts["scan_id"].isin(read["scan_id"])].sort_values("scan_id")
    status = scans.set_index("scan_id")["status"]
    return {
        "in_truth": len(counts),
        "read": len(read),
        "participants": int(read["person"].nunique()),
        "with_microbleeds": int((read["n_true"] > 0).sum()),
        "microbleeds": int(read["n_true"].sum()),
        "not_read": [
            {"scan_id": scan_id, "status": status.get(scan_id, "not in the derivatives")}
            for scan_id in unread["scan_id"]
        ],
        "microbleeds_not_read": int(unread["n_cmb"].sum()),
        "without_truth": int((~scans["scan_id"].isin(counts["scan_id"])).sum()),
    }


def measured(cases: Cases) -> dict[str, Any]:
    """The measures that counts allow, by the keys of evaluation.json."""
    return {
        "scans": cases.counted,
        "lesion": None,
        "why_no_lesions": WHY_NO_LESIONS,
        "per_scan": measures.per_scan(cases),
        "scan": by_stratum(cases, measures.scan),
        "count": by_stratum(cases, measures.count),
        "count_by_place": _count_by_place(cases),
        "prevalence": measures.prevalence(cases),
    }


def _count_by_place(cases: Cases) -> dict[str, Any]:
    """:func:`measures.count` of lobar, and of deep and infratentorial microbleeds."""
    result = {}
    for name in _PLACES:
        if f"true_{name}" in cases.scans:
            known = cases.scans[cases.scans[f"true_{name}"].notna()]
            of_place = known.assign(n_true=known[f"true_{name}"], n_pred=known[f"pred_{name}"])
            place = name.removeprefix("n_")
            result[place] = measures.count(dataclasses.replace(cases, scans=of_place), place)
    return result
