"""What a tuning learns from and how: written first, so that a tuning goes on as it began."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from cmburden.core import config, resources, table_set, truth_origin
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import read_json, sha256_of_file, whole_file, write_json
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout
from cmburden.core.tables import SCANS
from cmburden.detect.contract import of_detector
from cmburden.evaluate import seen
from cmburden.evaluate.cases import contract_of_run, model_folder, read_truth
from cmburden.models.contract import weights_hash
from cmburden.models.people import people_of
from cmburden.train.tuning import folds as folding
from cmburden.train.tuning.places import Places
from cmburden.verify.contract import of_verifier

#: Defaults of the command: folds, steps of the detector, its highest rate, epochs of YOLO.
FOLDS, STEPS, RATE, EPOCHS = 3, 600, 5e-4, 6
#: Fields of a plan that say where things lie: they may move.
_PLACES = ("derivatives", "base")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast the networks learn."""

    folds: int = FOLDS
    steps: int = STEPS
    rate: float = RATE
    epochs: int = EPOCHS
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Plan:
    """A tuning.

    Attributes
    ----------
    derivatives : str
        Output folder of the run whose scans are learnt from.
    schedule : Schedule
    base : dict
        Folder of the ``detector`` and of the ``verifier`` to start from: those of the run.
    weights : dict
        Checksums of their weights.
    truth : str
        sha256 of the truth table.
    tables : str
        Key of the run's tables.
    fold : dict
        Fold of each participant, by label.
    people : list of dict
        The participants (:class:`cmburden.models.people.Person`).
    search : dict
        Settings ``min_probability`` and ``max_candidates`` of the run's detect.
    macrohaemorrhage_mm : float
        Setting of the run's aggregate.
    """

    derivatives: str
    schedule: Schedule
    base: dict[str, str]
    weights: dict[str, str]
    truth: str
    tables: str
    fold: dict[str, int]
    people: list[dict[str, Any]]
    search: dict[str, Any]
    macrohaemorrhage_mm: float

    @property
    def layout(self) -> Layout:
        return Layout(self.derivatives)

    @property
    def key(self) -> str:
        """sha256 over all that the tuned weights depend on; equal plans have equal keys."""
        plain = dataclasses.asdict(self)
        return hash_of({k: v for k, v in plain.items() if k not in _PLACES})


_Plan = TypeVar("_Plan", bound=Any)


class _Where(Protocol):
    """The places of a tuning or of an adaptation."""

    @property
    def root(self) -> Path: ...

    @property
    def plan(self) -> Path: ...


def read(places: Places) -> Plan:
    """The plan that :func:`begin` wrote."""
    content = read_json(places.plan)
    return Plan(**content | {"schedule": Schedule(**content["schedule"])})


def begin(
    places: Places, derivatives: Path, truth: Path, schedule: Schedule, folds: Path | None
) -> Plan:
    """The plan of a new tuning, or of the one in MODELS if it is the same.

    Writes the plan and the truth of the scans that the run has read.

    Raises
    ------
    CMBurdenError
        When another tuning lies in MODELS, when run, truth or models cannot be used, or when there
        are too few people.
    """
    layout = Layout(derivatives)
    rows = read_truth(truth)
    rows = _of_the_run(layout, rows)
    table = seen.folds_of(truth, folds)
    seen.refuse(layout, rows, table)
    people = people_of(rows, table)
    base = base_of(layout)
    settings = config.merge(config.defaults(), config.read_yaml(layout.config))
    mark = table_set.read(layout)
    plan = Plan(
        derivatives=str(derivatives.absolute()),
        schedule=schedule,
        base={kind: str(folder) for kind, (folder, _) in base.items()},
        weights={kind: weights_hash(contract) for kind, (_, contract) in base.items()},
        truth=sha256_of_file(truth),
        tables=mark.key if mark else "",
        fold=folding.deal(people, _with_microbleeds(rows), schedule.folds),
        people=[dataclasses.asdict(person) for person in people],
        search={name: settings["detect"][name] for name in ("min_probability", "max_candidates")},
        macrohaemorrhage_mm=float(settings["aggregate"]["macrohaemorrhage_mm"]),
    )
    if places.plan.exists():
        check_same(places, plan, lambda: read(places), _PLACES, "a tuning")
    write_truth(places.truth, rows, truth_origin.origin_of(truth, rows))
    write_json(places.plan, dataclasses.asdict(plan))
    return plan


def write_truth(path: Path, rows: pd.DataFrame, origin: str) -> None:
    """Write ``rows`` of a truth table, with the statement of their ``origin`` beside."""
    with whole_file(path) as temporary:
        rows.to_csv(temporary, sep="\t", index=False, na_rep="n/a")
    if origin != truth_origin.UNSTATED:
        truth_origin.state(path, origin, "Rows of the truth table that the tuning uses.")


def check_same(
    places: _Where, plan: _Plan, read_before: Callable[[], _Plan], skipped: Sequence[str], what: str
) -> None:
    """CMBurdenError where ``what`` ("a tuning") of another plan than ``plan`` lies in MODELS.

    ``read_before`` reads the plan that lies there. Fields that are ``skipped`` are places: the
    plans' keys do not hold them.
    """
    try:
        before = read_before()
    except (ValueError, TypeError, KeyError) as error:
        raise CMBurdenError(
            f"{places.plan}: not {what} of this version; name a new folder for the models"
        ) from error
    if before.key == plan.key:
        return
    old, new = (dataclasses.asdict(one) for one in (before, plan))
    other = [name for name in old if old[name] != new[name] and name not in skipped]
    raise CMBurdenError(
        f"{places.root}: holds {what} with other {', '.join(other)}; give the same command to "
        "go on with that one, or name a new folder for the models"
    )


def _of_the_run(layout: Layout, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the truth of scans that the run has read; says how many others there are."""
    table_set.check(layout)
    if not layout.table("scans").exists():
        raise CMBurdenError(
            f"{layout.root}: not the output of a complete cmburden run; run it first, on the scans "
            "that have labels"
        )
    scans = SCANS.read(layout.table("scans"))
    read = set(scans.loc[scans["status"] == "ok", "scan_id"])
    own = rows[rows["scan_id"].isin(read)].reset_index(drop=True)
    if own.empty:
        raise CMBurdenError(
            f"no scan of the truth table was read in {layout.root}: scan_id must agree"
        )
    without = len(read - set(own["scan_id"]))
    lost = rows["scan_id"].nunique() - own["scan_id"].nunique()
    print(
        f"{own['scan_id'].nunique()} scans that readers and run have read; left out: {lost} that "
        f"the run has not read, {without} that no reader has read"
    )
    return own


def _with_microbleeds(rows: pd.DataFrame) -> set[str]:
    return set(rows.loc[rows["kind"] == "microbleed", "participant_id"])


def base_of(layout: Layout) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Folder and contract of the run's detector and verifier.

    Raises CMBurdenError where a folder now holds another model than the run used.
    """
    found = {}
    for kind, stage, check in (
        ("detector", "detect", of_detector),
        ("verifier", "verify", of_verifier),
    ):
        folder = model_folder(layout, stage)
        if folder is None or not contract_of_run(layout, stage):
            where = folder or layout.config
            raise CMBurdenError(
                f"{where}: does not hold the {kind} that {layout.root} was made with, so that "
                "before and after would be of different models; put that model back, or run "
                "cmburden run again with the model that is to be tuned"
            )
        found[kind] = (resources.root() / folder, check(folder))
    return found
