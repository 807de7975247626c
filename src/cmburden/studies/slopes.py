"""Bias of the age slope by automated counts: ``python -m cmburden.studies.slopes``.

The models of the report analyse cohorts with known counts twice: with the true counts, and with the
counts of a detector with known error. The figures in docs/statistics.md come from here.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from cmburden.core.errors import exit_code
from cmburden.core.files import write_json
from cmburden.core.keys import seed_of
from cmburden.stats import latent, latent_fit, regression
from cmburden.stats.intervals import PERCENTILES, Z95
from cmburden.studies.population import DetectorModel, Population, validate
from cmburden.summary.detector_figures import CONTRASTS, figures_of

#: Scans of each contrast behind the contract.
CONTRACT_SCANS = 400
#: The analyses: model, and whether it is fitted to the true or to the automated counts.
ANALYSES = (
    ("odds ratio of presence", "true counts"),
    ("odds ratio of presence", "automated counts"),
    ("rate ratio, negative binomial", "true counts"),
    ("rate ratio, negative binomial", "automated counts"),
    ("rate ratio, Poisson", "true counts"),
    ("rate ratio, Poisson", "automated counts"),
    ("rate ratio, latent counts", "automated counts"),
)


@dataclasses.dataclass(frozen=True)
class Slope:
    """Ratio per decade of age: geometric mean and percentiles over the cohorts.

    ``covers``: share of 95 % intervals that hold the true rate ratio; None for odds, whose truth
    has no closed form. ``fitted``: cohorts that gave an estimate.
    """

    model: str
    counts: str
    ratio: float
    low: float
    high: float
    covers: float | None
    fitted: int


def slopes(
    repetitions: int = 20,
    participants: int = 5000,
    seed: int = 1,
    population: Population | None = None,
    detector: DetectorModel | None = None,
) -> list[Slope]:
    """The mean slope of each analysis over cohorts, its 2.5 and 97.5 percentile, and coverage.

    Adjusted for sex and contrast. The true rate ratio is the population's ``ratio_decade``.
    """
    population, detector = population or Population(), detector or DetectorModel()
    estimates: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in ANALYSES}
    for repetition in range(repetitions):
        random = np.random.default_rng(seed_of("slope", seed, repetition))
        for key, fit in _fits(random, population, detector, participants).items():
            if not fit.problem and fit.log_ratio is not None and fit.error is not None:
                estimates[key].append((float(fit.log_ratio[0]), float(fit.error[0])))
    return [
        _slope(name, counts, rows, population.ratio_decade)
        for (name, counts), rows in estimates.items()
    ]


def _fits(
    random: np.random.Generator,
    population: Population,
    detector: DetectorModel,
    participants: int,
) -> dict[tuple[str, str], regression.Fit]:
    """Fits of ANALYSES to one cohort.

    Order of draws: people, contrast, counts, detections, contract, posterior.
    """
    age, male = population.draw_people(random, participants)
    swi = random.random(participants) < 0.5
    true = population.counts(random, population.rate(age, male, swi))
    called = detector.search(random, true, swi, age).definite
    matrix = np.column_stack([np.ones(participants), (age - age.mean()) / 10, male, swi])
    fits = {}
    for counts, y in (("true counts", true), ("automated counts", called)):
        fits["odds ratio of presence", counts] = regression.logistic(y > 0, matrix)
        fits["rate ratio, negative binomial", counts] = regression.negative_binomial(y, matrix)
        fits["rate ratio, Poisson", counts] = regression.poisson(y, matrix)
    contract = validate(random, population, detector, CONTRACT_SCANS)
    fits["rate ratio, latent counts", "automated counts"] = _latent(
        random, called, matrix, swi, contract
    )
    return fits


def _latent(
    random: np.random.Generator,
    called: np.ndarray,
    matrix: np.ndarray,
    swi: np.ndarray,
    contract: dict[str, dict[str, Any]],
) -> regression.Fit:
    """Log ratios by the model of latent counts, with the standard deviations of their posterior."""
    validations = [
        figures.validation
        for contrast in CONTRASTS
        if (figures := figures_of(contract[contrast], "the contract")) is not None
    ]
    # Ages to whole years: the likelihood is of distinct rows.
    rounded = np.column_stack([matrix[:, 0], np.round(matrix[:, 1], 1), matrix[:, 2:]])
    model = latent.Model(latent.Observed(called, rounded, swi.astype(int)), validations)
    logs = np.log(latent_fit.posterior(model, random).draws_of_ratios())
    return regression.Fit(logs.mean(axis=0), logs.std(axis=0))


def _slope(name: str, counts: str, rows: list[tuple[float, float]], truth: float) -> Slope:
    value, error = np.array(rows).reshape(-1, 2).T
    covers = None
    if name.startswith("rate"):
        covers = float((np.abs(value - np.log(truth)) <= Z95 * error).mean())
    low, high = (float(end) for end in np.exp(np.percentile(value, PERCENTILES)))
    return Slope(name, counts, float(np.exp(value.mean())), low, high, covers, len(rows))


def markdown(rows: list[Slope], about: str) -> str:
    """A table of ``rows`` under the sentence ``about``."""
    lines = [
        f"{about}. In brackets: 2.5 to 97.5 % of the cohorts.",
        "",
        "| model | counts | ratio per decade of age | intervals that hold the true rate ratio |",
        "|---|---|---|---|",
    ]
    for row in rows:
        covers = "" if row.covers is None else f"{100 * row.covers:.0f} %"
        lines.append(
            f"| {row.model} | {row.counts} | {row.ratio:.2f} ({row.low:.2f}-{row.high:.2f}) "
            f"| {covers} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.slopes [--repetitions 20] [--participants 5000] [--rise 1]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--participants", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--rise",
        type=float,
        default=1.0,
        metavar="TIMES",
        help="ratio of false positives a decade of age",
    )
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    args = parser.parse_args(arguments)
    detector = DetectorModel(rise=args.rise)
    rows = slopes(args.repetitions, args.participants, args.seed, detector=detector)
    about = (
        f"{args.repetitions} cohorts of {args.participants} participants, seed {args.seed}; "
        f"true rate ratio per decade {Population().ratio_decade:g}, false positives {args.rise:g} "
        "times a decade"
    )
    print(markdown(rows, about))
    if args.out:
        write_json(args.out, [dataclasses.asdict(row) for row in rows])
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
