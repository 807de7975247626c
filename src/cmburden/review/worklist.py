"""The candidates and scans that a reader is shown, and their order.

The worklist is the same for the same run, reader and options, so that a review can be resumed.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from cmburden.cohort import verdicts
from cmburden.core import config
from cmburden.core.errors import CMBurdenError
from cmburden.core.keys import seed_of
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.schema import as_records
from cmburden.core.tables import CONSENSUS, LABELS, ORDERS, SCANS, SUMMARY
from cmburden.review import sample
from cmburden.summary.measures import ContractNumber

#: Scanner RAS mm.
Point = tuple[float, float, float]
#: Measures of `summary` with the threshold of definite lesions: the configuration's, which the run
#: used where there is one, and the contract's of the verifier.
_THRESHOLDS = (
    ContractNumber("thresholds in use", "definite").name,
    ContractNumber("thresholds", "definite").name,
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the command, as ``cmburden review --help`` describes them.

    ``scans``: those that the reader is given; None is all.
    """

    order: str = "useful"
    seed: int = 0
    near_misses: int = 0
    free_hand: int = 0
    blind: bool = False
    scans: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise CMBurdenError(f"--order {self.order}: choose among {', '.join(ORDERS)}")


@dataclasses.dataclass(frozen=True)
class Item:
    """A candidate to judge, or a scan to read free-hand, which has no place.

    ``mode``: review or free-hand (tables.MODES). ``votes``: for consensus, the votes of the readers
    who disagree.
    """

    mode: str
    scan_id: str
    candidate_id: int | None = None
    at: Point | None = None
    label: str | None = None
    probability: float | None = None
    p_cnn: float | None = None
    p_yolo: float | None = None
    yolo_class: str | None = None
    diameter_mm: float | None = None
    region: str | None = None
    group: str | None = None
    hemisphere: str | None = None
    votes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Study:
    """The output of a run, as far as the review reads it.

    ``scans`` by scan_id. ``table``: rows of `scans` with status ok, or excluded by a reader.
    ``lesions``: definite and possible candidates of these scans. The rejected candidates are many
    and stay on disk.
    """

    layout: Layout
    scans: dict[str, Scan]
    table: pd.DataFrame
    lesions: pd.DataFrame

    @classmethod
    def read(cls, layout: Layout) -> Study:
        """The study of an output folder; raises CMBurdenError if its run is not complete."""
        needed = (layout.manifest, layout.table("scans"), layout.candidates)
        if not all(path.exists() for path in needed):
            raise CMBurdenError(
                f"{layout.root}: not the output of a complete cmburden run; run it first"
            )
        table = SCANS.read(layout.table("scans"))
        # A scan that a reader excluded stays in the review, where the reader can take that back.
        table = table[(table["status"] == "ok") | (table["reason"] == "reader")]
        by_id = {scan.scan_id: scan for scan in read_scans(layout.manifest, bids_dir(layout))}
        scans = {scan_id: by_id[scan_id] for scan_id in table["scan_id"] if scan_id in by_id}
        missing = sorted(i for i, scan in scans.items() if not layout.preproc(scan).exists())
        if missing:
            raise CMBurdenError(
                f"{layout.root}: {len(missing)} scan(s) have no preprocessed volume, such as "
                f"{missing[0]}; run them again (cmburden retry {layout.root} --scan {missing[0]})"
            )
        lesions = verdicts.read_candidates(layout, pc.field("label").isin(LABELS))
        return cls(layout, scans, table, lesions[lesions["scan_id"].isin(scans)])

    def near_misses(self, number: int) -> pd.DataFrame:
        """The ``number`` rejected candidates of the highest probability."""
        rejected = verdicts.read_candidates(self.layout, pc.field("label") == "rejected")
        rejected = rejected[rejected["scan_id"].isin(self.scans)]
        order = ["probability", "scan_id", "candidate_id"]
        return rejected.sort_values(order, ascending=[False, True, True]).head(number)


def bids_dir(layout: Layout) -> Path:
    """The BIDS folder of the last run; a folder that does not exist if the run names none.

    Only phase images are read from it, and only if it is still there.
    """
    folder = config.stored(layout.config).get("bids_dir")
    return Path(folder) if isinstance(folder, str) else layout.root / "no-bids-dir"


def worklist(study: Study, reader: str, options: Options) -> list[Item]:
    """Free-hand scans first, then candidates; for consensus the disputed places only."""
    if reader == CONSENSUS:
        return _disputed(study)
    items = [*_free_hand(study, options), *_candidates(study, reader, options)]
    return [one for one in items if options.scans is None or one.scan_id in options.scans]


def _free_hand(study: Study, options: Options) -> list[Item]:
    """The same random scans for every reader; a larger sample holds the smaller one."""
    if not options.free_hand:
        return []
    return [Item("free-hand", one) for one in sample.drawn(study, options.seed, options.free_hand)]


def _candidates(study: Study, reader: str, options: Options) -> list[Item]:
    candidates = study.lesions
    if options.near_misses:
        candidates = pd.concat([candidates, study.near_misses(options.near_misses)])
    candidates = candidates.sort_values(["scan_id", "candidate_id"]).reset_index(drop=True)
    if options.order == "random":
        # Each reader has a different order: else all readers would be tired at the same lesions.
        random = np.random.default_rng(seed_of("order", options.seed, reader))
        candidates = candidates.iloc[random.permutation(len(candidates))]
    elif options.order == "useful" and len(candidates):
        distance = (candidates["probability"] - definite_threshold(study.layout)).abs().round(6)
        candidates = candidates.assign(distance=distance)
        # A reader sees one head at a time: a scan comes with its lesion nearest to the threshold.
        candidates["nearest"] = candidates.groupby("scan_id")["distance"].transform("min")
        candidates = candidates.sort_values(["nearest", "scan_id", "distance", "candidate_id"])
    return [_item(row) for row in _plain(candidates)]


def definite_threshold(layout: Layout) -> float:
    """The probability from which a lesion of the run is definite, as its `summary` records it.

    Raises
    ------
    CMBurdenError
        If `summary` is missing or names no threshold.
    """
    path = layout.table("summary")
    summary = SUMMARY.read(path).dropna(subset="estimate")
    estimates = dict(zip(summary["measure"], summary["estimate"], strict=True))
    for measure in _THRESHOLDS:
        if measure in estimates:
            return float(estimates[measure])
    raise CMBurdenError(
        f"{path}: names no threshold of definite lesions; run cmburden run again, or choose "
        "--order random or scan"
    )


def _disputed(study: Study) -> list[Item]:
    reviews = sample.first_decisions(study.layout)
    others = reviews[reviews["reader"] != CONSENSUS]
    candidates = verdicts.candidates_of(study.layout, set(others["scan_id"]))
    places = verdicts.settle(others, candidates, study.table).places
    if not len(places):
        return []
    disputed = places[places["settled"] == "disputed"]
    scores = candidates.set_index(["scan_id", "candidate_id"])
    items = []
    for row in _plain(disputed):
        candidate: dict[str, Any] = {}
        if row["candidate_id"] is not None:
            key = (row["scan_id"], row["candidate_id"])
            candidate = _plain(scores.loc[[key]].reset_index())[0]
        # Sorted by vote, not by reader, so that the votes stay anonymous.
        votes = tuple(sorted(json.loads(row["votes"]).values()))
        items.append(dataclasses.replace(_item(candidate | row), votes=votes))
    return items


def _item(row: dict[str, Any]) -> Item:
    x, y, z = (round(float(row[name]), 3) for name in ("x_mm", "y_mm", "z_mm"))
    return Item(
        mode="review",
        scan_id=row["scan_id"],
        candidate_id=row["candidate_id"],
        at=(x, y, z),
        label=row["label"],
        probability=row["probability"],
        p_cnn=row.get("p_cnn"),
        p_yolo=row.get("p_yolo"),
        yolo_class=row.get("yolo_class"),
        diameter_mm=row["diameter_mm"],
        region=row["region"],
        group=row["group"],
        hemisphere=row["hemisphere"],
    )


def _plain(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries of Python's types, None for null."""
    whole = ("candidate_id", "lesion_id")
    return [
        row | {name: int(row[name]) for name in whole if row.get(name) is not None}
        for row in as_records(rows)
    ]
