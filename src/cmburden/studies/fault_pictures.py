"""Draws a sound scan with each fault of ``faulty_images``: the picture of docs/inputs.md.

``python -m cmburden.studies.fault_pictures SCAN.nii.gz OUT.png`` shows, of each, the slice in the
middle, as the header says that it lies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cmburden.core.errors import exit_code
from cmburden.images import brain
from cmburden.images.volume import load_volume
from cmburden.studies.faulty_images import FAULTS, Fault, Head

#: Pictures in a row, and the size of one in inches.
_COLUMNS, _INCHES = 10, 1.15
#: Percentiles of a slice that are black and white.
_WINDOW = (1, 99.5)
#: Words under a picture for what is due.
_DUE = {"refused": "refused", "warned": "warned or mended", "unseen": "not seen"}


def draw(scan: Path, out: Path) -> None:
    """Write the picture of the faults of ``scan``, a sound image, to ``out`` (PNG)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    volume = load_volume(scan)
    head = Head(volume.data, brain.brain_mask(volume.data), volume.zooms, 1)
    rows = -(-(len(FAULTS) + 1) // _COLUMNS)
    figure = Figure(figsize=(_COLUMNS * _INCHES, rows * _INCHES * 1.35))
    FigureCanvasAgg(figure)
    shown: list[tuple[str, str, np.ndarray, tuple[float, ...]]] = [
        ("sound", "read", volume.data, volume.zooms)
    ]
    shown += [(fault.name, _DUE[fault.due], *_made(fault, head)) for fault in FAULTS]
    for number, (name, due, data, sizes) in enumerate(shown, start=1):
        axes = figure.add_subplot(rows, _COLUMNS, number)
        axes.set_axis_off()
        kind = next((fault.kind for fault in FAULTS if fault.name == name), "values")
        plane, (across, up) = _middle(data, axial=kind != "slices" and "down" not in name)
        low, high = np.percentile(plane, _WINDOW)
        aspect = sizes[up] / sizes[across]
        axes.imshow(plane.T[::-1], cmap="gray", vmin=low, vmax=high, aspect=aspect)
        axes.set_title(f"{name}\n{due}", fontsize=5)
    figure.tight_layout(pad=0.3)
    figure.savefig(out, dpi=110, metadata={"Software": None})


def _made(fault: Fault, head: Head) -> tuple[np.ndarray, tuple[float, ...]]:
    made = fault.make(head)
    return made.data, tuple(head.sizes[axis] for axis in made.order)


def _middle(data: np.ndarray, *, axial: bool) -> tuple[np.ndarray, tuple[int, int]]:
    """The axial slice in the middle, or a sagittal one that shows all slices; and its two axes."""
    if axial:
        return data[:, :, data.shape[2] // 2], (0, 1)
    return data[data.shape[0] // 2 + data.shape[0] // 20], (1, 2)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.fault_pictures")
    parser.add_argument("scan", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    draw(args.scan, args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
