"""Predictions against a truth table: lesions, candidates, scans, counts, cohorts, each stage.

The conventions are written into the result itself, beside the figures (``CONVENTIONS``).
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden import agreement, burden, evaluation_page
from cmburden.errors import CMBurdenError
from cmburden.matching import hits_by_score, hungarian
from cmburden.paths import Layout
from cmburden.records import seed_of, whole_file, write_json
from cmburden.summary import read_contract
from cmburden.tables import CANDIDATES, LESIONS, SCANS, TRUTH

_DRAWS = 1000
FROC_POINTS = (0.1, 0.25, 0.5, 1.0, 2.0)
BIN_EDGES = (0, 1, 2, 5)
DIAMETERS = (("<3 mm", 0.0, 3.0), ("3-5 mm", 3.0, 5.0), (">5 mm", 5.0, math.inf))
#: Stages of the ablation: name, what its score is.
STAGES = {
    "cnn": "3D CNN alone (p_cnn)",
    "cnn_yolo": "3D CNN and YOLO (geometric mean of p_cnn and p_yolo)",
    "final": "with place and shape (calibrated probability)",
}
CONVENTIONS = {
    "hit": "one-to-one (Hungarian) matching of centres in scanner mm; a hit lies within "
    "max(3 mm, radius of the lesion); half the slice thickness is not added",
    "prediction": "a lesion labelled definite that is no macrohaemorrhage; 'possible' counts "
    "neither way",
    "froc": "sensitivity at a number of false positives per scan as the score's threshold falls; "
    "lesions too large for a microbleed are not taken out",
    "candidate": "cases are the candidates of the CNN; a candidate is true where the largest "
    "one-to-one matching, taken by falling probability, gives it a microbleed; the decision is "
    "'definite'; microbleeds without a candidate are false negatives in sensitivity, balanced "
    "accuracy and F1; AUC is over candidates alone, by probability",
    "scan": "presence: at least one microbleed; score of a scan: its highest probability; kappa: "
    "quadratic weights over bins 0, 1, 2-4, >=5",
    "count": "ICC(2,1), absolute agreement; Bland-Altman of log(1 + count), predicted - true",
    "prevalence": "Rogan-Gladen with sensitivity and specificity of the other cohorts' scans, "
    "since those of the same scans would give the truth back",
    "interval": f"95 %, percentile bootstrap over participants, {_DRAWS} draws, seeded",
    "not read": "failed and excluded scans take no part; their number and that of their "
    "microbleeds is given",
}


@dataclasses.dataclass
class _Cases:
    """What is evaluated, in arrays. Participants are numbered; every row knows its own."""

    scans: pd.DataFrame  # scan_id, cohort, contrast, person, n_true, n_pred, top, fp
    real: pd.DataFrame  # microbleeds: scan_id, person, group, region, diameter, found ...
    candidates: pd.DataFrame  # scan_id, person, hit_cnn, hit_cnn_yolo, hit_final, decided ...
    mimics: pd.DataFrame  # kind, called
    people: int
    counted: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("derivatives", type=Path, help="output folder of `cmburden run`")
    parser.add_argument("truth", type=Path, help="truth table (TSV), such as truth.tsv of the demo")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for evaluation.json and evaluation.md"
    )


def main(args: argparse.Namespace) -> int:
    result = run(args.derivatives, args.truth, args.out)
    print(evaluation_page.seed_table(result))
    print(f"{args.out / 'evaluation.md'}")
    return 0


def run(derivatives: Path, truth: Path, out: Path) -> dict[str, Any]:
    """Evaluate and write ``out``/evaluation.json and evaluation.md; returns what the JSON holds."""
    cases = _cases(Layout(derivatives), read_truth(truth))
    result = _plain(
        {
            "conventions": CONVENTIONS,
            "scans": cases.counted,
            "lesion": _by_stratum(cases, _lesion),
            "lesion_parts": _parts(cases),
            "froc": {stage: _froc(cases, stage) for stage in STAGES},
            "candidate": _by_stratum(cases, _candidate),
            "scan": _by_stratum(cases, _scan),
            "count": _by_stratum(cases, _count),
            "prevalence": _prevalence(cases),
            "ablation": _ablation(cases),
            "mimics": _mimics(cases),
            "seed": evaluation_page.SEED,
        }
    )
    write_json(out / "evaluation.json", result)
    with whole_file(out / "evaluation.md") as temporary:
        temporary.write_text(evaluation_page.markdown(result), encoding="utf-8")
    return result


def read_truth(path: Path) -> pd.DataFrame:
    """A truth table of ``tables.TRUTH``; n/a is missing."""
    try:
        rows = pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=True)
    except (OSError, ValueError) as error:
        raise CMBurdenError(f"{path}: not a readable truth table ({error})") from error
    needed = [column.name for column in TRUTH.columns if not column.nullable]
    needed += ["x_mm", "y_mm", "z_mm", "radius_mm"]
    missing = [name for name in needed if name not in rows]
    if missing:
        raise CMBurdenError(f"{path}: column(s) {', '.join(missing)} are missing")
    # A kind written 'none' is a level here, not a missing value.
    rows["kind"] = rows["kind"].fillna("none")
    text = [column.name for column in TRUTH.columns if column.kind == "str"]
    rows = rows.astype({name: object for name in text if name in rows})
    try:
        return TRUTH.frame(rows[[name for name in rows if name in TRUTH.names]])
    except (ValueError, TypeError) as error:
        raise CMBurdenError(f"{path}: {error}") from error


# --- gathering ---


def _cases(layout: Layout, truth: pd.DataFrame) -> _Cases:
    scans = SCANS.read(layout.table("scans"))
    candidates = _decided(CANDIDATES.read(layout.candidates), LESIONS.read(layout.table("lesions")))
    known = scans[scans["scan_id"].isin(truth["scan_id"])]
    read = known[known["status"] == "ok"].sort_values("scan_id").reset_index(drop=True)
    if read.empty:
        raise CMBurdenError(
            f"no scan of the truth table was read in {layout.root}: scan_id must agree"
        )
    cohorts = truth.drop_duplicates("scan_id").set_index("scan_id")
    read = read[["scan_id", "contrast", "n_cmb"]].assign(
        cohort=read["scan_id"].map(cohorts["cohort"]),
        participant_id=read["scan_id"].map(cohorts["participant_id"]),
    )
    read["person"], people = pd.factorize(read["participant_id"])
    real = truth[truth["kind"] == "microbleed"]
    rows = _matched(read, real, truth, candidates)
    unread = sorted(set(truth["scan_id"]) - set(read["scan_id"]))
    status = known.set_index("scan_id")["status"]
    return _Cases(
        *rows,
        people=len(people),
        counted={
            "in_truth": int(truth["scan_id"].nunique()),
            "read": len(read),
            "participants": len(people),
            "with_microbleeds": int((rows[0]["n_true"] > 0).sum()),
            "microbleeds": len(rows[1]),
            "not_read": [
                {"scan_id": scan_id, "status": status.get(scan_id, "not in the derivatives")}
                for scan_id in unread
            ],
            "microbleeds_not_read": int(real["scan_id"].isin(unread).sum()),
            "without_truth": int((~scans["scan_id"].isin(truth["scan_id"])).sum()),
        },
    )


def _decided(candidates: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """Candidates with their scores as numbers and ``decided``: counted as a microbleed."""
    kept = candidates[candidates["label"].isin(["definite", "possible"])]
    numbers = kept.assign(lesion_id=burden.lesion_numbers(kept))[
        ["scan_id", "candidate_id", "lesion_id"]
    ]
    large = lesions[["scan_id", "lesion_id", "macrohaemorrhage"]]
    large = numbers.merge(large, on=["scan_id", "lesion_id"], how="left")
    rows = candidates.merge(
        large[["scan_id", "candidate_id", "macrohaemorrhage"]],
        on=["scan_id", "candidate_id"],
        how="left",
    )
    p_cnn, p_yolo, final = (
        rows[name].fillna(0.0).to_numpy(dtype=float) for name in ("p_cnn", "p_yolo", "probability")
    )
    place = rows[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    return pd.DataFrame(
        {
            "scan_id": rows["scan_id"],
            "candidate_id": rows["candidate_id"].to_numpy(dtype=int),
            "x_mm": place[:, 0],
            "y_mm": place[:, 1],
            "z_mm": place[:, 2],
            "group": rows["group"].fillna("unknown"),
            "cnn": p_cnn,
            "cnn_yolo": np.sqrt(p_cnn * p_yolo),
            "final": final,
            "decided": (rows["label"] == "definite").fillna(False).to_numpy(dtype=bool)
            & ~rows["macrohaemorrhage"].fillna(False).to_numpy(dtype=bool),
        }
    )


def _matched(read, real, truth, candidates):
    """Scans, microbleeds, candidates and mimics with what was found of each."""
    places = ["x_mm", "y_mm", "z_mm"]
    of_scan = {key: dict(list(rows.groupby("scan_id"))) for key, rows in (
        ("real", real), ("candidates", candidates),
        ("mimics", truth[~truth["kind"].isin(["microbleed", "none"])]),
    )}  # fmt: skip
    scans, reals, founds, mimics = [], [], [], []
    for scan in read.itertuples():
        own = of_scan["candidates"].get(scan.scan_id, candidates.iloc[:0]).copy()
        lesions = of_scan["real"].get(scan.scan_id, real.iloc[:0]).copy()
        centres = lesions[places].to_numpy(dtype=float).reshape(-1, 3)
        radius = lesions["radius_mm"].to_numpy(dtype=float, na_value=np.nan)
        points = own[places].to_numpy(dtype=float)
        for stage in STAGES:
            own[f"hit_{stage}"] = hits_by_score(points, centres, radius, own[stage].to_numpy())
        decided = np.flatnonzero(own["decided"])
        pairs = hungarian(points[decided], centres, radius)
        found = np.zeros(len(lesions), bool)
        found[[lesion for _, lesion in pairs]] = True
        right = np.zeros(len(own), bool)
        right[decided[[candidate for candidate, _ in pairs]]] = True
        own["right"] = right
        lesions["found"] = found
        odd = of_scan["mimics"].get(scan.scan_id)
        if odd is not None:
            wrong = points[decided][~right[decided]]
            called = np.zeros(len(odd), bool)
            pairs = hungarian(
                wrong,
                odd[places].to_numpy(dtype=float, na_value=np.inf),
                odd["radius_mm"].to_numpy(dtype=float, na_value=np.nan),
            )
            called[[mimic for _, mimic in pairs]] = True
            mimics.append(odd[["scan_id", "kind"]].assign(called=called))
        for rows in (own, lesions):
            rows["person"] = scan.person
            rows["cohort"], rows["contrast"] = scan.cohort, scan.contrast
        reals.append(lesions)
        founds.append(own)
        scans.append(
            {
                "n_true": len(lesions),
                "n_pred": int(scan.n_cmb),
                "top": float(own["final"].max()) if len(own) else 0.0,
                "tp": int(found.sum()),
                "fp": int(len(decided) - right.sum()),
            }
        )
    read = pd.concat([read.drop(columns="n_cmb"), pd.DataFrame(scans)], axis=1)
    real = pd.concat(reals, ignore_index=True)
    radius = real["radius_mm"].to_numpy(dtype=float, na_value=np.nan)
    return (
        read,
        real.assign(diameter=2 * radius),
        pd.concat(founds, ignore_index=True),
        pd.concat(mimics, ignore_index=True)
        if mimics
        else pd.DataFrame({"kind": [], "called": []}),
    )


# --- estimates with bootstrap ---


def _by_stratum(cases: _Cases, measure: Callable) -> dict[str, Any]:
    """``measure`` over all scans, each cohort and each contrast."""
    found = {"all": measure(cases, "all")}
    for variable in ("cohort", "contrast"):
        for level in sorted(set(cases.scans[variable].dropna())):
            found[f"{variable}={level}"] = measure(_only(cases, variable, level), level)
    return found


def _only(cases: _Cases, variable: str, level: str) -> _Cases:
    return dataclasses.replace(
        cases,
        scans=cases.scans[cases.scans[variable] == level],
        real=cases.real[cases.real[variable] == level],
        candidates=cases.candidates[cases.candidates[variable] == level],
    )


def _estimates(
    cases: _Cases, seed: str, statistics: Callable[[np.ndarray], dict[str, float]]
) -> dict[str, dict[str, float]]:
    """Each statistic with its interval.

    ``statistics`` takes how often each participant is in the sample (shape (people,)), and is
    called with ones for the estimate.
    """
    there = np.unique(cases.scans["person"])
    ones = np.zeros(cases.people, int)
    ones[there] = 1
    point = statistics(ones)
    random = np.random.default_rng(seed_of("evaluate", seed))
    draws = []
    for _ in range(_DRAWS):
        drawn = random.choice(there, size=len(there))
        draws.append(list(statistics(np.bincount(drawn, minlength=cases.people)).values()))
    table = np.array(draws, dtype=float)
    result = {}
    for number, (name, value) in enumerate(point.items()):
        column = table[:, number][np.isfinite(table[:, number])]
        low, high = np.percentile(column, [2.5, 97.5]) if len(column) else (math.nan, math.nan)
        result[name] = {"estimate": value, "ci_low": low, "ci_high": high}
    return result


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _f1(tp: float, fp: float, fn: float) -> float:
    return _ratio(2 * tp, 2 * tp + fp + fn)


def _lesion(cases: _Cases, seed: str) -> dict[str, Any]:
    scans = cases.scans
    person, tp, fp, real = (scans[name].to_numpy() for name in ("person", "tp", "fp", "n_true"))
    clean = real == 0

    def statistics(weight):
        w = weight[person]
        hits, wrong, all_real = (w * tp).sum(), (w * fp).sum(), (w * real).sum()
        return {
            "sensitivity": _ratio(hits, all_real),
            "precision": _ratio(hits, hits + wrong),
            "f1": _f1(hits, wrong, all_real - hits),
            "fp_per_scan": _ratio(wrong, w.sum()),
            "fp_per_scan_without_microbleeds": _ratio((w * fp)[clean].sum(), w[clean].sum()),
        }

    numbers = {
        "scans": len(scans),
        "scans_without_microbleeds": int(clean.sum()),
        "microbleeds": int(real.sum()),
        "tp": int(tp.sum()),
        "fp": int(fp.sum()),
    }
    return numbers | _estimates(cases, f"lesion {seed}", statistics)


def _parts(cases: _Cases) -> dict[str, Any]:
    """Sensitivity by group, region and diameter of the microbleeds; false positives by group."""
    real = cases.real
    parts: dict[str, Any] = {"group": {}, "region": {}, "diameter": {}, "fp_group": {}}

    def sensitivity(rows: pd.DataFrame, seed: str) -> dict[str, Any]:
        person, found = rows["person"].to_numpy(), rows["found"].to_numpy()

        def statistics(weight):
            w = weight[person]
            return {"sensitivity": _ratio((w * found).sum(), w.sum())}

        own = _estimates(cases, seed, statistics)
        return {"microbleeds": len(rows), "tp": int(found.sum())} | own

    for variable in ("group", "region"):
        for level in sorted(set(real[variable].dropna())):
            parts[variable][level] = sensitivity(real[real[variable] == level], level)
    for name, low, high in DIAMETERS:
        inside = (real["diameter"] >= low) & (real["diameter"] < high)
        parts["diameter"][name] = sensitivity(real[inside], name)
    wrong = cases.candidates[cases.candidates["decided"] & ~cases.candidates["right"]]
    for group, rows in wrong.groupby("group"):
        parts["fp_group"][group] = {"fp": len(rows), "fp_per_scan": len(rows) / len(cases.scans)}
    return parts


def _curve(cases: _Cases, stage: str, weight: np.ndarray, order: np.ndarray) -> tuple:
    """False positives per scan and sensitivity at each threshold, by falling score."""
    rows = cases.candidates
    w = weight[rows["person"].to_numpy()][order]
    hit = rows[f"hit_{stage}"].to_numpy()[order]
    score = rows[stage].to_numpy()[order]
    # Equal scores pass a threshold together.
    last = np.append(score[1:] != score[:-1], True) if len(score) else np.zeros(0, bool)
    people = cases.scans["person"].to_numpy()
    scans = weight[people].sum()
    real = (weight[people] * cases.scans["n_true"].to_numpy()).sum()
    fp = np.cumsum(w * ~hit)[last] / scans
    tp = np.cumsum(w * hit)[last] / real if real else np.full(int(last.sum()), math.nan)
    return fp, tp, score[last]


def _order(cases: _Cases, stage: str) -> np.ndarray:
    return np.argsort(-cases.candidates[stage].to_numpy(), kind="stable")


def _froc(cases: _Cases, stage: str) -> dict[str, Any]:
    order = _order(cases, stage)

    def statistics(weight):
        fp, tp, _ = _curve(cases, stage, weight, order)
        return {
            f"{point:g}": float(tp[fp <= point][-1]) if (fp <= point).any() else 0.0
            for point in FROC_POINTS
        }

    return _estimates(cases, f"froc {stage}", statistics)


def _candidate(cases: _Cases, seed: str) -> dict[str, Any]:
    rows = cases.candidates
    person, score = rows["person"].to_numpy(), rows["final"].to_numpy()
    true, decided = rows["hit_final"].to_numpy(), rows["decided"].to_numpy()
    people = cases.scans["person"].to_numpy()
    real = cases.scans["n_true"].to_numpy()

    def statistics(weight):
        w = weight[person]
        tp, fp = (w * (true & decided)).sum(), (w * (~true & decided)).sum()
        tn = (w * (~true & ~decided)).sum()
        all_real = (weight[people] * real).sum()
        sensitivity, specificity = _ratio(tp, all_real), _ratio(tn, tn + fp)
        again = np.repeat(np.arange(len(w)), w)
        return {
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "auc": agreement.auc(score[again], true[again]),
            "precision": _ratio(tp, tp + fp),
            "sensitivity": sensitivity,
            "f1": _f1(tp, fp, all_real - tp),
            "specificity": specificity,
        }

    numbers = {
        "candidates": len(rows),
        "true_candidates": int(true.sum()),
        "microbleeds_without_candidate": int(real.sum() - true.sum()),
    }
    return numbers | _estimates(cases, f"candidate {seed}", statistics)


def _scan(cases: _Cases, seed: str) -> dict[str, Any]:
    scans = cases.scans
    person, top = scans["person"].to_numpy(), scans["top"].to_numpy()
    real, pred = scans["n_true"].to_numpy(), scans["n_pred"].to_numpy()
    bins = len(BIN_EDGES)
    real_bin, pred_bin = (np.searchsorted(BIN_EDGES, n, side="right") - 1 for n in (real, pred))

    def statistics(weight):
        w = weight[person]
        again = np.repeat(np.arange(len(w)), w)
        table = np.zeros((bins, bins))
        np.add.at(table, (real_bin, pred_bin), w)
        return {
            "sensitivity": _ratio((w * ((real > 0) & (pred > 0))).sum(), (w * (real > 0)).sum()),
            "specificity": _ratio((w * ((real == 0) & (pred == 0))).sum(), (w * (real == 0)).sum()),
            "auc": agreement.auc(top[again], real[again] > 0),
            "weighted_kappa": agreement.weighted_kappa(table),
        }

    numbers = {"scans": len(scans), "with_microbleeds": int((real > 0).sum())}
    return numbers | _estimates(cases, f"scan {seed}", statistics)


def _count(cases: _Cases, seed: str) -> dict[str, Any]:
    scans = cases.scans
    person = scans["person"].to_numpy()
    real, pred = (scans[name].to_numpy(dtype=float) for name in ("n_true", "n_pred"))

    def statistics(weight):
        again = np.repeat(np.arange(len(real)), weight[person])
        difference = agreement.bland_altman(np.log1p(pred[again]), np.log1p(real[again]))
        return {
            "icc_2_1": agreement.icc_2_1(np.column_stack([pred[again], real[again]])),
            "mean_absolute_error": float(np.abs(pred - real)[again].mean()),
            "log1p_bias": difference["bias"],
            "log1p_lower": difference["lower"],
            "log1p_upper": difference["upper"],
        }

    return {"scans": len(scans)} | _estimates(cases, f"count {seed}", statistics)


def _prevalence(cases: _Cases) -> dict[str, Any]:
    """True, apparent and corrected prevalence of scans, by cohort; Se and Sp from the others."""
    scans = cases.scans
    person, cohort = scans["person"].to_numpy(), scans["cohort"].to_numpy()
    real, pred = (scans[name].to_numpy() > 0 for name in ("n_true", "n_pred"))
    found = {}
    for name in sorted(set(cohort)):
        own = cohort == name

        def statistics(weight, own=own):
            w = weight[person]
            other = w * ~own
            sensitivity = _ratio((other * (real & pred)).sum(), (other * real).sum())
            specificity = _ratio((other * (~real & ~pred)).sum(), (other * ~real).sum())
            apparent = _ratio((w * own * pred).sum(), (w * own).sum())
            return {
                "true": _ratio((w * own * real).sum(), (w * own).sum()),
                "apparent": apparent,
                "corrected": agreement.rogan_gladen(apparent, sensitivity, specificity),
            }

        # The draws are over everybody: the other cohorts' error is part of the uncertainty.
        found[name] = {"scans": int(own.sum())} | _estimates(
            cases, f"prevalence {name}", statistics
        )
    return found


def _ablation(cases: _Cases) -> dict[str, Any]:
    """Each stage at its own threshold and at the sensitivity of the whole."""
    everybody = np.zeros(cases.people, int)
    everybody[np.unique(cases.scans["person"])] = 1
    whole = _lesion(cases, "all")
    target = whole["sensitivity"]["estimate"]
    detector = (read_contract("models/detector") or {}).get("thresholds") or {}
    result: dict[str, Any] = {"target_sensitivity": target}
    for stage, words in STAGES.items():
        order = _order(cases, stage)
        fp, tp, score = _curve(cases, stage, everybody, order)
        reached = np.flatnonzero(tp >= target - 1e-12) if np.isfinite(target) else np.zeros(0, int)
        matched = {"threshold": None, "sensitivity": None, "fp_per_scan": None}
        if len(reached):
            first = reached[0]
            matched = {
                "threshold": float(score[first]),
                "sensitivity": float(tp[first]),
                "fp_per_scan": float(fp[first]),
            }
        entry = {"score": words, "matched": matched, "all_candidates": _at(fp, tp, score, -1.0)}
        if stage == "final":
            entry["own"] = {
                "threshold": "definite",
                "sensitivity": target,
                "fp_per_scan": whole["fp_per_scan"]["estimate"],
            }
        elif stage == "cnn" and isinstance(detector.get("p_cnn"), (int, float)):
            entry["own"] = _at(fp, tp, score, float(detector["p_cnn"]))
        result[stage] = entry
    return result


def _at(fp, tp, score, threshold: float) -> dict[str, float | None]:
    """Sensitivity and false positives per scan of the predictions at or above ``threshold``."""
    passed = np.flatnonzero(score >= threshold)
    place = passed[-1] if len(passed) else None
    return {
        "threshold": threshold if threshold >= 0 else None,
        "sensitivity": 0.0 if place is None else float(tp[place]),
        "fp_per_scan": 0.0 if place is None else float(fp[place]),
    }


def _mimics(cases: _Cases) -> dict[str, Any]:
    """How many mimics of each kind were called a definite microbleed."""
    return {
        kind: {"mimics": len(rows), "called": int(rows["called"].sum())}
        for kind, rows in cases.mimics.groupby("kind")
    }


def _plain(content: Any) -> Any:
    """JSON's types: no NaN, no numpy numbers."""
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    if isinstance(content, (np.integer, np.floating)):
        content = content.item()
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
