"""Coverage of the interval of a mean count, in samples of a negative binomial distribution.

``python -m cmburden.studies.averages`` prints a Markdown table.
"""

from __future__ import annotations

import argparse

import numpy as np

from cmburden.core.keys import seed_of
from cmburden.core.markdown import table as markdown_table
from cmburden.stats.intervals import mean_count

_SIZES = (30, 100, 500)
_MEANS = (0.3, 1.0, 2.0)
_ALPHAS = (1.0, 5.0)


def coverage(n: int, *, mean: float, alpha: float, repetitions: int) -> float:
    """Share of samples of ``n`` people whose 95 % interval holds ``mean``.

    The variance of the counts is mean + alpha mean^2. Samples without any microbleed, which have no
    interval, take no part.
    """
    random = np.random.default_rng(seed_of("averages", n, mean, alpha))
    shape = 1 / alpha
    samples = random.negative_binomial(shape, shape / (shape + mean), size=(repetitions, n))
    ends = np.array([mean_count(sample) for sample in samples if sample.any()])
    return float(np.mean((ends[:, 0] <= mean) & (mean <= ends[:, 1])))


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.averages [--repetitions 4000]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--repetitions", type=int, default=4000)
    args = parser.parse_args(arguments)
    rows = [
        [
            f"{mean:g}",
            f"{alpha:g}",
            *(
                f"{coverage(n, mean=mean, alpha=alpha, repetitions=args.repetitions):.1%}"
                for n in _SIZES
            ),
        ]
        for mean in _MEANS
        for alpha in _ALPHAS
    ]
    print(markdown_table(["mean", "alpha", *(f"n = {n}" for n in _SIZES)], rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
