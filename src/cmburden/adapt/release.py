"""The adapted models with their contracts: first in a folder of the work, released if better."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from cmburden.adapt import report
from cmburden.adapt.parts import CHECK
from cmburden.adapt.places import Places
from cmburden.adapt.plan import Plan
from cmburden.core.tables import MANIFEST, SCANS
from cmburden.models import contract as contracts
from cmburden.models.adapted import RANGES, adapted_to
from cmburden.models.people import Person, tuned_on
from cmburden.train.release import Release
from cmburden.train.release import release as write_model
from cmburden.train.tuning import network

KINDS = ("detector", "verifier")
#: Characters of the adaptation's key in the models' ids.
_OF_KEY = 8
#: Columns of the manifest that `scans` lacks.
_SCANNER = ["scan_id", "manufacturer", "scanner_model"]


def scans_adapted_to(plan: Plan) -> dict[str, Any]:
    """The entry ``adapted_to``: the scans that were learnt from or calibrated on."""
    scans = SCANS.read(plan.layout.table("scans"))
    scans = scans.drop(columns=[name for name in _SCANNER[1:] if name in scans])
    scans = scans.merge(MANIFEST.read(plan.layout.manifest)[_SCANNER], on="scan_id")
    part = scans["participant_id"].map(plan.part)
    learnt = scans["scan_id"].isin(plan.scan_ids) & (part != CHECK)
    return adapted_to(scans[learnt.fillna(False).to_numpy(dtype=bool)])


def write(places: Places, plan: Plan, entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Write the models into the work's folder; their contracts by kind."""
    detector, verifiers = network.weights_of(places.network, plan)
    weights = {"detector": (detector,), "verifier": tuple(verifiers)}
    written = {}
    for kind in KINDS:
        base = contracts.load_network(Path(plan.base[kind]))
        model = Release(
            kind=kind,
            weights=weights[kind],
            fitted=places.fitted,
            version=f"{base['version']}-adapted-{plan.key[:_OF_KEY]}",
            instead=_instead(kind, base, plan, entry),
        )
        written[kind] = write_model(model, places.unreleased(kind))
    return written


def put(places: Places) -> None:
    """Put the models into MODELS: ``model.json`` last, so that a model that has one is whole."""
    for kind in KINDS:
        source, target = places.unreleased(kind), places.model(kind)
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.iterdir(), key=lambda one: one.name == "model.json"):
            temporary = target / f".{path.name}.part"
            shutil.copyfile(path, temporary)
            temporary.replace(target / path.name)


def _instead(kind: str, base: dict[str, Any], plan: Plan, entry: dict[str, Any]) -> dict[str, Any]:
    """Keys of an adapted model's contract that differ from those of a simulated one."""
    schedule = plan.schedule
    how = (
        f"{schedule.steps} steps at up to {schedule.rate:g}"
        if kind == "detector"
        else f"{schedule.epochs} epochs"
    )
    where = (
        f"{entry['scans']} scans of {entry['participants']} people of "
        f"{', '.join(entry['cohorts'])} ({', '.join(entry['contrast'])}; "
        f"{', '.join(entry['scanners'])})"
    )
    people = [Person(**person) for person in plan.people]
    return {
        "training_data": f"Adapted without labels ({how}) to {where}, with lesions drawn by "
        f"{schedule.renderer} and simulated slabs beside, from {base['id']}, which was made of: "
        f"{base['training_data']}",
        "validation_set": "Lesions drawn into scans of other participants of the same cohort; no "
        "real microbleed is known there. How many are detected of drawn ones, before and after: "
        "adaptation.md beside the models",
        "intended_use": f"{report.TERMS} Research use only: not a medical device. For scans like "
        "those that it was adapted to. Validate on labelled scans before you trust a count.",
        "domain": {name: entry[name] for name in RANGES if name in entry},
        "adapted_to": entry,
        # Whoever evaluates must know whose scans were learnt from, labels or not.
        "tuned_on": tuned_on(people, plan.key),
        "tuned_from": {"id": base["id"], "weights": base["weights"]},
        "schedule": dataclasses.asdict(schedule),
    }
