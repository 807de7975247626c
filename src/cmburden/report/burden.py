"""Sections of the report on who has how many microbleeds, and where."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from cmburden.core.tables import GROUPS, PATTERNS
from cmburden.report import charts as report_charts
from cmburden.report.tables import ReportTables, number, of, share
from cmburden.summary import bins, strata
from cmburden.summary.published import ANCHORS, REFERENCES
from cmburden.summary.strata import MISSING

#: Reason codes as a reader says them; other codes by their own words.
REASON_WORDS = {
    "unreadable": "not readable as NIfTI",
    "empty_file": "file without bytes",
    "truncated": "file cut short",
    "not_finite": "NaN or infinite voxels",
    "not_3d": "not one 3D volume",
    "constant": "all voxels alike",
    "is_phase": "phase given as magnitude",
    "voxel_size": "voxels too coarse",
    "coverage": "brain not covered",
    "not_brain": "not a brain",
    "polarity": "not a GRE or SWI contrast",
    "brain_mask": "implausible brain mask",
    "registration": "not aligned to MNI152",
    "no_scan": "no GRE or SWI scan",
    "wrong_suffix": "other kinds of image",
    "part_phase": "phase images",
    "echo_not_chosen": "other echoes of a scan",
    "filtered": "filtered out by the configuration",
    "duplicate": "duplicates",
    "cohort": "in no configured cohort",
    "not_run": "not run to the end",
}


def flow(tables: ReportTables) -> dict[str, Any]:
    """Rows of the flow diagram, from the tree to those with a microbleed."""
    without = tables.starting("all", "participants missing reason=")
    not_ok = []
    for status in ("failed", "excluded"):
        row = tables.estimate("all", f"scans status={status}")
        if row["n"]:
            reasons = tables.starting("all", f"scans status={status} reason=")
            not_ok.append({"status": status, "row": row, "reasons": _in_words(reasons)})
    return {
        "participants": tables.estimate("all", "participants"),
        "usable": tables.estimate("all", "participants usable"),
        "without": tables.estimate("all", "participants without usable scan"),
        "missing": _in_words(without),
        "scans": tables.estimate("all", "scans"),
        "ok": tables.estimate("all", "scans status=ok"),
        "not_ok": not_ok,
        "files": _in_words(tables.starting("all", "files not searched reason=")),
        "definite": tables.estimate("all", "lesions definite"),
        "possible": tables.estimate("all", "lesions possible"),
        "macro": tables.estimate("all", "lesions macrohaemorrhage"),
    }


def _in_words(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = sorted(rows, key=lambda row: (-row["n"], row["measure"]))
    found = []
    for row in rows:
        code = row["measure"].rpartition("reason=")[2]
        found.append({"words": REASON_WORDS.get(code, code.replace("_", " ")), "row": row})
    return found


def level(text: str) -> str:
    """A level as print sets it."""
    return text.replace(">=", "≥").replace("-", "–") if text[:1] in "<>0123456789" else text


def prevalence(tables: ReportTables, contrasts, config) -> report_charts.Chart:
    """Presence by stratum, each contrast for itself."""
    lines: list[tuple[str, dict[str, Any]]] = [
        ("All", {name: _presence(tables, stratum) for name, stratum in contrasts})
    ]
    words = {"age_band": "Age", "cohort": "Cohort"}
    for variable in dict.fromkeys(["cohort", *config["report"]["strata"], "age_band"]):
        if variable == "contrast":
            continue
        for value in _levels(tables, variable):
            rows = {}
            for name, stratum in contrasts:
                parts = [f"{variable}={value}", stratum]
                own = " & ".join(parts if variable == "cohort" else reversed(parts))
                row = _presence(tables, own)
                if row["denominator"]:
                    rows[name] = row
            if rows:
                title = words.get(variable, variable.replace("_", " ").capitalize())
                lines.append((f"{title}: {level(value)}", rows))
    figure = report_charts.forest(lines, title="With a definite microbleed, %")
    table = []
    for label, rows in lines:
        for name, row in rows.items():
            either = tables.estimate(row["stratum"], "presence definite or possible")
            mean = tables.estimate(row["stratum"], "mean count")
            everybody = tables.estimate(row["stratum"], "participants")
            table.append(
                [label, name, of(row), number(everybody), share(row), share(either),
                 number(mean, "estimate", 2)]
            )  # fmt: skip
    return report_charts.Chart(
        "prevalence",
        "Dots with 95 % intervals: prevalence of definite microbleeds by stratum and contrast.",
        "Participants with at least one definite microbleed in the scan chosen for them, with "
        "Wilson’s 95 % interval, not corrected for detector error.",
        figure,
        ["Stratum", "Contrast", "With microbleed/usable", "All", "Definite, %",
         "Definite or possible, %", "Mean count"],
        table,
    )  # fmt: skip


def _presence(tables: ReportTables, stratum: str) -> dict[str, Any]:
    return tables.estimate(stratum, "presence definite")


def _levels(tables: ReportTables, variable: str) -> list[str]:
    own = [name for name in tables.strata if name.startswith(f"{variable}=") and " & " not in name]
    return [name.partition("=")[2] for name in sorted(own, key=strata.stratum_order)]


def shapes(tables: ReportTables, contrasts, config) -> list[dict[str, Any]]:
    """Blocks of rows: bins, patterns, presence by group."""

    def rows(prefix: str, levels: list[str]) -> list[dict[str, Any]]:
        return [
            {
                "name": level(one),
                "cells": [tables.estimate(stratum, f"{prefix}{one}") for _, stratum in contrasts],
            }
            for one in levels
        ]

    extra = rows("", ["boston imaging", "presence macrohaemorrhage"])
    extra[0]["name"] = "At least 2, strictly lobar (imaging item of Boston v2.0)"
    largest = config["aggregate"]["macrohaemorrhage_mm"]
    extra[1]["name"] = f"A lesion above {largest:g} mm (macrohaemorrhage)"
    positive = rows("pattern of positive=", list(PATTERNS[1:]))
    return [
        {"name": "Count", "rows": rows("bin=", bins.bin_labels(config["report"]["bins"]))},
        {"name": "Pattern, of all usable", "rows": rows("pattern=", list(PATTERNS))},
        {"name": "Pattern, of those with a definite microbleed", "rows": positive},
        {"name": "Presence", "rows": [*rows("presence group=", list(GROUPS[:3])), *extra]},
    ]


def age_sex_site(tables: ReportTables, contrasts, config) -> dict[str, Any]:
    """Chart by age and sex, the table by age, sex and site, published figures."""
    edges = config["report"]["age_bands"]
    middles = dict(zip(bins.age_band_labels(edges), _middles(edges), strict=True))
    bands = [(band, middles[band]) for band in _levels(tables, "age_band") if band in middles]
    sexes = [sex for sex in _levels(tables, "sex") if sex != MISSING]
    cells = []
    for stratum in tables.strata:
        parts = dict(part.split("=", 1) for part in stratum.split(" & ") if "=" in part)
        if list(parts) == ["contrast", "age_band", "sex", "site"]:
            cells.append(
                {
                    "names": [parts["contrast"], level(parts["age_band"]), parts["sex"],
                              parts["site"]],
                    "row": _presence(tables, stratum),
                    "order": (parts["contrast"], strata.stratum_order(stratum)),
                }
            )  # fmt: skip
    cells.sort(key=lambda cell: cell["order"])
    anchors = [
        {
            "study": anchor.study,
            "reference": REFERENCES[anchor.reference],
            "age": anchor.age,
            "contrast": anchor.contrast,
            "row": tables.estimate(f"published={anchor.study}", "presence"),
        }
        for anchor in ANCHORS
    ]
    return {
        "chart": report_charts.by_age(tables, contrasts, bands, sexes),
        "cells": cells,
        "anchors": anchors,
    }


def _middles(edges: list[float]) -> list[float]:
    """Where a chart draws each age band: its middle; open ends 5 years beyond their edge."""
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    if len(edges) > 1 and edges[0] == 0:
        middles[0] = edges[1] - 5
    return [*middles, edges[-1] + 3]
