"""The job of an adaptation: slabs, networks, and their candidates on the other participants.

Each step goes on from its own files: a job that was killed loses the work since its last
checkpoint, and ends as if it had not been.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cmburden.adapt import material
from cmburden.adapt import plan as planning
from cmburden.adapt.parts import CALIBRATE, CHECK
from cmburden.adapt.places import Places
from cmburden.adapt.plan import Plan, Subject
from cmburden.core.files import write_json
from cmburden.insert.copies import LeftOut
from cmburden.insert.lesions import Wish
from cmburden.insert.transplant import Donor
from cmburden.models import contract as contracts
from cmburden.train import detector
from cmburden.train.submission import StepRun
from cmburden.train.tuning import network, scored
from cmburden.train.tuning.places import finished
from cmburden.train.tuning.scored import Networks
from cmburden.verify.stage import ScanAnatomy, VerifierInUse

#: Names of the models of the run, and of those that were adapted from them.
BEFORE, AFTER = "before", "after"


@dataclasses.dataclass(frozen=True)
class Job(StepRun):
    """A call of :func:`main`, which submitit runs; ``step`` names it in logs alone."""

    def main(self) -> int:
        return main(list(self.arguments))


def make(places: Places, plan: Plan, workers: int = 0) -> None:
    """Train the networks, and score the participants whom they have not seen.

    ``workers`` processes draw patches, mine and vary views; their number changes nothing.
    """
    if finished(places.network).exists():
        return
    study = planning.study_of(plan)
    material.make(places, plan, study)
    network.fine_tune(plan, places.network, workers)
    networks = {
        BEFORE: Networks.load(*network.base_weights(plan)),
        AFTER: Networks.load(*network.weights_of(places.network, plan)),
    }
    if not places.forgetting.exists():
        figures = {
            name: detector.check(one.detector, places.held_out) for name, one in networks.items()
        }
        write_json(places.forgetting, figures)
    for one in networks.values():
        one.detector.eval()
    # What was learnt from is no donor: it would be known again.
    donors = study.donors(plan.layout, [CALIBRATE, CHECK])
    for subject in study.of(CALIBRATE, CHECK):
        _score(places, plan, subject, donors, networks)
    write_json(finished(places.network), {"key": plan.key})


def in_use_before(plan: Plan) -> VerifierInUse:
    """The probability of the run's verifier, and the run's thresholds."""
    contract = contracts.load_network(Path(plan.base["verifier"]))
    return VerifierInUse(contract["probability_model"], plan.thresholds)


def _score(
    places: Places,
    plan: Plan,
    subject: Subject,
    donors: Sequence[Donor],
    networks: dict[str, Networks],
) -> None:
    """Score a scan and its copies; the candidates of the run stand for the scan by its models."""
    scan, schedule = subject.scan, plan.schedule
    last = places.scored(AFTER)
    if scored.is_saved(last, scan.scan_id):
        return
    anatomy = material.anatomy_of(subject, plan.layout)
    renderers = schedule.others if subject.part == CHECK else [schedule.renderer]
    model = in_use_before(plan)
    which = networks if subject.part == CHECK else {AFTER: networks[AFTER]}
    for copy in range(schedule.copies):
        try:
            volume, rows = material.draw(
                subject, anatomy, renderers, donors, Wish(schedule.seed), subject.part, copy
            )
        except LeftOut as reason:
            print(f"{scan.scan_id}: no copy. {reason}", flush=True)
            break
        write_json(places.drawn(scan.scan_id, copy), rows)
        for name, one in which.items():
            folder = places.scored(name, copy)
            if not scored.is_saved(folder, scan.scan_id):
                shown = _with(anatomy, volume)
                judged = scored.score_anatomy(one, scan, shown, plan.search, model)
                scored.save(folder, scan.scan_id, *judged)
    judged = scored.score_anatomy(networks[AFTER], scan, anatomy, plan.search, model)
    scored.save(last, scan.scan_id, *judged)
    print(f"{subject.part}: {scan.scan_id}, {len(judged[0])} candidates", flush=True)


def _with(anatomy: ScanAnatomy, volume: np.ndarray) -> ScanAnatomy:
    """The anatomy of a scan with another volume: mask, regions and transform are the scan's."""
    return dataclasses.replace(
        anatomy, prepared=dataclasses.replace(anatomy.prepared, volume=volume)
    )


def parser() -> argparse.ArgumentParser:
    """The job's arguments."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("models", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The networks of the adaptation in MODELS, which `cmburden adapt` has begun."""
    args = parser().parse_args(arguments)
    places = Places(args.models)
    make(places, planning.read(places), args.workers)
    return 0
