"""How straight veins are, in a real scan or a simulated one, and whether they hold together:
``python -m cmburden.studies.straightness SCAN.nii.gz --field-t 7 --echo-time 0.012``.

Veins that wind more, or come apart into dots, are mimics that no reader has to deal with.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import networkx as nx
import numpy as np
from scipy import ndimage
from skimage.morphology import remove_small_objects, skeletonize

from cmburden.core.errors import told
from cmburden.images.volume import load_volume
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate.scan import simulate
from cmburden.simulate.sources import Findings

#: Grid on which veins are thinned to lines, and the width of the smoothing of a line's points, mm.
_GRID_MM, _SMOOTH_MM = 0.47, 0.7
#: The surroundings that a vein is compared with, mm; and how many grid voxels of it are too few.
_AROUND_MM, _LEAST = 4.0, 40


@dataclasses.dataclass(frozen=True)
class Pieces:
    """Unbranched dark pieces: ``arc_mm`` (n,) of each, and ``chord`` over arc (m,) of stretches of
    ``stretch_mm`` along the longer ones."""

    stretch_mm: float
    arc_mm: np.ndarray
    chord: np.ndarray

    def row(self, name: str) -> str:
        """A line of the table that the command prints."""
        longer = float((self.arc_mm >= self.stretch_mm).mean()) if len(self.arc_mm) else 0.0
        shown = (
            " / ".join(f"{v:.3f}" for v in np.quantile(self.chord, [0.1, 0.5, 0.9]))
            if len(self.chord)
            else "-"
        )
        return f"| {name} | {len(self.arc_mm)} | {longer:.2f} | {len(self.chord)} | {shown} |"


def pieces(
    image: np.ndarray,
    voxel_mm: tuple[float, float, float],
    inside: np.ndarray | None = None,
    *,
    stretch_mm: float = 6.0,
    dark: float = 0.75,
) -> Pieces:
    """Dark lines of ``image`` (x, y, z), where ``inside``: below ``dark`` of what is around."""
    zoom = np.array(voxel_mm) / _GRID_MM
    even = image / np.maximum(ndimage.gaussian_filter(image, _AROUND_MM / np.array(voxel_mm)), 1e-9)
    veins = ndimage.zoom(even, zoom, order=1) < dark
    if inside is not None:
        veins &= ndimage.zoom(inside.astype(np.float32), zoom, order=1) > 0.5
    line = np.argwhere(skeletonize(remove_small_objects(veins, max_size=_LEAST)))
    arcs, chords = [], []
    for path in _unbranched(line):
        points = line[path] * _GRID_MM
        points = ndimage.gaussian_filter1d(points, _SMOOTH_MM / _GRID_MM, axis=0, mode="nearest")
        along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
        arcs.append(along[-1])
        for start in np.arange(0, along[-1] - stretch_mm + 1e-6, stretch_mm / 2):
            ends = [
                [np.interp(at, along, points[:, axis]) for axis in range(3)]
                for at in (start, start + stretch_mm)
            ]
            chords.append(np.linalg.norm(np.subtract(*ends)) / stretch_mm)
    return Pieces(stretch_mm, np.array(arcs), np.array(chords))


def _unbranched(line: np.ndarray) -> list[list[int]]:
    """Paths through the voxels ``line`` (n, 3), cut where more than two meet."""
    at = {tuple(point): k for k, point in enumerate(line.tolist())}
    graph = nx.Graph()
    graph.add_nodes_from(range(len(line)))
    steps = [step for step in np.ndindex(3, 3, 3) if step > (1, 1, 1)]
    for (x, y, z), k in at.items():
        for dx, dy, dz in steps:
            other = at.get((x + dx - 1, y + dy - 1, z + dz - 1))
            if other is not None:
                graph.add_edge(k, other)
    graph.remove_nodes_from([node for node, degree in list(graph.degree) if degree > 2])
    paths = []
    for part in nx.connected_components(graph):
        ends = [node for node in part if graph.degree[node] <= 1]
        if len(ends) == 2:
            paths.append(nx.shortest_path(graph, *ends))
    return paths


def simulated(
    voxel_mm: tuple[float, float, float],
    echo_time_s: float,
    field_t: float,
    seed: int,
    anatomy: Path | None = None,
    extent_mm: float = 30.0,
) -> Pieces:
    """Of a person with veins and nothing else, 2 mm within the brain's edge, in a GRE scan."""
    acquisition = aq.Acquisition(
        "like", "GRE", voxel_mm, echo_time_s, field_t, csf=1.1, extent_mm=extent_mm
    )
    rng = np.random.default_rng(seed)
    person = an.load(anatomy)
    scan = simulate(person, an.deformation(person, rng), acquisition, rng, Findings())
    depth = ndimage.distance_transform_edt(scan.brain, sampling=voxel_mm)
    return pieces(scan.image, voxel_mm, depth > 2.0)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.straightness")
    parser.add_argument("scan", type=Path, help="magnitude image of a real scan")
    parser.add_argument("--field-t", type=float, default=3.0)
    parser.add_argument("--echo-time", type=float, default=0.02, help="seconds")
    parser.add_argument("--anatomy", type=Path, help="label map; without it the MNI template")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    image = load_volume(args.scan)
    print("| scan | pieces | longer than 6 mm | stretches | chord over arc, 10 / 50 / 90 % |")
    print("|---|---|---|---|---|")
    print(pieces(image.data, image.zooms).row("real"))
    made = simulated(image.zooms, args.echo_time, args.field_t, args.seed, args.anatomy)
    print(made.row("simulated"))
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
