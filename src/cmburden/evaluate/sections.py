"""Sections of evaluation.md that only readers' truth has: by scanner, by reader, counts alone."""

from __future__ import annotations

from typing import Any

from cmburden.core.markdown import table as markdown_table
from cmburden.evaluate.texts import estimate_text, number, scans_read

#: (measure, key) -> heading of the columns by scanner and by reader.
_COLUMNS = {
    ("lesion", "scans"): "scans",
    ("lesion", "microbleeds"): "microbleeds",
    ("lesion", "sensitivity"): "sensitivity",
    ("lesion", "precision"): "precision",
    ("lesion", "fp_per_scan"): "false positives per scan",
    ("candidate", "auc"): "AUC of candidates",
    ("scan", "sensitivity"): "scans: sensitivity",
    ("scan", "specificity"): "scans: specificity",
}
_PAIR_HEADER = (
    "readers",
    "scans",
    "microbleeds of each",
    "marked by both",
    "F1",
    "weighted kappa of bins",
    "ICC(2,1)",
)
SCAN_COLUMNS = {
    "scans": "scans",
    "with_microbleeds": "with microbleeds",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "auc": "AUC",
    "weighted_kappa": "weighted kappa of bins",
}
COUNT_COLUMNS = {
    "scans": "scans",
    "icc_2_1": "ICC(2,1)",
    "mean_absolute_error": "mean absolute error",
    "log1p_bias": "bias of log(1+n)",
}
PREVALENCE_COLUMNS = {
    "scans": "scans",
    "true": "true",
    "apparent": "apparent",
    "corrected": "corrected",
}


def by_scanner(content: dict[str, Any]) -> list[str]:
    """The measures by maker and by field strength; nothing where neither is known."""
    if not content:
        return []
    return ["## By scanner", _measures(content)]


def by_reader(content: dict[str, Any] | None) -> list[str]:
    """The run against each reader, and the readers against each other."""
    if not content:
        return []
    blocks = ["## By reader", "The run against each reader's own marks.", _measures(content["run"])]
    if content["unused"]:
        blocks.append(f"No scan of these readers was read by the run: {_names(content['unused'])}.")
    if content["pairs"]:
        rows = [
            [
                _names(pair["readers"]),
                pair["scans"],
                " and ".join(map(str, pair["microbleeds"])),
                pair["shared"],
                *(number(pair[key]) for key in ("f1", "weighted_kappa", "icc_2_1")),
            ]
            for pair in content["pairs"]
        ]
        blocks += [
            "The readers against each other, on scans that both read: what two people make of the "
            "same scans is the measure for what can be asked of the run.",
            markdown_table(_PAIR_HEADER, rows),
        ]
    return blocks


def _measures(content: dict[str, Any]) -> str:
    rows = [
        [name, *(estimate_text(entry[measure][key]) for measure, key in _COLUMNS)]
        for name, entry in content.items()
    ]
    return markdown_table(["", *_COLUMNS.values()], rows)


def _names(names: list[str]) -> str:
    return ", ".join(names)


# --- counts without places ---


def counts_table(result: dict[str, Any]) -> str:
    """Presence by stratum: the table that the command prints."""
    return strata_table(result["scan"], SCAN_COLUMNS)


def counts_page(result: dict[str, Any]) -> str:
    """The page for a result against counts without places."""
    by_place = result["count_by_place"]
    blocks = [
        "# Evaluation against counts by scan",
        "Research use only.",
        scans_read(result),
        result["why_no_lesions"],
        "Intervals in brackets: " + result["conventions"]["interval"] + ".",
        "## Scans",
        counts_table(result),
        "## Counts",
        strata_table(result["count"], COUNT_COLUMNS),
        *([strata_table(by_place, COUNT_COLUMNS)] if by_place else []),
        "![Predicted against true count of each scan](counts.png)",
        "## Prevalence of scans with a microbleed",
        strata_table(result["prevalence"], PREVALENCE_COLUMNS),
        "## Conventions",
        "\n".join(f"- {name}: {text}." for name, text in result["conventions"].items()),
    ]
    return "\n\n".join(blocks) + "\n"


def strata_table(content: dict[str, Any], columns: dict[str, str]) -> str:
    """A Markdown table, a row a stratum; ``columns``: key of its entry -> heading."""
    rows = [
        [name, *(estimate_text(entry[key]) for key in columns)] for name, entry in content.items()
    ]
    return markdown_table(["", *columns.values()], rows)
