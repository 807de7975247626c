"""A picture of simulated scans: ``python -m cmburden.studies.picture OUT.png``.

One slice of each preset and of random acquisitions, microbleeds ringed red, faint ones yellow,
mimics cyan. With ``--spots`` the picture shows bleeds of the two GRE presets, the faintest first,
for everybody to judge the border between 'faint' and 'microbleed'.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cmburden.core.errors import exit_code
from cmburden.core.files import whole_file
from cmburden.core.keys import seed_of
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate import reader
from cmburden.simulate.scan import Simulated, simulate
from cmburden.simulate.sources import Source, crowded_findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Height of the simulated slabs, mm.
_EXTENT_MM = 34.0
#: Microbleeds asked for in a slab.
_BLEEDS = 16
_RED, _YELLOW, _CYAN = "#ff3b30", "#ffd60a", "#28d7e8"
#: Half the width of a spot's tile, mm, and tiles across and down for each preset.
_TILE_MM, _ACROSS, _DOWN = 12.0, 12, 3


def panels(anatomy: Path | None, randoms: int, seed: int) -> list[Simulated]:
    """A slab of each preset, then of ``randoms`` random acquisitions, of one person."""
    person = an.load(anatomy)
    scans = []
    for number, name in enumerate([*aq.PRESETS, *[aq.RANDOM] * randoms]):
        rng = np.random.default_rng(seed_of("picture", seed, number))
        drawn = aq.random_acquisition(rng) if name == aq.RANDOM else aq.vary(aq.PRESETS[name], rng)
        drawn = dataclasses.replace(drawn, extent_mm=_EXTENT_MM)
        deform, findings = an.deformation(person, rng), crowded_findings(rng, _BLEEDS)
        scans.append(simulate(person, deform, drawn, rng, findings))
    return scans


def draw(scans: list[Simulated], path: Path) -> None:
    """Write a picture of ``scans``, four to a row."""
    columns = 4
    rows = -(-len(scans) // columns)
    figure = _figure(2.6 * columns, 3.1 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for one in axes:
        one.axis("off")
    for one, scan in zip(axes, scans, strict=False):
        _panel(one, scan)
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=90, layout="constrained")
    figure.set_facecolor("black")
    return figure


def _save(figure: Figure, path: Path) -> None:
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", facecolor="black", pil_kwargs={"optimize": True})


@dataclasses.dataclass(frozen=True)
class Spot:
    """A bleed in its slice: ``tile`` (x, y), 1 the brain's median; ``loss`` of ``reader``."""

    kind: str
    loss: float
    tile: np.ndarray


def spots(anatomy: Path | None, preset: str, seed: int, number: int) -> list[Spot]:
    """``number`` bleeds of a preset, evenly over their rank by loss, the faintest first."""
    rng = np.random.default_rng(seed_of("spots", seed, preset))
    person, drawn = an.load(anatomy), aq.vary(aq.PRESETS[preset], rng)
    findings = dataclasses.replace(crowded_findings(rng, 2 * number), painted=0.0)
    scan = simulate(person, an.deformation(person, rng), drawn, rng, findings)
    bleeds = [_spot(source, scan) for source in scan.sources if source.is_bleed]
    drawn_bleeds = sorted((s for s in bleeds if s is not None), key=lambda spot: spot.loss)
    count = min(number, len(drawn_bleeds))
    ranks = np.linspace(0, len(drawn_bleeds) - 1, count).round().astype(int)
    return [drawn_bleeds[k] for k in ranks]


def _spot(source: Source, scan: Simulated) -> Spot | None:
    """A bleed's tile; None where the tile does not fit into the image."""
    level = float(np.median(scan.image[scan.brain]))
    parenchyma = an.parenchyma(scan.labels)
    loss, _ = reader.in_image(
        scan.image, scan.bare, parenchyma, scan.affine, source.centre, source.visible_mm
    )
    at = np.linalg.inv(scan.affine)[:3, :3] @ (source.centre - scan.affine[:3, 3])
    middle = np.round(at).astype(int)
    half = np.round(_TILE_MM / np.array(scan.acquisition.voxel_mm[:2])).astype(int)
    low, high = middle[:2] - half, middle[:2] + half + 1
    if (low < 0).any() or (high > scan.image.shape[:2]).any():
        return None
    tile = scan.image[low[0] : high[0], low[1] : high[1], middle[2]] / level
    return Spot(source.kind, loss, tile)


def draw_spots(by_preset: dict[str, list[Spot]], path: Path) -> None:
    """Tiles of each preset's spots, with their loss in percent; faint ones in yellow."""
    figure = _figure(0.95 * _ACROSS, 1.12 * _DOWN * len(by_preset))
    parts = figure.subfigures(len(by_preset), 1, squeeze=False).ravel()
    for part, (name, rows) in zip(parts, by_preset.items(), strict=True):
        part.set_facecolor("black")
        part.suptitle(f"{name}-like", color="white", fontsize=8)
        axes = part.subplots(_DOWN, _ACROSS, squeeze=False).ravel()
        for one in axes:
            one.axis("off")
        for one, spot in zip(axes, rows, strict=False):
            one.imshow(spot.tile.T, cmap="gray", vmin=0, vmax=1.8, origin="lower")
            colour = _YELLOW if spot.kind == "faint" else "white"
            one.set_title(f"{100 * spot.loss:.0f} %", color=colour, fontsize=7, pad=1.5)
    _save(figure, path)


def _panel(axes: Axes, scan: Simulated) -> None:
    """Draw the slice with the most sources, so that the picture shows mimics and microbleeds."""
    inverse = np.linalg.inv(scan.affine)
    at = np.array([inverse[:3, :3] @ s.centre + inverse[:3, 3] for s in scan.sources])
    slices = np.clip(np.round(at[:, 2]).astype(int), 0, scan.image.shape[2] - 1)
    k = int(np.bincount(slices).argmax())
    inside = scan.brain[..., k]
    white = 1.9 * np.median(scan.image[..., k][inside]) if inside.any() else scan.image.max()
    x_mm, y_mm, slice_mm = scan.acquisition.voxel_mm
    axes.imshow(
        scan.image[..., k].T, cmap="gray", vmin=0, vmax=white, origin="lower", aspect=y_mm / x_mm
    )
    for source, place, number in zip(scan.sources, at, slices, strict=True):
        if number == k:
            colour = {"microbleed": _RED, "faint": _YELLOW}.get(source.kind, _CYAN)
            radius = (source.visible_mm + 2.5) / x_mm
            angle = np.linspace(0, 2 * np.pi, 40)
            x = place[0] + radius * np.cos(angle)
            y = place[1] + radius * x_mm / y_mm * np.sin(angle)
            axes.plot(x, y, color=colour, lw=1)
    one = scan.acquisition
    axes.set_title(
        f"{one.name}: {one.contrast}, {one.field_t:g} T, TE {1000 * one.echo_time_s:.0f} ms\n"
        f"{x_mm:.2f} x {y_mm:.2f} x {slice_mm:.2f} mm",
        color="white",
        fontsize=7.5,
    )


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.picture OUT.png [--spots] [--anatomy MAP]``."""
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.picture")
    parser.add_argument("out", type=Path)
    parser.add_argument("--anatomy", type=Path, help="a label map; none: MNI152 template")
    parser.add_argument("--randoms", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spots", action="store_true", help="bleeds of GRE by how dark they are")
    args = parser.parse_args(arguments)
    if args.spots:
        names = [name for name, one in aq.PRESETS.items() if one.contrast == "GRE"]
        number = _ACROSS * _DOWN
        draw_spots({n: spots(args.anatomy, n, args.seed, number) for n in names}, args.out)
        return 0
    draw(panels(args.anatomy, args.randoms, args.seed), args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
