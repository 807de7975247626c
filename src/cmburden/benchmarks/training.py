"""What a training of the detector takes: steps a second, patches alone, time waiting for patches.

``python -m cmburden.benchmarks.training SLABS``. SLABS is a folder of `cmburden train dataset`;
without it slabs of noise with dark spots are made, which cost what others of their size do.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.markdown import table as markdown_table
from cmburden.models.weights import choose_device
from cmburden.train import detector, precisions
from cmburden.train.batches import Batches, check_workers
from cmburden.train.detector import TrainingPlan
from cmburden.train.patches import Drawable
from cmburden.train.slabs import PatchSource

#: Slabs of noise: number, voxels, size of a voxel (mm), and spots in each. As large as simulated
#: slabs of 44 mm are on average.
_SLABS, _SHAPE, _VOXEL_MM, _SPOTS = 6, (184, 220, 20), (0.75, 0.75, 2.2), 40
_NOISE = 0.05


@dataclasses.dataclass(frozen=True)
class Measured:
    """One row: what is measured with so many processes.

    ``waiting`` is the share of the training's time that no patch was there.
    """

    workers: int
    patches_a_second: float
    steps_a_second: float
    waiting: float


def made_up(seed: int = 0) -> dict[str, Drawable]:
    """Slabs of noise about 1 with spots, by name."""
    rng = np.random.default_rng(seed)
    slabs = {}
    for number in range(_SLABS):
        image = rng.normal(1, _NOISE, _SHAPE).astype(np.float16)
        kinds = rng.choice(["microbleed", "faint", "vessel"], _SPOTS, p=[0.5, 0.1, 0.4])
        source = PatchSource(
            image=image,
            mask=np.ones(_SHAPE, np.uint8),
            spacing=np.array(_VOXEL_MM, np.float32),
            centre=rng.uniform(0, _SHAPE, (_SPOTS, 3)).astype(np.float32),
            radius=rng.uniform(1, 2.5, _SPOTS).astype(np.float32),
            kind=kinds,
        )
        slabs[f"slab-{number:04d}.npz"] = Drawable(source)
    return slabs


def measure(
    slabs: dict[str, Drawable], plan: TrainingPlan, device: torch.device, drawn: int
) -> Measured:
    """Draw ``drawn`` batches alone, then learn ``plan.steps``; the first of each is not counted."""
    with tempfile.TemporaryDirectory() as nowhere:
        state = detector.begin(plan, Path(nowhere) / "checkpoint.pt", device)
    pinned = device.type == "cuda"
    alone = Batches(plan.batch, plan.seed, plan.workers, pinned=pinned)
    stream = alone.of(slabs, state.hard, 0, drawn + 1)
    next(stream)
    began = time.monotonic()
    count = sum(len(batch.names) for batch in stream)
    patches = count / (time.monotonic() - began)
    learning = Batches(plan.batch, plan.seed, plan.workers, pinned=pinned)
    stream = learning.of(slabs, state.hard, 0, plan.steps + 1)
    detector.step(state, next(stream), plan, device)
    began, learning.waited_s = time.monotonic(), 0.0
    for batch in stream:
        detector.step(state, batch, plan, device)
    seconds = time.monotonic() - began
    return Measured(plan.workers, patches, plan.steps / seconds, learning.waited_s / seconds)


def text(rows: Sequence[Measured]) -> str:
    """The rows as a table in Markdown."""
    return markdown_table(
        ["processes", "patches a second, alone", "steps a second", "time waiting for patches"],
        [
            [
                str(row.workers),
                f"{row.patches_a_second:.0f}",
                f"{row.steps_a_second:.2f}",
                f"{row.waiting:.0%}",
            ]
            for row in rows
        ],
    )


def parser() -> argparse.ArgumentParser:
    """The benchmark's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slabs", type=Path, nargs="?", help="slabs to draw from")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed")
    parser.add_argument("--draws", type=int, default=100, help="batches that are drawn alone")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--precision", choices=precisions.PRECISIONS, default=precisions.SINGLE)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.benchmarks.training [SLABS] [--workers 0 1 2]``."""
    args = parser().parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = choose_device("auto")
    precisions.check(args.precision, device)
    for workers in args.workers:
        check_workers(workers)
    slabs = made_up()
    if args.slabs:
        slabs = {}
        detector.load_slabs(args.slabs, slabs)
        if not slabs:
            raise CMBurdenError(f"{args.slabs}: holds no slab-*.npz")
    rows = []
    for workers in args.workers:
        plan = TrainingPlan(
            steps=args.steps, batch=args.batch, workers=workers, precision=args.precision
        )
        rows.append(measure(slabs, plan, device, args.draws))
    print(f"{device.type}, {torch.get_num_threads()} threads, batch {args.batch}\n")
    print(text(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
