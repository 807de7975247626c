"""Seconds and arithmetic of both networks on whole brains.

``python -m cmburden.benchmarks.one_scan``.

Detector and Verifier are taken as `detect` and `verify` take them, on the CPU, with the shipped
models and the configuration's settings. Without scans of your own, ellipsoid brains with texture,
noise, dark spots and dark lines are made: as many voxels and candidates as a scan has, no anatomy.
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
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage
from torch.utils.flop_counter import FlopCounterMode

from cmburden import __version__
from cmburden.core import resources
from cmburden.core.config import load
from cmburden.core.errors import CMBurdenError, told
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import seed_of
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.detect.describe import describe
from cmburden.detect.stage import Detector
from cmburden.images.views import stacked
from cmburden.verify.stage import Verifier

SHAPE, VOXEL_MM = (320, 400, 75), (0.5, 0.5, 2.0)
#: Half axes of the brain, mm: 1.35 l, of an adult.
HALF_AXES_MM = (66.0, 84.0, 58.0)
SPOTS, LINES = 60, 250
STEPS = ("cnn", "describe", "yolo")
_CONVENTION = "a multiplication and an addition count as two (torch.utils.flop_counter)"


@dataclasses.dataclass(frozen=True)
class Volume:
    """``image`` (x, y, z) float32 with median 1 in the brain, ``mask`` bool, ``affine`` to mm."""

    name: str
    image: np.ndarray
    mask: np.ndarray
    affine: np.ndarray


@dataclasses.dataclass(frozen=True)
class Measured:
    """One scan. ``seconds`` by the clock and ``cpu_seconds`` of this process, by step; FLOPs."""

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
        return self.yolo_flops / self.candidates if self.candidates else None


def synthetic(
    name: str,
    shape: tuple[int, int, int] = SHAPE,
    voxel_mm: tuple[float, float, float] = VOXEL_MM,
    half_axes_mm: tuple[float, float, float] = HALF_AXES_MM,
    spots: int = SPOTS,
    lines: int = LINES,
) -> Volume:
    """A brain-sized ellipsoid; equal names give equal volumes.

    Spots have 0.7 to 2.5 mm radius; lines, for veins, 0.4 to 0.9 mm and up to 40 mm length.
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
    coarse = rng.normal(0, 1, [max(4, int(n * s / 6)) for n, s in zip(shape, spacing, strict=True)])
    zoom = np.array(shape) / np.array(coarse.shape)
    texture = ndimage.zoom(coarse.astype(np.float32), zoom, order=1, grid_mode=True, mode="nearest")
    # Tissue at 1 within a rim of CSF, nothing beyond the head.
    image = np.where(scaled < 0.93, 1 + 0.07 * texture, np.where(mask, 1.3, 0.6))
    image = np.where(scaled < 1.25, image, 0.02).astype(np.float32)
    for _ in range(spots):
        centre = _inside(rng, half_axes_mm)
        _darken(image, axes, centre, centre, rng.uniform(0.7, 2.5), rng.uniform(0.3, 0.8))
    for _ in range(lines):
        start = _inside(rng, half_axes_mm)
        way = rng.normal(0, 1, 3)
        stop = start + way / np.linalg.norm(way) * rng.uniform(8, 40)
        _darken(image, axes, start, stop, rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.7))
    image = np.abs(image + rng.normal(0, 0.05, shape).astype(np.float32)).astype(np.float32)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -middle * spacing
    return Volume(name, image / np.float32(np.median(image[mask])), mask, affine)


def _inside(rng: np.random.Generator, half_axes_mm) -> np.ndarray:
    """A point of the ellipsoid, uniform in volume, mm from its centre."""
    way = rng.normal(0, 1, 3)
    return way / np.linalg.norm(way) * np.cbrt(rng.uniform(0, 0.85)) * np.array(half_axes_mm)


def _darken(image: np.ndarray, axes, start, stop, radius: float, depth: float) -> None:
    """Take ``depth`` of the signal away within ``radius`` mm of the line from start to stop."""
    low, high = np.minimum(start, stop) - 2 * radius, np.maximum(start, stop) + 2 * radius
    # A slice thicker than the line still holds a part of it.
    box = tuple(
        slice(np.searchsorted(axis, a - (axis[1] - axis[0]) / 2),
              np.searchsorted(axis, b + (axis[1] - axis[0]) / 2))
        for axis, a, b in zip(axes, low, high, strict=True)
    )  # fmt: skip
    points = np.stack(
        np.meshgrid(*(axis[s] for axis, s in zip(axes, box, strict=True)), indexing="ij"), -1
    )
    if not points.size:
        return
    way = stop - start
    along = np.clip(((points - start) @ way) / max(way @ way, 1e-9), 0, 1)
    distance = np.linalg.norm(points - start - along[..., None] * way, axis=-1)
    image[box] *= 1 - depth * np.exp(-((distance / radius) ** 2))


def real(derivatives: Path, scans: int) -> Iterator[Volume]:
    """The scans of a run with the most voxels, of those that went through preprocess.

    Raises
    ------
    CMBurdenError
        When the folder holds none.
    """
    layout = Layout(derivatives)
    # Sources are not read, so the BIDS folder need not be there.
    known = read_scans(layout.manifest, Path())
    ready = [
        scan
        for scan in sorted(known, key=lambda scan: scan.scan_id)
        if layout.record("preprocess", scan.scan_id).exists()
        and Outcome.read(layout.record("preprocess", scan.scan_id)).ok
    ]
    if not ready:
        raise CMBurdenError(f"{derivatives}: no scan went through preprocess; run the cohort first")
    # Sorting keeps the order of equals: by scan_id.
    ready.sort(key=lambda scan: -math.prod(nib.load(layout.preproc(scan)).shape))
    for scan in ready[:scans]:
        image = nib.load(layout.preproc(scan))
        mask = np.asarray(nib.load(layout.brain_mask(scan)).dataobj) > 0
        volume = np.asarray(image.dataobj, dtype=np.float32)
        yield Volume(scan.scan_id, volume, mask, image.affine)


def measure(volume: Volume, detector: Callable, verifier: Callable, settings: dict) -> Measured:
    """Seconds and FLOPs of one scan, as `detect` and `verify` go through it.

    ``detector`` and ``verifier`` are called as :class:`~cmburden.detect.stage.Detector` and
    :class:`~cmburden.verify.stage.Verifier` are; ``settings`` is that of detect. Each network runs
    twice: counted first, which also warms it up, then timed without the counter.
    """
    seconds, cpu_seconds = {}, {}

    @contextlib.contextmanager
    def timed(step: str):
        clock, cpu = time.perf_counter(), time.process_time()
        yield
        seconds[step] = round(time.perf_counter() - clock, 3)
        cpu_seconds[step] = round(time.process_time() - cpu, 3)

    def search():
        return detector(
            volume.image, volume.mask, volume.affine,
            minimum=settings["min_probability"], maximum_number=settings["max_candidates"],
        )  # fmt: skip

    cnn_flops, _ = flops_of(search)
    with timed("cnn"):
        found = search()
    with timed("describe"):
        _rows, pictures, _voxels = describe(volume.image, volume.mask, volume.affine, found)
    views = stacked(pictures)
    yolo_flops, _ = flops_of(lambda: verifier(views))
    with timed("yolo"):
        verifier(views)
    voxel_mm = np.linalg.norm(volume.affine[:3, :3], axis=0)
    return Measured(
        volume.name,
        volume.image.shape,
        tuple(round(float(v), 3) for v in voxel_mm),
        round(float(volume.mask.sum() * voxel_mm.prod() / 1000), 1),
        len(found),
        seconds,
        cpu_seconds,
        cnn_flops,
        yolo_flops,
    )


def flops_of(call: Callable) -> tuple[int, object]:
    """Floating-point operations of the networks that ``call`` runs, and what it gives."""
    with FlopCounterMode(display=False) as counter:
        result = call()
    return counter.get_total_flops(), result


def run(
    scans: int = 3, threads: int = 2, derivatives: Path | None = None, out: Path | None = None
) -> dict:
    """Measure ``scans`` scans on ``threads`` threads; ``out`` gets benchmark.json and .md."""
    torch.set_num_threads(threads)
    config = load()
    detector = Detector(resources.root() / config["detect"]["model"], "cpu")
    verifier = Verifier(resources.root() / config["verify"]["model"], "cpu")
    volumes = (
        real(derivatives, scans)
        if derivatives is not None
        else (synthetic(f"synthetic-{number}") for number in range(1, scans + 1))
    )
    rows = []
    for volume in volumes:
        rows.append(measure(volume, detector, verifier, config["detect"]))
        print(f"{rows[-1].scan}: {rows[-1].seconds}", flush=True)
    result = {
        "cmburden_version": __version__,
        "models": {"detector": detector.contract["id"], "verifier": verifier.contract["id"]},
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": threads,
            "torch": torch.__version__,
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        },
        "flops": _CONVENTION,
        "scans": [
            dataclasses.asdict(row) | {"yolo_flops_per_view": row.yolo_flops_per_view}
            for row in rows
        ],
        "median": _median(rows),
    }
    if out is not None:
        write_json(Path(out) / "benchmark.json", result)
        with whole_file(Path(out) / "benchmark.md") as temporary:
            temporary.write_text(markdown(result), encoding="utf-8")
    return result


def _median(rows: list[Measured]) -> dict:
    """Medians over scans, of each figure by itself."""

    def middle(values):
        values = [value for value in values if value is not None]
        return float(np.median(values)) if values else None

    return {
        "candidates": middle(row.candidates for row in rows),
        "seconds": {step: middle(row.seconds[step] for row in rows) for step in STEPS},
        "cpu_seconds": {step: middle(row.cpu_seconds[step] for row in rows) for step in STEPS},
        "cnn_flops": middle(row.cnn_flops for row in rows),
        "yolo_flops": middle(row.yolo_flops for row in rows),
        "yolo_flops_per_view": middle(row.yolo_flops_per_view for row in rows),
    }


def _processor() -> str:
    """The processor's name where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def markdown(result: dict) -> str:
    """benchmark.md: a row a scan and the medians."""
    machine = result["machine"]
    header = [
        "scan", "voxels", "candidates", "CNN, s", "describe, s", "YOLO, s", "all, s",
        "CPU time of all, s", "CNN, GFLOP", "YOLO, GFLOP", "a view, MFLOP",
    ]  # fmt: skip
    rows = [
        _cells(row["scan"], f"{'x'.join(map(str, row['voxels']))}, {_mm(row)}", row)
        for row in result["scans"]
    ]
    rows.append(_cells("median", "", result["median"]))
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        [
            "# Benchmark of the networks",
            "",
            f"{machine['processor']}, {machine['threads']} threads on {machine['cores']} cores, "
            f"torch {machine['torch']}; {result['models']['detector']}, "
            f"{result['models']['verifier']}; peak memory {machine['peak_memory_mb']} MB.",
            "",
            *("| " + " | ".join(cells) + " |" for cells in lines),
            "",
            "CNN: resampling, network and maxima. Describe: shape and views of the candidates. "
            f"Each is timed after one run that is not. FLOP: {result['flops']}.",
        ]
    ) + "\n"  # fmt: skip


def _mm(row: dict) -> str:
    return "x".join(f"{size:g}" for size in row["voxel_mm"]) + " mm"


def _cells(name: str, voxels: str, row: dict) -> list[str]:
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
    raise SystemExit(told(main))
