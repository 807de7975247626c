"""Coverage of the corrected prevalence: ``python -m cmburden.studies.correction``.

People, detections and the detector's validation are drawn anew in every repetition; the truth is
the population's prevalence. The figures in docs/statistics.md come from here.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from cmburden.core.errors import exit_code
from cmburden.core.files import write_json
from cmburden.core.keys import seed_of
from cmburden.stats import intervals as stats_intervals
from cmburden.stats.agreement import rogan_gladen
from cmburden.studies.population import DetectorModel, Population, validate
from cmburden.summary import correction
from cmburden.summary.correction import DetectorError


def _jeffreys(called: int, total: int, error: DetectorError, seed: str) -> tuple[float, float]:
    _, low, high = correction.corrected(called, total, error, seed)
    return low, high


def _lang_reiczigel(called: int, total: int, error: DetectorError, _: str) -> tuple[float, float]:
    return correction.lang_reiczigel(called, total, error)


#: Intervals that are compared, by name; the first is that of `summary`. Arguments: positive scans
#: that are called, scans, the detector's error, a seed.
INTERVALS: dict[str, Callable[[int, int, DetectorError, str], tuple[float, float]]] = {
    "Jeffreys draws": _jeffreys,
    "binomial draws": correction.binomial_bootstrap,
    "Lang-Reiczigel": _lang_reiczigel,
}
#: Contrasts by whether they are SWI.
CONTRASTS = {False: "GRE", True: "SWI"}


@dataclasses.dataclass(frozen=True)
class Interval:
    """One interval of one repetition: whether it covers the truth, and its width."""

    covers: bool
    width: float


@dataclasses.dataclass(frozen=True)
class Repetition:
    """One contrast of one simulated cohort, with the intervals by name."""

    people: int
    apparent: float
    apparent_covers: bool
    corrected: float
    intervals: dict[str, Interval]


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Of one contrast: means over the repetitions, and shares of intervals that hold the truth."""

    contrast: str
    repetitions: int
    people: float
    true: float
    apparent: float
    apparent_covers: float
    corrected: float
    covers: dict[str, float]
    width: dict[str, float]


def coverage(
    repetitions: int = 200,
    participants: int = 5000,
    validation_scans: int = 100,
    seed: int = 1,
    population: Population | None = None,
    detector: DetectorModel | None = None,
    validated_on: Population | None = None,
) -> list[Coverage]:
    """Coverage by contrast in cohorts of ``participants``, half of each contrast on average.

    ``validated_on``: the population of the validation's positive scans, if not the cohort's. Order
    of draws of a repetition: people, contrast, counts, detections, validation.
    """
    population, detector = population or Population(), detector or DetectorModel()
    validated_on = validated_on or population
    truth = {swi: population.prevalence(swi) for swi in CONTRASTS}
    results: dict[bool, list[Repetition]] = {swi: [] for swi in CONTRASTS}
    for number in range(repetitions):
        random = np.random.default_rng(seed_of("coverage", seed, number))
        age, male = population.draw_people(random, participants)
        swi = random.random(participants) < 0.5
        counts = population.counts(random, population.rate(age, male, swi))
        called = detector.search(random, counts, swi).definite > 0
        presence = validate(random, validated_on, detector, validation_scans)
        errors = correction.detector_errors({"metrics": presence})
        for which, contrast in CONTRASTS.items():
            error = errors["definite", contrast]
            name = f"{number} {contrast}"
            results[which].append(_once(called[swi == which], error, truth[which], name))
    return [_together(results[swi], name, truth[swi]) for swi, name in CONTRASTS.items()]


def _once(called: np.ndarray, error: DetectorError, truth: float, seed: str) -> Repetition:
    """One repetition of scans that are ``called`` positive (scans,) bool."""
    positive, total = int(called.sum()), len(called)
    low, high = stats_intervals.wilson(positive, total)
    intervals = {}
    for name, interval in INTERVALS.items():
        least, most = interval(positive, total, error, seed)
        intervals[name] = Interval(least <= truth <= most, most - least)
    return Repetition(
        people=total,
        apparent=positive / total,
        apparent_covers=low <= truth <= high,
        corrected=rogan_gladen(positive / total, error.sensitivity, error.specificity),
        intervals=intervals,
    )


def _together(rows: list[Repetition], contrast: str, truth: float) -> Coverage:
    def mean(values: Iterable[float]) -> float:
        return float(np.mean(list(values)))

    return Coverage(
        contrast,
        len(rows),
        people=mean(row.people for row in rows),
        true=truth,
        apparent=mean(row.apparent for row in rows),
        apparent_covers=mean(row.apparent_covers for row in rows),
        corrected=mean(row.corrected for row in rows),
        covers={name: mean(row.intervals[name].covers for row in rows) for name in INTERVALS},
        width={name: mean(row.intervals[name].width for row in rows) for name in INTERVALS},
    )


def markdown(by_scans: dict[int, list[Coverage]], about: str) -> str:
    """A table of the coverage by number of validation scans, under the sentence ``about``."""
    names = list(INTERVALS)
    lines = [
        f"{about}. Cover: share of repetitions whose 95 % interval holds the true prevalence.",
        "",
        "| validation scans (each of with and without) | contrast | true | apparent | covers "
        "| corrected | " + " | ".join(f"covers, {name} (width)" for name in names) + " |",
        "|---" * (6 + len(names)) + "|",
    ]
    for scans, rows in by_scans.items():
        for row in rows:
            cells = " | ".join(
                f"{100 * row.covers[name]:.1f} % ({row.width[name]:.3f})" for name in names
            )
            lines.append(
                f"| {scans} | {row.contrast} | {row.true:.3f} | {row.apparent:.3f} "
                f"| {100 * row.apparent_covers:.1f} % | {row.corrected:.3f} | {cells} |"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.correction [--repetitions N] [--participants N]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--participants", type=int, default=5000)
    parser.add_argument("--validation-scans", type=int, nargs="+", default=[30, 100, 300])
    parser.add_argument(
        "--validation-rate",
        type=float,
        default=1.0,
        metavar="TIMES",
        help="mean count of the validation's people over the cohort's",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    args = parser.parse_args(arguments)
    population = Population()
    other = dataclasses.replace(population, rate_gre=population.rate_gre * args.validation_rate)
    by_scans = {
        scans: coverage(
            args.repetitions, args.participants, scans, args.seed, population, validated_on=other
        )
        for scans in args.validation_scans
    }
    about = f"{args.repetitions} repetitions, {args.participants} participants, seed {args.seed}"
    if args.validation_rate != 1:
        about += f", people of the validation with {args.validation_rate:g} times the mean count"
    print(markdown(by_scans, about))
    if args.out:
        content = {
            str(scans): [dataclasses.asdict(row) for row in rows]
            for scans, rows in by_scans.items()
        }
        write_json(args.out, content)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
