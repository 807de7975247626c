"""Measures of an evaluation: lesions, candidates, scans, counts, prevalence, with intervals.

Each measure takes cases and a name that seeds its bootstrap. It returns plain numbers and
estimates: ``{"estimate", "ci_low", "ci_high"}``. A bootstrap cannot leave 0 and 1: shares have
intervals of `shares`, and other measures the percentile bootstrap over participants.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.evaluate import shares
from cmburden.evaluate.cases import Cases
from cmburden.stats import agreement
from cmburden.stats.intervals import auc_interval

#: Bootstrap draws of each measure.
DRAWS = 1000
#: Percentiles of the draws that bound a 95 % interval.
_INTERVAL = (2.5, 97.5)
#: Lower edges of the bins of a scan's count, for kappa: 0, 1, 2-4, 5 and more.
BIN_EDGES = (0, 1, 2, 5)
#: Name, lower and upper edge (mm) of the classes of diameter.
DIAMETERS = (("<3 mm", 0.0, 3.0), ("3-5 mm", 3.0, 5.0), (">5 mm", 5.0, math.inf))

Estimate = dict[str, float]
#: Statistics of a sample, by name. The sample is an array (people,): how often each participant
#: is in it.
Statistics = Callable[[np.ndarray], dict[str, float]]


def by_stratum(
    cases: Cases, measure: Callable[[Cases, str], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """``measure`` over all scans, each cohort and each contrast."""
    strata = {"all": measure(cases, "all")}
    for variable in ("cohort", "contrast"):
        for level in cases.levels(variable):
            strata[f"{variable}={level}"] = measure(cases.only(variable, level), level)
    return strata


def levels_of(strata: dict[str, Any], variable: str) -> dict[str, Any]:
    """The entries of one variable in a result of :func:`by_stratum`, by level.

    >>> levels_of({"all": 1, "cohort=A": 2, "contrast=GRE": 3}, "cohort")
    {'A': 2}
    """
    return {
        stratum.removeprefix(f"{variable}="): entry
        for stratum, entry in strata.items()
        if stratum.startswith(f"{variable}=")
    }


def estimates(cases: Cases, seed: str, statistics: Statistics) -> dict[str, Estimate]:
    """Each statistic with its interval by bootstrap.

    ``statistics`` gives the estimate for a sample with every participant once. The ends are NaN
    where no draw has a finite value, and where all draws are alike: that is no certainty.
    """
    there = np.unique(cases.scans["person"])
    ones = np.zeros(cases.people, int)
    ones[there] = 1
    point = statistics(ones)
    random = np.random.default_rng(seed_of("evaluate", seed))
    draws = []
    for _ in range(DRAWS):
        drawn = random.choice(there, size=len(there))
        draws.append(list(statistics(np.bincount(drawn, minlength=cases.people)).values()))
    table = np.array(draws, dtype=float)
    result = {}
    for number, (name, value) in enumerate(point.items()):
        column = table[:, number][np.isfinite(table[:, number])]
        low, high = np.percentile(column, _INTERVAL) if len(column) else (math.nan, math.nan)
        if low == high:
            low = high = math.nan
        result[name] = {"estimate": value, "ci_low": low, "ci_high": high}
    return result


def ratio(part: float, whole: float) -> float:
    """``part`` over ``whole``; NaN where ``whole`` is 0."""
    return float(part / whole) if whole else math.nan


def _f1(tp: float, fp: float, fn: float) -> float:
    return ratio(2 * tp, 2 * tp + fp + fn)


def lesion(cases: Cases, seed: str) -> dict[str, Any]:
    """Lesion level: definite lesions against microbleeds, with false positives per scan."""
    scans = cases.scans
    person, tp, fp, real = (scans[name].to_numpy() for name in ("person", "tp", "fp", "n_true"))
    clean = real == 0

    def statistics(sample: np.ndarray) -> dict[str, float]:
        w = sample[person]
        hits, wrong, all_real = (w * tp).sum(), (w * fp).sum(), (w * real).sum()
        return {
            "sensitivity": ratio(hits, all_real),
            "precision": ratio(hits, hits + wrong),
            "f1": _f1(hits, wrong, all_real - hits),
            "fp_per_scan": ratio(wrong, w.sum()),
            "fp_per_scan_without_microbleeds": ratio((w * fp)[clean].sum(), w[clean].sum()),
        }

    numbers = {
        "scans": len(scans),
        "scans_without_microbleeds": int(clean.sum()),
        "microbleeds": int(real.sum()),
        "tp": int(tp.sum()),
        "fp": int(fp.sum()),
    }
    made = estimates(cases, f"lesion {seed}", statistics)
    missed = real - tp
    ends = {
        "sensitivity": shares.of_counts(tp, real, person),
        "precision": shares.of_counts(tp, tp + fp, person),
        "f1": shares.f1(tp, fp, missed, person),
    }
    rates = {
        "fp_per_scan": shares.rate(fp, person),
        "fp_per_scan_without_microbleeds": shares.rate(fp[clean], person[clean]),
    }
    return numbers | shares.with_ends(made, ends) | shares.at_zero(made, rates)


def parts(cases: Cases) -> dict[str, Any]:
    """Sensitivity by group, region and diameter of the microbleeds; false positives by group."""
    real = cases.real
    by_place = {
        variable: {
            level: _sensitivity(real[real[variable] == level])
            for level in sorted(set(real[variable].dropna()))
        }
        for variable in ("group", "region")
    }
    diameter = real["diameter"]
    by_diameter = {
        name: _sensitivity(real[(diameter >= low) & (diameter < high)])
        for name, low, high in DIAMETERS
    }
    wrong = cases.candidates[cases.candidates["decided"] & ~cases.candidates["right"]]
    fp_group = {
        group: {"fp": len(rows), "fp_per_scan": len(rows) / len(cases.scans)}
        for group, rows in wrong.groupby("group")
    }
    return by_place | {"diameter": by_diameter, "fp_group": fp_group}


def _sensitivity(microbleeds: pd.DataFrame) -> dict[str, Any]:
    """Sensitivity for some rows of ``cases.real``."""
    person, found = microbleeds["person"].to_numpy(), microbleeds["found"].to_numpy(dtype=float)
    sensitivity = shares.estimate(found, np.ones(len(found)), person)
    return {"microbleeds": len(microbleeds), "tp": int(found.sum()), "sensitivity": sensitivity}


def candidate(cases: Cases, seed: str) -> dict[str, Any]:
    """Candidate level: the decision and the probability against which candidates are true.

    Microbleeds without a candidate are false negatives, except in the AUC.
    """
    rows = cases.candidates
    person, score = rows["person"].to_numpy(), rows["final"].to_numpy()
    true, decided = rows["hit_final"].to_numpy(), rows["decided"].to_numpy()
    people = cases.scans["person"].to_numpy()
    real = cases.scans["n_true"].to_numpy()

    def statistics(sample: np.ndarray) -> dict[str, float]:
        w = sample[person]
        tp, fp = (w * (true & decided)).sum(), (w * (~true & decided)).sum()
        tn = (w * (~true & ~decided)).sum()
        all_real = (sample[people] * real).sum()
        sensitivity, specificity = ratio(tp, all_real), ratio(tn, tn + fp)
        again = np.repeat(np.arange(len(w)), w)
        return {
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "auc": agreement.auc(score[again], true[again]),
            "precision": ratio(tp, tp + fp),
            "sensitivity": sensitivity,
            "f1": _f1(tp, fp, all_real - tp),
            "specificity": specificity,
        }

    numbers = {
        "candidates": len(rows),
        "true_candidates": int(true.sum()),
        "microbleeds_without_candidate": int(real.sum() - true.sum()),
    }
    made = estimates(cases, f"candidate {seed}", statistics)
    return numbers | shares.with_ends(made, _candidate_ends(cases, made["auc"]["estimate"]))


def _candidate_ends(cases: Cases, auc: float) -> dict[str, shares.Ends]:
    """Intervals of the measures of :func:`candidate`. That of the AUC is the bootstrap's but where
    the AUC is 1 or 0: there each participant counts as one positive and one negative."""
    rows, scans = cases.candidates, cases.scans
    person, people = rows["person"].to_numpy(), scans["person"].to_numpy()
    true, decided = (rows[name].to_numpy(dtype=bool) for name in ("hit_final", "decided"))
    real, size = scans["n_true"].to_numpy(), cases.people
    tp = np.bincount(person[true & decided], minlength=size)
    fp = np.bincount(person[~true & decided], minlength=size)
    tn = np.bincount(person[~true & ~decided], minlength=size)
    everybody = np.arange(size)
    all_real = np.bincount(people, real, minlength=size).astype(int)
    sensitivity = shares.of_counts(tp, all_real, everybody)
    specificity = shares.of_counts(tn, tn + fp, everybody)
    ends = {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": shares.of_counts(tp, tp + fp, everybody),
        "f1": shares.f1(tp, fp, all_real - tp, everybody),
        "balanced_accuracy": shares.mean_of_two(
            (ratio(tp.sum(), all_real.sum()), *sensitivity),
            (ratio(tn.sum(), (tn + fp).sum()), *specificity),
        ),
    }
    if auc in (0.0, 1.0):
        positive, negative = (len(np.unique(person[which])) for which in (true, ~true))
        ends["auc"] = auc_interval(auc, positive, negative)
    return ends


def scan(cases: Cases, seed: str) -> dict[str, Any]:
    """Scan level: presence of any microbleed, and kappa of the binned counts."""
    scans = cases.scans
    person, top = scans["person"].to_numpy(), scans["top"].to_numpy()
    real, pred = scans["n_true"].to_numpy(), scans["n_pred"].to_numpy()
    bins = len(BIN_EDGES)
    real_bin, pred_bin = (np.searchsorted(BIN_EDGES, n, side="right") - 1 for n in (real, pred))

    def statistics(sample: np.ndarray) -> dict[str, float]:
        w = sample[person]
        again = np.repeat(np.arange(len(w)), w)
        table = np.zeros((bins, bins))
        np.add.at(table, (real_bin, pred_bin), w)
        return {
            "sensitivity": ratio((w * ((real > 0) & (pred > 0))).sum(), (w * (real > 0)).sum()),
            "specificity": ratio((w * ((real == 0) & (pred == 0))).sum(), (w * (real == 0)).sum()),
            "auc": agreement.auc(top[again], real[again] > 0),
            "weighted_kappa": agreement.weighted_kappa(table),
        }

    numbers = {"scans": len(scans), "with_microbleeds": int((real > 0).sum())}
    made = estimates(cases, f"scan {seed}", statistics)
    positive = real > 0
    # A participant with several scans counts as one.
    people = [len(np.unique(person[which])) for which in (positive, ~positive)]
    ends = {
        "sensitivity": shares.of_counts(positive & (pred > 0), positive, person),
        "specificity": shares.of_counts(~positive & (pred == 0), ~positive, person),
        "auc": auc_interval(made["auc"]["estimate"], *people),
    }
    return numbers | shares.with_ends(made, ends)


def count(cases: Cases, seed: str) -> dict[str, Any]:
    """Agreement of the scans' counts: ICC(2,1), mean absolute error, Bland-Altman of the logs."""
    scans = cases.scans
    person = scans["person"].to_numpy()
    real, pred = (scans[name].to_numpy(dtype=float) for name in ("n_true", "n_pred"))

    def statistics(sample: np.ndarray) -> dict[str, float]:
        again = np.repeat(np.arange(len(real)), sample[person])
        difference = agreement.bland_altman(np.log1p(pred[again]), np.log1p(real[again]))
        return {
            "icc_2_1": agreement.icc(np.column_stack([pred[again], real[again]])).estimate,
            "mean_absolute_error": float(np.abs(pred - real)[again].mean()),
            "log1p_bias": difference["bias"],
            "log1p_lower": difference["lower"],
            "log1p_upper": difference["upper"],
        }

    return {"scans": len(scans)} | estimates(cases, f"count {seed}", statistics)


def prevalence(cases: Cases) -> dict[str, Any]:
    """True, apparent and corrected prevalence of scans, by cohort; Se and Sp from the others."""
    return {name: _prevalence(cases, name) for name in sorted(set(cases.scans["cohort"]))}


def _prevalence(cases: Cases, cohort: str) -> dict[str, Any]:
    scans = cases.scans
    person, inside = scans["person"].to_numpy(), scans["cohort"].to_numpy() == cohort
    real, pred = (scans[name].to_numpy() > 0 for name in ("n_true", "n_pred"))

    def statistics(sample: np.ndarray) -> dict[str, float]:
        w = sample[person]
        other = w * ~inside
        sensitivity = ratio((other * (real & pred)).sum(), (other * real).sum())
        specificity = ratio((other * (~real & ~pred)).sum(), (other * ~real).sum())
        apparent = ratio((w * inside * pred).sum(), (w * inside).sum())
        return {
            "true": ratio((w * inside * real).sum(), (w * inside).sum()),
            "apparent": apparent,
            "corrected": agreement.rogan_gladen(apparent, sensitivity, specificity),
        }

    # The draws are over all participants: the uncertainty includes the other cohorts' error.
    made = estimates(cases, f"prevalence {cohort}", statistics)
    ends = {
        "true": shares.of_counts(inside & real, inside, person),
        "apparent": shares.of_counts(inside & pred, inside, person),
    }
    return {"scans": int(inside.sum())} | shares.with_ends(made, ends)


def per_scan(cases: Cases) -> list[dict[str, Any]]:
    """Each scan's true and predicted count: the rows of the figure of the counts."""
    columns = ["scan_id", "cohort", "contrast", "n_true", "n_pred"]
    return cases.scans[columns].to_dict("records")


def mimics(cases: Cases) -> dict[str, Any]:
    """How many mimics of each kind were called a definite microbleed."""
    return {
        kind: {"mimics": len(rows), "called": int(rows["called"].sum())}
        for kind, rows in cases.mimics.groupby("kind")
    }
