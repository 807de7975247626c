"""People with known microbleed counts, and a detector with known errors: numbers without images.

The statistics of a cohort are tested on these people: the truth has a closed form, and a draw of
5,000 people takes milliseconds.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from cmburden.core.tables import PATTERNS
from cmburden.summary.correction import presence_counts

#: Age at which the model's rates hold, years.
REFERENCE_AGE = 70.0
#: Age at which a detector has the false positives stated, years: the mean of the default ages.
FALSE_AT_AGE = 68.0
#: Ages at which the prevalence is integrated.
_QUADRATURE = 2000


@dataclasses.dataclass(frozen=True)
class Population:
    """Ages are normal within limits; counts negative binomial about a mean that rises with age.

    ``rate_gre``: mean count of a woman of 70 on GRE; ``ratio_*``: ratios of that mean for SWI, for
    ten years and for men; ``dispersion``: alpha of variance = mean + alpha mean^2. With the
    defaults 7 % of women have a microbleed at 50 and 26 % at 80 on GRE (Rotterdam, Poels et al.
    2010, both sexes: 6.5 % at 45-50, 35.7 % from 80 on). ``lobar_share`` of the microbleeds are
    lobar; the share of a person is Beta distributed with the sum of parameters
    ``lobar_concentration`` over ``lobar_share``.
    """

    age_mean: float = 68.0
    age_sd: float = 9.0
    age_limits: tuple[float, float] = (45.0, 95.0)
    male_share: float = 0.48
    rate_gre: float = 0.36
    ratio_swi: float = 1.5
    ratio_decade: float = 2.0
    ratio_male: float = 1.25
    dispersion: float = 5.0
    lobar_share: float = 0.63
    lobar_concentration: float = 2.2

    def _ages(self) -> Any:
        """The distribution of ages, a frozen one of ``scipy.stats``."""
        low, high = ((end - self.age_mean) / self.age_sd for end in self.age_limits)
        return stats.truncnorm(low, high, loc=self.age_mean, scale=self.age_sd)

    def draw_people(self, random: np.random.Generator, number: int) -> tuple[np.ndarray, ...]:
        """Ages, float (number,), and whether male, bool (number,)."""
        age = self._ages().ppf(random.random(number))
        return age, random.random(number) < self.male_share

    def rate(self, age: ArrayLike, male: ArrayLike, swi: ArrayLike) -> np.ndarray:
        """Mean count of people of ``age`` (years), bool ``male`` and ``swi``; they broadcast."""
        decades = (np.asarray(age, float) - REFERENCE_AGE) / 10
        return (
            self.rate_gre
            * self.ratio_decade**decades
            * np.where(male, self.ratio_male, 1.0)
            * np.where(swi, self.ratio_swi, 1.0)
        )

    def counts(self, random: np.random.Generator, rate: np.ndarray) -> np.ndarray:
        """True counts (int) of people with mean counts ``rate``."""
        size = 1 / self.dispersion
        return random.negative_binomial(size, size / (size + rate))

    def counts_of_pairs(
        self, random: np.random.Generator, rate: np.ndarray, correlation: float
    ) -> np.ndarray:
        """True counts (int) of twins beside each other, people 0 and 1, 2 and 3 ...

        Their counts are quantiles of normal variables with the ``correlation``.
        """
        shared = np.repeat(random.standard_normal(len(rate) // 2), 2)
        alone = random.standard_normal(len(rate))
        latent = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * alone
        size = 1 / self.dispersion
        counts: np.ndarray = stats.nbinom.ppf(stats.norm.cdf(latent), size, size / (size + rate))
        return counts.astype(int)

    def lobar(self, random: np.random.Generator, counts: np.ndarray) -> np.ndarray:
        """Of ``counts`` (people,) microbleeds, those that are lobar."""
        a = self.lobar_concentration
        of_person = random.beta(a, a * (1 / self.lobar_share - 1), len(counts))
        return random.binomial(counts, of_person)

    def prevalence(self, swi: bool) -> float:
        """Share of people with a microbleed in the population that is drawn from, by quadrature."""
        place = (np.arange(_QUADRATURE) + 0.5) / _QUADRATURE
        age = self._ages().ppf(place)
        share = 0.0
        for male, weight in ((True, self.male_share), (False, 1 - self.male_share)):
            none = (1 + self.dispersion * self.rate(age, male, swi)) ** (-1 / self.dispersion)
            share += weight * float((1 - none).mean())
        return share


@dataclasses.dataclass(frozen=True)
class Detections:
    """Lesions that a detector calls in scans, int (scans,) each: true and false ones by label."""

    true_definite: np.ndarray
    true_possible: np.ndarray
    false_definite: np.ndarray
    false_possible: np.ndarray

    @property
    def definite(self) -> np.ndarray:
        """Definite lesions, true and false (scans,)."""
        return self.true_definite + self.false_definite

    @property
    def possible(self) -> np.ndarray:
        """Possible lesions, true and false (scans,)."""
        return self.true_possible + self.false_possible


@dataclasses.dataclass(frozen=True)
class DetectorModel:
    """A detector by its lesion sensitivity and false positives a scan, GRE then SWI.

    ``*_either`` are of definite and possible lesions together. False positives a scan are negative
    binomial with variance = mean + ``clustering`` mean^2: scans with many vessels have many. They
    are ``rise`` times as many a decade of age, and as said at 68 years. ``false_lobar`` of them are
    lobar.
    """

    sensitivity: tuple[float, float] = (0.75, 0.80)
    false_positives: tuple[float, float] = (0.15, 0.25)
    sensitivity_either: tuple[float, float] = (0.88, 0.92)
    false_positives_either: tuple[float, float] = (0.8, 1.2)
    clustering: float = 0.5
    rise: float = 1.0
    false_lobar: float = 0.7

    def search(
        self,
        random: np.random.Generator,
        true_counts: np.ndarray,
        swi: ArrayLike,
        age: np.ndarray | None = None,
    ) -> Detections:
        """Lesions called in scans with ``true_counts`` (scans,) int and contrast ``swi`` (bool).

        ``age`` (scans,), years, is needed where false positives rise with age.

        Order of draws: how busy each scan is, true definite, true possible, false definite, false
        possible.
        """
        place = np.broadcast_to(np.asarray(swi, int), np.shape(true_counts))
        definite, either, wrong, wrong_either = (
            np.asarray(pair)[place]
            for pair in (
                self.sensitivity,
                self.sensitivity_either,
                self.false_positives,
                self.false_positives_either,
            )
        )
        # One factor a scan for both kinds of false positive.
        size = 1 / self.clustering
        busy = random.gamma(size, 1 / size, size=place.shape)
        if age is not None:
            busy = busy * self.rise ** ((age - FALSE_AT_AGE) / 10)
        true_definite = random.binomial(true_counts, definite)
        missed = true_counts - true_definite
        return Detections(
            true_definite,
            random.binomial(missed, (either - definite) / (1 - definite)),
            random.poisson(wrong * busy),
            random.poisson((wrong_either - wrong) * busy),
        )

    def specificity(self, swi: bool) -> float:
        """Share of scans without a microbleed in which no definite lesion is called."""
        wrong = self.false_positives[int(swi)]
        return float((1 + self.clustering * wrong) ** (-1 / self.clustering))


def patterns(lobar: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Place in ``PATTERNS`` of scans with so many lobar and other lesions, int (scans,)."""
    return np.where(other > 0, np.where(lobar > 0, 3, 2), np.where(lobar > 0, 1, 0))


def called_patterns(
    random: np.random.Generator,
    detector: DetectorModel,
    counts: np.ndarray,
    lobar: np.ndarray,
    found: Detections,
) -> np.ndarray:
    """Pattern of the definite calls: of ``counts`` (scans,) microbleeds ``lobar`` are lobar."""
    right = random.hypergeometric(lobar, counts - lobar, found.true_definite)
    wrong = random.binomial(found.false_definite, detector.false_lobar)
    return patterns(right + wrong, found.definite - right - wrong)


def validate(
    random: np.random.Generator, population: Population, detector: DetectorModel, scans: int
) -> dict[str, dict[str, Any]]:
    """``metrics.population`` of a contract: ``scans`` of people of ``population`` a contrast."""
    result: dict[str, dict[str, Any]] = {}
    for contrast, swi in (("GRE", False), ("SWI", True)):
        age, male = population.draw_people(random, scans)
        counts = population.counts(random, population.rate(age, male, swi))
        lobar = population.lobar(random, counts)
        found = detector.search(random, counts, np.full(scans, swi), age)
        called = called_patterns(random, detector, counts, lobar, found)
        true = patterns(lobar, counts - lobar)
        table = np.zeros((len(PATTERNS), len(PATTERNS)), int)
        np.add.at(table, (true, called), 1)
        result[contrast] = {
            **_figures(counts, found.true_definite, found.false_definite),
            "patterns": {
                name: dict(zip(PATTERNS, map(int, row), strict=True))
                for name, row in zip(PATTERNS, table, strict=True)
            },
            "possible": _figures(
                counts,
                found.true_definite + found.true_possible,
                found.false_definite + found.false_possible,
            ),
        }
    return result


def _figures(counts: np.ndarray, hits: np.ndarray, false: np.ndarray) -> dict[str, Any]:
    return {
        "scans": len(counts),
        **presence_counts(hits + false > 0, counts > 0),
        "microbleeds": int(counts.sum()),
        "found": int(hits.sum()),
        "false_positives_of_scans": np.bincount(false).tolist(),
    }
