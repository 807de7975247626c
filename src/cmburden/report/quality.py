"""Section: quality measures, scans to check first, failures."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cmburden.core.rows import plain
from cmburden.report.acquisition import _range, cohort_contrasts
from cmburden.report.tables import QUALITY, ReportTables, decimal
from cmburden.summary import reading_list

#: Most rows of a table of the page; all stand in the Parquet table.
MOST_ROWS = 500


def quality(tables: ReportTables) -> dict[str, Any]:
    groups = cohort_contrasts(tables)
    rows = []
    for name, (title, digits) in QUALITY.items():
        cells = []
        for stratum, _, _ in groups:
            off = tables.estimate(stratum, f"qc {name} outlying")
            cells.append(
                {
                    "range": _range(tables, stratum, f"qc {name}", digits),
                    "known": tables.estimate(stratum, f"qc {name} median")["estimate"] is not None,
                    "off": off if off["estimate"] is not None else None,
                }
            )
        if any(cell["known"] for cell in cells):
            rows.append({"name": title, "cells": cells})
    names = [f"{cohort} {contrast}" for _, cohort, contrast in groups]
    return {"columns": names, "rows": rows}


def to_check(tables: ReportTables, config) -> dict[str, Any]:
    """The scans that a reader should look at first; numbers of single scans are of `scans`."""
    listed = reading_list.checks(tables.scans, tables.lesions, config).to_check
    rows = []
    for row in listed.to_dict("records"):
        title = QUALITY.get(row["measure"], ("", 1))[0]
        rows.append(
            {
                "scan_id": row["scan_id"],
                "participant_id": row["participant_id"],
                "contrast": row["contrast"],
                "definite": row["n_cmb"],
                "probability": decimal(plain(row["probability"]), 2),
                "odd": f"{title} {decimal(row['z'], 1)}" if not pd.isna(row["z"]) else "–",
                "reasons": row["reasons"],
            }
        )
    return {
        "rows": rows,
        "whole": tables.estimate("all", "scans to check first"),
        "reasons": [
            {"name": name, "words": words,
             "row": tables.estimate("all", f"scans to check first reason={name}")}
            for name, words in reading_list.REASONS.items()
        ],
    }  # fmt: skip


def failures(tables: ReportTables) -> dict[str, Any]:
    rows = tables.scans[tables.scans["status"] != "ok"]
    records = [
        {key: plain(value) for key, value in row.items()}
        for row in rows.head(MOST_ROWS).to_dict("records")
    ]
    return {"rows": records, "left": max(0, len(rows) - MOST_ROWS)}


def every_scan(tables: ReportTables) -> list[list[Any]]:
    """All scans for the table that the page's script fills: short, since they may be thousands."""
    columns = ["scan_id", "participant_id", "cohort", "contrast", "status", "reason", "n_cmb",
               "n_possible", "pattern"]  # fmt: skip
    rows = tables.scans[columns].astype(object)
    return rows.where(rows.notna(), None).to_numpy().tolist()
