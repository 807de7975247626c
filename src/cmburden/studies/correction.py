"""Does the corrected prevalence cover the truth? ``python -m cmburden.studies.correction``.

People, detector and its validation are all drawn anew in every repetition; the truth is that of the
population. What docs/statistics.md says of it comes from here.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from cmburden.core.errors import told
from cmburden.core.files import write_json
from cmburden.core.keys import seed_of
from cmburden.stats import intervals
from cmburden.stats.agreement import rogan_gladen
from cmburden.studies.population import Detector, Population, validate
from cmburden.summary import correction

#: Intervals that are compared, by name; the first is the one that `summary` has.
INTERVALS = {
    "Jeffreys draws": lambda called, total, error, seed: correction.corrected(
        called, total, error, seed
    )[1:],
    "binomial draws": correction.binomial_bootstrap,
    "Lang-Reiczigel": lambda called, total, error, seed: correction.lang_reiczigel(
        called, total, error
    ),
}


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Of one contrast: means over the repetitions, and shares whose interval holds the truth."""

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
    detector: Detector | None = None,
    validated_on: Population | None = None,
) -> list[Coverage]:
    """Coverage by contrast in cohorts of ``participants``, half of each contrast on average.

    ``validated_on``: the population of the validation's positive scans, if not the cohort's.
    """
    population, detector = population or Population(), detector or Detector()
    validated_on = validated_on or population
    found: dict[bool, list[dict]] = {False: [], True: []}
    truth = {swi: population.prevalence(swi) for swi in found}
    for repetition in range(repetitions):
        random = np.random.default_rng(seed_of("coverage", seed, repetition))
        age, male = population.draw_people(random, participants)
        swi = random.random(participants) < 0.5
        counts = population.counts(random, population.rate(age, male, swi))
        called = detector.search(random, counts, swi).definite > 0
        errors = correction.detector_errors(
            {"metrics": validate(random, validated_on, detector, validation_scans)}
        )
        for which, contrast in ((False, "GRE"), (True, "SWI")):
            own = called[swi == which]
            error = errors["definite", contrast]
            found[which].append(
                _once(int(own.sum()), len(own), error, truth[which], f"{repetition} {contrast}")
            )
    return [_together(found[which], name, truth[which])
            for which, name in ((False, "GRE"), (True, "SWI"))]  # fmt: skip


def _once(called: int, total: int, error, truth: float, seed: str) -> dict:
    low, high = intervals.wilson(called, total)
    ends = {name: interval(called, total, error, seed) for name, interval in INTERVALS.items()}
    return {
        "people": total,
        "apparent": called / total,
        "apparent_covers": low <= truth <= high,
        "corrected": rogan_gladen(called / total, error.sensitivity, error.specificity),
        "covers": {name: low <= truth <= high for name, (low, high) in ends.items()},
        "width": {name: high - low for name, (low, high) in ends.items()},
    }


def _together(rows: list[dict], contrast: str, truth: float) -> Coverage:
    def mean(values):
        return float(np.mean(list(values)))

    plain = {name: mean(row[name] for row in rows)
             for name in ("people", "apparent", "apparent_covers", "corrected")}  # fmt: skip
    by_interval = {
        what: {name: mean(row[what][name] for row in rows) for name in INTERVALS}
        for what in ("covers", "width")
    }
    return Coverage(contrast, len(rows), true=truth, **plain, **by_interval)


def markdown(found: dict[int, list[Coverage]], about: str) -> str:
    """A table of ``found`` by number of validation scans."""
    names = list(INTERVALS)
    lines = [
        f"{about}. Cover: share of repetitions whose 95 % interval holds the true prevalence.",
        "",
        "| validation scans (each of with and without) | contrast | true | apparent | covers "
        "| corrected | " + " | ".join(f"covers, {name} (width)" for name in names) + " |",
        "|---" * (6 + len(names)) + "|",
    ]
    for scans, rows in found.items():
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
    parser.add_argument("--validation-rate", type=float, default=1.0, metavar="TIMES",
                        help="mean count of the validation's people over the cohort's")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    args = parser.parse_args(arguments)
    population = Population()
    other = dataclasses.replace(population, rate_gre=population.rate_gre * args.validation_rate)
    found = {
        scans: coverage(
            args.repetitions, args.participants, scans, args.seed, population, validated_on=other
        )
        for scans in args.validation_scans
    }
    about = f"{args.repetitions} repetitions, {args.participants} participants, seed {args.seed}"
    if args.validation_rate != 1:
        about += f", people of the validation with {args.validation_rate:g} times the mean count"
    print(markdown(found, about))
    if args.out:
        write_json(args.out, {str(scans): [dataclasses.asdict(row) for row in rows]
                              for scans, rows in found.items()})  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
