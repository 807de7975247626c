"""The command ``cmburden adapt``: scans without labels to adapted models, checked on others."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cmburden import RESEARCH_USE_ONLY
from cmburden.adapt import check, network, probability, release, report
from cmburden.adapt import plan as planning
from cmburden.adapt.network import Job
from cmburden.adapt.parts import LEAST_PEOPLE, PARTS
from cmburden.adapt.places import Places
from cmburden.adapt.plan import LEAST_SLABS, Plan, Schedule
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import locked
from cmburden.core.threads import bound_threads
from cmburden.train import command as train_command
from cmburden.train import submission
from cmburden.train.batches import check_workers
from cmburden.train.tuning import scored
from cmburden.train.tuning.places import finished

#: Most scans that take part, and processes beside the training, by default.
SCANS, WORKERS = 100, 2
#: Renderers that may be learnt from: a transplant needs donors that readers confirmed.
LEARNT = ("plain", "physics")
#: Exit code where the models are not better, and not released.
NOT_BETTER = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``cmburden adapt``."""
    at_least, usual = train_command.at_least, Schedule()
    parser.description = (
        "Adapt the networks of a finished run to its scans, without labels: lesions are drawn into "
        "them, detections that nobody judged are left out. Measured on participants whom the "
        f"networks have not seen; exit code {NOT_BETTER} where the models are not better, which "
        "are then not released. See docs/adapting.md."
    )
    add = parser.add_argument
    add("derivatives", type=Path, metavar="OUTPUT_DIR", help="output folder of `cmburden run`")
    add("models", type=Path, metavar="MODELS", help="new folder for the adapted models")
    add(
        "--scans",
        type=at_least(LEAST_PEOPLE),
        default=SCANS,
        metavar="N",
        help=f"most scans that take part, of all scanners in turn (default {SCANS})",
    )
    add(
        "--slabs",
        type=Path,
        metavar="FOLDER",
        help="simulated slabs of `cmburden train dataset` to learn beside (else they are made)",
    )
    add(
        "--simulated",
        type=at_least(LEAST_SLABS),
        default=usual.simulated,
        metavar="N",
        help=f"slabs that are simulated without --slabs (default {usual.simulated})",
    )
    add(
        "--renderer",
        choices=LEARNT,
        default=usual.renderer,
        help="draws the lesions that are learnt; the others draw those of the check "
        f"(default {usual.renderer})",
    )
    add(
        "--draws",
        type=at_least(1),
        default=usual.draws,
        metavar="N",
        help=f"slabs of a scan that is learnt from, each with other lesions ({usual.draws})",
    )
    add(
        "--copies",
        type=at_least(1),
        default=usual.copies,
        metavar="N",
        help=f"copies of a scan that is checked on, each with 1 to 3 lesions ({usual.copies})",
    )
    _add_training(parser, usual)
    train_command.add_resource_options(parser.add_argument_group("jobs", "the networks are one"))


def _add_training(parser: argparse.ArgumentParser, usual: Schedule) -> None:
    """Options of how long and how fast the networks learn."""
    add, at_least = parser.add_argument, train_command.at_least
    add("--steps", type=at_least(1), default=usual.steps, help="steps of the detector")
    add("--rate", type=float, default=usual.rate, help="highest rate of the detector")
    add("--epochs", type=at_least(1), default=usual.epochs, help="epochs of YOLO")
    add("--seed", type=int, default=0, help="seed of lesions and training (default 0)")
    add(
        "--workers",
        type=at_least(0),
        default=min(WORKERS, os.cpu_count() or 1),
        metavar="N",
        help="processes that draw patches, mine and vary views; the results do not depend on N "
        f"(default {WORKERS}, at most one a core)",
    )


def main(args: argparse.Namespace) -> int:
    """``cmburden adapt OUTPUT_DIR MODELS``."""
    train_command.check_resources(args)
    if not args.rate > 0:
        raise CMBurdenError(f"--rate {args.rate:g}: give a number above 0")
    check_workers(int(args.workers))
    places = Places(args.models)
    if places.root.resolve() == args.derivatives.resolve():
        raise CMBurdenError(f"{places.root}: is the run's folder; name a new one for the models")
    if not places.plan.exists() and any(places.model(kind).exists() for kind in release.KINDS):
        raise CMBurdenError(
            f"{places.root}: holds models already; name a new folder for the adapted ones"
        )
    schedule = Schedule(
        steps=int(args.steps),
        rate=args.rate,
        epochs=int(args.epochs),
        seed=args.seed,
        draws=int(args.draws),
        copies=int(args.copies),
        simulated=int(args.simulated),
        renderer=args.renderer,
    )
    places.work.mkdir(parents=True, exist_ok=True)
    try:
        with locked(places.lock):
            return _adapt(args, places, schedule)
    except BlockingIOError:
        raise CMBurdenError(
            f"{places.root}: another `cmburden adapt` works on it; wait for its end"
        ) from None


def _adapt(args: argparse.Namespace, places: Places, schedule: Schedule) -> int:
    plan = planning.begin(places, args.derivatives, schedule, int(args.scans), args.slabs)
    study = planning.study_of(plan)
    print(_said(plan, study), flush=True)
    code = _make_networks(args, places, plan)
    if code or not finished(places.network).exists():
        if not code:
            print("the job goes on; give the same command again when it has ended")
        return code
    fitted = probability.fitted(places, plan, study)
    entry = release.scans_adapted_to(plan)
    models = release.write(places, plan, entry)
    result = check.compare(places, plan, study, scored.in_use(fitted))
    if not result.against:
        release.put(places)
    report.write(places, plan, study, result, entry, models)
    print(f"\n{report.table(result)}\n\n{report.verdict(result)}\n{places.page}")
    print(f"{report.TERMS}\n{RESEARCH_USE_ONLY}")
    return NOT_BETTER if result.against else 0


def _said(plan: Plan, study: planning.Study) -> str:
    """What takes part, in words."""
    people = {part: sum(one == part for one in plan.part.values()) for part in PARTS}
    lines = [
        f"{len(plan.scan_ids)} scans of {len(plan.part)} participants: {people['adapt']} to adapt "
        f"to, {people['calibrate']} to calibrate and {people['check']} to check on."
    ]
    verdicts = study.verdicts
    if len(verdicts.places):
        lines.append(
            f"Readers confirmed {len(verdicts.confirmed)} microbleeds and rejected "
            f"{len(verdicts.rejected)} detections; what nobody judged is left out."
        )
    if verdicts.disputed:
        lines.append(
            f"{verdicts.disputed} places are left out, on which the readers disagree: settle them "
            "by consensus in cmburden review."
        )
    return "\n".join(lines)


def _make_networks(args: argparse.Namespace, places: Places, plan: Plan) -> int:
    """Train the networks and score the scans, here or as a job; the exit code."""
    if finished(places.network).exists():
        return 0
    if args.executor == "none":
        if args.cpus:
            bound_threads(args.cpus)
        network.make(places, plan, int(args.workers))
        return 0
    arguments = (str(places.root.absolute()), "--workers", str(args.workers))
    job = Job("adapt", arguments, places.network, args.cpus)
    return submission.run_jobs([job], train_command.resources_of(args, places.work))
