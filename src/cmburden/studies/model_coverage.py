"""Coverage of the models' intervals in small and clustered samples.

``python -m cmburden.studies.model_coverage`` prints the tables of docs/statistics.md: the ratio of
counts per decade of age by several errors, and the prevalence and the age slope of twins.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from scipy import stats

from cmburden.core.errors import exit_code
from cmburden.core.keys import seed_of
from cmburden.stats import regression, survey
from cmburden.stats.intervals import Z95, t_quantile, wilson
from cmburden.stats.sandwich import SIMPLE, Sample, heteroscedastic

#: Counts: mean at the mean age, ratio per decade, alpha, standard deviation of age in decades.
_MEAN, _RATIO, _ALPHA, _AGE_SD = 1.0, 2.0, 2.0, 0.9
#: Twins: prevalence, and odds of presence by age through a latent normal of slope 0.3 a decade.
_PREVALENCE, _PAIRS = 0.2, 200


def counts(number: int, repetitions: int, seed: int = 1) -> dict[str, float]:
    """Share of 95 % intervals that hold the true ratio per decade, by kind of interval."""
    random = np.random.default_rng(seed_of("model coverage", seed, number))
    covered: dict[str, list[bool]] = {}
    for _ in range(repetitions):
        age = random.normal(0, _AGE_SD, number)
        matrix = np.column_stack(
            [np.ones(number), age, random.random(number) < 0.5, random.random(number) < 0.5]
        ).astype(float)
        mean = _MEAN * _RATIO**age * 1.25 ** matrix[:, 2] * 1.5 ** matrix[:, 3]
        y = random.negative_binomial(1 / _ALPHA, 1 / (1 + _ALPHA * mean))
        fits = {
            "Poisson, HC3 with t (the report's)": regression.poisson(y, matrix),
            "negative binomial, Wald": regression.negative_binomial(y, matrix),
        }
        for name, fit in fits.items():
            if not fit.problem:
                _, low, high = fit.interval(0)
                covered.setdefault(name, []).append(low <= np.log(_RATIO) <= high)
        plain = fits["Poisson, HC3 with t (the report's)"]
        if not plain.problem:
            for name, half in _others(y, matrix, plain).items():
                covered.setdefault(name, []).append(
                    abs(plain.log_ratio[0] - np.log(_RATIO)) <= half
                )
    return {name: float(np.mean(values)) for name, values in covered.items()}


def _others(y: np.ndarray, matrix: np.ndarray, fit: regression.Fit) -> dict[str, float]:
    """Half widths of HC0 with the normal quantile, and of HC1 with t."""
    mean = np.exp(matrix @ fit.params)
    bread = np.linalg.inv(matrix.T @ (matrix * mean[:, None]))
    scores = matrix * (y - mean)[:, None]
    freedom = len(y) - matrix.shape[1]
    hc0, hc1 = (
        float(np.sqrt(heteroscedastic(scores, bread, kind)[1, 1])) for kind in ("HC0", "HC1")
    )
    return {
        "Poisson, HC0 with z": Z95 * hc0,
        "Poisson, HC1 with t": t_quantile(freedom) * hc1,
    }


def twins(correlation: float, repetitions: int, seed: int = 1) -> dict[str, float]:
    """Coverage of the prevalence of 200 pairs of twins, alone and by cluster; the same of age."""
    random = np.random.default_rng(seed_of("twins", seed, correlation))
    pairs = np.repeat(np.arange(_PAIRS), 2)
    truth = _slope_of_twins(random)
    covered: dict[str, list[bool]] = {}
    for _ in range(repetitions):
        shared = random.normal(size=_PAIRS)[pairs] * np.sqrt(correlation)
        latent = shared + random.normal(size=2 * _PAIRS) * np.sqrt(1 - correlation)
        positive = latent > stats.norm.ppf(1 - _PREVALENCE)
        low, high = wilson(positive.sum(), len(pairs))
        _, low_c, high_c = survey.share(positive.astype(float), pairs, None)
        covered.setdefault("prevalence, Wilson", []).append(low <= _PREVALENCE <= high)
        covered.setdefault("prevalence, by cluster", []).append(low_c <= _PREVALENCE <= high_c)
        age = random.normal(0, _AGE_SD, _PAIRS)[pairs]
        y = latent + 0.3 * age > stats.norm.ppf(1 - _PREVALENCE)
        matrix = np.column_stack([np.ones(len(pairs)), age])
        for name, sample in (("plain", SIMPLE), ("by cluster", Sample(cluster=pairs))):
            _, low, high = regression.logistic(y, matrix, sample).interval(0)
            covered.setdefault(f"odds ratio of age, {name}", []).append(low <= truth <= high)
    return {name: float(np.mean(values)) for name, values in covered.items()}


def _slope_of_twins(random: np.random.Generator, number: int = 1_000_000) -> float:
    """The log odds ratio per decade that a logistic model of very many people has."""
    age = random.normal(0, _AGE_SD, number)
    y = random.normal(size=number) + 0.3 * age > stats.norm.ppf(1 - _PREVALENCE)
    return float(regression.logistic(y, np.column_stack([np.ones(number), age])).log_ratio[0])


def _lines(title: str, by: list[str], columns: list[dict[str, float]]) -> list[str]:
    """A table of shares in per cent, a row an interval."""
    lines = [f"| {title} | {' | '.join(by)} |", "|---" * (len(by) + 1) + "|"]
    for name in columns[0]:
        cells = " | ".join(f"{100 * column[name]:.1f} %" for column in columns)
        lines.append(f"| {name} | {cells} |")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.model_coverage [--repetitions 1000]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    sizes, correlations = (40, 100, 400), (0.5, 0.8)

    def table(title: str, study: Callable[..., dict[str, float]], values: tuple, by: str) -> None:
        columns = [study(value, args.repetitions, args.seed) for value in values]
        print("\n".join(_lines(title, [f"{by} {value:g}" for value in values], columns)), "\n")

    table("ratio of counts per decade", counts, sizes, "n =")
    table("200 pairs of twins", twins, correlations, "correlation")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
