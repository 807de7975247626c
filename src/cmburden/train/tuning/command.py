"""The command ``cmburden tune``: labels of a run to tuned models, measured on people not seen."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

from cmburden.core import truth_origin
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import locked, write_json
from cmburden.core.threads import bound_threads
from cmburden.evaluate.cases import read_truth
from cmburden.models import contract as contracts
from cmburden.models.people import Person, tuned_on
from cmburden.train import command as train_command
from cmburden.train import labels, slabs, submission
from cmburden.train.batches import check_workers
from cmburden.train.release import Release, release
from cmburden.train.submission import StepRun
from cmburden.train.tuning import network, report, unseen
from cmburden.train.tuning import plan as planning
from cmburden.train.tuning.places import EVERYBODY, Places, finished, splits
from cmburden.train.tuning.plan import EPOCHS, FOLDS, RATE, STEPS, Plan, Schedule

#: Processes beside the training, by default.
WORKERS = 2
#: Characters of the tuning's key in the models' ids.
_OF_KEY = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``cmburden tune``."""
    parser.add_argument("derivatives", type=Path, help="output folder of `cmburden run`")
    parser.add_argument("truth", type=Path, help="truth table (TSV) of its scans")
    parser.add_argument("models", type=Path, help="new folder for the tuned models")
    parser.add_argument(
        "--folds",
        type=train_command.at_least(2),
        default=FOLDS,
        metavar="N",
        help=f"parts of the people, each measured by networks without it ({FOLDS})",
    )
    parser.add_argument(
        "--people",
        type=Path,
        metavar="TSV",
        help="who is who (participant_id, person, family, fold); folds.tsv beside the truth table "
        "if there is one",
    )
    parser.add_argument(
        "--steps", type=train_command.at_least(1), default=STEPS, help="steps of the detector"
    )
    parser.add_argument("--rate", type=float, default=RATE, help="highest rate of the detector")
    parser.add_argument(
        "--epochs", type=train_command.at_least(1), default=EPOCHS, help="epochs of YOLO"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the training (default 0)")
    parser.add_argument(
        "--workers",
        type=train_command.at_least(0),
        default=min(WORKERS, os.cpu_count() or 1),
        metavar="N",
        help="processes that draw patches, mine and vary views; the results do not depend on N "
        f"(default {WORKERS}, at most one a core)",
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="leave out scans whose labels are wrong"
    )
    parser.add_argument(
        "--trust-coordinates",
        action="store_true",
        help="do not ask the images whether the table's points are scanner RAS mm",
    )
    group = parser.add_argument_group("jobs", "one for each of the networks")
    train_command.add_resource_options(group)


def main(args: argparse.Namespace) -> int:
    """``cmburden tune OUTPUT_DIR TRUTH MODELS``."""
    train_command.check_resources(args)
    if not args.rate > 0:
        raise CMBurdenError(f"--rate {args.rate:g}: give a number above 0")
    places = Places(args.models)
    _check_new(places, args.derivatives)
    check_workers(args.workers)
    schedule = Schedule(args.folds, args.steps, args.rate, args.epochs, args.seed)
    places.work.mkdir(parents=True, exist_ok=True)
    try:
        with locked(places.lock):
            return _tune(args, places, schedule)
    except BlockingIOError:
        raise CMBurdenError(
            f"{places.root}: another `cmburden tune` works on it; wait for its end"
        ) from None


def _check_new(places: Places, derivatives: Path) -> None:
    """CMBurdenError where MODELS is the run's folder, or holds models that are no tuning's."""
    if places.root.resolve() == derivatives.resolve():
        raise CMBurdenError(f"{places.root}: is the run's folder; name a new one for the models")
    models = [places.model(kind) for kind in ("detector", "verifier")]
    if not places.plan.exists() and any(folder.exists() for folder in models):
        raise CMBurdenError(
            f"{places.root}: holds models already; name a new folder for the tuned ones"
        )


def _tune(args: argparse.Namespace, places: Places, schedule: Schedule) -> int:
    plan = planning.begin(places, args.derivatives, args.truth, schedule, args.people)
    make_slabs(places, plan, keep_going=args.keep_going, trust_coordinates=args.trust_coordinates)
    code = make_networks(args, places, plan)
    waiting = [name for name in splits(schedule.folds) if not _is_made(places, name)]
    if code or waiting:
        if not code:
            print(f"{len(waiting)} jobs go on; give the same command again when they have ended")
        return code
    print(measure_and_release(places, plan))
    print(f"{places.page}\n{report.TERMS}")
    return 0


def make_slabs(
    places: Places, plan: Plan, *, keep_going: bool, trust_coordinates: bool = False
) -> None:
    """Write a slab for each labelled scan, once; the images confirm the labels' coordinates."""
    if finished(places.slabs).exists():
        return
    source = labels.LabelSource(table=places.truth, trust_coordinates=trust_coordinates)
    written = labels.run(plan.layout.root, places.slabs, source, keep_going=keep_going)
    names = {path.name for path in written}
    for path in slabs.slab_files(places.slabs):
        if path.name not in names:
            path.unlink()  # of a start before, whose labels were others
    write_json(finished(places.slabs), {"slabs": sorted(names)})


def _is_made(places: Places, name: str) -> bool:
    return finished(places.network(name)).exists()


def make_networks(args: argparse.Namespace, places: Places, plan: Plan) -> int:
    """Train all networks that are not made yet, here or as jobs; the exit code."""
    names = [name for name in splits(plan.schedule.folds) if not _is_made(places, name)]
    if args.executor == "none":
        if args.cpus:
            bound_threads(args.cpus)
        for number, name in enumerate(names, start=1):
            print(f"networks {number} of {len(names)}: {name}", flush=True)
            network.make(places, plan, name, args.workers)
        return 0
    if not names:
        return 0
    runs = [
        StepRun(
            "network",
            (str(places.root.absolute()), name, "--workers", str(args.workers)),
            places.network(name),
            args.cpus,
        )
        for name in names
    ]
    return submission.run_jobs(runs, train_command.resources_of(args, places.work))


def measure_and_release(places: Places, plan: Plan) -> str:
    """Release the models tuned on everybody; write the measures on unseen people; the table."""
    from cmburden.evaluate import command as evaluate

    scan_ids = {scan.scan_id for scan in network.labelled_scans(plan, places)}
    rows = read_truth(places.truth)
    measured = rows[rows["scan_id"].isin(scan_ids)]
    planning.write_truth(places.measured, measured, truth_origin.origin_of(places.truth, rows))
    tuned = unseen.out_of_fold(places, plan)
    # Making the slabs has asked the images about the coordinates.
    measured = functools.partial(evaluate.run, unseen=True, trust_coordinates=True)
    before = measured(plan.layout.root, places.measured, places.before)
    after = measured(tuned.root, places.measured, places.after)
    unseen.calibrated(places, plan, ())
    return report.write(places, plan, before, after, release_models(places, plan))


def release_models(places: Places, plan: Plan) -> dict[str, dict[str, Any]]:
    """Write the models tuned on everybody into MODELS; their contracts by kind."""
    people = [Person(**person) for person in plan.people]
    own, verifiers = network.weights_of(places.network(EVERYBODY), plan)
    weights = {"detector": (own,), "verifier": tuple(verifiers)}
    released = {}
    for kind, files in weights.items():
        base = contracts.load_network(Path(plan.base[kind]))
        model = Release(
            kind=kind,
            weights=files,
            fitted=places.fitted(EVERYBODY),
            version=f"{base['version']}-tuned-{plan.key[:_OF_KEY]}",
            instead=_instead(kind, base, plan, people),
        )
        released[kind] = release(model, places.model(kind))
    return released


def _instead(kind: str, base: dict[str, Any], plan: Plan, people: list[Person]) -> dict[str, Any]:
    """Keys of a tuned model's contract that differ from those of a model of simulated scans."""
    # Equal tunings have equal contracts, so that the salt is drawn from the tuning itself.
    entry = tuned_on(people, plan.key)
    cohorts = sorted({name for names in entry["families"].values() for name in names})
    number, where = entry["number"], ", ".join(cohorts)
    schedule = plan.schedule
    how = (
        f"{schedule.steps} steps at up to {schedule.rate:g}"
        if kind == "detector"
        else f"{schedule.epochs} epochs"
    )
    return {
        "training_data": f"Tuned ({how}) on labelled scans of {number} people of {where}, from "
        f"{base['id']}, which was made of: {base['training_data']}",
        "validation_set": f"The same {number} people of {where}, out of fold in "
        f"{schedule.folds} folds: each scored by networks that had not seen the person",
        "intended_use": f"{report.TERMS} Research use only: not a medical device. Validate on "
        "labelled scans of other people before you trust a count.",
        "domain": base.get("domain") or {},
        "tuned_on": entry,
        "tuned_from": {"id": base["id"], "weights": base["weights"]},
        "schedule": dataclasses.asdict(schedule),
    }
