"""What an adaptation learns from and how: written first, so that it goes on as it began."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.adapt import judged
from cmburden.adapt.judged import Verdicts
from cmburden.adapt.parts import PARTS, deal
from cmburden.adapt.places import Places
from cmburden.cohort.verdicts import candidates_of
from cmburden.core import config, table_set
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import read_json, write_json
from cmburden.core.keys import hash_of
from cmburden.core.manifest import scan_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.tables import RENDERERS, SCANS
from cmburden.evaluate.cases import contract_of_run
from cmburden.insert import lesions, transplant
from cmburden.insert import stage as insertion
from cmburden.insert.ground import Acquisition
from cmburden.insert.places import Avoided
from cmburden.models.contract import weights_hash
from cmburden.models.people import people_of
from cmburden.train import slabs
from cmburden.train.tuning.plan import base_of, check_same
from cmburden.verify.contract import thresholds_of

#: Fields of a plan that say where things lie: they may move.
_PLACES = ("derivatives", "base", "slabs")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast the networks learn, and what from.

    ``draws`` slabs with ``lesions`` each are made of a scan that is adapted to, ``copies`` with up
    to three of a scan that is calibrated or checked on. ``renderer`` draws what is learnt;
    the others draw what is checked. ``simulated`` slabs are simulated where the user names none.
    """

    steps: int = 1200
    rate: float = 5e-4
    epochs: int = 6
    seed: int = 0
    draws: int = 3
    lesions: int = 8
    copies: int = 4
    simulated: int = 72
    renderer: str = "plain"

    @property
    def others(self) -> tuple[str, ...]:
        """The renderers of the check."""
        return tuple(name for name in RENDERERS if name != self.renderer)


@dataclasses.dataclass(frozen=True)
class Plan:
    """An adaptation.

    Attributes
    ----------
    derivatives : str
        Output folder of the run whose scans are adapted to.
    schedule : Schedule
    base : dict
        Folder of the ``detector`` and of the ``verifier`` to start from: those of the run.
    weights : dict
        Checksums of their weights.
    tables : str
        Key of the run's tables.
    labels : str
        Key of what readers have judged.
    slabs : str or None
        Folder of the user's simulated slabs; their key is ``slabs_key``.
    part : dict
        Part of each participant, by label.
    scan_ids : list
        The scans that take part.
    people : list of dict
        Participants who are learnt from or calibrated on (:class:`cmburden.models.people.Person`).
    search : dict
        Settings ``min_probability`` and ``max_candidates`` of the run's detect.
    thresholds : dict
        Thresholds of the run.
    """

    derivatives: str
    schedule: Schedule
    base: dict[str, str]
    weights: dict[str, str]
    tables: str
    labels: str
    slabs: str | None
    slabs_key: str
    part: dict[str, str]
    scan_ids: list[str]
    people: list[dict[str, Any]]
    search: dict[str, Any]
    thresholds: dict[str, float]

    @property
    def layout(self) -> Layout:
        return Layout(self.derivatives)

    @property
    def key(self) -> str:
        """sha256 over all that the weights depend on; equal plans have equal keys."""
        plain = dataclasses.asdict(self)
        return hash_of({k: v for k, v in plain.items() if k not in _PLACES})


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A scan that takes part, with all that the run and the readers know of it."""

    scan: Scan
    row: Mapping[str, Any]
    part: str
    acquisition: Acquisition
    candidates: pd.DataFrame
    places: pd.DataFrame

    @cached_property
    def known(self) -> tuple[judged.Known, ...]:
        return judged.known_of(self.candidates, self.places)

    @property
    def avoided(self) -> Avoided:
        """Places that no lesion is drawn near: detections, and what readers did not reject."""
        rejected = self.places["microbleed"].eq(False).fillna(False).to_numpy(dtype=bool)
        return insertion.avoided_of(self.candidates, self.places[~rejected])


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """The scans of an adaptation, and what readers judged in them."""

    subjects: tuple[Subject, ...]
    verdicts: Verdicts

    def of(self, *parts: str) -> list[Subject]:
        """The scans of some parts, by scan_id."""
        return [one for one in self.subjects if one.part in parts]

    def donors(self, layout: Layout, parts: Sequence[str]) -> list[transplant.Donor]:
        """Donors of confirmed lesions of the participants of some parts."""
        chosen = {one.scan.scan_id: one for one in self.of(*parts)}
        places = transplant.confirmed(self.verdicts.confirmed)
        return transplant.donors(
            places,
            {name: one.scan for name, one in chosen.items()},
            {name: one.acquisition for name, one in chosen.items()},
            layout,
        )


def read(places: Places) -> Plan:
    """The plan that :func:`begin` wrote."""
    content = read_json(places.plan)
    return Plan(**content | {"schedule": Schedule(**content["schedule"])})


def study_of(plan: Plan) -> Study:
    """The scans of a plan, from the run's tables and the readers' files.

    Raises CMBurdenError where readers have judged since the plan was made.
    """
    table = SCANS.read(plan.layout.table("scans"))
    verdicts = judged.read(plan.layout, table[table["status"] == "ok"])
    if _labels_key(verdicts) != plan.labels:
        raise CMBurdenError(
            f"{plan.layout.root}: readers have judged since the adaptation began; name a new "
            "folder for the models to adapt with these verdicts"
        )
    rows = {row["scan_id"]: row for row in insertion.scans_read(plan.layout)}
    candidates = candidates_of(plan.layout, set(plan.scan_ids))
    of_scan = dict(list(candidates.groupby("scan_id")))
    places_of = dict(list(verdicts.places.groupby("scan_id"))) if len(verdicts.places) else {}
    subjects = []
    for scan_id in sorted(plan.scan_ids):
        row = rows[scan_id]
        # The folder of the raw scans does not matter: the prepared volumes are read.
        scan = scan_of(row, plan.layout.root)
        subjects.append(
            Subject(
                scan,
                row,
                plan.part[scan.participant_id],
                lesions.acquisition_of(scan, row, row["slice_mm"]),
                of_scan.get(scan_id, candidates.iloc[:0]).reset_index(drop=True),
                places_of.get(scan_id, verdicts.places.iloc[:0]),
            )
        )
    return Study(tuple(subjects), verdicts)


def begin(
    places: Places,
    derivatives: Path,
    schedule: Schedule,
    number: int | None,
    slabs_folder: Path | None,
) -> Plan:
    """The plan of a new adaptation, or of the one in MODELS if it is the same.

    At most ``number`` scans take part, of all scanners in turn.

    Raises
    ------
    CMBurdenError
        When another adaptation lies in MODELS, when run or models cannot be used, or when there are
        too few participants.
    """
    layout = Layout(derivatives)
    table_set.check(layout)
    if not layout.table("scans").exists() or not layout.manifest.exists():
        raise CMBurdenError(
            f"{layout.root}: not the output of a complete cmburden run; run it first, on the scans "
            "that are to be adapted to"
        )
    rows = insertion.choose(insertion.scans_read(layout), number, schedule.seed)
    table = SCANS.read(layout.table("scans"))
    verdicts = judged.read(layout, table[table["status"] == "ok"])
    part = deal(_strata(rows, verdicts), schedule.seed)
    base = base_of(layout)
    for kind, (folder, contract) in base.items():
        if contract.get("tuned_on"):
            raise CMBurdenError(
                f"{folder}: the {kind} of the run was tuned on or adapted to people before, who "
                "would be lost from its contract; run the shipped models, and adapt those"
            )
    settings = config.merge(config.defaults(), config.read_yaml(layout.config))
    mark = table_set.read(layout)
    learnt = [row for row in rows if part[row["participant_id"]] in PARTS[:2]]
    plan = Plan(
        derivatives=str(derivatives.absolute()),
        schedule=schedule,
        base={kind: str(folder) for kind, (folder, _) in base.items()},
        weights={kind: weights_hash(contract) for kind, (_, contract) in base.items()},
        tables=mark.key if mark else "",
        labels=_labels_key(verdicts),
        slabs=str(slabs_folder.absolute()) if slabs_folder else None,
        slabs_key=_slabs_key(slabs_folder),
        part=part,
        scan_ids=sorted(row["scan_id"] for row in rows),
        people=[dataclasses.asdict(one) for one in people_of(pd.DataFrame(learnt))],
        search={name: settings["detect"][name] for name in ("min_probability", "max_candidates")},
        thresholds=thresholds_of(contract_of_run(layout, "verify"), settings["verify"]),
    )
    if places.plan.exists():
        check_same(places, plan, lambda: read(places), _PLACES, "an adaptation")
    write_json(places.plan, dataclasses.asdict(plan))
    return plan


def _strata(rows: Sequence[Mapping[str, Any]], verdicts: Verdicts) -> dict[str, str]:
    """Scanner and contrasts of each participant, and whether readers judged a scan."""
    reviewed = set(verdicts.places["participant_id"])
    kinds: dict[str, set[str]] = {}
    for row in rows:
        scanner = [str(row[name]) for name in ("contrast", "manufacturer", "scanner_model")]
        kinds.setdefault(row["participant_id"], set()).add(" ".join(scanner))
    return {
        label: f"{'|'.join(sorted(names))} {label in reviewed}" for label, names in kinds.items()
    }


def _labels_key(verdicts: Verdicts) -> str:
    """Key of all that readers judged."""
    places = verdicts.places
    if not len(places):
        return hash_of("none")
    columns = ["scan_id", "x_mm", "y_mm", "z_mm", "microbleed", "reviewed_class"]
    return hash_of(places[columns].to_json())


def _slabs_key(folder: Path | None) -> str:
    """Key of the user's slabs: their names and sizes."""
    if folder is None:
        return ""
    paths = slabs.slab_files(folder)
    if len(paths) < LEAST_SLABS:
        raise CMBurdenError(
            f"--slabs {folder}: holds {len(paths)} slab-*.npz, and {LEAST_SLABS} are needed; give "
            "a folder of cmburden train dataset, or leave it away to have slabs simulated"
        )
    return hash_of([[path.name, path.stat().st_size] for path in paths])


#: Fewest simulated slabs: of fewer nothing is left to see by whether anything is forgotten.
LEAST_SLABS = 6
