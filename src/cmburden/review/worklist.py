"""What a reader is shown, in which order: the same for the same options, so that it resumes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import yaml

from cmburden.cohort import verdicts as settle
from cmburden.core.errors import CMBurdenError
from cmburden.core.keys import seed_of
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.schema import as_records
from cmburden.core.tables import CONSENSUS, LABELS, ORDERS, REVIEWS, SCANS
from cmburden.review import store


@dataclasses.dataclass(frozen=True)
class Options:
    """How the candidates are shown; see ``cmburden review --help``."""

    order: str = "useful"
    seed: int = 0
    near_misses: int = 0
    free_hand: int = 0
    blind: bool = False

    def __post_init__(self):
        if self.order not in ORDERS:
            raise CMBurdenError(f"--order {self.order}: choose among {', '.join(ORDERS)}")


@dataclasses.dataclass(frozen=True)
class Item:
    """A candidate to judge, or a scan to read free-hand (without place and candidate).

    ``votes``: of the readers who do not agree, for consensus.
    """

    mode: str
    scan_id: str
    candidate_id: int | None = None
    at: tuple[float, float, float] | None = None  # scanner RAS mm
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
    """A run's output as a reader meets it: scans that were read, and their lesions.

    ``table``: rows of `scans` with status ok. ``lesions``: their definite and possible candidates,
    which are few; all others stay on disk.
    """

    layout: Layout
    scans: dict[str, Scan]
    table: pd.DataFrame
    lesions: pd.DataFrame

    @classmethod
    def read(cls, layout: Layout) -> Study:
        needed = (layout.manifest, layout.table("scans"), layout.candidates)
        if not all(path.exists() for path in needed):
            raise CMBurdenError(
                f"{layout.root}: not the output of a complete cmburden run; run it first"
            )
        table = SCANS.read(layout.table("scans"))
        table = table[table["status"] == "ok"]
        of_id = {s.scan_id: s for s in read_scans(layout.manifest, bids_dir(layout))}
        scans = {i: of_id[i] for i in table["scan_id"] if i in of_id}
        lost = sorted(i for i, scan in scans.items() if not layout.preproc(scan).exists())
        if lost:
            raise CMBurdenError(
                f"{layout.root}: {len(lost)} scan(s) have no preprocessed volume, such as "
                f"{lost[0]}; run them again (cmburden retry {layout.root} --scan {lost[0]})"
            )
        lesions = settle.read_candidates(layout, pc.field("label").isin(LABELS))
        return cls(layout, scans, table, lesions[lesions["scan_id"].isin(scans)])

    def near_misses(self, number: int) -> pd.DataFrame:
        """The ``number`` rejected candidates of the highest probability."""
        found = settle.read_candidates(self.layout, pc.field("label") == "rejected")
        found = found[found["scan_id"].isin(self.scans)]
        order = ["probability", "scan_id", "candidate_id"]
        return found.sort_values(order, ascending=[False, True, True]).head(number)


def bids_dir(layout: Layout) -> Path:
    """The BIDS folder of the last run. Only phase images are read from it, where it still is."""
    try:
        settings = yaml.safe_load((layout.work / "config.yaml").read_text())
        return Path(settings["bids_dir"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return layout.root / "no-bids-dir"


def worklist(study: Study, reader: str, options: Options) -> list[Item]:
    """Free-hand scans first, then candidates; for consensus what the readers dispute."""
    if reader == CONSENSUS:
        return _disputed(study)
    return [*_free_hand(study, options), *_candidates(study, reader, options)]


def _free_hand(study: Study, options: Options) -> list[Item]:
    """The same random scans for every reader; a larger sample holds the smaller one."""
    scans = sorted(study.scans)
    chosen = np.random.default_rng(seed_of("free-hand", options.seed)).permutation(len(scans))
    return [Item("free-hand", scans[k]) for k in chosen[: options.free_hand]]


def _candidates(study: Study, reader: str, options: Options) -> list[Item]:
    shown = study.lesions
    if options.near_misses:
        shown = pd.concat([shown, study.near_misses(options.near_misses)])
    shown = shown.sort_values(["scan_id", "candidate_id"]).reset_index(drop=True)
    if options.order == "random":
        # An order of one's own: no lesion meets every reader tired.
        random = np.random.default_rng(seed_of("order", options.seed, reader))
        shown = shown.iloc[random.permutation(len(shown))]
    elif options.order == "useful":
        far = (shown["probability"] - boundary(study.lesions)).abs().round(6)
        shown = shown.assign(far=far).sort_values(["far", "scan_id", "candidate_id"])
    return [_item(row) for row in _plain(shown)]


def boundary(candidates: pd.DataFrame) -> float:
    """Where definite begins, by the candidates themselves; 0.5 where none or all are definite.

    >>> boundary(pd.DataFrame({"label": ["definite", "possible"], "probability": [0.7, 0.5]}))
    0.6
    """
    definite = candidates["label"] == "definite"
    above, below = candidates.loc[definite, "probability"], candidates.loc[~definite, "probability"]
    if not len(above) or not len(below):
        return 0.5
    return float(above.min() + below.max()) / 2


def _disputed(study: Study) -> list[Item]:
    path = store.export(study.layout)
    reviews = REVIEWS.read(path) if path else REVIEWS.frame([])
    others = reviews[reviews["reader"] != CONSENSUS]
    candidates = settle.candidates_of(study.layout, set(others["scan_id"]))
    verdicts = settle.settle(others, candidates, study.table)
    if not len(verdicts.places):
        return []
    disputed = verdicts.places[verdicts.places["settled"] == "disputed"]
    scores = candidates.set_index(["scan_id", "candidate_id"])
    items = []
    for row in _plain(disputed):
        seen = {}
        if row["candidate_id"] is not None:
            seen = _plain(scores.loc[[(row["scan_id"], row["candidate_id"])]].reset_index())[0]
        # Sorted by vote, not by reader: who said what is not to weigh.
        votes = tuple(sorted(json.loads(row["votes"]).values()))
        items.append(dataclasses.replace(_item(seen | row), votes=votes))
    return items


def _item(row: dict) -> Item:
    names = (
        "scan_id", "candidate_id", "label", "probability", "p_cnn", "p_yolo", "yolo_class",
        "diameter_mm", "region", "group", "hemisphere",
    )  # fmt: skip
    at = tuple(round(float(row[name]), 3) for name in ("x_mm", "y_mm", "z_mm"))
    return Item("review", at=at, **{name: row.get(name) for name in names})


def _plain(rows: pd.DataFrame) -> list[dict]:
    """Rows as dicts of Python's own values, None for null."""
    whole = ("candidate_id", "lesion_id")
    return [
        row | {name: int(row[name]) for name in whole if row.get(name) is not None}
        for row in as_records(rows)
    ]
