"""tuning.json and tuning.md: before and after on people whom the networks have not seen."""

from __future__ import annotations

import json
from typing import Any

from cmburden.core.files import read_json, whole_file, write_json
from cmburden.core.markdown import table as markdown_table
from cmburden.core.truth_origin import SIMULATED
from cmburden.evaluate import page as evaluation_page
from cmburden.evaluate.texts import estimate_text
from cmburden.train.tuning.network import labelled_scans
from cmburden.train.tuning.places import Places
from cmburden.train.tuning.plan import Plan

TERMS = (
    "Weights that were tuned on data under terms of use (ADNI, AIBL, A4, OASIS, UK Biobank and "
    "others) must not be passed on without clearance by those who gave the data. The folder work "
    "holds scans and labels of people: it must not be passed on at all."
)
_UNSEEN = (
    "Before: the run's models. After: each participant by networks, a probability and thresholds "
    "that were tuned without the participant's fold. The released models were tuned on everybody: "
    "no figure of these people is honest for them, and `cmburden evaluate` refuses these people."
)
#: (heading, keys in evaluation.json) of the rows of the table.
_ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("lesions: sensitivity", ("lesion", "all", "sensitivity")),
    ("lesions: precision", ("lesion", "all", "precision")),
    ("lesions: F1", ("lesion", "all", "f1")),
    ("lesions: false positives per scan", ("lesion", "all", "fp_per_scan")),
    ("sensitivity at 0.25 false positives per scan", ("froc", "final", "0.25")),
    ("sensitivity at 0.5", ("froc", "final", "0.5")),
    ("sensitivity at 1", ("froc", "final", "1")),
    ("candidates: balanced accuracy", ("candidate", "all", "balanced_accuracy")),
    ("candidates: AUC", ("candidate", "all", "auc")),
    ("candidates: precision", ("candidate", "all", "precision")),
    ("candidates: sensitivity", ("candidate", "all", "sensitivity")),
    ("candidates: F1", ("candidate", "all", "f1")),
    ("scans: sensitivity", ("scan", "all", "sensitivity")),
    ("scans: specificity", ("scan", "all", "specificity")),
    ("scans: AUC", ("scan", "all", "auc")),
    ("counts: ICC(2,1)", ("count", "all", "icc_2_1")),
    ("counts: mean absolute error", ("count", "all", "mean_absolute_error")),
    (
        "expected calibration error from 0.02 on",
        ("calibration", "all", "from_0.02", "expected_calibration_error"),
    ),
)


def _at(result: dict[str, Any], keys: tuple[str, ...]) -> Any:
    for key in keys:
        result = result[key]
    return result


def write(
    places: Places,
    plan: Plan,
    before: dict[str, Any],
    after: dict[str, Any],
    released: dict[str, dict[str, Any]],
) -> str:
    """Write tuning.json and tuning.md; the table of both, for the command to print.

    ``before`` and ``after`` are contents of evaluation.json; ``released`` are the contracts.
    """
    content = {
        "before": {name: _at(before, keys) for name, keys in _ROWS},
        "after": {name: _at(after, keys) for name, keys in _ROWS},
        "folds": _folds(places, plan, before, after),
        "scans": after["scans"],
        "truth": after["truth"],
        "schedule": read_json(places.plan)["schedule"],
        "started_from": {kind: plan.weights[kind] for kind in sorted(plan.weights)},
        "models": {
            kind: {"id": contract["id"], "weights": contract["weights"]}
            for kind, contract in sorted(released.items())
        },
        "thresholds": released["verifier"]["thresholds"],
        "terms": TERMS,
    }
    write_json(places.result, content)
    # What is read back has the types and the order of JSON, as a reader of the file has it.
    content = json.loads(places.result.read_text(encoding="utf-8"))
    with whole_file(places.page) as temporary:
        temporary.write_text(_page(content, before, after), encoding="utf-8")
    return table(content)


def _folds(
    places: Places, plan: Plan, before: dict[str, Any], after: dict[str, Any]
) -> list[dict[str, Any]]:
    """Counts of each fold: people, scans, microbleeds, and how many were counted."""
    rows = []
    people = {scan.scan_id: scan.participant_id for scan in labelled_scans(plan, places)}
    for number in range(plan.schedule.folds):
        own = [
            (one, other)
            for one, other in zip(before["per_scan"], after["per_scan"], strict=True)
            if plan.fold[people[one["scan_id"]]] == number
        ]
        rows.append(
            {
                "fold": number,
                "people": len({people[one["scan_id"]] for one, _ in own}),
                "scans": len(own),
                "microbleeds": sum(one["n_true"] for one, _ in own),
                "counted_before": sum(one["n_pred"] for one, _ in own),
                "counted_after": sum(other["n_pred"] for _, other in own),
            }
        )
    return rows


def table(content: dict[str, Any]) -> str:
    """The table before and after, of tuning.json."""
    rows = [
        [name, estimate_text(content["before"][name]), estimate_text(content["after"][name])]
        for name, _ in _ROWS
    ]
    return markdown_table(["on people not seen", "before", "after"], rows)


def _page(content: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> str:
    simulated = content["truth"]["origin"] == SIMULATED
    scans, models = content["scans"], content["models"]
    header = ["fold", "people", "scans", "microbleeds", "counted before", "counted after"]
    folds = [[row[key.replace(" ", "_")] for key in header] for row in content["folds"]]
    blocks = [
        "# Tuning",
        "Research use only.",
        TERMS,
        f"{scans['read']} {'simulated ' if simulated else ''}scans of {scans['participants']} "
        f"participants, {scans['with_microbleeds']} scans with {scans['microbleeds']} microbleeds. "
        "Intervals in brackets: 95 %, bootstrap over participants.",
        _UNSEEN,
        table(content),
        markdown_table(header, folds),
        "## The measures of the seed, before",
        evaluation_page.seed_table(before),
        "## The measures of the seed, after",
        evaluation_page.seed_table(after),
        "All measures: [before](evaluation/before/evaluation.md), "
        "[after](evaluation/after/evaluation.md).",
        "## Models",
        f"`detector` ({models['detector']['id']}) and `verifier` ({models['verifier']['id']}): "
        "`cmburden run BIDS OUTPUT participant --set detect.model=MODELS/detector "
        "--set verify.model=MODELS/verifier`.",
    ]
    return "\n\n".join(blocks) + "\n"
