"""Shares of drawn microbleeds that a reader sees: ``python -m cmburden.studies.visibility``.

A microbleed that is grey in its scan, and no signal void, is 'faint' (``sources.grade``). The
simulator replaces a weaker one by a new draw, since no reader would label a weaker one. The command
prints the numbers of seen, faint and weaker microbleeds by acquisition. Sources that are small
against the voxel are lost more often, in simulated scans as on a scanner.
"""

from __future__ import annotations

import argparse

import numpy as np

from cmburden.core.errors import exit_code
from cmburden.core.keys import seed_of
from cmburden.simulate import sources
from cmburden.simulate.acquisition import PRESETS, Acquisition
from cmburden.simulate.sources import Source


def drawn(acquisition: Acquisition, number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Apparent radii (n,) in mm of microbleeds in even tissue, and the grade (n,) str of each.

    Draws of each microbleed: size, susceptibility, place in its voxel.
    """
    rng = np.random.default_rng(seed_of("visibility", acquisition.name, seed))
    radii, grades = np.empty(number), []
    for k in range(number):
        visible, chi = sources.draw_size(rng)
        radius = sources.source_radius(visible, chi, acquisition)
        source = Source("microbleed", np.zeros(3), radius, chi, visible, None, "lobar")
        loss = sources.loss_in_even_tissue(source, acquisition, rng)
        radii[k] = visible
        grades.append(sources.grade(loss, 1.0, 1 / acquisition.snr))
    return radii, np.array(grades)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.visibility [--number N]``."""
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.visibility")
    parser.add_argument("--number", type=int, default=400, help="microbleeds an acquisition")
    args = parser.parse_args(arguments)
    print("| acquisition | drawn | microbleed | faint | radius 5 / 50 / 95 % of microbleeds, mm |")
    print("|---|---|---|---|---|")
    for name, acquisition in PRESETS.items():
        radii, grades = drawn(acquisition, args.number)
        share = [f"{(grades == grade).mean():.2f}" for grade in ("microbleed", "faint")]
        quantiles = np.quantile(radii[grades == "microbleed"], [0.05, 0.5, 0.95])
        radius = " / ".join(f"{v:.2f}" for v in quantiles)
        print(f"| {name} | {args.number} | {share[0]} | {share[1]} | {radius} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
