"""A picture of simulated scans: ``python -m cmburden.simulate.picture OUT.png``.

One slice of each preset and of random acquisitions, microbleeds ringed red, mimics cyan.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from cmburden.errors import told
from cmburden.records import seed_of, whole_file
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate.scan import Simulated, simulate
from cmburden.simulate.sources import crowded_findings

_EXTENT_MM = 34.0
_RED, _CYAN = "#ff3b30", "#28d7e8"


def panels(anatomy: Path | None, randoms: int, seed: int) -> list[Simulated]:
    """A slab of each preset, then of ``randoms`` random acquisitions, of one person."""
    person = an.load(anatomy)
    found = []
    for number, name in enumerate([*aq.PRESETS, *[aq.RANDOM] * randoms]):
        rng = np.random.default_rng(seed_of("picture", seed, number))
        drawn = aq.random_acquisition(rng) if name == aq.RANDOM else aq.vary(aq.PRESETS[name], rng)
        drawn = dataclasses.replace(drawn, extent_mm=_EXTENT_MM)
        found.append(
            simulate(person, an.deformation(person, rng), drawn, rng, crowded_findings(rng, 16))
        )
    return found


def draw(scans: list[Simulated], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    columns = 4
    rows = -(-len(scans) // columns)
    figure = Figure(figsize=(2.6 * columns, 3.1 * rows), dpi=90, layout="constrained")
    figure.set_facecolor("black")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, scan in zip(figure.axes, scans, strict=False):
        _panel(axes, scan)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", facecolor="black", pil_kwargs={"optimize": True})


def _panel(axes, scan: Simulated) -> None:
    inverse = np.linalg.inv(scan.affine)
    at = np.array([inverse[:3, :3] @ s.centre + inverse[:3, 3] for s in scan.sources])
    slices = np.clip(np.round(at[:, 2]).astype(int), 0, scan.image.shape[2] - 1)
    # The slice with the most sources shows what there is to tell apart.
    k = int(np.bincount(slices).argmax())
    inside = scan.brain[..., k]
    white = 1.9 * np.median(scan.image[..., k][inside]) if inside.any() else scan.image.max()
    x_mm, y_mm, slice_mm = scan.acquisition.voxel_mm
    axes.imshow(
        scan.image[..., k].T, cmap="gray", vmin=0, vmax=white, origin="lower", aspect=y_mm / x_mm
    )
    for source, place, own in zip(scan.sources, at, slices, strict=True):
        if own == k:
            colour = _RED if source.kind == "microbleed" else _CYAN
            radius = (source.visible_mm + 2.5) / x_mm
            angle = np.linspace(0, 2 * np.pi, 40)
            axes.plot(
                place[0] + radius * np.cos(angle), place[1] + radius * x_mm / y_mm * np.sin(angle),
                color=colour, lw=1,
            )  # fmt: skip
    one = scan.acquisition
    axes.set_title(
        f"{one.name}: {one.contrast}, {one.field_t:g} T, TE {1000 * one.echo_time_s:.0f} ms\n"
        f"{x_mm:.2f} x {y_mm:.2f} x {slice_mm:.2f} mm",
        color="white",
        fontsize=7.5,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cmburden.simulate.picture")
    parser.add_argument("out", type=Path)
    parser.add_argument("--anatomy", type=Path, help="a label map; none: MNI152 template")
    parser.add_argument("--randoms", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    draw(panels(args.anatomy, args.randoms, args.seed), args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
