"""Candidates of the CNN on slabs that it was not trained on, with their truth.

YOLO and the probability learn from these candidates: hard negatives are the detector's false
positives.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from cmburden.core import config
from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.threads import bound_threads, end_with_parent
from cmburden.detect.candidates import OnDevice
from cmburden.detect.network import SpotNet
from cmburden.detect.stage import search_and_describe
from cmburden.images.geometry import slices_last
from cmburden.images.views import VIEW_MM, stacked
from cmburden.models.contract import CLASSES
from cmburden.models.weights import choose_device, load_tensors
from cmburden.stats.matching import hungarian
from cmburden.train import slabs
from cmburden.train.batches import check_workers
from cmburden.train.slabs import FAINT, MICROBLEED, Mined, Slab, Spheres

#: YOLO's class of each kind of source. Readers disagree on faint sources, so candidates there are
#: left out of training: ``FAINT`` is a mark, not a class of YOLO.
CLASS_OF_KIND = {
    MICROBLEED: "microbleed",
    "vessel": "vessel",
    "calcification": "calcification",
    "border": "border",
    "cavernoma": "haemorrhage",
    "macrohaemorrhage": "haemorrhage",
    FAINT: FAINT,
}
#: A candidate without a source is of class border within this distance of the brain's surface,
#: else of class vessel. Unmeasured.
BORDER_MM = 1.5
#: Radius of the box of a candidate without a source, mm.
NO_SOURCE_RADIUS_MM = 1.5
#: Half the side of a box in visible radii, and the least radius that a box is made for, mm: a box
#: shows some of the surroundings. Unmeasured.
BOX_RADII, LEAST_BOX_RADIUS_MM = 1.3, 1.0
#: Width of the rim of a view, mm, in which a source counts as not shown.
RIM_MM = 1


def match(points: np.ndarray, centres: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Index of the source of each point (n,), -1 for none, by the evaluation's matching.

    ``points`` (n, 3) and ``centres`` (m, 3) are in mm, as ``radius`` (m,) is.
    """
    owner = np.full(len(points), -1)
    for point, centre in hungarian(points, centres, radius):
        owner[point] = centre
    return owner


def mine_slab(network: SpotNet, slab: Slab, settings: dict[str, Any]) -> Mined:
    """The candidates of ``network`` on ``slab``, paired with the slab's sources.

    ``settings`` are those of ``detect``: training must see what the stage sees. Candidates whose
    view shows a faint source are left out.
    """
    described = search_and_describe(
        OnDevice(network, next(network.parameters()).device).answer,
        slab.scan.astype(np.float32),
        slab.scan_mask,
        slab.affine,
        minimum=settings["min_probability"],
        maximum_number=settings["max_candidates"],
    )
    axes = slab.affine[:3, slices_last(slab.affine)]
    faint = slab.sources_mm(FAINT)
    used = [
        number
        for number, candidate in enumerate(described.candidates)
        if not any(
            shows(candidate.centre_mm, centre, radius, axes)
            for centre, radius in zip(*faint, strict=True)
        )
    ]
    sources = _Sources.of(slab)
    points = np.array([described.candidates[k].centre_mm for k in used]).reshape(-1, 3)
    owner = match(points, *sources.spheres)
    classes = [
        _class_of(sources.classes[o] if o >= 0 else None, described.rows[k]["edge_mm"])
        for k, o in zip(used, owner, strict=True)
    ]
    boxes = [
        (number, *box)
        for number, (point, name) in enumerate(zip(points, classes, strict=True))
        for box in _boxes(point, name, owner[number], sources, axes)
    ]
    return Mined(
        views=stacked([described.views[k] for k in used]),
        classes=np.array([CLASSES.index(name) for name in classes], int),
        boxes=np.array(boxes, np.float32).reshape(-1, 6),
        n_microbleeds=sources.classes.count(MICROBLEED),
        view_mm=VIEW_MM,
        name=slab.name,
        person=slab.person,
        p_cnn=np.array([described.rows[k]["p_cnn"] for k in used], np.float32),
    )


@dataclasses.dataclass(frozen=True)
class _Sources:
    """The sources that are not faint: centres in mm, radii in mm, YOLO's class of each."""

    spheres: Spheres
    classes: list[str]

    @classmethod
    def of(cls, slab: Slab) -> _Sources:
        clear = slab.kind != FAINT
        classes = [CLASS_OF_KIND[str(kind)] for kind in slab.kind[clear]]
        return cls(Spheres(slab.centre_mm[clear], slab.radius[clear]), classes)


def _class_of(source: str | None, edge_mm: float) -> str:
    """The class of a candidate, of its ``source`` or by its distance to the brain's surface."""
    if source is not None:
        return source
    return "border" if edge_mm < BORDER_MM else "vessel"


def shows(
    point: np.ndarray | tuple[float, ...], centre: np.ndarray, radius: float, axes: np.ndarray
) -> bool:
    """Whether the view about ``point`` shows, in its slice, what lies at ``centre`` (both in mm).

    ``axes`` (3, 3) are the columns of the scan's affine, slices last; ``radius`` is in mm.
    """
    spacing = np.linalg.norm(axes, axis=0)
    offset = np.abs((axes / spacing).T @ (centre - point))
    in_plane = (offset[:2] <= VIEW_MM / 2 - RIM_MM).all()
    return bool(in_plane and offset[2] <= max(spacing[2] / 2, radius))


def _boxes(
    point: np.ndarray, name: str, owner: int, sources: _Sources, axes: np.ndarray
) -> Iterator[tuple[int, float, float, float, float]]:
    """YOLO boxes (class, x, y, w, h as shares of the view) of a view about ``point``, mm.

    The first is the candidate's own, of class ``name``; the others are of sources whose middle
    lies in the view's slice. Pictures have x of the volume as rows, so that the second image axis
    comes first.
    """
    centres, radii = sources.spheres
    if owner < 0:
        yield _box(point, point, name, NO_SOURCE_RADIUS_MM, axes)
    else:
        yield _box(point, centres[owner], name, radii[owner], axes)
    for number, kind in enumerate(sources.classes):
        if number != owner and shows(point, centres[number], radii[number], axes):
            yield _box(point, centres[number], kind, radii[number], axes)


def _box(
    point: np.ndarray, centre: np.ndarray, name: str, radius: float, axes: np.ndarray
) -> tuple[int, float, float, float, float]:
    """The box of a source at ``centre`` in the view about ``point``, both in mm."""
    offset = (axes / np.linalg.norm(axes, axis=0)).T @ (centre - point)
    row, column = 0.5 + offset[:2] / VIEW_MM
    side = 2 * max(float(radius), LEAST_BOX_RADIUS_MM) * BOX_RADII / VIEW_MM
    return CLASSES.index(name), column, row, side, side


def parser() -> argparse.ArgumentParser:
    """The step's arguments."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("slabs", type=Path, help="slabs that these weights were not trained on")
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that mine; the files do not depend on N (default 0: none)",
    )
    return parser


def mine(
    weights: Path, folder: Path, out: Path, settings: dict[str, Any], workers: int = 0
) -> None:
    """Write to ``out`` the candidates of ``weights`` on each slab of ``folder``, once.

    ``workers`` processes mine, a slab each at a time, or this one for 0: the files are the same.
    Raises CMBurdenError where a process died.
    """
    check_workers(workers)
    paths = [path for path in slabs.slab_files(folder) if not slabs.mined_path(out, path).exists()]
    if not workers or len(paths) < 2:
        network = _network(weights)
        for path in paths:
            print(_mined(network, path, out, settings), flush=True)
        return
    workers = min(workers, len(paths))
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (weights, workers))
    with pool:
        jobs = [pool.submit(_mined_there, path, out, settings) for path in paths]
        try:
            for job in as_completed(jobs):
                print(job.result(), flush=True)
        except BrokenProcessPool as error:
            raise CMBurdenError(
                "a process that mines ended; give the same command again to go on, with fewer "
                "--workers where memory ran out"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _network(weights: Path) -> SpotNet:
    """The CNN of ``weights``, on the device that there is."""
    state = load_tensors(weights)
    network = SpotNet(state["entry.weight"].shape[0])
    network.load_state_dict(state)
    return network.eval().to(choose_device("auto"))


def _mined(network: SpotNet, path: Path, out: Path, settings: dict[str, Any]) -> str:
    """Mine the slab ``path`` and write its file; what is said of it."""
    mined = mine_slab(network, slabs.load(path, Slab), settings)
    target = slabs.mined_path(out, path)
    slabs.save(target, mined)
    hits = int((mined.classes == CLASSES.index(MICROBLEED)).sum())
    return f"{target.name} {hits} of {mined.n_microbleeds} {len(mined.classes)}"


#: The CNN of this process, where it is one of several that mine.
_HERE: list[SpotNet] = []


def _start(weights: Path, workers: int) -> None:
    """Load the CNN, with this process's share of the cores; end with the command."""
    bound_threads(max(1, (os.cpu_count() or 1) // workers))
    end_with_parent()
    _HERE.append(_network(weights))


def _mined_there(path: Path, out: Path, settings: dict[str, Any]) -> str:
    return _mined(_HERE[0], path, out, settings)


def main(arguments: list[str] | None = None) -> int:
    """``cmburden train mine WEIGHTS SLABS OUT``."""
    args = parser().parse_args(arguments)
    mine(args.weights, args.slabs, args.out, config.defaults()["detect"], args.workers)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
