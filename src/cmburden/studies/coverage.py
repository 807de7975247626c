"""Coverage of the corrected estimates: ``python -m cmburden.studies.coverage``.

Cohorts, their detections and the contract behind the correction are drawn anew in every repetition;
the truth is the population's. The figures in docs/statistics.md come from here.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import multiprocessing
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from cmburden.core.errors import exit_code
from cmburden.core.files import write_json
from cmburden.core.keys import seed_of
from cmburden.core.tables import PATTERNS
from cmburden.stats import latent, latent_fit
from cmburden.stats.intervals import PERCENTILES
from cmburden.stats.misclassification import true_shares
from cmburden.studies.population import (
    DetectorModel,
    Population,
    called_patterns,
    patterns,
    validate,
)
from cmburden.summary import guards
from cmburden.summary.corrected_patterns import matrix_of
from cmburden.summary.detector_figures import figures_of
from cmburden.summary.guards import GRADES, age_matrix

#: Contrast of all cohorts, scans behind the contract, and draws of an estimate's posterior.
CONTRAST, SWI = "GRE", False
CONTRACT_SCANS = 400
_DRAWS = 1000
#: People of whom the shares of true patterns are counted.
_PEOPLE = 2_000_000
_EDGES = [0, 50, 60, 70, 80, 200]
ESTIMATES = ("prevalence", "mean count", "rate ratio a decade", "pattern shares")


@dataclasses.dataclass(frozen=True)
class Case:
    """``people`` of a cohort; how its detector and ages differ from the contract's.

    ``false_positives``: a scan, of the cohort's detector; ``rise``: their ratio a decade of age;
    ``contract_age``: mean age of the contract's people; ``correlation``: of twins, None where all
    are independent; ``cluster``: whether the model is told of the twins.
    """

    name: str
    people: int
    false_positives: float = 0.15
    rise: float = 1.0
    contract_age: float = 68.0
    correlation: float | None = None
    cluster: bool = False
    checks: bool = True


def _specificity(by: float) -> float:
    """False positives a scan at which the default detector's specificity is another ``by``."""
    detector = DetectorModel()
    clean = detector.specificity(SWI) + by
    return (clean**-detector.clustering - 1) / detector.clustering


CASES = (
    *(Case("the contract holds", people) for people in (30, 100, 1000, 3000)),
    *(
        Case(f"specificity {by:+.1f}", people, false_positives=_specificity(by))
        for by in (-0.1, 0.1)
        for people in (1000, 3000)
    ),
    *(Case("false positives rise 1.6-fold a decade", people, rise=1.6) for people in (1000, 3000)),
    Case("contract of people ten years younger", 1000, contract_age=58.0),
    Case("that, and false positives rise", 1000, rise=1.6, contract_age=58.0),
    *(
        Case(
            f"twins, correlation {r}{', told' * told}",
            400,
            correlation=r,
            cluster=told,
            checks=False,
        )
        for r in (0.5, 0.8)
        for told in (False, True)
    ),
)


@dataclasses.dataclass(frozen=True)
class Repetition:
    """One cohort: whether each interval covers, its width, and the gravest check (of GRADES).

    ``covers`` and ``width`` by name of ESTIMATES; the pattern shares' are means of the four.
    """

    covers: dict[str, float]
    width: dict[str, float]
    estimate: dict[str, float]
    grade: str


@functools.cache
def truth() -> dict[str, np.ndarray]:
    """The population's values: prevalence, mean, ratio (1,), pattern shares (4,)."""
    population, random = Population(), np.random.default_rng(seed_of("truth of coverage"))
    age, male = population.draw_people(random, _PEOPLE)
    rate = population.rate(age, male, SWI)
    counts = population.counts(random, rate)
    lobar = population.lobar(random, counts)
    shares = np.bincount(patterns(lobar, counts - lobar), minlength=len(PATTERNS)) / _PEOPLE
    single = (population.prevalence(SWI), rate.mean(), population.ratio_decade)
    return dict(zip(ESTIMATES, (*map(np.atleast_1d, single), shares), strict=True))


def repetition(case: Case, number: int, seed: int) -> Repetition:
    """Cohort ``number`` of a case. Order of draws: contract, people, counts, calls, posterior."""
    random = np.random.default_rng(seed_of("coverage", case.name, case.people, seed, number))
    population, right = Population(), DetectorModel()
    theirs = dataclasses.replace(right, rise=case.rise)
    younger = dataclasses.replace(population, age_mean=case.contract_age)
    figures = figures_of(
        validate(random, younger, theirs, CONTRACT_SCANS)[CONTRAST], "the contract"
    )
    assert figures is not None
    detector = dataclasses.replace(
        theirs, false_positives=(case.false_positives, right.false_positives[1])
    )
    age, male = population.draw_people(random, case.people)
    if case.correlation is not None:
        age = np.repeat(age[::2], 2)
        rate = population.rate(age, male, SWI)
        counts = population.counts_of_pairs(random, rate, case.correlation)
    else:
        counts = population.counts(random, population.rate(age, male, SWI))
    lobar = population.lobar(random, counts)
    found = detector.search(random, counts, np.full(case.people, SWI), age)
    called = called_patterns(random, detector, counts, lobar, found)
    bands = pd.cut(age, _EDGES, right=False).astype(str)
    people = pd.DataFrame({"age": age, "age_band": bands})
    checks = guards.checks(people, found.definite, figures) if case.checks else ()
    matrix = age_matrix(people, found.definite)
    observed = latent.Observed(
        found.definite,
        matrix,
        np.zeros(case.people, int),
        cluster=np.arange(case.people) // 2 if case.cluster else None,
    )
    posterior = latent_fit.posterior(
        latent.Model(observed, [figures.validation]), random, number=_DRAWS
    )
    prevalence, mean = posterior.averages(matrix, random)
    columns = list(PATTERNS)
    numbers = np.bincount(called, minlength=len(columns))
    shares = true_shares(numbers, matrix_of(figures, columns), random, _DRAWS).draws
    draws = dict(zip(ESTIMATES[:2], (prevalence[:, None], mean[:, None]), strict=True))
    if matrix.shape[1] > 1:
        draws[ESTIMATES[2]] = posterior.ratio(1)[:, None]
    if not case.cluster:
        draws[ESTIMATES[3]] = shares
    worst = max((GRADES.index(check.grade) for check in checks), default=0)
    ends = {name: np.percentile(values, PERCENTILES, axis=0) for name, values in draws.items()}
    return Repetition(
        {
            name: float(((low <= truth()[name]) & (truth()[name] <= high)).mean())
            for name, (low, high) in ends.items()
        },
        {name: float((high - low).mean()) for name, (low, high) in ends.items()},
        {name: float(np.median(values[:, 0])) for name, values in draws.items()},
        GRADES[worst],
    )


def study(case: Case, repetitions: int, seed: int, processes: int = 1) -> list[Repetition]:
    """``repetitions`` cohorts of a case; equal whatever the number of ``processes``."""
    one = functools.partial(repetition, case, seed=seed)
    if processes == 1:
        return [one(number) for number in range(repetitions)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return pool.map(one, range(repetitions), chunksize=4)


def covers(results: Iterable[Repetition], name: str) -> float:
    """Share of intervals that cover; NaN where there is none."""
    there = [result.covers[name] for result in results if name in result.covers]
    return float(np.mean(there)) if there else np.nan


def line(case: Case, results: list[Repetition]) -> str:
    """A line of the table: coverages, then the checks of all cohorts and of those that miss."""
    cells = [case.name, str(case.people)]
    for name in ESTIMATES:
        share = covers(results, name)
        widths = [result.width[name] for result in results if name in result.width]
        cells.append("" if np.isnan(share) else f"{100 * share:.1f} % ({np.median(widths):.2f})")
    if not case.checks:
        return f"| {' | '.join([*cells, '', '', ''])} |"
    for grades in (("refused",), ("refused", "warning")):
        share = float(np.mean([result.grade in grades for result in results]))
        cells.append(f"{100 * share:.0f} %")
    missing = [result for result in results if _misses(result)]
    said = [result.grade in ("refused", "warning") for result in missing]
    told = [result.grade != "holds" for result in missing]
    cells.append(f"{len(missing)}: {sum(said)}, {sum(told)}")
    return f"| {' | '.join(cells)} |"


def _misses(result: Repetition) -> bool:
    """Whether an interval of prevalence, mean or ratio misses."""
    return any(result.covers.get(name, 1.0) < 1 for name in ESTIMATES[:3])


HEAD = (
    "| cohort | people | "
    + " | ".join(f"{name}: covers (median width)" for name in ESTIMATES)
    + " | refused | refused or warned | cohorts that miss: refused or warned, or said to be open |"
)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.coverage [--repetitions 400] [--processes 1] [--only TEXT]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name and people hold this text")
    parser.add_argument("--out", type=Path, help="also write the cohorts there, as JSON")
    args = parser.parse_args(arguments)
    print(
        f"{args.repetitions} cohorts a line, seed {args.seed}; contract of {CONTRACT_SCANS} scans\n"
    )
    print(HEAD)
    print("|---" * HEAD.count(" | ") + "|---|")
    everything = {}
    for case in CASES:
        if args.only in f"{case.name} {case.people}":
            results = study(case, args.repetitions, args.seed, args.processes)
            everything[f"{case.name} {case.people}"] = [dataclasses.asdict(one) for one in results]
            print(line(case, results), flush=True)
    if args.out:
        write_json(args.out, everything)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
