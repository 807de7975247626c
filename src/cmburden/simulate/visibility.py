"""How many of the microbleeds drawn a reader would see: ``python -m cmburden.simulate.visibility``.

A microbleed that is no signal void in its scan (``sources.VOID``, ``sources.ROSE``) is in nobody's
labels, so the simulator draws it anew. This says how many those are, by acquisition: the smaller a
source against the voxel, the more are lost, in simulated scans as on a scanner.
"""

from __future__ import annotations

import argparse

import numpy as np

from cmburden.errors import told
from cmburden.records import seed_of
from cmburden.simulate import physics, sources
from cmburden.simulate.acquisition import PRESETS, Acquisition
from cmburden.simulate.sources import Source


def drawn(acquisition: Acquisition, number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Apparent radii (n,) in mm of microbleeds in even tissue, and whether each would be seen."""
    rng = np.random.default_rng(seed_of("visibility", acquisition.name, seed))
    radians = physics.phase_per_ppm(acquisition.field_t, acquisition.echo_time_s)
    affine, shape = np.diag([*acquisition.voxel_mm, 1.0]), (41, 41, 21)
    middle = affine[:3, :3] @ (np.array(shape) // 2)
    radii, seen = np.empty(number), np.empty(number, bool)
    for k in range(number):
        visible, chi = sources.draw_size(rng)
        centre = middle + rng.uniform(-0.5, 0.5, 3) * acquisition.voxel_mm
        radius = sources.source_radius(visible, chi, acquisition)
        source = Source("microbleed", centre, radius, chi, visible, None, "lobar")
        _, left = sources.source_signal(source, affine, shape, np.array([0, 0, 1.0]), radians)
        radii[k] = visible
        seen[k] = sources.is_void(left, acquisition, 1.0, 1 / acquisition.snr)
    return radii, seen


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cmburden.simulate.visibility")
    parser.add_argument("--number", type=int, default=400, help="microbleeds an acquisition")
    args = parser.parse_args(arguments)
    print("| acquisition | drawn | seen, share | radius 5 / 50 / 95 % of the seen, mm |")
    print("|---|---|---|---|")
    for name, acquisition in PRESETS.items():
        radii, seen = drawn(acquisition, args.number)
        quantiles = " / ".join(f"{v:.2f}" for v in np.quantile(radii[seen], [0.05, 0.5, 0.95]))
        print(f"| {name} | {args.number} | {seen.mean():.2f} | {quantiles} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
