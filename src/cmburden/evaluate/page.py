"""evaluation.md from the result of an evaluation; the seed's figures have columns of their own.

"The seed" is the study that ``SEED`` names.
"""

from __future__ import annotations

from typing import Any

from cmburden.core.markdown import table as markdown_table
from cmburden.core.truth_origin import READERS, SIMULATED, UNSTATED
from cmburden.evaluate.measures import levels_of
from cmburden.evaluate.sections import (
    COUNT_COLUMNS,
    PREVALENCE_COLUMNS,
    SCAN_COLUMNS,
    by_reader,
    by_scanner,
    strata_table,
)
from cmburden.evaluate.texts import estimate_text, scans_read
from cmburden.evaluate.texts import number as _number

#: The seed's five measures, by their key in the result, and their names.
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
_PUBLISHED_MEASURES = {
    cohort: dict(zip(MEASURES, figures, strict=True)) for cohort, figures in _PUBLISHED.items()
}
SEED: dict[str, Any] = {
    "source": "Hassanzadeh et al., NeuroImage: Clinical 48:103873 (2025)",
    "cohorts": _PUBLISHED_MEASURES,
}
#: What the two halves of the seed's table are, by the origin of the truth.
_APART = {
    SIMULATED: "Ours: simulated scans in the manner of the cohort's acquisition, candidate level "
    "as defined below. Published: the seed's figures on the cohorts themselves (real scans, its "
    "own definition, only the abstract is available). They stand side by side for orientation and "
    "are not comparable; nothing here is a result on ADNI, AIBL, MAS or OATS data.",
    READERS: "Ours: the scans of the truth table as readers read them, candidate level as defined "
    "below. Published: the seed's figures, by a definition of its own: which scans, which split "
    "and which patches without a microbleed it counted is not published (only the abstract is "
    "available). They stand side by side for orientation and are not comparable figure by figure.",
    UNSTATED: "Ours: the scans of the truth table, candidate level as defined below. The table "
    "does not state whether readers made it or a simulation (truth.json beside it would). "
    "Published: the seed's figures on real scans, by its own definition. They stand side by side "
    "for orientation and are not comparable.",
}
_COHORT = {SIMULATED: "cohort (simulated)", READERS: "cohort", UNSTATED: "cohort (not stated)"}
_PLAIN = (
    "No network was trained or calibrated on scans like these: greys by label, microbleeds as "
    "dark ellipsoids of published sizes and places, veins as dark tubes, calcium, no physics "
    "(`cmburden.simulate.plain`); ellipsoids of other edges and depths were among the "
    "microbleeds of the training's own scans. The same presets, people 13-14 and reader's rule; "
)

# Keys of a stratum's entry and the headings of their columns.
_LESION_COLUMNS = {
    "scans": "scans",
    "microbleeds": "microbleeds",
    "sensitivity": "sensitivity",
    "precision": "precision",
    "f1": "F1",
    "fp_per_scan": "false positives per scan",
    "fp_per_scan_without_microbleeds": "per scan without microbleeds",
}
_COUNT_COLUMNS = {
    **COUNT_COLUMNS,
    "log1p_lower": "lower limit",
    "log1p_upper": "upper limit",
}
_ABLATION_HEADER = (
    "score",
    "sensitivity at its own threshold",
    "false positives per scan",
    "threshold at the whole's sensitivity",
    "sensitivity there",
    "false positives per scan there",
    "sensitivity of all candidates",
    "false positives per scan of all",
)
_ANOTHER_HEADER = (
    "scans",
    "microbleeds",
    "sensitivity at 'definite'",
    "false positives a scan there",
    "sensitivity at 0.3",
    "at 0.5",
    "at 1",
    "AUC of candidates",
)


# --- the page ---


def markdown(result: dict[str, Any]) -> str:
    """The page for ``result``, the content of evaluation.json; it links to the figures' files."""
    pictures = {name: f"![{text}]({name}.png)" for name, text in alternative_texts(result).items()}
    blocks = [
        "# Evaluation against the truth table",
        "Research use only.",
        scans_read(result),
        "Intervals in brackets: " + result["conventions"]["interval"] + ".",
        *_lesions(result, pictures),
        "## What each stage does",
        _ablation(result["ablation"]),
        _yolo_effect(result["ablation"]["yolo_effect"]),
        pictures["ablation"],
        "## Calibration of the final probability",
        _calibration(result["calibration"]),
        pictures["calibration"],
        "## Candidates: the five measures of the seed",
        seed_table(result),
        _APART[origin_of(result)],
        "## Scans",
        strata_table(result["scan"], SCAN_COLUMNS),
        "## Counts",
        strata_table(result["count"], _COUNT_COLUMNS),
        pictures["counts"],
        "## Prevalence of scans with a microbleed",
        strata_table(result["prevalence"], PREVALENCE_COLUMNS),
        *_mimics(result["mimics"], result["lesion"]["all"]),
        *by_scanner(result.get("scanner") or {}),
        *by_reader(result.get("readers")),
        "## Conventions",
        "\n".join(f"- {name}: {text}." for name, text in result["conventions"].items()),
    ]
    return "\n\n".join(blocks) + "\n"


def origin_of(result: dict[str, Any]) -> str:
    """Whether the truth is of a simulation or of readers; results of before do not say."""
    return str(result.get("truth", {}).get("origin", UNSTATED))


def seed_table(result: dict[str, Any]) -> str:
    """The seed's five measures per cohort: ours on the truth's scans, and as published."""
    names = list(MEASURES.values())
    header = [_COHORT[origin_of(result)], *names, *(f"published: {name}" for name in names)]
    rows = []
    for stratum, entry in result["candidate"].items():
        if stratum.startswith("contrast="):
            continue
        cohort = stratum.removeprefix("cohort=")
        ours = [estimate_text(entry[key]) for key in MEASURES]
        rows.append([cohort, *ours, *_published(cohort)])
    return markdown_table(header, rows)


def _published(cohort: str) -> list[str]:
    """The seed's figures of the cohort that occurs in the name ``cohort``; blank without one."""
    for name, measures in _PUBLISHED_MEASURES.items():
        if name in cohort.upper():
            return [f"{measures[key]:.3f}" for key in MEASURES]
    return [""] * len(MEASURES)


def another(result: dict[str, Any]) -> str:
    """Text and table, by contrast and preset, for ``result`` on the plainer simulator's scans."""
    scans = result["scans"]
    rows = []
    for stratum, lesion in result["lesion"].items():
        froc = (result["froc"] if stratum == "all" else result["froc_strata"][stratum])["final"]
        values = [
            *(lesion[key] for key in ("microbleeds", "sensitivity", "fp_per_scan")),
            *(froc[point] for point in ("0.3", "0.5", "1")),
            result["candidate"][stratum]["auc"],
        ]
        rows.append([stratum, *map(estimate_text, values)])
    return (
        f"{_PLAIN}{scans['read']} scans, {scans['with_microbleeds']} with {scans['microbleeds']} "
        "microbleeds.\n\n" + markdown_table(_ANOTHER_HEADER, rows)
    )


def alternative_texts(result: dict[str, Any]) -> dict[str, str]:
    """One sentence per figure with its main numbers, for readers who cannot see the figure."""
    froc, lesion = result["froc"], result["lesion"]["all"]
    effect, count = result["ablation"]["yolo_effect"], result["count"]["all"]
    at_half = {
        name: _point(stages["final"]["0.5"])
        for name, stages in levels_of(result["froc_strata"], "cohort").items()
    }
    errors = {
        name: _point(_from_clear_negatives(entry)["expected_calibration_error"])
        for name, entry in levels_of(result["calibration"], "contrast").items()
    }
    diameters = {
        name: _point(entry["sensitivity"])
        for name, entry in result["lesion_parts"]["diameter"].items()
    }
    return {
        "froc": "FROC curves of the three stages: sensitivity at 0.5 false positives per scan "
        f"{_point(froc['cnn']['0.5'])} with the CNN alone, {_point(froc['cnn_yolo']['0.5'])} with "
        f"YOLO, {_point(froc['final']['0.5'])} with the calibrated probability",
        "froc_presets": "FROC curves of the calibrated probability by cohort"
        f"{' preset' if origin_of(result) == SIMULATED else ''}: sensitivity at 0.5 false "
        f"positives per scan {_listed(at_half)}",
        "sensitivity": "Sensitivity at the definite threshold by diameter, group and contrast: "
        f"{_point(lesion['sensitivity'])} of all microbleeds, " + _listed(diameters),
        "ablation": "False positives per scan at the sensitivity of the whole, by stage: YOLO "
        f"changes them from {_point(effect['cnn_fp_per_scan'])} to "
        f"{_point(effect['cnn_yolo_fp_per_scan'])}",
        "calibration": "Reliability of the calibrated probability by contrast: expected "
        f"calibration error without clear negatives {_listed(errors)}",
        "counts": "Predicted against true count of each scan: ICC(2,1) "
        f"{_point(count['icc_2_1'])}, mean absolute error {_point(count['mean_absolute_error'])}",
    }


# --- its sections ---


def _lesions(result: dict[str, Any], pictures: dict[str, str]) -> list[str]:
    strata = {stratum: stages["final"] for stratum, stages in result["froc_strata"].items()}
    return [
        "## Lesions",
        strata_table(result["lesion"], _LESION_COLUMNS),
        _froc(result["froc"], "FROC: sensitivity at"),
        pictures["froc"],
        _froc(strata, "FROC of the calibrated probability: sensitivity at"),
        pictures["froc_presets"],
        *_parts(result["lesion_parts"]),
        pictures["sensitivity"],
    ]


def _froc(froc: dict[str, Any], title: str) -> str:
    # evaluation.json sorts the points as text; they are numbers.
    points = sorted(next(iter(froc.values())), key=float)
    rows = [
        [name, *(estimate_text(entry[point]) for point in points)] for name, entry in froc.items()
    ]
    return markdown_table([title, *(f"{point} per scan" for point in points)], rows)


def _parts(parts: dict[str, Any]) -> list[str]:
    tables = []
    for variable in ("group", "region", "diameter"):
        rows = [
            [level, entry["microbleeds"], estimate_text(entry["sensitivity"])]
            for level, entry in parts[variable].items()
        ]
        if rows:  # readers name neither group nor region
            tables.append(markdown_table([variable, "microbleeds", "sensitivity"], rows))
    rows = [
        [group, entry["fp"], _number(entry["fp_per_scan"])]
        for group, entry in parts["fp_group"].items()
    ]
    if rows:
        tables.append(markdown_table(["group of false positives", "number", "per scan"], rows))
    return tables


def _ablation(ablation: dict[str, Any]) -> str:
    stages = [entry for entry in ablation.values() if isinstance(entry, dict) and "score" in entry]
    return markdown_table(_ABLATION_HEADER, [_ablation_row(entry) for entry in stages])


def _ablation_row(entry: dict[str, Any]) -> list[str]:
    at_own = entry.get("own")
    matched, everything = entry["matched"], entry["all_candidates"]
    return [
        entry["score"],
        _number(at_own["sensitivity"]) if at_own else "",
        _number(at_own["fp_per_scan"]) if at_own else "",
        _number(matched["threshold"]),
        _number(matched["sensitivity"]),
        estimate_text(entry["matched_fp_per_scan"]),
        _number(everything["sensitivity"]),
        _number(everything["fp_per_scan"]),
    ]


def _yolo_effect(effect: dict[str, Any]) -> str:
    rows = [
        [words, _number(effect[f"{name}_threshold"])]
        + [estimate_text(effect[f"{name}_{key}"]) for key in ("sensitivity", "fp_per_scan")]
        for name, words in (("cnn", "3D CNN alone"), ("cnn_yolo", "3D CNN and YOLO"))
    ]
    header = ["YOLO's own effect", "threshold", "sensitivity", "false positives per scan"]
    return (
        markdown_table(header, rows)
        + "\n\nFalse positives left by YOLO, as a share of the CNN's: "
        + f"{estimate_text(effect['fp_ratio'])}, at up to {effect['allowed_loss']:g} less "
        "sensitivity."
    )


def _calibration(content: dict[str, Any]) -> str:
    header = [""]
    for subset in next(iter(content.values())):
        words = "all candidates" if subset == "all" else f"{subset.replace('_', ' ')} on"
        header += [words, "true", "expected calibration error", "by chance", "predicted / true"]
    rows = []
    for name, subsets in content.items():
        row = [name]
        for entry in subsets.values():
            row += [
                str(entry["candidates"]),
                str(entry["true_candidates"]),
                estimate_text(entry["expected_calibration_error"]),
                _number(entry["by_chance"]["mean"]),
                estimate_text(entry["predicted_over_true"]),
            ]
        rows.append(row)
    return markdown_table(header, rows)


def _mimics(mimics: dict[str, Any], lesions: dict[str, Any]) -> list[str]:
    if not mimics:
        return []
    rows = [[kind, entry["mimics"], entry["called"]] for kind, entry in mimics.items()]
    blocks = ["## Mimics", markdown_table(["kind", "in the truth table", "called definite"], rows)]
    if "faint" in mimics:
        number, called = mimics["faint"]["mimics"], mimics["faint"]["called"]
        hits, real = lesions["tp"] + called, lesions["microbleeds"] + number
        blocks.append(
            f"The {number} faint ones are neither right nor wrong above. Were they asked for as "
            f"microbleeds, sensitivity would be {hits / real:.3f} ({hits} of {real})."
        )
    return blocks


# --- numbers as text ---


def _listed(entries: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in entries.items())


def _from_clear_negatives(entry: dict[str, Any]) -> dict[str, Any]:
    """Calibration over the candidates that are not clear negatives."""
    return next(content for subset, content in entry.items() if subset != "all")


def _point(entry: dict[str, Any]) -> str:
    return _number(entry["estimate"])
