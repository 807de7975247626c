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
    alternatives = alternative_texts(result)

    def picture(name: str) -> str:
        return f"![{alternatives[name]}]({name}.png)"

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
        _froc(result["froc"], "FROC: sensitivity at"),
        picture("froc"),
        _froc(
            {stratum: stages["final"] for stratum, stages in result["froc_strata"].items()},
            "FROC of the calibrated probability: sensitivity at",
        ),
        picture("froc_presets"),
        *_parts(result["lesion_parts"]),
        picture("sensitivity"),
        "## What each stage does",
        _ablation(result["ablation"]),
        _yolo_effect(result["ablation"]["yolo_effect"]),
        picture("ablation"),
        "## Calibration of the final probability",
        _calibration(result["calibration"]),
        picture("calibration"),
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
        picture("counts"),
        "## Prevalence of scans with a microbleed",
        _strata(
            result["prevalence"],
            {"scans": "scans", "true": "true", "apparent": "apparent", "corrected": "corrected"},
        ),
        *_mimics(result["mimics"], result["lesion"]["all"]),
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


def another(result: dict[str, Any]) -> str:
    """What ``result`` of the plainer simulator's scans says, in a table by contrast and preset."""
    scans = result["scans"]
    header = [
        "scans", "microbleeds", "sensitivity at 'definite'", "false positives a scan there",
        "sensitivity at 0.3", "at 0.5", "at 1", "AUC of candidates",
    ]  # fmt: skip
    rows = []
    for stratum, own in result["lesion"].items():
        curve = (result["froc"] if stratum == "all" else result["froc_strata"][stratum])["final"]
        shown = [
            *(own[key] for key in ("microbleeds", "sensitivity", "fp_per_scan")),
            *(curve[point] for point in ("0.3", "0.5", "1")),
            result["candidate"][stratum]["auc"],
        ]
        rows.append([stratum, *map(_estimate, shown)])
    return (
        "No network was trained or calibrated on scans like these: greys by label, microbleeds as "
        "dark ellipsoids of published sizes and places, veins as dark tubes, calcium, no physics "
        "(`cmburden.simulate.plain`); ellipsoids of other edges and depths were among the "
        "microbleeds of the training's own scans. The same presets, people 13-14 and reader's "
        f"rule; {scans['read']} scans, {scans['with_microbleeds']} with {scans['microbleeds']} "
        "microbleeds.\n\n" + _table(header, rows)
    )


def _strata(content: dict[str, Any], columns: dict[str, str]) -> str:
    rows = [[name, *(_estimate(entry[key]) for key in columns)] for name, entry in content.items()]
    return _table(["", *columns.values()], rows)


def alternative_texts(result: dict[str, Any]) -> dict[str, str]:
    """What each figure says, in a sentence with its main number, for who cannot see it."""
    froc, lesion = result["froc"], result["lesion"]["all"]
    effect, count = result["ablation"]["yolo_effect"], result["count"]["all"]
    cohorts = _levels(result["froc_strata"], "cohort")
    contrasts = _levels(result["calibration"], "contrast")

    def listed(entries: dict[str, str]) -> str:
        return ", ".join(f"{name} {value}" for name, value in entries.items())

    at_half = {name: _point(entry["final"]["0.5"]) for name, entry in cohorts.items()}
    errors = {
        name: _point(_from_clear_negatives(entry)["expected_calibration_error"])
        for name, entry in contrasts.items()
    }
    diameters = {
        name: _point(entry["sensitivity"])
        for name, entry in result["lesion_parts"]["diameter"].items()
    }
    return {
        "froc": "FROC curves of the three stages: sensitivity at 0.5 false positives per scan "
        f"{_point(froc['cnn']['0.5'])} with the CNN alone, {_point(froc['cnn_yolo']['0.5'])} with "
        f"YOLO, {_point(froc['final']['0.5'])} with the calibrated probability",
        "froc_presets": "FROC curves of the calibrated probability by cohort preset: sensitivity "
        f"at 0.5 false positives per scan {listed(at_half)}",
        "sensitivity": "Sensitivity at the definite threshold by diameter, group and contrast: "
        f"{_point(lesion['sensitivity'])} of all microbleeds, " + listed(diameters),
        "ablation": "False positives per scan at the sensitivity of the whole, by stage: YOLO "
        f"changes them from {_point(effect['cnn_fp_per_scan'])} to "
        f"{_point(effect['cnn_yolo_fp_per_scan'])}",
        "calibration": "Reliability of the calibrated probability by contrast: expected "
        f"calibration error without clear negatives {listed(errors)}",
        "counts": "Predicted against true count of each scan: ICC(2,1) "
        f"{_point(count['icc_2_1'])}, mean absolute error {_point(count['mean_absolute_error'])}",
    }


def _levels(content: dict[str, Any], variable: str) -> dict[str, Any]:
    """The strata of one variable, by level."""
    return {
        name.removeprefix(f"{variable}="): entry
        for name, entry in content.items()
        if name.startswith(f"{variable}=")
    }


def _point(entry: dict[str, Any]) -> str:
    return _number(entry["estimate"])


def _from_clear_negatives(entry: dict[str, Any]) -> dict[str, Any]:
    """Calibration over the candidates that are not clear negatives."""
    return next(own for subset, own in entry.items() if subset != "all")


def _froc(froc: dict[str, Any], title: str) -> str:
    # JSON sorts the points as words; they are numbers.
    points = sorted(next(iter(froc.values())), key=float)
    rows = [[name, *(_estimate(entry[point]) for point in points)] for name, entry in froc.items()]
    header = [title, *(f"{point} per scan" for point in points)]
    return _table(header, rows)


def _calibration(content: dict[str, Any]) -> str:
    header, rows = [""], []
    for subset in next(iter(content.values())):
        words = "all candidates" if subset == "all" else f"{subset.replace('_', ' ')} on"
        header += [words, "true", "expected calibration error", "by chance", "predicted / true"]
    for name, entry in content.items():
        row = [name]
        for own in entry.values():
            row += [str(own["candidates"]), str(own["true_candidates"])]
            row += [
                _estimate(own["expected_calibration_error"]),
                _number(own["by_chance"]["mean"]),
                _estimate(own["predicted_over_true"]),
            ]
        rows.append(row)
    return _table(header, rows)


def _yolo_effect(effect: dict[str, Any]) -> str:
    rows = [
        [words, _number(effect[f"{name}_threshold"])]
        + [_estimate(effect[f"{name}_{key}"]) for key in ("sensitivity", "fp_per_scan")]
        for name, words in (("cnn", "3D CNN alone"), ("cnn_yolo", "3D CNN and YOLO"))
    ]
    header = ["YOLO's own effect", "threshold", "sensitivity", "false positives per scan"]
    return (
        _table(header, rows)
        + "\n\nFalse positives left by YOLO, as a share of the CNN's: "
        + f"{_estimate(effect['fp_ratio'])}, at up to {effect['allowed_loss']:g} less sensitivity."
    )


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
        if not isinstance(entry, dict) or "score" not in entry:
            continue
        own, matched = entry.get("own"), entry["matched"]
        rows.append(
            [
                entry["score"],
                *(_number(own[key]) if own else "" for key in ("sensitivity", "fp_per_scan")),
                *(_number(matched[key]) for key in ("threshold", "sensitivity")),
                _estimate(entry["matched_fp_per_scan"]),
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


def _mimics(mimics: dict[str, Any], lesions: dict[str, Any]) -> list[str]:
    if not mimics:
        return []
    rows = [[kind, str(entry["mimics"]), str(entry["called"])] for kind, entry in mimics.items()]
    text = ["## Mimics", _table(["kind", "in the truth table", "called definite"], rows)]
    if "faint" in mimics:
        number, called = mimics["faint"]["mimics"], mimics["faint"]["called"]
        found, real = lesions["tp"] + called, lesions["microbleeds"] + number
        text.append(
            f"The {number} faint ones are neither right nor wrong above. Were they asked for as "
            f"microbleeds, sensitivity would be {found / real:.3f} ({found} of {real})."
        )
    return text


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
