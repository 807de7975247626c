"""Sections of the report on acquisition, operating point, statistics, quality and provenance."""

from __future__ import annotations

import json
import re
from typing import Any

import pandas as pd

from cmburden.core.rows import plain
from cmburden.report import charts as report_charts
from cmburden.report.tables import ACQUISITION, QUALITY, ReportTables, decimal, interval, number, of
from cmburden.summary import estimates as summary
from cmburden.summary import image_checks, reading_list

#: Most rows of a table of the page; all stand in the Parquet table.
MOST_ROWS = 500
#: Prefixes of the regression models' rows: the section's heading, and the axis' title.
MODELS = {
    "odds ratio presence: ": ("Presence of a definite microbleed (logistic)", "Odds ratio"),
    "rate ratio count: ": ("Number of definite microbleeds (negative binomial)", "Rate ratio"),
    "rate ratio count poisson: ": ("Number of definite microbleeds (Poisson)", "Rate ratio"),
    "rate ratio count corrected: ": (
        "Number of microbleeds, expected false positives taken off",
        "Rate ratio",
    ),
    "relative risk ratio pattern=": ("Pattern (multinomial)", "Relative risk ratio"),
}


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


# --- operating point ---


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


# --- statistics ---


def statistics(tables: ReportTables) -> list[dict[str, Any]]:
    """The regression models, in their order: chart, table, and what the fit says of itself."""
    found = []
    for prefix, (title, axis) in MODELS.items():
        rows = tables.starting(None, prefix)
        if not rows:
            continue
        lines, table = [], []
        refused: dict[str, list[str]] = {}
        for row in rows:
            term = row["measure"].removeprefix(prefix).replace("=", " ")
            where = "" if row["stratum"] == "all" else f" ({row['stratum']})"
            if row["estimate"] is None:
                refused.setdefault(row["method"], []).append(term + where)
                continue
            lines.append((term + where, {"": row}))
            table.append([term + where, interval(row, 2), of(row)])
        chart = None
        if lines:
            chart = report_charts.Chart(
                f"model-{len(found)}",
                f"Dots with 95 % intervals: {axis.lower()}s by term; {title}.",
                f"{axis} with 95 % interval, on a logarithmic axis; the line is 1.",
                report_charts.forest(
                    lines, title=axis, scale=1, unit="", digits=2, log=True,
                    colours={"": report_charts.COLOURS["GRE"]},
                ),
                ["Term", f"{axis} (95 % interval)", "With the outcome/in the model"],
                table,
            )  # fmt: skip
        found.append(
            {
                "title": title,
                "chart": chart,
                "refused": [f"{', '.join(terms)}: {why}" for why, terms in refused.items()],
                "methods": list(
                    dict.fromkeys(row["method"] for row in rows if row["estimate"] is not None)
                ),
            }
        )
    return found


def fits(tables: ReportTables) -> list[dict[str, Any]]:
    """Rows on the models themselves: observations, AIC, dispersion, convergence."""
    found = []
    for row in tables.starting(None, "model "):
        name, _, what = row["measure"].removeprefix("model ").partition(": ")
        where = "" if row["stratum"] == "all" else f" ({row['stratum']})"
        whole = row["estimate"] is not None and float(row["estimate"]).is_integer()
        value = number(row, "estimate", 0 if whole else 3)
        bad = what.startswith("converged") and row["estimate"] == 0
        found.append({"name": name + where, "what": what, "value": value, "bad": bad,
                      "method": row["method"]})  # fmt: skip
    return found


def correction(tables: ReportTables, contrasts) -> dict[str, Any]:
    """Apparent and corrected prevalence, and the corrected one were the error another."""
    rows = [
        (name, row["measure"].removeprefix("prevalence "), row)
        for name, stratum in contrasts
        for row in tables.starting(stratum, "prevalence ")
    ]
    known = [(name, what, row) for name, what, row in rows if row["estimate"] is not None]
    refused = [f"{name}, {what}: {row['method']}" for name, what, row in rows
               if row["estimate"] is None]  # fmt: skip
    estimated = [one for one in known if " at sensitivity" not in one[1]]
    fixed = [one for one in known if " at sensitivity" in one[1]]
    return {
        "chart": _prevalences(
            "correction",
            estimated,
            "Apparent prevalence, and that corrected for the detector’s error in calling a scan "
            "positive or negative, each for definite microbleeds and for definite or possible "
            "ones.",
        ),
        "fixed": _prevalences(
            "correction-fixed",
            [
                (name, re.sub(r".*sensitivity (\S+) specificity (\S+)", r"Se \1, Sp \2", what), row)
                for name, what, row in fixed
                if "definite or possible" not in what
            ],
            "The corrected prevalence of definite microbleeds were sensitivity (Se) and "
            "specificity (Sp) another, within their intervals.",
        ),
        "methods": list(dict.fromkeys(row["method"] for _, _, row in estimated)),
        "errors": [
            {"name": f"{name}, {row['measure'].removeprefix('detector ')}", "row": row}
            for name, stratum in contrasts
            for row in tables.starting(stratum, "detector ")
            if row["estimate"] is not None
        ],
        "refused": list(dict.fromkeys(refused)),
    }


def _prevalences(name: str, rows, caption: str) -> report_charts.Chart | None:
    """A line for each ``(contrast, what, row)``, those of one name side by side."""
    if not rows:
        return None
    lines: dict[str, dict[str, Any]] = {}
    for contrast, what, row in rows:
        lines.setdefault(what[:1].upper() + what[1:], {})[contrast] = row
    return report_charts.Chart(
        name,
        f"Dots with 95 % intervals, by contrast. {caption}",
        caption,
        report_charts.forest(list(lines.items()), title="Prevalence, %"),
        ["Estimate", "Contrast", "Prevalence, % (95 % interval)", "Apparent n"],
        [
            [what, contrast, interval(row, 1, 100), of(row)]
            for what, own in lines.items()
            for contrast, row in own.items()
        ],
    )


# --- quality, and what to look at first ---


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


def to_check(tables: ReportTables, config, contract) -> dict[str, Any]:
    """The scans that a reader should look at first; numbers of single scans are of `scans`."""
    read = tables.scans[tables.scans["status"] == "ok"]
    outside = image_checks.outside(read, image_checks.domain_of(contract))
    threshold = summary.definite_threshold(config)
    listed = reading_list.reading_list(tables.scans, tables.lesions, threshold, outside)
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


def provenance(tables: ReportTables) -> dict[str, Any]:
    stages, versions = [], set()
    order = {name: place for place, name in enumerate(("index", "preprocess", "register"))}
    for stage, runs in sorted(
        tables.runs.groupby("stage"), key=lambda pair: (order.get(pair[0], 9), pair[0])
    ):
        stages.append(
            {
                "stage": stage,
                "version": _together(runs["stage_version"]),
                "runs": len(runs),
                "device": _together(runs["device"]),
                "settings": _together(runs["config_sha256"].str[:12]),
                "weights": _together(runs["weights_sha256"].str[:12]),
                "seconds": decimal(plain(runs["seconds"].median()), 1),
            }
        )
        for text in set(runs["versions"].dropna()):
            versions |= {f"{name} {version}" for name, version in json.loads(text).items()}
    return {"stages": stages, "versions": sorted(versions, key=str.lower)}


def _together(values: pd.Series) -> str:
    return ", ".join(sorted({str(value) for value in values.dropna()})) or "–"
