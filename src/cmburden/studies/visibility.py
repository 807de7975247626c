"""What a reader would call the microbleeds drawn: ``python -m cmburden.studies.visibility``.

A microbleed that is grey in its scan and no signal void is 'faint' (``sources.grade``); what is
less than that is in nobody's labels, and the simulator draws it anew. This says how many those are,
by acquisition: the smaller a source against the voxel, the more are lost, in simulated scans as on
a scanner.
"""

from __future__ import annotations

import argparse

import numpy as np

from cmburden.core.errors import told
from cmburden.core.keys import seed_of
from cmburden.simulate import physics, sources
from cmburden.simulate.acquisition import PRESETS, Acquisition
from cmburden.simulate.sources import Source


def drawn(acquisition: Acquisition, number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Apparent radii (n,) in mm of microbleeds in even tissue, and the grade (str) of each."""
    rng = np.random.default_rng(seed_of("visibility", acquisition.name, seed))
    radians = physics.phase_per_ppm(acquisition.field_t, acquisition.echo_time_s)
    affine, shape = np.diag([*acquisition.voxel_mm, 1.0]), (41, 41, 21)
    middle = affine[:3, :3] @ (np.array(shape) // 2)
    radii, grades = np.empty(number), []
    for k in range(number):
        visible, chi = sources.draw_size(rng)
        centre = middle + rng.uniform(-0.5, 0.5, 3) * acquisition.voxel_mm
        radius = sources.source_radius(visible, chi, acquisition)
        source = Source("microbleed", centre, radius, chi, visible, None, "lobar")
        _, left = sources.source_signal(source, affine, shape, np.array([0, 0, 1.0]), radians)
        radii[k] = visible
        loss = sources.darkest_loss(left, acquisition)
        grades.append(sources.grade(loss, 1.0, 1 / acquisition.snr))
    return radii, np.array(grades)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.visibility")
    parser.add_argument("--number", type=int, default=400, help="microbleeds an acquisition")
    args = parser.parse_args(arguments)
    print("| acquisition | drawn | microbleed | faint | radius 5 / 50 / 95 % of microbleeds, mm |")
    print("|---|---|---|---|---|")
    for name, acquisition in PRESETS.items():
        radii, grades = drawn(acquisition, args.number)
        share = [f"{(grades == grade).mean():.2f}" for grade in ("microbleed", "faint")]
        quantiles = np.quantile(radii[grades == "microbleed"], [0.05, 0.5, 0.95])
        shown = " / ".join(f"{v:.2f}" for v in quantiles)
        print(f"| {name} | {args.number} | {share[0]} | {share[1]} | {shown} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
