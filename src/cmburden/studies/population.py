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

from cmburden.summary.correction import presence_counts

#: Age at which the model's rates hold, years.
REFERENCE_AGE = 70.0
#: Ages at which the prevalence is integrated.
_QUADRATURE = 2000
#: People drawn at a time for a validation, as multiples of its scans.
_PEOPLE_A_SCAN = 20


@dataclasses.dataclass(frozen=True)
class Population:
    """Ages are normal within limits; counts negative binomial about a mean that rises with age.

    ``rate_gre``: mean count of a woman of 70 on GRE; ``ratio_*``: ratios of that mean for SWI, for
    ten years and for men; ``dispersion``: alpha of variance = mean + alpha mean^2. With the
    defaults 7 % of women have a microbleed at 50 and 26 % at 80 on GRE (Rotterdam, Poels et al.
    2010, both sexes: 6.5 % at 45-50, 35.7 % from 80 on).
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
    binomial with variance = mean + ``clustering`` mean^2: scans with many vessels have many.
    """

    sensitivity: tuple[float, float] = (0.75, 0.80)
    false_positives: tuple[float, float] = (0.15, 0.25)
    sensitivity_either: tuple[float, float] = (0.88, 0.92)
    false_positives_either: tuple[float, float] = (0.8, 1.2)
    clustering: float = 0.5

    def search(
        self, random: np.random.Generator, true_counts: np.ndarray, swi: ArrayLike
    ) -> Detections:
        """Lesions called in scans with ``true_counts`` (scans,) int and contrast ``swi`` (bool).

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


def validate(
    random: np.random.Generator,
    population: Population,
    detector: DetectorModel,
    scans: int,
) -> dict[str, dict[str, dict[str, int]]]:
    """``metrics.presence`` and ``presence_possible`` of a contract, from a simulated validation.

    The validation has ``scans`` positive and as many negative scans of each contrast. The counts of
    the positive scans are those of positive people of ``population``: the sensitivity can be
    transported only to a population with like counts.
    """
    metrics: dict[str, dict[str, dict[str, int]]] = {"presence": {}, "presence_possible": {}}
    for contrast, swi in (("GRE", False), ("SWI", True)):
        positive = np.zeros(0, int)
        while len(positive) < scans:
            age, male = population.draw_people(random, _PEOPLE_A_SCAN * scans)
            counts = population.counts(random, population.rate(age, male, swi))
            positive = np.concatenate([positive, counts[counts > 0]])
        counts = np.concatenate([positive[:scans], np.zeros(scans, int)])
        called = detector.search(random, counts, np.full(2 * scans, swi))
        for name, numbers in (
            ("presence", called.definite),
            ("presence_possible", called.definite + called.possible),
        ):
            metrics[name][contrast] = presence_counts(numbers > 0, counts > 0)
    return metrics
