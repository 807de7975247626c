"""Candidates of the CNN on slabs that it was not trained on, with their truth: what YOLO and the
probability learn from. Hard negatives are thus the detector's own false positives."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cmburden.core import config, resources
from cmburden.core.errors import told
from cmburden.core.files import whole_file
from cmburden.detect.candidates import search
from cmburden.detect.describe import describe
from cmburden.detect.network import SpotNet
from cmburden.images.geometry import slices_last
from cmburden.images.views import VIEW_MM, stacked
from cmburden.models.contract import CLASSES
from cmburden.models.weights import choose_device, load_tensors
from cmburden.stats.matching import hungarian

#: Sources' kinds as YOLO classes; a candidate of no source is a vessel, or border near the edge.
#: 'faint' is no class: what readers would argue about teaches nothing.
CLASS_OF_KIND = {
    "microbleed": "microbleed", "vessel": "vessel", "calcification": "calcification",
    "cavernoma": "haemorrhage", "macrohaemorrhage": "haemorrhage", "faint": "faint",
}  # fmt: skip
BORDER_MM = 1.5


def match(points: np.ndarray, centres: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Index of the source of each point (n,), -1 for none: as the evaluation matches."""
    owner = np.full(len(points), -1)
    for point, centre in hungarian(points, centres, radius):
        owner[point] = centre
    return owner


def mine_slab(network: SpotNet, slab, settings: dict) -> dict[str, np.ndarray]:
    """Search a slab (content of ``train.dataset``'s file) and pair candidates with its sources.

    ``settings`` are the configuration's of ``detect``: calibration must see what inference gives.
    """
    scan, mask, affine = slab["scan"].astype(np.float32), slab["scan_mask"], slab["affine"]
    found = search(
        network, scan, mask, affine, next(network.parameters()).device,
        minimum=settings["min_probability"], maximum_number=settings["max_candidates"],
    )  # fmt: skip
    centres, radius = slab["centre_mm"], slab["radius"]
    kinds = np.array([CLASS_OF_KIND[str(k)] for k in slab["kind"]])
    faint, axes = kinds == "faint", affine[:3, slices_last(affine)]
    argued = list(zip(centres[faint], radius[faint], strict=True))
    found = [
        c for c in found if not any(_shows(c.centre_mm, *spot, axes) for spot in argued)
    ]  # fmt: skip
    centres, radius, kinds = centres[~faint], radius[~faint], kinds[~faint]
    rows, views, _ = describe(scan, mask, affine, found)
    points = np.array([c.centre_mm for c in found]).reshape(-1, 3)
    owner = match(points, centres, radius)
    classes = [
        kinds[o] if o >= 0 else ("border" if row["edge_mm"] < BORDER_MM else "vessel")
        for o, row in zip(owner, rows, strict=True)
    ]
    boxes = [
        (k, *box)
        for k, point in enumerate(points)
        for box in _boxes(point, classes[k], owner[k], centres, radius, kinds, axes)
    ]
    return {
        "views": stacked(views),
        "class": np.array([CLASSES.index(c) for c in classes], int),
        "boxes": np.array(boxes, np.float32).reshape(-1, 6),
        "n_microbleeds": np.array(int((kinds == "microbleed").sum())),
        "view_mm": np.array(VIEW_MM),
        "name": slab["name"],
        "person": slab["person"],
        "p_cnn": np.array([row["p_cnn"] for row in rows], np.float32),
    }


def _shows(point, centre: np.ndarray, size: float, axes: np.ndarray) -> bool:
    """Whether the view about ``point`` has what lies at ``centre`` in its slice; ``axes`` (3, 3)
    are the scan's, slices last."""
    spacing = np.linalg.norm(axes, axis=0)
    offset = np.abs((axes / spacing).T @ (centre - point))
    return bool((offset[:2] <= VIEW_MM / 2 - 1).all() and offset[2] <= max(spacing[2] / 2, size))


def _boxes(point, name, own, centres, radius, kinds, axes):
    """YOLO boxes (class, x, y, w, h as shares of the view) of what a view shows.

    The candidate itself, and other microbleeds and calcifications whose middle lies in its slice.
    Pictures have x of the volume as rows, so the second image axis comes first.
    """
    spacing = np.linalg.norm(axes, axis=0)
    shown = [(name, point if own < 0 else centres[own], 1.5 if own < 0 else radius[own])]
    shown += [
        (kind, centre, size)
        for k, (kind, centre, size) in enumerate(zip(kinds, centres, radius, strict=True))
        if k != own
    ]
    for number, (kind, centre, size) in enumerate(shown):
        offset = (axes / spacing).T @ (centre - point)
        half = max(float(size), 1.0) * 1.3
        if number and not _shows(point, centre, size, axes):
            continue
        row, column = 0.5 + offset[:2] / VIEW_MM
        side = 2 * half / VIEW_MM
        yield CLASSES.index(kind), column, row, side, side


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.train.mine WEIGHTS SLABS OUT``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("slabs", type=Path, help="slabs that these weights were not trained on")
    parser.add_argument("out", type=Path)
    args = parser.parse_args(arguments)
    state = load_tensors(args.weights)
    network = SpotNet(state["entry.weight"].shape[0])
    network.load_state_dict(state)
    network.eval().to(choose_device("auto"))
    settings = config.read_yaml(resources.root() / "config" / "config.yaml")["detect"]
    for path in sorted(args.slabs.glob("slab-*.npz")):
        target = args.out / path.name.replace("slab-", "mined-")
        if target.exists():
            continue
        mined = mine_slab(network, np.load(path, allow_pickle=False), settings)
        with whole_file(target) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **mined)
        hits = int((mined["class"] == 0).sum())
        print(target.name, f"{hits} of {mined['n_microbleeds']}", len(mined["class"]), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
