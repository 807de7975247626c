"""Prevalence and mean count corrected for the detector's error, by one model of latent counts.

The detector's figures are those of the verifier's contract on scans like a population's. Where the
counts of this cohort speak against them, nothing is corrected, and a row says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.keys import seed_of
from cmburden.stats import latent, latent_fit
from cmburden.stats.intervals import median_and_ends
from cmburden.summary import corrected_patterns, detector_figures, guards, image_checks
from cmburden.summary.detector_figures import NO_FIGURES, THRESHOLDS, Figures
from cmburden.summary.guards import GRADES, Checked, Profile
from cmburden.summary.measures import (
    CorrectedMean,
    CorrectionCheck,
    Counted,
    DetectorRate,
    Likelihood,
    Prevalence,
    PrevalenceAt,
)
from cmburden.summary.rows import WILSON, Row, not_estimated, of_stratum, row, share
from cmburden.summary.strata import MISSING, Stratum

#: People of a contrast, and of a stratum, that a correction needs, and people with a lesion called
#: that a term of the model needs.
LEAST_PEOPLE, LEAST_OF_STRATUM, EVENTS_PER_TERM = 20, 10, 5
#: Multiples of the contract's false positives a scan at which the profile is drawn.
_MULTIPLES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
_HOW = (
    "latent counts: negative binomial microbleeds, each called with the detector's sensitivity, "
    "plus negative binomial false positives; posterior median and 95 % interval"
)
#: The detector's figures by (threshold, contrast), each checked against the cohort.
DetectorErrors = Mapping[tuple[str, str], Checked]


def presence_counts(called: np.ndarray, real: np.ndarray) -> dict[str, int]:
    """Numbers of scans (n,) with and without a microbleed (``real``) by whether ``called``."""
    return {
        "positive_scans": int(real.sum()),
        "positive_found": int((called & real).sum()),
        "negative_scans": int((~real).sum()),
        "negative_clean": int((~called & ~real).sum()),
    }


# --- the detector's figures, checked ---


def detector_errors(
    participants: pd.DataFrame,
    scans: pd.DataFrame,
    contract: Mapping[str, Any] | None,
    in_use: Mapping[str, float] | None = None,
) -> DetectorErrors:
    """The detector's figures at each threshold, for each contrast of the usable participants.

    ``participants`` and ``scans`` of their contracts. ``in_use``: the thresholds in use; figures of
    another threshold do not apply.
    """
    stated, moved = detector_figures.of_contract(contract), _moved(contract, in_use)
    ranges = image_checks.domain_of(dict(contract) if contract else None)
    result = {}
    for contrast, people in _usable(participants).groupby("contrast", sort=True):
        chosen = scans[scans["scan_id"].isin(people["scan_id"])]
        for threshold, counts in counts_of(people).items():
            key = (threshold, str(contrast))
            figures, why = stated.get(key), None
            if figures is None:
                why = NO_FIGURES
            elif threshold in moved:
                why = (
                    f"the contract's figures are of a {threshold} threshold of "
                    f"{moved[threshold][0]:g}, and verify.thresholds sets {moved[threshold][1]:g}"
                )
            elif len(people) < LEAST_PEOPLE:
                why = f"{len(people)} participants; a correction needs {LEAST_PEOPLE}"
            if figures is None or why:
                result[key] = Checked(figures, why=why)
                continue
            checks = guards.checks(people, counts, figures)
            if of_domain := guards.domain(chosen, ranges):
                checks += (of_domain,)
            result[key] = Checked(figures, checks)
    return result


def _usable(participants: pd.DataFrame) -> pd.DataFrame:
    return participants[participants["scan_id"].notna() & participants["n_cmb"].notna()]


def counts_of(people: pd.DataFrame) -> dict[str, np.ndarray]:
    """Lesions called of each participant, int (n,), at each threshold."""
    definite = people["n_cmb"].to_numpy(dtype=int)
    possible = people["n_possible"].fillna(0).to_numpy(dtype=int)
    return {"definite": definite, "possible": definite + possible}


def _moved(
    contract: Mapping[str, Any] | None, in_use: Mapping[str, float] | None
) -> dict[str, tuple[float, float]]:
    """Thresholds in use that are not the contract's: name to (contract's, in use)."""
    stated = (contract or {}).get("thresholds")
    stated = stated if isinstance(stated, Mapping) else {}
    return {
        name: (stated[name], value)
        for name, value in (in_use or {}).items()
        if name in stated and stated[name] != value
    }


# --- rows of `summary` ---


def rows(
    participants: pd.DataFrame,
    errors: DetectorErrors,
    variables: Iterable[str] = (),
    cluster: pd.Series | None = None,
    weights: pd.Series | None = None,
) -> Iterator[Row]:
    """Apparent and corrected prevalence of each contrast and its strata, and what they rest on.

    ``participants``: rows of the contract. ``errors``: of ``detector_errors``. ``variables``:
    columns whose levels are strata, beside age bands. ``cluster``: by participant_id; people of one
    cluster are alike. ``weights``: by participant_id; the averages over people are weighted, the
    model is not.
    """
    usable = _usable(participants)
    names = [
        name for name in dict.fromkeys(["age_band", "cohort", *variables]) if name != "contrast"
    ]
    for contrast, people in usable.groupby("contrast", sort=True):
        for threshold, counts in counts_of(people).items():
            called = _Called(str(contrast), people, counts, THRESHOLDS[threshold], cluster, weights)
            checked = errors.get((threshold, str(contrast)), Checked(None, why=NO_FIGURES))
            yield from of_stratum(Stratum(contrast=str(contrast)), _of_contrast(called, checked))
            if threshold == "definite":
                for name in names:
                    yield from _by_variable(called, checked, name)
                patterns = corrected_patterns.rows(people, checked, str(contrast))
                yield from of_stratum(Stratum(contrast=str(contrast)), patterns)


@dataclasses.dataclass(frozen=True)
class _Called:
    """``counts`` (n,) of lesions ``of`` the threshold, called in scans of ``people``."""

    contrast: str
    people: pd.DataFrame
    counts: np.ndarray
    of: Counted
    cluster: pd.Series | None
    weights: pd.Series | None

    @property
    def positive(self) -> int:
        return int((self.counts > 0).sum())

    def weights_of(self, members: np.ndarray) -> np.ndarray | None:
        """Weights of those ``members`` (n,) bool, 0 for who has none; None without weights."""
        if self.weights is None:
            return None
        ids = self.people["participant_id"][members]
        result: np.ndarray = ids.map(self.weights).fillna(0.0).to_numpy(dtype=float)
        return result

    def posterior(self, matrix: np.ndarray, figures: Figures) -> latent_fit.Posterior:
        cluster = None
        if self.cluster is not None:
            ids = self.people["participant_id"]
            cluster = ids.map(self.cluster).fillna(ids).to_numpy(dtype=object)
        observed = latent.Observed(
            self.counts, matrix, np.zeros(len(self.counts), int), cluster=cluster
        )
        random = np.random.default_rng(seed_of("latent counts", self.contrast, self.of))
        return latent_fit.posterior(latent.Model(observed, [figures.validation]), random)


def _of_contrast(called: _Called, checked: Checked) -> Iterator[Row]:
    yield share(Prevalence("apparent", called.of), called.positive, len(called.counts))
    if checked.figures is not None:
        yield from _figures(checked.figures, called.of)
    for check in checks_in_order(checked):
        place = float(GRADES.index(check.grade))
        method = f"{check.grade}: {check.sentence}"
        measure = CorrectionCheck(check.what, called.of)
        yield row(measure, place, called.positive, len(called.counts), method)
    if checked.figures is None or checked.refusal:
        yield from _refused(called, np.ones(len(called.counts), bool), str(checked.refusal))
        return
    matrix = guards.age_matrix(called.people, called.counts)
    everybody = np.ones(len(called.counts), bool)
    try:
        posterior = called.posterior(matrix, checked.figures)
        yield from _corrected(called, checked, posterior, matrix, everybody)
        if not called.of:
            yield from _profile(called, checked.figures)
    except latent_fit.FitError as error:
        yield from _refused(called, everybody, str(error))


def checks_in_order(checked: Checked) -> list[guards.Check]:
    """The checks, the gravest first."""
    return sorted(checked.checks, key=lambda check: -GRADES.index(check.grade))


def _figures(figures: Figures, of: Counted) -> Iterator[Row]:
    method = f"{WILSON}; {figures.source}"
    shares: tuple[tuple[Any, int, int], ...] = (
        ("presence sensitivity", figures.positive_found, figures.positive_scans),
        ("specificity", figures.negative_clean, figures.negative_scans),
        (
            "false-positive floor",
            figures.negative_scans - figures.negative_clean,
            figures.negative_scans,
        ),
    )
    for rate, part, whole in shares:
        yield share(DetectorRate(rate, of), part, whole, method)
    how = f"of microbleeds; design effect {figures.effect:.2f} of microbleeds in scans"
    low, high = guards.wilson(figures.found / figures.effect, figures.microbleeds / figures.effect)
    yield row(
        DetectorRate("sensitivity", of),
        figures.sensitivity,
        figures.found,
        figures.microbleeds,
        f"{how}; {method}",
        low,
        high,
    )
    low, high = figures.false_positives_interval
    yield row(
        DetectorRate("false positives per scan", of),
        figures.false_positives,
        round(figures.false_positives * figures.scans),
        figures.scans,
        f"log-normal 95 % interval with the variance of scans; {figures.source}",
        low,
        high,
    )


def _refused(called: _Called, members: np.ndarray, why: str) -> Iterator[Row]:
    positive, total = int((called.counts[members] > 0).sum()), int(members.sum())
    for measure in (Prevalence("corrected", called.of), CorrectedMean(called.of)):
        yield row(measure, None, positive, total, not_estimated(why))


def _corrected(
    called: _Called,
    checked: Checked,
    posterior: latent_fit.Posterior,
    matrix: np.ndarray,
    members: np.ndarray,
) -> Iterator[Row]:
    """Corrected prevalence and mean of the people that ``members`` (n,) bool says."""
    assert checked.figures is not None
    random = np.random.default_rng(seed_of("people", called.contrast, called.of, members.tolist()))
    weights = called.weights_of(members)
    if weights is not None and not weights.sum() > 0:
        yield from _refused(called, members, "nobody of the stratum has a weight")
        return
    drawn = posterior.averages(matrix[members], random, weights)
    how = _HOW if weights is None else f"{_HOW}; averages weighted, the model not"
    method = "; ".join([how, checked.figures.source, *checked.warnings])
    positive, total = int((called.counts[members] > 0).sum()), int(members.sum())
    for measure, draws in zip(
        (Prevalence("corrected", called.of), CorrectedMean(called.of)), drawn, strict=True
    ):
        estimate, low, high = median_and_ends(draws)
        yield row(measure, estimate, positive, total, method, low, high)


def _profile(called: _Called, figures: Figures) -> Iterator[Row]:
    """Corrected prevalence and likelihood of the counts at other false positives a scan."""
    profile = Profile.of(called.people, called.counts, figures)
    _, best = profile.at(level=np.nan)
    positive, total = called.positive, len(called.counts)
    for multiple in _MULTIPLES:
        theta, height = profile.at(level=float(np.log(multiple)))
        rate = round(float(np.exp(theta[profile.model.group_at(0) + 1])) * multiple, 3)
        how = "latent counts, false positives a scan fixed; most probable value"
        at = PrevalenceAt(rate, called.of)
        yield row(at, profile.prevalence(theta), positive, total, how)
        how = "of the counts, over the likelihood at the number that fits them best"
        likelihood = float(np.exp(min(height - best, 0.0)))
        yield row(Likelihood(rate, called.of), likelihood, positive, total, how)


# --- strata ---


def _by_variable(called: _Called, checked: Checked, name: str) -> Iterator[Row]:
    """Corrected rows of each level of a column, of one model with age and the levels."""
    if name not in called.people or called.people[name].isna().all():
        return
    levels = called.people[name].astype("string").fillna(MISSING).to_numpy(dtype=object)
    posterior, why = None, checked.refusal
    small = _too_small(called, levels)
    matrix = _with_levels(called, levels, small if name != "age_band" else set(levels))
    if why is None and checked.figures is not None:
        try:
            posterior = called.posterior(matrix, checked.figures)
        except latent_fit.FitError as error:
            why = str(error)
    for level in sorted(set(levels)):
        members = levels == level
        rows_ = _of_level(called, checked, posterior, matrix, members, why, level in small, name)
        yield from of_stratum(_stratum(called.contrast, name, str(level)), rows_)


def _stratum(contrast: str, name: str, level: str) -> Stratum:
    if name == "cohort":
        return Stratum(cohort=level, contrast=contrast)
    return Stratum(contrast=contrast, **{name: level})


def _of_level(
    called: _Called,
    checked: Checked,
    posterior: latent_fit.Posterior | None,
    matrix: np.ndarray,
    members: np.ndarray,
    why: str | None,
    small: bool,
    name: str,
) -> Iterator[Row]:
    total = int(members.sum())
    if why is None and total < LEAST_OF_STRATUM:
        why = f"{total} participants of the stratum; a correction needs {LEAST_OF_STRATUM}"
    elif why is None and name == "age_band" and matrix.shape[1] < 2:
        why = (
            f"the model has no age: that needs {EVENTS_PER_TERM} participants with a lesion called"
        )
    elif why is None and name != "age_band" and small:
        positive = int((called.counts[members] > 0).sum())
        why = (
            f"{positive} participants of the stratum have a lesion called; a correction needs "
            f"{EVENTS_PER_TERM}"
        )
    if why is not None or posterior is None:
        yield from _refused(called, members, str(why))
        return
    yield from _corrected(called, checked, posterior, matrix, members)


def _too_small(called: _Called, levels: np.ndarray) -> set[str]:
    """Levels that have no term of their own: too few people with a lesion called."""
    positive = called.counts > 0
    return {
        str(level)
        for level in set(levels)
        if (levels == level).sum() < LEAST_OF_STRATUM
        or positive[levels == level].sum() < EVENTS_PER_TERM
    }


def _with_levels(called: _Called, levels: np.ndarray, small: set[str]) -> np.ndarray:
    """A constant, age, and a column a level but the largest; small levels are one level."""
    base = guards.age_matrix(called.people, called.counts)
    merged = np.where(np.isin(levels.astype(str), list(small)), "", levels.astype(str))
    names, numbers = np.unique(merged, return_counts=True)
    against = [name for name in names if name != names[numbers.argmax()]]
    return np.column_stack([base, *((merged == name) * 1.0 for name in against)])
