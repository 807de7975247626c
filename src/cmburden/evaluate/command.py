"""Compares a run with a truth table: lesions, candidates, scans, counts, cohorts, each stage.

The result states its conventions (``CONVENTIONS``). `cases` gathers the rows, `measures` and
`curves` compute on them, `page` and `figures` present the result.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core import truth_origin
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file, write_json
from cmburden.core.paths import Layout
from cmburden.evaluate import counts as evaluation_counts
from cmburden.evaluate import curves as evaluate_curves
from cmburden.evaluate import measures as evaluate_measures
from cmburden.evaluate import page as evaluation_page
from cmburden.evaluate import scanners, seen
from cmburden.evaluate import sections as evaluation_sections
from cmburden.evaluate.cases import Cases, gather, read_truth
from cmburden.evaluate.coordinates import require_ras
from cmburden.evaluate.curves import ALLOWED_LOSS, BINS, CLEAR_NEGATIVE
from cmburden.evaluate.measures import DRAWS, by_stratum
from cmburden.evaluate.readers import by_reader, read_readers

CONVENTIONS = {
    "hit": "one-to-one (Hungarian) matching of centres in scanner mm; a hit lies within "
    "max(3 mm, radius of the lesion); half the slice thickness is not added",
    "prediction": "a lesion labelled definite that is no macrohaemorrhage; 'possible' counts "
    "neither way",
    "faint": "a bleed that is grey rather than dark in the image, MARS's possible: a call on it is "
    "neither right nor wrong, and it is not missed; counts and presence do hold the call",
    "froc": "sensitivity at a number of false positives per scan as the score's threshold falls; "
    "lesions too large for a microbleed are not taken out",
    "calibration": "the final probability against whether a candidate is true (as under candidate; "
    f"a second one on a microbleed is not), in {BINS} bins of equal width; most candidates are "
    f"clear negatives, which makes the error over all of them kind: the one from a probability of "
    f"{CLEAR_NEGATIVE:g} on is the one to read; microbleeds without a candidate take no part; in a "
    "small sample the error is overestimated, and its bootstrap interval more so; by chance: what "
    "it would be on average were every probability right",
    "ablation": "each stage at the point with the fewest false positives that reaches the "
    "sensitivity of the whole at 'definite'; YOLO's own effect: the CNN alone there, and both "
    f"networks where at most {ALLOWED_LOSS:g} less sensitivity is asked of them; in every "
    "bootstrap draw all are found anew",
    "candidate": "cases are the candidates of the CNN; a candidate is true where the largest "
    "one-to-one matching, taken by falling probability, gives it a microbleed; the decision is "
    "'definite'; microbleeds without a candidate are false negatives in sensitivity, balanced "
    "accuracy and F1; AUC is over candidates alone, by probability",
    "scan": "presence: at least one microbleed; score of a scan: its highest probability; kappa: "
    "quadratic weights over bins 0, 1, 2-4, >=5",
    "count": "ICC(2,1), absolute agreement; Bland-Altman of log(1 + count), predicted - true",
    "prevalence": "Rogan-Gladen with sensitivity and specificity of the other cohorts' scans, "
    "since those of the same scans would give the truth back",
    "interval": "95 %; shares of microbleeds, lesions, candidates and scans: Wilson, participants "
    "as clusters (Rao and Scott 1992); F1 and balanced accuracy: from these (MOVER, Zou and Donner "
    "2008); AUC of scans, and of candidates where it is 1: Newcombe 2006, method 5; no false "
    f"positive: Garwood 1936; all else: percentile bootstrap over participants, {DRAWS} draws, "
    "seeded, and no interval where all draws are alike; FROC: the outer ends of bootstrap and "
    "Wilson",
    "not read": "failed and excluded scans take no part; their number and that of their "
    "microbleeds is given",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``cmburden evaluate``."""
    parser.add_argument("derivatives", type=Path, help="output folder of `cmburden run`")
    parser.add_argument(
        "truth",
        type=Path,
        nargs="?",
        help="truth table (TSV), such as truth.tsv of the demo or of `cmburden onboard`",
    )
    parser.add_argument(
        "--counts",
        type=Path,
        metavar="TSV",
        help="in place of a truth table: counts by scan (scan_id, cohort, participant_id, n_cmb)",
    )
    parser.add_argument(
        "--readers",
        type=Path,
        metavar="TSV",
        help="truth tables of several readers in one: the same columns and 'reader'",
    )
    parser.add_argument(
        "--folds",
        type=Path,
        metavar="TSV",
        help="who is who (participant_id, person, family); folds.tsv beside the table if there is "
        "one. Participants that the models were tuned on are refused",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for evaluation.json and evaluation.md"
    )
    parser.add_argument(
        "--trust-coordinates",
        action="store_true",
        help="do not ask the images whether the truth's points are scanner RAS mm",
    )


def main(args: argparse.Namespace) -> int:
    """``cmburden evaluate DERIVATIVES TRUTH --out OUT``."""
    if (args.truth is None) == (args.counts is None):
        raise CMBurdenError(
            "give a truth table with places, or --counts with a table of counts: one of the two"
        )
    if args.counts:
        if args.readers:
            raise CMBurdenError("--readers needs a truth table with places; leave --counts away")
        result = run_counts(args.derivatives, args.counts, args.out, folds=args.folds)
        print(evaluation_sections.counts_table(result))
    else:
        result = run(
            args.derivatives,
            args.truth,
            args.out,
            folds=args.folds,
            readers=args.readers,
            trust_coordinates=args.trust_coordinates,
        )
        print(evaluation_page.seed_table(result))
    print(f"{args.out / 'evaluation.md'}")
    return 0


def run(
    derivatives: Path,
    truth: Path,
    out: Path,
    *,
    folds: Path | None = None,
    readers: Path | None = None,
    unseen: bool = False,
    trust_coordinates: bool = False,
) -> dict[str, Any]:
    """Evaluate and write ``out``/evaluation.json, evaluation.md and the figures that it links to.

    ``folds`` says who is who, ``readers`` holds the truth of each of several readers. ``unseen``:
    the caller answers for it that no model has seen its scans. With ``trust_coordinates`` the
    images are not asked whether the truth's points are scanner RAS mm. Returns the content of the
    JSON.

    Raises
    ------
    CMBurdenError
        When a table cannot be used, when its points are not scanner RAS mm, when none of its scans
        was read, or when the run's models were tuned on its participants.
    """
    # Matplotlib takes a second to start, for which other commands need not wait.
    from cmburden.evaluate import figures as evaluation_figures

    layout, rows = Layout(derivatives), read_truth(truth)
    of_readers = read_readers(readers) if readers else {}
    if not unseen:
        everybody = pd.concat([rows, *of_readers.values()])
        seen.refuse(layout, everybody, seen.folds_of(truth, folds))
    cases = gather(layout, rows)
    if not trust_coordinates:
        require_ras(layout, rows, truth)
    content = _measured(cases) | {"truth": {"origin": truth_origin.origin_of(truth, rows)}}
    if of_readers:
        content["readers"] = by_reader(layout, of_readers)
    result = _plain(content)
    write_json(out / "evaluation.json", result)
    evaluation_figures.draw(result, out)
    with whole_file(out / "evaluation.md") as temporary:
        temporary.write_text(evaluation_page.markdown(result), encoding="utf-8")
    return result


def run_counts(
    derivatives: Path, counts: Path, out: Path, *, folds: Path | None = None
) -> dict[str, Any]:
    """As :func:`run`, against a table of counts without places."""
    from cmburden.evaluate import figures as evaluation_figures

    layout, rows = Layout(derivatives), evaluation_counts.read_counts(counts)
    seen.refuse(layout, rows, seen.folds_of(counts, folds))
    used = ("scan", "count", "prevalence", "interval", "not read")
    result = _plain(
        {"conventions": {name: CONVENTIONS[name] for name in used}}
        | evaluation_counts.measured(evaluation_counts.gather(layout, rows))
        | {"truth": {"origin": truth_origin.origin_of(counts, rows)}}
    )
    write_json(out / "evaluation.json", result)
    evaluation_figures.draw(result, out, names=("counts",))
    with whole_file(out / "evaluation.md") as temporary:
        temporary.write_text(evaluation_sections.counts_page(result), encoding="utf-8")
    return result


def _measured(cases: Cases) -> dict[str, Any]:
    """Every measure of the cases, by the keys of evaluation.json."""
    froc = by_stratum(cases, evaluate_curves.froc)
    points = {
        stratum: {stage: entry["points"] for stage, entry in stages.items()}
        for stratum, stages in froc.items()
    }
    return {
        "conventions": CONVENTIONS,
        "scans": cases.counted,
        "per_scan": evaluate_measures.per_scan(cases),
        "lesion": by_stratum(cases, evaluate_measures.lesion),
        "lesion_parts": evaluate_measures.parts(cases),
        "froc": points.pop("all"),
        "froc_strata": points,
        "froc_curves": {
            stratum: {stage: entry["curve"] for stage, entry in stages.items()}
            for stratum, stages in froc.items()
        },
        "calibration": by_stratum(cases, evaluate_curves.calibration),
        "candidate": by_stratum(cases, evaluate_measures.candidate),
        "scan": by_stratum(cases, evaluate_measures.scan),
        "count": by_stratum(cases, evaluate_measures.count),
        "prevalence": evaluate_measures.prevalence(cases),
        "ablation": evaluate_curves.ablation(cases),
        "mimics": evaluate_measures.mimics(cases),
        "scanner": _by_scanner(cases),
        "seed": evaluation_page.SEED,
    }


def _by_scanner(cases: Cases) -> dict[str, dict[str, Any]]:
    """Lesions, candidates and scans by maker and by field strength, where these are known."""
    result = {}
    for variable in scanners.VARIABLES:
        for level in cases.levels(variable):
            chosen = set(cases.scans.loc[cases.scans[variable] == level, "scan_id"])
            own = cases.within(chosen)
            result[f"{variable}={level}"] = {
                measure.__name__: measure(own, f"{variable}={level}")
                for measure in (
                    evaluate_measures.lesion,
                    evaluate_measures.candidate,
                    evaluate_measures.scan,
                )
            }
    return result


def _plain(content: Any) -> Any:
    """``content`` in JSON's types: numpy numbers as Python's, None for NaN and infinity."""
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    if isinstance(content, (np.integer, np.floating)):
        content = content.item()
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
