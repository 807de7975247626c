"""Seconds and floating-point operations of both networks on whole brains.

``python -m cmburden.benchmarks.one_scan``.

Detector and Verifier are asked as `detect` and `verify` ask them, on the CPU, with the shipped
models and the configuration's settings. Without scans of a run, ellipsoid brains with texture,
noise, dark spots and dark lines are made. They have as many voxels and candidates as a scan, but no
anatomy.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch.utils.flop_counter import FlopCounterMode

from cmburden import __version__
from cmburden.core import resources
from cmburden.core.config import load
from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import seed_of
from cmburden.core.manifest import read_scans
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.detect.candidates import Answer, find_candidates
from cmburden.detect.describe import describe
from cmburden.detect.grid import to_network
from cmburden.detect.stage import Detector
from cmburden.images.prepared import Prepared
from cmburden.images.views import stacked
from cmburden.images.volume import open_image
from cmburden.verify.stage import Verifier

SHAPE, VOXEL_MM = (320, 400, 75), (0.5, 0.5, 2.0)
#: Half axes of the brain, mm: 1.35 l, of an adult.
HALF_AXES_MM = (66.0, 84.0, 58.0)
#: Numbers of dark spots and lines: they give about as many candidates as a scan has (by eye).
SPOTS, LINES = 60, 250
#: Ranges of their radii (mm), depths (share of the signal) and lengths (mm), by eye.
_SPOT_MM, _SPOT_DEPTH = (0.7, 2.5), (0.3, 0.8)
_LINE_MM, _LINE_DEPTH, _LINE_LENGTH_MM = (0.4, 0.9), (0.3, 0.7), (8, 40)
#: Signal of CSF, skull and air, where tissue has 1 (by eye).
_CSF, _SKULL, _AIR = 1.3, 0.6, 0.02
#: Squared radii, in those of the brain, where CSF begins and where the head ends (by eye).
_CSF_FROM, _HEAD_TO = 0.93, 1.25
#: Standard deviations of texture and noise, and the size of the texture in mm (by eye).
_TEXTURE, _NOISE, _TEXTURE_MM = 0.07, 0.05, 6
#: Spots lie within this share of the brain's volume, away from its edge.
_INNER = 0.85
STEPS = ("resampling", "cnn", "maxima", "describe", "yolo")
_HEADER = (
    "scan",
    "voxels",
    "candidates",
    "resampling, s",
    "CNN, s",
    "maxima, s",
    "describe, s",
    "YOLO, s",
    "all, s",
    "CPU time of all, s",
    "CNN, GFLOP",
    "YOLO, GFLOP",
    "a view, MFLOP",
)
_MM3_PER_ML = 1000
_CONVENTION = "a multiplication and an addition count as two (torch.utils.flop_counter)"


@dataclasses.dataclass(frozen=True)
class Brain:
    """A scan to measure. ``image`` (x, y, z) float32 has median 1 in ``mask``, which is bool.

    ``affine`` (4, 4) leads from voxels to RAS mm.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    affine: np.ndarray


@dataclasses.dataclass(frozen=True)
class ScanCost:
    """Cost of one scan by step: wall ``seconds``, ``cpu_seconds`` of this process, FLOPs."""

    scan: str
    voxels: tuple[int, int, int]
    voxel_mm: tuple[float, float, float]
    brain_ml: float
    candidates: int
    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    cnn_flops: int
    yolo_flops: int

    @property
    def yolo_flops_per_view(self) -> float | None:
        """None for a scan without candidates."""
        return self.yolo_flops / self.candidates if self.candidates else None


def synthetic(
    name: str,
    shape: tuple[int, int, int] = SHAPE,
    voxel_mm: tuple[float, float, float] = VOXEL_MM,
    half_axes_mm: tuple[float, float, float] = HALF_AXES_MM,
    spots: int = SPOTS,
    lines: int = LINES,
) -> Brain:
    """A brain-sized ellipsoid; equal names give equal volumes.

    Spots have 0.7 to 2.5 mm radius. Lines, for veins, have 0.4 to 0.9 mm and 8 to 40 mm length.
    """
    rng = np.random.default_rng(seed_of("benchmark", name))
    spacing, middle = np.array(voxel_mm), (np.array(shape) - 1) / 2
    axes = [
        ((np.arange(n) - c) * s).astype(np.float32)
        for n, c, s in zip(shape, middle, spacing, strict=True)
    ]
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    scaled = sum((g / h) ** 2 for g, h in zip(grid, half_axes_mm, strict=True))
    mask = scaled < 1
    texture = 1 + _TEXTURE * _texture(shape, spacing, rng)
    # Tissue at 1 within a rim of CSF, nothing beyond the head.
    image = np.where(scaled < _CSF_FROM, texture, np.where(mask, _CSF, _SKULL))
    image = np.where(scaled < _HEAD_TO, image, _AIR).astype(np.float32)
    for _ in range(spots):
        centre = _inside(rng, half_axes_mm)
        _darken(image, axes, centre, centre, rng.uniform(*_SPOT_MM), rng.uniform(*_SPOT_DEPTH))
    for _ in range(lines):
        start = _inside(rng, half_axes_mm)
        way = rng.normal(0, 1, 3)
        stop = start + way / np.linalg.norm(way) * rng.uniform(*_LINE_LENGTH_MM)
        _darken(image, axes, start, stop, rng.uniform(*_LINE_MM), rng.uniform(*_LINE_DEPTH))
    image = np.abs(image + rng.normal(0, _NOISE, shape).astype(np.float32)).astype(np.float32)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -middle * spacing
    return Brain(name, image / np.float32(np.median(image[mask])), mask, affine)


def _texture(
    shape: tuple[int, int, int], spacing: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Smooth noise of unit deviation at its nodes, some millimetres apart; float32 of ``shape``."""
    nodes = [max(4, int(n * s / _TEXTURE_MM)) for n, s in zip(shape, spacing, strict=True)]
    coarse = rng.normal(0, 1, nodes).astype(np.float32)
    zoom = np.array(shape) / np.array(coarse.shape)
    return ndimage.zoom(coarse, zoom, order=1, grid_mode=True, mode="nearest")


def _inside(rng: np.random.Generator, half_axes_mm: tuple[float, float, float]) -> np.ndarray:
    """A point of the ellipsoid, uniform in volume, mm from its centre."""
    way = rng.normal(0, 1, 3)
    radius = np.cbrt(rng.uniform(0, _INNER))
    return way / np.linalg.norm(way) * radius * np.array(half_axes_mm)


def _darken(
    image: np.ndarray,
    axes: list[np.ndarray],
    start: np.ndarray,
    stop: np.ndarray,
    radius: float,
    depth: float,
) -> None:
    """Take ``depth`` of the signal away within ``radius`` mm of the line from start to stop.

    ``axes`` are the coordinates of the voxels along each axis, mm. ``image`` is changed.
    """
    low, high = np.minimum(start, stop) - 2 * radius, np.maximum(start, stop) + 2 * radius
    box = []
    for axis, a, b in zip(axes, low, high, strict=True):
        # A slice thicker than the line still holds a part of it.
        half = (axis[1] - axis[0]) / 2
        box.append(slice(np.searchsorted(axis, a - half), np.searchsorted(axis, b + half)))
    inside = (axis[part] for axis, part in zip(axes, box, strict=True))
    points = np.stack(np.meshgrid(*inside, indexing="ij"), -1)
    if not points.size:
        return
    way = stop - start
    along = np.clip(((points - start) @ way) / max(way @ way, 1e-9), 0, 1)
    distance = np.linalg.norm(points - start - along[..., None] * way, axis=-1)
    image[tuple(box)] *= 1 - depth * np.exp(-((distance / radius) ** 2))


def real(derivatives: Path, scans: int) -> Iterator[Brain]:
    """The scans of a run with the most voxels, of those that went through preprocess.

    Raises
    ------
    CMBurdenError
        When the folder holds none.
    """
    layout = Layout(derivatives)
    # Sources are not read, so the BIDS folder need not be there.
    listed = sorted(read_scans(layout.manifest, Path()), key=lambda scan: scan.scan_id)
    ready = [scan for scan in listed if _was_preprocessed(layout, scan.scan_id)]
    if not ready:
        raise CMBurdenError(f"{derivatives}: no scan went through preprocess; run the cohort first")
    # Sorting keeps the order of equals: by scan_id.
    ready.sort(key=lambda scan: -math.prod(open_image(layout.preproc(scan)).shape))
    for scan in ready[:scans]:
        prepared = Prepared.read(scan, layout)
        yield Brain(scan.scan_id, prepared.volume, prepared.mask, prepared.affine)


def _was_preprocessed(layout: Layout, scan_id: str) -> bool:
    record = layout.record("preprocess", scan_id)
    return record.exists() and Outcome.read(record).ok


@dataclasses.dataclass
class _Clock:
    """Wall seconds and seconds of this process, by step."""

    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    cpu_seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = round(time.perf_counter() - wall, 3)
        self.cpu_seconds[name] = round(time.process_time() - cpu, 3)


def measure(
    brain: Brain,
    cnn: Answer,
    yolo: Callable[[np.ndarray], np.ndarray],
    settings: dict[str, Any],
) -> ScanCost:
    """Seconds and FLOPs of one scan, as `detect` and `verify` go through it.

    ``cnn`` and ``yolo`` answer as :class:`~cmburden.detect.stage.Detector` and
    :class:`~cmburden.verify.stage.Verifier` do; ``settings`` is that of detect. Each network runs
    twice: counted first, which also warms it up, then timed without the counter.
    """
    clock = _Clock()
    with clock.step("resampling"):
        volume = to_network(brain.image, brain.mask, brain.affine)
    cnn_flops, _ = flops_of(lambda: cnn(volume))
    with clock.step("cnn"):
        probability = cnn(volume)
    with clock.step("maxima"):
        candidates = find_candidates(
            probability, volume, settings["min_probability"], settings["max_candidates"]
        )
    with clock.step("describe"):
        _rows, pictures, _voxels = describe(brain.image, brain.mask, brain.affine, candidates)
    views = stacked(pictures)
    yolo_flops, _ = flops_of(lambda: yolo(views))
    with clock.step("yolo"):
        yolo(views)
    x_mm, y_mm, z_mm = np.linalg.norm(brain.affine[:3, :3], axis=0)
    return ScanCost(
        scan=brain.name,
        voxels=brain.image.shape,
        voxel_mm=(round(float(x_mm), 3), round(float(y_mm), 3), round(float(z_mm), 3)),
        brain_ml=round(float(brain.mask.sum() * (x_mm * y_mm * z_mm) / _MM3_PER_ML), 1),
        candidates=len(candidates),
        seconds=clock.seconds,
        cpu_seconds=clock.cpu_seconds,
        cnn_flops=cnn_flops,
        yolo_flops=yolo_flops,
    )


def flops_of(call: Callable[[], Any]) -> tuple[int, Any]:
    """Floating-point operations of the networks that ``call`` runs, and its result."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the counter sees the passes of this thread
    try:
        with FlopCounterMode(display=False) as counter:
            result = call()
    finally:
        torch.set_num_threads(threads)
    return counter.get_total_flops(), result


def run(
    scans: int = 3, threads: int = 2, derivatives: Path | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Measure ``scans`` scans on ``threads`` threads; ``out`` gets benchmark.json and .md.

    The scans are those of the run ``derivatives``; made ones without it.
    """
    torch.set_num_threads(threads)
    config = load()
    detector = Detector(resources.root() / config["detect"]["model"], "cpu")
    verifier = Verifier(resources.root() / config["verify"]["model"], "cpu")
    brains = (
        real(derivatives, scans)
        if derivatives is not None
        else (synthetic(f"synthetic-{number}") for number in range(1, scans + 1))
    )
    rows = []
    for brain in brains:
        rows.append(measure(brain, detector.answer, verifier.answer, config["detect"]))
        print(f"{rows[-1].scan}: {rows[-1].seconds}", flush=True)
    result = {
        "cmburden_version": __version__,
        "models": {"detector": detector.contract["id"], "verifier": verifier.contract["id"]},
        "machine": _machine(threads),
        "flops": _CONVENTION,
        "scans": [
            dataclasses.asdict(row) | {"yolo_flops_per_view": row.yolo_flops_per_view}
            for row in rows
        ],
        "median": _medians(rows),
    }
    if out is not None:
        write_json(Path(out) / "benchmark.json", result)
        with whole_file(Path(out) / "benchmark.md") as temporary:
            temporary.write_text(markdown(result), encoding="utf-8")
    return result


def _medians(rows: list[ScanCost]) -> dict[str, Any]:
    """Medians over scans, of each measure by itself."""
    return {
        "candidates": _median(row.candidates for row in rows),
        "seconds": {step: _median(row.seconds[step] for row in rows) for step in STEPS},
        "cpu_seconds": {step: _median(row.cpu_seconds[step] for row in rows) for step in STEPS},
        "cnn_flops": _median(row.cnn_flops for row in rows),
        "yolo_flops": _median(row.yolo_flops for row in rows),
        "yolo_flops_per_view": _median(row.yolo_flops_per_view for row in rows),
    }


def _median(values: Iterable[float | None]) -> float | None:
    """Of the values that are not None; None without any."""
    numbers = [value for value in values if value is not None]
    return float(np.median(numbers)) if numbers else None


def _machine(threads: int) -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "torch": torch.__version__,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _processor() -> str:
    """The processor's name by /proc/cpuinfo, else that of the architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def markdown(result: dict[str, Any]) -> str:
    """benchmark.md: a row per scan and the medians."""
    machine, models = result["machine"], result["models"]
    rows = [
        _cells(row["scan"], f"{'x'.join(map(str, row['voxels']))}, {_mm(row)}", row)
        for row in result["scans"]
    ]
    rows.append(_cells("median", "", result["median"]))
    blocks = [
        "# Benchmark of the networks",
        f"{machine['processor']}, {machine['threads']} threads on {machine['cores']} cores, "
        f"torch {machine['torch']}; {models['detector']}, {models['verifier']}; peak memory "
        f"{machine['peak_memory_mb']} MB.",
        markdown_table(_HEADER, rows),
        "Describe: shape and views of the candidates. Networks are timed after one run that is "
        f"not. FLOP: {result['flops']}.",
    ]
    return "\n\n".join(blocks) + "\n"


def _mm(row: dict[str, Any]) -> str:
    return "x".join(f"{size:g}" for size in row["voxel_mm"]) + " mm"


def _cells(name: str, voxels: str, row: dict[str, Any]) -> list[str]:
    seconds, view = row["seconds"], row["yolo_flops_per_view"]
    return [
        name,
        voxels,
        f"{row['candidates']:g}",
        *(f"{seconds[step]:.2f}" for step in STEPS),
        f"{sum(seconds.values()):.2f}",
        f"{sum(row['cpu_seconds'].values()):.2f}",
        f"{row['cnn_flops'] / 1e9:.1f}",
        f"{row['yolo_flops'] / 1e9:.1f}",
        "-" if view is None else f"{view / 1e6:.0f}",
    ]


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.benchmarks.one_scan [--scans 3] [--threads 2] [--out DIR]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--scans", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--derivatives",
        type=Path,
        help="output folder of `cmburden run`: its scans (default: made)",
    )
    parser.add_argument("--out", type=Path, help="folder for benchmark.json and benchmark.md")
    given = parser.parse_args(arguments)
    print(markdown(run(given.scans, given.threads, given.derivatives, given.out)), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
