"""Section: prevalence corrected for the detector's error."""

from __future__ import annotations

import re
from typing import Any

from cmburden.report import charts as report_charts
from cmburden.report.models import MODELS
from cmburden.report.tables import ReportTables, interval, of


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
