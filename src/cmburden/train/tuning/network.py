"""A job of a tuning: networks that leave out some folds, and their candidates on these folds.

The detector is tuned from the run's, then mines the same slabs; YOLO is tuned on what was mined.
Each step goes on from its own files: a job that was killed loses the work since its last
checkpoint, and ends as if it had not been.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.core.scan import Scan
from cmburden.models import contract as contracts
from cmburden.train import detector, mine, slabs, verifier
from cmburden.train.detector import TrainingPlan
from cmburden.train.labels import scans_of
from cmburden.train.tuning import plan as planning
from cmburden.train.tuning import scored
from cmburden.train.tuning.places import Places, finished, splits
from cmburden.train.tuning.plan import Plan
from cmburden.train.verifier import YoloPlan


def labelled_scans(plan: Plan, places: Places) -> list[Scan]:
    """The scans that slabs were made of, by scan_id."""
    scans, _ = scans_of(plan.layout)
    names = [path.stem.removeprefix("slab-") for path in slabs.slab_files(places.slabs)]
    return [scans[name] for name in sorted(names)]


class Rates(Protocol):
    """How long and how fast networks learn."""

    @property
    def steps(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def epochs(self) -> int: ...
    @property
    def seed(self) -> int: ...


class Learning(Protocol):
    """What fine-tuning needs of a plan: the models of a run to start from, and its search."""

    @property
    def base(self) -> dict[str, str]: ...
    @property
    def search(self) -> dict[str, Any]: ...
    @property
    def schedule(self) -> Rates: ...


def base_weights(plan: Learning) -> tuple[Path, list[Path]]:
    """Files of the weights to start from: the detector's, and the verifiers' by the contract."""
    folder = Path(plan.base["detector"])
    return folder / next(iter(contracts.load_network(folder)["weights"])), _verifiers(plan)


def weights_of(folder: Path, plan: Learning) -> tuple[Path, list[Path]]:
    """Files of the tuned weights below ``folder``: the detector's, and the verifiers'."""
    number = len(_verifiers(plan))
    return (
        folder / "detector" / "detector.pt",
        [folder / f"verifier-{k}" / "verifier.pt" for k in range(1, number + 1)],
    )


def _verifiers(plan: Learning) -> list[Path]:
    """The weights that YOLO is tuned from, in the order of the contract."""
    folder = Path(plan.base["verifier"])
    return [folder / name for name in contracts.load_network(folder)["weights"]]


def make(places: Places, plan: Plan, name: str, workers: int = 0) -> None:
    """Train the networks ``name`` and score the people that they leave out.

    ``workers`` processes draw patches, mine and vary views; their number changes nothing.
    """
    folder, left_out = places.network(name), splits(plan.schedule.folds)[name]
    if finished(folder).exists():
        return
    scans = labelled_scans(plan, places)
    taken = [scan for scan in scans if plan.fold[scan.participant_id] not in left_out]
    for scan in taken:
        link(slabs.slab_path(places.slabs, scan.scan_id), folder / "slabs")
    fine_tune(plan, folder, workers)
    networks = scored.Networks.load(*weights_of(folder, plan))
    model = scored.in_use(contracts.load(Path(plan.base["verifier"])))
    for scan in scans:
        if scan in taken or scored.is_saved(folder / "scored", scan.scan_id):
            continue
        judged, extents = scored.score(networks, scan, plan.layout, plan.search, model)
        scored.save(folder / "scored", scan.scan_id, judged, extents)
        print(f"{name}: {scan.scan_id}, {len(judged)} candidates", flush=True)
    write_json(finished(folder), {"name": name, "left_out": list(left_out), "scans": len(taken)})


def link(source: Path, folder: Path, name: str | None = None) -> None:
    """Put a file into ``folder``, as ``name`` where given, without a copy where the disk allows."""
    target = folder / (name or source.name)
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        temporary = target.with_suffix(".part")
        shutil.copyfile(source, temporary)
        temporary.replace(target)


def fine_tune(plan: Learning, folder: Path, workers: int) -> None:
    """Tune the detector on the slabs of ``folder``, mine them, tune YOLO on what was mined."""
    schedule = plan.schedule
    first, starts = base_weights(plan)
    tuned, verifiers = weights_of(folder, plan)
    if not tuned.exists():
        print(f"{folder.name}: detector", flush=True)
        how = TrainingPlan(
            steps=schedule.steps,
            rate=schedule.rate,
            seed=schedule.seed,
            start=first,
            workers=workers,
        )
        detector.train(folder / "slabs", tuned.parent, how)
    print(f"{folder.name}: candidates to learn from", flush=True)
    mine.mine(tuned, folder / "slabs", folder / "mined", plan.search, workers)
    for number, (start, weights) in enumerate(zip(starts, verifiers, strict=True)):
        if not weights.exists():
            print(f"{folder.name}: YOLO, {number + 1} of {len(verifiers)}", flush=True)
            yolo = YoloPlan(
                epochs=schedule.epochs,
                seed=schedule.seed + number,
                start=start,
                workers=workers,
            )
            verifier.train(folder / "mined", weights.parent, yolo)


def parser() -> argparse.ArgumentParser:
    """The job's arguments."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("models", type=Path)
    parser.add_argument("name")
    parser.add_argument("--workers", type=int, default=0)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The networks NAME of the tuning in MODELS, which `cmburden tune` has begun."""
    args = parser().parse_args(arguments)
    places = Places(args.models)
    plan = planning.read(places)
    if args.name not in splits(plan.schedule.folds):
        raise CMBurdenError(f"{args.name}: no networks of this tuning; see {places.plan}")
    make(places, plan, args.name, args.workers)
    return 0
