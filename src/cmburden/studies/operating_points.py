"""How well an operating point predicts: ``python -m cmburden.studies.operating_points``.

Reviews are simulated: candidates of a few hundred people, whose probability is off in level and
slope by an amount drawn anew, of which a reader judges 60. The interval of the precision of the
others, at the threshold that is recommended for a precision of 0.8, should hold in 95 of 100.
"""

from __future__ import annotations

import argparse
from typing import Literal

import numpy as np
from scipy.special import expit

from cmburden.core.errors import exit_code
from cmburden.core.keys import seed_of
from cmburden.core.markdown import table as markdown_table
from cmburden.review.operating_point import Review, Wish, recommended
from cmburden.stats import operating_point as statistics
from cmburden.stats.intervals import median_and_ends
from cmburden.stats.operating_point import Cohort

Order = Literal["random", "useful"]
ORDERS: tuple[Order, ...] = ("random", "useful")
#: Standard deviations of what people's candidates have in common, on the logit scale.
PERSONS = (0.0, 0.7)
_JUDGED, _PEOPLE, _SCANS_SWI = 60, 300, 0.5
#: Range of the errors of the software's probability: level and slope of its logit, and of SWI.
_LEVEL, _SLOPE, _SWI = (-1.5, 0.7), (0.6, 1.2), (-0.7, 0.7)
#: Threshold in use; the lowest probability of what a reader is shown.
_IN_USE, _SHOWN = 0.35, 0.08


def review(order: Order, between: float, random: np.random.Generator) -> tuple[Review, Cohort]:
    """A simulated review, and the cohort of the candidates that nobody judged, with the truth.

    Order of draws: candidates a person, their probability, the errors, the truth, the judged ones.
    """
    person = np.repeat(np.arange(_PEOPLE), random.poisson(6, _PEOPLE))
    number = len(person)
    swi = (random.random(_PEOPLE) < _SCANS_SWI)[person].astype(float)
    high = random.random(number) < 0.15
    probability = np.where(high, random.beta(2, 1.2, number), random.beta(0.4, 4, number))
    level, slope, of_swi = (random.uniform(*ends) for ends in (_LEVEL, _SLOPE, _SWI))
    common = random.normal(0, between, _PEOPLE)[person]
    right = expit(level + slope * statistics.logits(probability) + of_swi * swi + common)
    real = random.random(number) < right
    shown = np.flatnonzero(probability >= _SHOWN)
    if order == "random":
        judged = random.permutation(shown)[:_JUDGED]
    else:
        judged = shown[np.argsort(np.abs(probability[shown] - _IN_USE))][:_JUDGED]
    verdict = np.full(number, np.nan)
    verdict[judged] = real[judged]
    fit = statistics.recalibrate(probability[judged], swi[judged], real[judged], person[judged])
    everybody = Cohort(probability, swi, verdict)
    rest = np.isnan(verdict)
    return (
        Review(everybody, fit, _PEOPLE, len(set(person[judged])), {"definite": _IN_USE}),
        Cohort(probability[rest], swi[rest], real[rest].astype(float)),
    )


def covers(order: Order, between: float, number: int, seed: int) -> tuple[float, float] | None:
    """Whether the interval of a simulated review holds the precision of the rest, and its width.

    None where no threshold is recommended, or none of the rest is called.
    """
    random = np.random.default_rng(seed_of("operating points", order, between, seed, number))
    made, rest = review(order, between, random)
    chosen = recommended(made, Wish(precision=0.8))
    if chosen is None:
        return None
    called = rest.from_threshold(chosen.threshold)
    total = len(called.probability)
    if not total:
        return None
    unknown = Cohort(called.probability, called.swi, np.full(total, np.nan))
    draws = statistics.real_among(unknown, made.fit, random) / total
    _, low, high = median_and_ends(draws)
    return float(low <= called.verdict.mean() <= high), high - low


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.operating_points [--repetitions 300] [--seed 1]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    lines = []
    for order in ORDERS:
        for between in PERSONS:
            made = [covers(order, between, n, args.seed) for n in range(args.repetitions)]
            there = np.array([one for one in made if one is not None])
            holds, width = f"{100 * there[:, 0].mean():.1f} %", f"{np.median(there[:, 1]):.2f}"
            lines.append([order, between, len(there), holds, width])
    head = ["order", "between people", "recommended", "interval holds", "median width"]
    print(markdown_table(head, lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
