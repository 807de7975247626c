"""Whether the detector's figures can hold in a cohort: what the counts themselves say of them.

A check refuses, warns, or says what the counts cannot tell. A correction that is refused is no
number; a warning stands in the method of the number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from cmburden.stats import latent, latent_fit
from cmburden.stats.intervals import Z95, wilson
from cmburden.summary.detector_figures import Figures
from cmburden.summary.image_checks import outside

Grade = Literal["holds", "not told", "warning", "refused"]
What = Literal["floor", "mean", "age bands", "false positives", "false positives by age", "domain"]
#: Grades by severity; `summary` holds their places.
GRADES: tuple[Grade, ...] = ("holds", "not told", "warning", "refused")
#: p of a likelihood ratio below which the counts warn of the figures, and refuse them.
_WARNING_P, _REFUSED_P = 0.05, 0.005
#: Share of scans outside the validated domain above which the figures are not these scans'.
MOST_OUTSIDE = 0.1
#: People that an age band needs to speak against the figures.
_LEAST_BAND = 30
#: Alternatives that the counts should be able to exclude: a specificity as much lower or higher,
#: and false positives that rise so much a decade of age.
_OTHER_SPECIFICITY = 0.1
_OTHER_RISE = 1.6
#: Twice the log likelihood ratio that 95 % of samples stay below, 1 degree of freedom.
_CHI2_95 = 3.841
#: People that a test of age needs, and years between the 10th and 90th percentile of their ages.
_LEAST_AGED = 50
_LEAST_YEARS = 5.0


@dataclasses.dataclass(frozen=True)
class Check:
    """One check: what it looks at, its grade, and the sentence."""

    what: What
    grade: Grade
    sentence: str


@dataclasses.dataclass(frozen=True)
class Checked:
    """The detector's figures at a threshold and contrast, and what the checks say of them.

    ``figures`` is None where nobody measured them; ``why`` is then the sentence.
    """

    figures: Figures | None
    checks: tuple[Check, ...] = ()
    why: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why nothing can be corrected; None where it can."""
        refused = [check.sentence for check in self.checks if check.grade == "refused"]
        return self.why or (refused[0] if refused else None)

    @property
    def warnings(self) -> list[str]:
        """Sentences beside a corrected number, the gravest first."""
        order = sorted(self.checks, key=lambda check: -GRADES.index(check.grade))
        return [
            f"{check.grade}: {check.sentence}"
            for check in order
            if check.grade in ("warning", "not told")
        ]


def percent(share: float, digits: int = 1) -> str:
    """A share in words: '12.5 %'."""
    return f"{100 * share:.{digits}f} %"


def _ends(ends: tuple[float, float], digits: int = 1) -> str:
    return f"({100 * ends[0]:.{digits}f}-{100 * ends[1]:.{digits}f})"


def checks(people: pd.DataFrame, counts: np.ndarray, figures: Figures) -> tuple[Check, ...]:
    """All checks of ``counts`` (n,) of ``people`` of one contrast, but for the domain's."""
    return (
        _floor(counts, figures),
        _mean(counts, figures),
        *_bands(people, counts, figures),
        *_by_likelihood(people, counts, figures),
    )


def domain(scans: pd.DataFrame, ranges: Mapping[str, tuple[float, float]]) -> Check | None:
    """Whether the chosen ``scans`` lie in the figures' domain; None where no domain is stated."""
    beyond = outside(scans, dict(ranges))
    if not len(beyond.columns) or not len(scans):
        return None
    number = int(beyond.fillna(False).any(axis=1).sum())
    unknown = int(beyond.isna().all(axis=1).sum())
    if number > MOST_OUTSIDE * len(scans):
        return Check(
            "domain",
            "refused",
            f"{number} of {len(scans)} scans lie outside the acquisitions that the contract was "
            f"validated on (at most {percent(MOST_OUTSIDE, 0)} may); read some scans free-hand",
        )
    if unknown > len(scans) / 2:
        sentence = f"the acquisition of {unknown} of {len(scans)} scans is not known"
        return Check("domain", "not told", sentence)
    return Check("domain", "holds", f"{number} of {len(scans)} scans lie outside the domain")


# --- counts against the false positives ---


def _floor(counts: np.ndarray, figures: Figures) -> Check:
    """Apparent prevalence against the share of negative scans in which a lesion is called."""
    positive, total = int((counts > 0).sum()), len(counts)
    ends = wilson(positive, total)
    apparent = f"the apparent prevalence, {percent(positive / total)} {_ends(ends)}"
    floor = (
        f"the contract's false-positive share, {percent(figures.floor, 0)} "
        f"{_ends(figures.floor_interval, 0)}"
    )
    if ends[1] < figures.floor_interval[0]:
        return Check(
            "floor",
            "refused",
            f"{apparent}, lies below {floor}; its specificity does not hold in this cohort; read "
            "some scans free-hand",
        )
    if positive / total < figures.floor:
        sentence = f"{apparent}, is lower than {floor}: its specificity may not hold here"
        return Check("floor", "warning", sentence)
    return Check("floor", "holds", f"{apparent}, is not below {floor}")


def _mean(counts: np.ndarray, figures: Figures) -> Check:
    """Mean count against the false positives a scan."""
    mean, high = _upper(counts)
    low = figures.false_positives_interval[0]
    said = f"the mean count, {mean:.2f}"
    rate = f"the contract's false positives a scan, {figures.false_positives:.2f}"
    if high < low:
        sentence = f"{said}, lies below {rate}; they do not hold in this cohort"
        return Check("mean", "refused", f"{sentence}; read some scans free-hand")
    if mean <= figures.false_positives:
        return Check("mean", "warning", f"{said}, is no higher than {rate}")
    return Check("mean", "holds", f"{said}, is higher than {rate}")


def _upper(counts: np.ndarray) -> tuple[float, float]:
    """Mean and the upper end of its 95 % interval, by counts' own variance or Poisson's."""
    mean = float(counts.mean())
    variance = max(float(counts.var()), mean, 1 / len(counts))
    return mean, mean + Z95 * float(np.sqrt(variance / len(counts)))


def _bands(people: pd.DataFrame, counts: np.ndarray, figures: Figures) -> Iterator[Check]:
    """The age bands whose counts contradict the false positives; no check without an age."""
    if "age_band" not in people or people["age_band"].isna().all():
        return
    bands = people["age_band"].astype("string").fillna("").to_numpy(dtype=object)
    low = figures.false_positives_interval[0]
    against = []
    for band in sorted(set(bands) - {""}):
        of_band = counts[bands == band]
        if len(of_band) < _LEAST_BAND:
            continue
        mean, high = _upper(of_band)
        ends = wilson(int((of_band > 0).sum()), len(of_band))
        if high < low or ends[1] < figures.floor_interval[0]:
            against.append(f"{band} years (mean count {mean:.2f})")
    if not against:
        yield Check("age bands", "holds", "no age band has fewer lesions than false positives")
        return
    yield Check(
        "age bands",
        "warning",
        f"people of {', '.join(against)} have fewer lesions than the contract has false positives "
        f"a scan ({figures.false_positives:.2f}): these are fewer here, or rise with age",
    )


# --- the profile of the likelihood ---


@dataclasses.dataclass(frozen=True)
class Profile:
    """The latent-count model whose false positives may differ from the contract's here.

    ``at_figures``: the mode where they do not. Shifts: of the log of the false positives a scan,
    and of the same a decade of age where ages are known.
    """

    model: latent.Model
    at_figures: np.ndarray
    height: float

    @classmethod
    def of(cls, people: pd.DataFrame, counts: np.ndarray, figures: Figures) -> Profile:
        matrix = age_matrix(people, counts)
        observed = latent.Observed(counts, matrix, np.zeros(len(counts), int), matrix)
        model = latent.Model(observed, [figures.validation])
        return cls(model, *latent_fit.mode(model))

    def at(self, **shifts: float) -> tuple[np.ndarray, float]:
        """Mode and height with the shifts ``level`` and ``age`` fixed (0 if absent); NaN: free."""
        first, places = self.model.shift_at, {}
        for number, name in enumerate(("level", "age")[: self.model.free_shifts]):
            if not np.isnan(value := shifts.get(name, 0.0)):
                places[first + number] = value
        return latent_fit.mode(self.model, places, self.at_figures)

    @property
    def with_age(self) -> bool:
        return self.model.free_shifts > 1

    def prevalence(self, theta: np.ndarray) -> float:
        mean = np.exp(self.model.matrix @ theta[: self.model.terms])
        each = latent.prevalence(mean, np.exp(theta[self.model.alpha_at]))
        return float(self.model.times @ each / self.model.times.sum())


def age_matrix(people: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """A constant and, where it can be fitted, age in decades about its mean, to whole years.

    (n, 1) or (n, 2). People without an age have the mean.
    """
    constant = np.ones((len(counts), 1))
    if "age" not in people:
        return constant
    age = people["age"].to_numpy(dtype=float, na_value=np.nan)
    known = age[~np.isnan(age)]
    enough = len(known) > len(age) / 2 and (counts > 0).sum() >= 5 and len(known) >= 20
    if not enough or np.ptp(np.percentile(known, [10, 90])) < _LEAST_YEARS:
        return constant
    decades = (np.round(age) - known.mean()) / 10
    return np.column_stack([constant, np.where(np.isnan(decades), 0.0, decades)])


def _by_likelihood(people: pd.DataFrame, counts: np.ndarray, figures: Figures) -> Iterator[Check]:
    try:
        profile = Profile.of(people, counts, figures)
        yield _level(profile, figures)
        if profile.with_age and len(counts) >= _LEAST_AGED:
            yield _rise(profile)
    except latent_fit.FitError as error:
        yield Check("false positives", "refused", f"{error}; read some scans free-hand")


def _grade(statistic: float) -> tuple[Grade, str]:
    """Grade of twice a log likelihood ratio with one degree of freedom, and its p in words."""
    p = float(chdtrc(1, max(statistic, 0.0)))
    grade: Grade = "refused" if p < _REFUSED_P else "warning" if p < _WARNING_P else "holds"
    return grade, f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def _level(profile: Profile, figures: Figures) -> Check:
    """Whether another number of false positives a scan fits the counts better."""
    theta, height = profile.at(level=np.nan)
    grade, p = _grade(2 * (height - profile.height))
    here = np.exp(theta[profile.model.group_at(0) + 1] + theta[profile.model.shift_at])
    stated = f"the contract's {figures.false_positives:.2f} false positives a scan"
    if grade != "holds":
        sentence = f"the counts fit {here:.2f} false positives a scan better than {stated} ({p})"
        if grade == "refused":
            sentence += "; read some scans free-hand"
        return Check("false positives", grade, sentence)
    base = profile.prevalence(profile.at_figures)
    untold = []
    for by in (-_OTHER_SPECIFICITY, _OTHER_SPECIFICITY):
        clean = 1 - figures.floor + by
        if not 0 < clean < 1:
            continue
        other, other_height = profile.at(level=_shift_to(profile, clean))
        if 2 * (height - other_height) < _CHI2_95:
            untold.append(f"{percent(profile.prevalence(other))} at {percent(clean, 0)}")
    if not untold:
        return Check("false positives", "holds", f"the counts agree with {stated} ({p})")
    return Check(
        "false positives",
        "not told",
        f"the counts agree with {stated} ({p}), but as well with another specificity: the "
        f"prevalence would be {' or '.join(untold)}, and is {percent(base)} at the contract's "
        f"{percent(1 - figures.floor, 0)}",
    )


def _shift_to(profile: Profile, clean: float) -> float:
    """Log ratio of false positives that leaves ``clean`` of the scans without any."""
    at = profile.model.group_at(0)
    log_f, phi = profile.at_figures[at + 1], np.exp(profile.at_figures[at + 2])
    return float(np.log((clean**-phi - 1) / phi) - log_f)


def _rise(profile: Profile) -> Check:
    """Whether false positives change with age."""
    theta, height = profile.at(age=np.nan)
    grade, p = _grade(2 * (height - profile.height))
    rise = np.exp(theta[profile.model.shift_at + 1])
    if grade != "holds":
        sentence = (
            f"the counts fit false positives of {rise:.2f} times a decade of age better ({p})"
        )
        if grade == "refused":
            sentence += "; read some scans of the youngest and the oldest free-hand"
        return Check("false positives by age", grade, sentence)
    other, other_height = profile.at(age=np.log(_OTHER_RISE))
    base, ratio = np.exp(profile.at_figures[1]), np.exp(other[1])
    if 2 * (height - other_height) < _CHI2_95:
        return Check(
            "false positives by age",
            "not told",
            f"the counts agree with false positives that do not change with age ({p}), but as well "
            f"with {_OTHER_RISE:g} times a decade: the rate ratio a decade would be {ratio:.2f}, "
            f"and is {base:.2f} if they do not",
        )
    sentence = f"the counts agree with false positives that do not change with age ({p})"
    return Check("false positives by age", "holds", sentence)
