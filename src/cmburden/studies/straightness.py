"""Straightness and length of veins in a real scan and in a simulated one.

``python -m cmburden.studies.straightness SCAN.nii.gz --field-t 7 --echo-time 0.012``.
Simulated veins that wind more than real ones, or break into dots, would be mimics that do not occur
in real scans.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import networkx as nx
import numpy as np
from scipy import ndimage
from skimage.morphology import remove_small_objects, skeletonize

from cmburden.core.errors import exit_code
from cmburden.images.volume import load_volume
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate.scan import simulate
from cmburden.simulate.sources import Findings

#: Grid on which veins are thinned to lines, and the width of the smoothing of a line's points, mm.
_GRID_MM, _SMOOTH_MM = 0.47, 0.7
#: Width of the surroundings that a vein is compared with, mm; a vein of at most so many grid voxels
#: is dropped.
_AROUND_MM, _MOST_DROPPED = 4.0, 40
#: Veins nearer to the brain's edge than this are left out, mm.
_EDGE_MM = 2.0


@dataclasses.dataclass(frozen=True)
class Pieces:
    """Unbranched dark pieces of an image.

    ``arc_mm`` (n,) is the length of each; ``chord`` (m,) is chord over arc of stretches of
    ``stretch_mm`` along the longer pieces.
    """

    stretch_mm: float
    arc_mm: np.ndarray
    chord: np.ndarray

    def row(self, name: str) -> str:
        """A line of the table that the command prints."""
        longer = float((self.arc_mm >= self.stretch_mm).mean()) if len(self.arc_mm) else 0.0
        chord = "-"
        if len(self.chord):
            chord = " / ".join(f"{v:.3f}" for v in np.quantile(self.chord, [0.1, 0.5, 0.9]))
        return f"| {name} | {len(self.arc_mm)} | {longer:.2f} | {len(self.chord)} | {chord} |"


def pieces(
    image: np.ndarray,
    voxel_mm: tuple[float, float, float],
    inside: np.ndarray | None = None,
    *,
    stretch_mm: float = 6.0,
    dark: float = 0.75,
) -> Pieces:
    """Dark lines of ``image`` (x, y, z): voxels below ``dark`` times their surroundings.

    Where the mask ``inside`` (x, y, z) is given, lines outside are left out.
    """
    zoom = np.array(voxel_mm) / _GRID_MM
    even = image / np.maximum(ndimage.gaussian_filter(image, _AROUND_MM / np.array(voxel_mm)), 1e-9)
    veins = ndimage.zoom(even, zoom, order=1) < dark
    if inside is not None:
        veins &= ndimage.zoom(inside.astype(np.float32), zoom, order=1) > 0.5
    line = np.argwhere(skeletonize(remove_small_objects(veins, max_size=_MOST_DROPPED)))
    arcs, chords = [], []
    for path in _unbranched(line):
        points = line[path] * _GRID_MM
        points = ndimage.gaussian_filter1d(points, _SMOOTH_MM / _GRID_MM, axis=0, mode="nearest")
        along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
        arcs.append(along[-1])
        for start in np.arange(0, along[-1] - stretch_mm + 1e-6, stretch_mm / 2):
            one, other = (
                np.array([np.interp(at, along, points[:, axis]) for axis in range(3)])
                for at in (start, start + stretch_mm)
            )
            chords.append(np.linalg.norm(one - other) / stretch_mm)
    return Pieces(stretch_mm, np.array(arcs), np.array(chords))


def _unbranched(line: np.ndarray) -> list[list[int]]:
    """Paths of indices through the voxels ``line`` (n, 3), cut where more than two meet."""
    graph = _neighbours(line)
    graph.remove_nodes_from([node for node, degree in list(graph.degree) if degree > 2])
    paths = []
    for part in nx.connected_components(graph):
        ends = [node for node in part if graph.degree[node] <= 1]
        if len(ends) == 2:
            paths.append(nx.shortest_path(graph, *ends))
    return paths


def _neighbours(line: np.ndarray) -> nx.Graph:
    """Graph of the voxels ``line`` (n, 3), whose edges join neighbours, diagonal ones included."""
    at = {tuple(point): k for k, point in enumerate(line.tolist())}
    graph = nx.Graph()
    graph.add_nodes_from(range(len(line)))
    steps = [step for step in np.ndindex(3, 3, 3) if step > (1, 1, 1)]
    for (x, y, z), k in at.items():
        for dx, dy, dz in steps:
            other = at.get((x + dx - 1, y + dy - 1, z + dz - 1))
            if other is not None:
                graph.add_edge(k, other)
    return graph


def simulated(
    voxel_mm: tuple[float, float, float],
    echo_time_s: float,
    field_t: float,
    seed: int,
    anatomy: Path | None = None,
    extent_mm: float = 30.0,
) -> Pieces:
    """Pieces of a simulated GRE scan of a person with veins and nothing else."""
    acquisition = aq.Acquisition(
        "like", "GRE", voxel_mm, echo_time_s, field_t, csf=1.1, extent_mm=extent_mm
    )
    rng = np.random.default_rng(seed)
    person = an.load(anatomy)
    scan = simulate(person, an.deformation(person, rng), acquisition, rng, Findings())
    depth = ndimage.distance_transform_edt(scan.brain, sampling=voxel_mm)
    return pieces(scan.image, voxel_mm, depth > _EDGE_MM)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.straightness SCAN [--field-t T] [--echo-time S]``."""
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
    raise SystemExit(exit_code(main))
