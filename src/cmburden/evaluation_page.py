"""evaluation.md from the result of an evaluation, with the seed's figures kept apart."""

from __future__ import annotations

from typing import Any

MEASURES = {
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "precision": "precision",
    "sensitivity": "sensitivity",
    "f1": "F1",
}
#: Published per cohort, in the order of MEASURES.
_PUBLISHED = {
    "ADNI": (0.953, 0.955, 0.954, 0.920, 0.930),
    "AIBL": (0.968, 0.956, 0.956, 0.938, 0.946),
    "MAS": (0.889, 0.889, 0.948, 0.779, 0.851),
    "OATS": (0.930, 0.930, 0.949, 0.862, 0.900),
}
SEED = {
    "source": "Hassanzadeh et al., NeuroImage: Clinical 48:103873 (2025)",
    "cohorts": {
        cohort: dict(zip(MEASURES, figures, strict=True)) for cohort, figures in _PUBLISHED.items()
    },
}
_APART = (
    "Ours: simulated scans in the manner of the cohort's acquisition, candidate level as defined "
    "below. Published: the seed's figures on the cohorts themselves (real scans, its own "
    "definition, only the abstract is available). They stand side by side for orientation and "
    "are not comparable; nothing here is a result on ADNI, AIBL, MAS or OATS data."
)


def markdown(result: dict[str, Any]) -> str:
    scans = result["scans"]
    unread = ", ".join(f"{row['scan_id']} ({row['status']})" for row in scans["not_read"])
    blocks = [
        "# Evaluation against the truth table",
        "Research use only.",
        f"{scans['in_truth']} scans in the truth table, {scans['read']} of them read "
        f"({scans['participants']} participants, {scans['with_microbleeds']} scans with "
        f"{scans['microbleeds']} microbleeds). Not read: {len(scans['not_read'])}"
        + (f" with {scans['microbleeds_not_read']} microbleeds: {unread}." if unread else ".")
        + f" Scans without truth, left out: {scans['without_truth']}.",
        "Intervals in brackets: " + result["conventions"]["interval"] + ".",
        "## Lesions",
        _strata(
            result["lesion"],
            {
                "scans": "scans",
                "microbleeds": "microbleeds",
                "sensitivity": "sensitivity",
                "precision": "precision",
                "f1": "F1",
                "fp_per_scan": "false positives per scan",
                "fp_per_scan_without_microbleeds": "per scan without microbleeds",
            },
        ),
        _froc(result["froc"]),
        *_parts(result["lesion_parts"]),
        "## What each stage does",
        _ablation(result["ablation"]),
        "## Candidates: the five measures of the seed",
        seed_table(result),
        _APART,
        "## Scans",
        _strata(
            result["scan"],
            {
                "scans": "scans",
                "with_microbleeds": "with microbleeds",
                "sensitivity": "sensitivity",
                "specificity": "specificity",
                "auc": "AUC",
                "weighted_kappa": "weighted kappa of bins",
            },
        ),
        "## Counts",
        _strata(
            result["count"],
            {
                "scans": "scans",
                "icc_2_1": "ICC(2,1)",
                "mean_absolute_error": "mean absolute error",
                "log1p_bias": "bias of log(1+n)",
                "log1p_lower": "lower limit",
                "log1p_upper": "upper limit",
            },
        ),
        "## Prevalence of scans with a microbleed",
        _strata(
            result["prevalence"],
            {"scans": "scans", "true": "true", "apparent": "apparent", "corrected": "corrected"},
        ),
        *_mimics(result["mimics"]),
        "## Conventions",
        "\n".join(f"- {name}: {text}." for name, text in result["conventions"].items()),
    ]
    return "\n\n".join(blocks) + "\n"


def seed_table(result: dict[str, Any]) -> str:
    """The seed's five measures per cohort: ours on simulated scans | as published on real ones."""
    names = list(MEASURES.values())
    header = ["cohort (simulated)", *names, *(f"published: {name}" for name in names)]
    rows = []
    for stratum, entry in result["candidate"].items():
        if stratum.startswith("contrast="):
            continue
        cohort = stratum.removeprefix("cohort=")
        published = next(
            (SEED["cohorts"][name] for name in _PUBLISHED if name in cohort.upper()), {}
        )
        rows.append(
            [
                cohort,
                *(_estimate(entry[key]) for key in MEASURES),
                *(f"{published[key]:.3f}" if published else "" for key in MEASURES),
            ]
        )
    return _table(header, rows)


def _strata(content: dict[str, Any], columns: dict[str, str]) -> str:
    rows = [[name, *(_estimate(entry[key]) for key in columns)] for name, entry in content.items()]
    return _table(["", *columns.values()], rows)


def _froc(froc: dict[str, Any]) -> str:
    points = list(next(iter(froc.values())))
    rows = [[name, *(_estimate(entry[point]) for point in points)] for name, entry in froc.items()]
    header = ["FROC: sensitivity at", *(f"{point} per scan" for point in points)]
    return _table(header, rows)


def _parts(parts: dict[str, Any]) -> list[str]:
    tables = []
    for variable in ("group", "region", "diameter"):
        rows = [
            [level, str(entry["microbleeds"]), _estimate(entry["sensitivity"])]
            for level, entry in parts[variable].items()
        ]
        tables.append(_table([variable, "microbleeds", "sensitivity"], rows))
    rows = [
        [group, str(entry["fp"]), _number(entry["fp_per_scan"])]
        for group, entry in parts["fp_group"].items()
    ]
    if rows:
        tables.append(_table(["group of false positives", "number", "per scan"], rows))
    return tables


def _ablation(ablation: dict[str, Any]) -> str:
    rows = []
    for entry in ablation.values():
        if not isinstance(entry, dict):
            continue
        own, matched = entry.get("own"), entry["matched"]
        rows.append(
            [
                entry["score"],
                *(_number(own[key]) if own else "" for key in ("sensitivity", "fp_per_scan")),
                *(_number(matched[key]) for key in ("threshold", "sensitivity", "fp_per_scan")),
                _number(entry["all_candidates"]["sensitivity"]),
                _number(entry["all_candidates"]["fp_per_scan"]),
            ]
        )
    header = [
        "score",
        "sensitivity at its own threshold",
        "false positives per scan",
        "threshold at the whole's sensitivity",
        "sensitivity there",
        "false positives per scan there",
        "sensitivity of all candidates",
        "false positives per scan of all",
    ]
    return _table(header, rows)


def _mimics(mimics: dict[str, Any]) -> list[str]:
    if not mimics:
        return []
    rows = [[kind, str(entry["mimics"]), str(entry["called"])] for kind, entry in mimics.items()]
    return ["## Mimics", _table(["kind", "in the truth table", "called definite"], rows)]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _estimate(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    text = _number(entry["estimate"])
    if entry["estimate"] is None or entry["ci_low"] is None:
        return text
    return f"{text} ({_number(entry['ci_low'])}-{_number(entry['ci_high'])})"


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
