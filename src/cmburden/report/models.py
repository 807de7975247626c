"""Section: regression models of burden."""

from __future__ import annotations

from typing import Any

from cmburden.report.tables import ReportTables, number

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
