"""Precision of a part read by readers: ``python -m cmburden.studies.reading``.

Cohorts with known counts and a detector with known error: a part of each cohort is read without
error, and the prevalence is estimated by double sampling. Widths and coverages in
docs/statistics.md come from here.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import norm

from cmburden.core.errors import exit_code
from cmburden.core.files import write_json
from cmburden.core.keys import seed_of
from cmburden.stats import double_sampling, intervals
from cmburden.studies.population import DetectorModel, Population
from cmburden.summary import reading

#: Detectors of the study: that of the other studies, and one with the figures of the shipped
#: contract (metrics of models/verifier/model.json, 2026-11-27).
DETECTORS = {
    "the studies' detector": DetectorModel(),
    "the shipped contract's figures": DetectorModel(
        (0.893, 0.893), (0.25, 0.232), (0.951, 0.951), (0.732, 1.0)
    ),
}
#: How the part is drawn, and the classes that the estimate is stratified by.
DESIGNS = (
    "readers' sample alone",
    "simple random, called or not",
    "simple random, classes of the probability",
    "stratified, called or not",
    "stratified, classes of the probability",
    "stratified, after a review of the software's lesions",
)
READ = (50, 100, 200)


@dataclasses.dataclass(frozen=True)
class Searched:
    """A cohort of one contrast: true and called counts, int (n,), the probability, float (n,), that
    a scan has a microbleed by the calibrated probabilities of its lesions, and whether one of the
    software's lesions is a microbleed, bool (n,)."""

    true: np.ndarray
    called: np.ndarray
    expected: np.ndarray
    upheld: np.ndarray


@dataclasses.dataclass(frozen=True)
class Precision:
    """A design over all cohorts: mean and width of the interval of the prevalence, coverage.

    ``ratio``: width over that of the readers' sample alone.
    """

    detector: str
    contrast: str
    read: int
    design: str
    truth: float
    mean: float
    width: float
    ratio: float
    covers: float


def searched(
    random: np.random.Generator,
    population: Population,
    detector: DetectorModel,
    number: int,
    swi: bool,
) -> Searched:
    """A cohort of ``number`` people. The scores of lesions follow from the detector's thresholds.

    Scores of microbleeds are normal with variance 1; those of false positives fall exponentially
    from the possible to the definite threshold, as the detector's two rates say. A score's
    probability is that of Bayes in the population.
    """
    age, male = population.draw_people(random, number)
    true = population.counts(random, population.rate(age, male, swi))
    k = int(swi)
    middle = float(norm.ppf(detector.sensitivity[k]))
    least = middle - float(norm.ppf(detector.sensitivity_either[k]))
    wrong, either = detector.false_positives[k], detector.false_positives_either[k]
    fall = float(np.log(either / wrong)) / -least
    size = 1 / detector.clustering
    busy = random.gamma(size, 1 / size, size=number)
    scan = np.repeat(np.arange(number), true)
    score = middle + random.normal(size=len(scan))
    upheld = np.bincount(scan[score >= least], minlength=number) > 0
    false = np.repeat(np.arange(number), random.poisson(either * busy))
    scan = np.concatenate([scan, false])
    score = np.concatenate([score, least + random.exponential(1 / fall, len(false))])
    seen = score >= least
    scan, score = scan[seen], score[seen]
    real = float(true.mean()) * norm.pdf(score - middle)
    probability = real / (real + either * fall * np.exp(-fall * (score - least)))
    return Searched(
        true,
        np.bincount(scan[score >= 0], minlength=number),
        reading.any_of(scan, probability, number),
        upheld,
    )


def estimates(
    random: np.random.Generator, cohort: Searched, read: int
) -> Iterator[double_sampling.Estimate]:
    """The prevalence by each of DESIGNS, from ``read`` scans."""
    number = len(cohort.true)
    positive = cohort.true > 0
    simple = random.permutation(number)[:read]
    low, high = intervals.wilson(int(positive[simple].sum()), read)
    yield double_sampling.Estimate(float(positive[simple].mean()), low, high, read)
    own = reading.expected_of(cohort.expected)
    upheld = reading.expected_of(cohort.upheld.astype(float))
    called = (cohort.called > 0).astype(int)
    classes = reading.class_of(cohort.expected)
    for of in (called, classes):
        yield _by_class(positive, of, own, simple)
    for of, expected in ((called, own), (classes, own), (reading.class_of(cohort.upheld), upheld)):
        chosen = reading.order(of, expected, random.random(number))[:read]
        yield _by_class(positive, of, expected, chosen)


def _by_class(
    positive: np.ndarray, classes: np.ndarray, expected: np.ndarray, chosen: np.ndarray
) -> double_sampling.Estimate:
    classes = reading.merged(classes, chosen)
    count = int(classes.max()) + 1
    sizes = np.bincount(classes, minlength=count)
    return double_sampling.share(
        np.bincount(classes[chosen], positive[chosen], count),
        np.bincount(classes[chosen], minlength=count),
        sizes,
        np.bincount(classes, expected, count) / sizes,
    )


def precisions(
    repetitions: int = 400, participants: int = 1000, seed: int = 1
) -> Iterator[Precision]:
    """Every design, detector, contrast and number read; the truth is the population's."""
    population = Population()
    for name, detector in DETECTORS.items():
        for contrast, swi in (("GRE", False), ("SWI", True)):
            truth = population.prevalence(swi)
            for read in READ:
                drawn: list[list[double_sampling.Estimate]] = []
                for repetition in range(repetitions):
                    random = np.random.default_rng(seed_of("reading", seed, repetition, read))
                    cohort = searched(random, population, detector, participants, swi)
                    drawn.append(list(estimates(random, cohort, read)))
                alone = float(np.mean([one[0].ci_high - one[0].ci_low for one in drawn]))
                for place, design in enumerate(DESIGNS):
                    ends = np.array([(e.estimate, e.ci_low, e.ci_high) for e in _nth(drawn, place)])
                    width = float((ends[:, 2] - ends[:, 1]).mean())
                    covers = float(((ends[:, 1] <= truth) & (truth <= ends[:, 2])).mean())
                    mean = float(ends[:, 0].mean())
                    yield Precision(
                        name, contrast, read, design, truth, mean, width, width / alone, covers
                    )


def _nth(
    drawn: list[list[double_sampling.Estimate]], place: int
) -> Iterator[double_sampling.Estimate]:
    return (one[place] for one in drawn)


def markdown(rows: list[Precision], about: str) -> str:
    """A table of ``rows`` under the sentence ``about``."""
    lines = [
        f"{about}.",
        "",
        "| detector | contrast | read | design | mean (truth) | width | of alone | covers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.detector} | {row.contrast} | {row.read} | {row.design} | {row.mean:.3f} "
        f"({row.truth:.3f}) | {row.width:.3f} | {row.ratio:.2f} | {100 * row.covers:.1f} % |"
        for row in rows
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.reading [--repetitions 400] [--participants 1000]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--participants", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    args = parser.parse_args(arguments)
    rows = list(precisions(args.repetitions, args.participants, args.seed))
    about = (
        f"{args.repetitions} simulated cohorts of {args.participants} participants of a contrast, "
        f"seed {args.seed}"
    )
    print(markdown(rows, about))
    if args.out:
        write_json(args.out, [dataclasses.asdict(row) for row in rows])
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
