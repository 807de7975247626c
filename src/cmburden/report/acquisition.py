"""Section: acquisition by cohort and contrast, the model, and the validated domain."""

from __future__ import annotations

from typing import Any

from cmburden.report.tables import ACQUISITION, ReportTables, number
from cmburden.summary import image_checks


def cohort_contrasts(tables: ReportTables) -> list[tuple[str, str, str]]:
    """(stratum, cohort, contrast) of each cohort's scans of a contrast."""
    found = []
    for stratum in sorted(tables.strata):
        parts = [part.split("=", 1) for part in stratum.split(" & ")]
        if [part[0] for part in parts] == ["cohort", "contrast"]:
            found.append((stratum, parts[0][1], parts[1][1]))
    return found


def _range(tables, stratum: str, measure: str, digits: int, scale: float = 1.0):
    """Median, with the range where scans differ."""
    rows = [tables.estimate(stratum, f"{measure} {what}") for what in ("median", "min", "max")]
    cells = [number(row, "estimate", digits, scale) for row in rows]
    if rows[0]["estimate"] is None or rows[1]["estimate"] == rows[2]["estimate"]:
        return cells[0]
    return cells[0] + " (" + cells[1] + "–" + cells[2] + ")"


def acquisition(tables: ReportTables) -> dict[str, Any]:
    rows = [
        {
            "cohort": cohort,
            "contrast": contrast,
            "scans": tables.estimate(stratum, "scans"),
            "cells": [
                _range(tables, stratum, f"acquisition {name}", digits, scale)
                for name, (_, scale, digits) in ACQUISITION.items()
            ],
        }
        for stratum, cohort, contrast in cohort_contrasts(tables)
    ]
    return {"columns": [name for name, _, _ in ACQUISITION.values()], "rows": rows}


def model(tables: ReportTables, stage: str, contract: dict[str, Any], config) -> dict[str, Any]:
    """What the contract of ``stage`` says, its numbers from `summary`."""
    stratum = f"model={contract.get('id', stage)}"
    facts = [
        (_words(row["measure"].removeprefix(prefix), title), _short(row))
        for prefix, title in (
            ("thresholds in use ", "Threshold in use (configuration)"),
            ("thresholds ", "Threshold"),
        )
        for row in tables.starting(stratum, prefix)
        if prefix != "thresholds " or not row["measure"].startswith("thresholds in use ")
    ]
    metrics = [
        (_words(row["measure"].removeprefix("metrics "), ""), _short(row))
        for row in tables.starting(stratum, "metrics ")
    ]
    for key, title in (
        ("training_data", "Trained on"),
        ("validation_set", "Validation set"),
        ("intended_use", "Intended use"),
    ):
        if isinstance(contract.get(key), str):
            facts.append((title, contract[key]))
    left_out = contract.get("left_out_acquisitions")
    if left_out:
        facts.append(("Left out of training", ", ".join(map(str, left_out))))
    kind = {"detect": "First stage, 3D network", "verify": "Second stage, YOLO, place and shape"}
    name = " ".join(str(contract[key]) for key in ("id", "version") if key in contract)
    return {"title": kind[stage], "name": name, "facts": facts, "metrics": metrics}


def _words(name: str, title: str) -> str:
    words = name.replace("fp_per_scan", "false positives per scan").replace("_", " ")
    return f"{title}, {words}" if title else words[:1].upper() + words[1:]


def _short(row: dict[str, Any]):
    """An estimate with as many decimals as it has, at most 4."""
    shown = f"{row['estimate'] or 0:.4f}".rstrip("0").partition(".")[2]
    return number(row, "estimate", len(shown))


def domain(tables: ReportTables) -> dict[str, Any] | None:
    """Scans outside of what the model was tried on; None where the contract does not say."""
    whole = tables.estimate("all", "scans outside domain")
    if whole["estimate"] is None:
        return None
    rows = []
    for key, (column, words) in image_checks.DOMAIN.items():
        beyond = tables.estimate("all", f"scans outside domain={key}")
        if beyond["estimate"] is None:
            continue
        _, scale, digits = ACQUISITION[column]
        ends = [tables.estimate("all", f"domain {key} {end}") for end in ("low", "high")]
        rows.append(
            {
                "name": words.capitalize() + (", ms" if scale == 1000 else ""),
                "range": [number(end, "estimate", digits, scale) for end in ends],
                "outside": beyond,
                "unknown": tables.estimate("all", f"scans of unknown domain={key}"),
            }
        )
    return {"whole": whole, "rows": rows}
