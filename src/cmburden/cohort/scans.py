"""The tables `scans`, with a row for each scan of any outcome, and `counts`, by region."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.cohort.patterns import pattern_of
from cmburden.cohort.second_readings import first_readings, settled_again
from cmburden.cohort.verdicts import Verdicts, candidates_of, settle
from cmburden.core.carry_out import read_record
from cmburden.core.errors import with_advice
from cmburden.core.makers import maker_of
from cmburden.core.paths import Layout
from cmburden.core.remarks import join
from cmburden.core.rows import plain
from cmburden.core.scan import LEFT_RIGHT, Outcome
from cmburden.core.stages import RECORDED_STAGES
from cmburden.core.tables import CANDIDATES, COUNTS, MANIFEST, REVIEW_COUNTS, SCANS
from cmburden.models.contract import contract_of
from cmburden.space.regions import BY_NAME, REGIONS, UNKNOWN

_log = logging.getLogger(__name__)
#: Reasons for which a file that would have been a scan is one that failed.
_FAULTS = ("unreadable", "empty_file", "truncated", "not_finite", "not_3d", "constant")
#: Measures that stages leave in their records: the numbers of `scans` that are not counts of
#: lesions.
_MEASURES = [
    *[
        column.name
        for column in SCANS.columns
        if column.kind == "float" and column.name not in MANIFEST.names
    ],
    LEFT_RIGHT,
    "n_candidates",
    "phase_sign",
]
#: Counts of the readers' verdicts, in `scans` and `participants`.
REVIEWED_COUNTS = tuple(column.name for column in REVIEW_COUNTS)


@dataclasses.dataclass(frozen=True)
class Shards:
    """Candidates that `verify` left: ``buckets`` with a shard, and ``n_kept``, the number of
    candidates of each scan that are definite or possible."""

    buckets: set[int]
    n_kept: dict[str, int]


def scan_rows(
    layout: Layout,
    manifest: pd.DataFrame,
    rejected: pd.DataFrame,
    shards: Shards,
    config: dict[str, Any],
) -> pd.DataFrame:
    """`scans` without counts.

    A row for every scan of the manifest, for every file that would be a scan were it sound, and for
    every participant without either.
    """
    models = {stage: _model_id(config, stage) for stage in ("detect", "verify")}
    rows = []
    for scan in manifest.to_dict("records"):
        row = {name: scan[name] for name in SCANS.names if name in scan}
        fate, finished, remarks = _fate(layout, scan["scan_id"], int(scan["bucket"]), shards)
        row |= fate
        row["warning"] = join([plain(scan["warning"]), *remarks])
        row["detector_id"] = models["detect"] if "detect" in finished else None
        row["verifier_id"] = models["verify"] if "verify" in finished else None
        row["manufacturer"] = maker_of(plain(scan["manufacturer"]))
        rows.append(row)
    cohorts = dict(zip(manifest["participant_id"], manifest["cohort"], strict=True))
    rows += _without_scan(rejected, {row["scan_id"] for row in rows}, cohorts)
    return pd.DataFrame(rows, columns=SCANS.names)


def _fate(
    layout: Layout, scan_id: str, bucket: int, shards: Shards
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Status, reason, message, stage, log and measures of a scan; the stages that finished it;
    their remarks.

    The first stage that is not ok decides.
    """
    fate: dict[str, Any] = {"status": "ok"}
    finished: list[str] = []
    remarks: list[str] = []
    for stage in RECORDED_STAGES:
        outcome = read_record(layout, stage, scan_id)
        if outcome.ok and stage == "verify":
            outcome = _as_in_shard(outcome, bucket, shards)
        fate |= {name: outcome.measures[name] for name in _MEASURES if name in outcome.measures}
        if not outcome.ok:
            fate |= {
                "status": outcome.status,
                "reason": outcome.reason,
                "message": outcome.message,
                "stage": stage,
                "log": outcome.log,
            }
            break
        finished.append(stage)
        # The message of a stage that succeeded is its warning.
        remarks += [outcome.message] if outcome.message else []
    return fate, finished, remarks


def _as_in_shard(outcome: Outcome, bucket: int, shards: Shards) -> Outcome:
    """``outcome`` of `verify`, or not_run where the shard does not hold the scan's candidates.

    A run over other participants writes the bucket's shard again without this scan. The shard then
    holds fewer candidates than the scan's record says: that is a scan without a result, never a
    scan with 0 microbleeds.
    """
    n_kept = shards.n_kept.get(outcome.scan_id, 0)
    if bucket not in shards.buckets:
        return _not_run(outcome.stage, outcome.scan_id, "its bucket of candidates is missing")
    if outcome.measures.get("n_kept", n_kept) != n_kept:
        return _not_run(outcome.stage, outcome.scan_id, "its bucket was made again without it")
    return outcome


def _not_run(stage: str, scan_id: str, why: str) -> Outcome:
    message = with_advice("not_run", f"{stage}: {why}.")
    return Outcome(stage, scan_id, "failed", "not_run", message)


def _without_scan(
    rejected: pd.DataFrame, taken: set[str], cohorts: dict[str, str]
) -> list[dict[str, Any]]:
    """Rows for files that would be scans were they sound, and for participants with no scan.

    ``taken``: ids of scans that have a row; ``cohorts``: cohort by participant. A participant
    without any scan gets one row, scan_id ``sub-X_noscan``, so that the table holds everybody of
    the tree.
    """
    rows = []
    taken, somebody = set(taken), set(cohorts)
    for file in rejected[rejected["reason"].isin(_FAULTS)].to_dict("records"):
        scan_id = Path(str(file["path"])).name.split(".")[0]
        if scan_id in taken or pd.isna(file["participant_id"]):
            continue
        taken.add(scan_id)
        somebody.add(file["participant_id"])
        rows.append(_rejected_row(file, scan_id, "failed", cohorts))
    others = rejected[
        rejected["participant_id"].notna() & ~rejected["participant_id"].isin(somebody)
    ]
    for participant, files in others.groupby("participant_id", sort=True):
        row = _rejected_row(_telling(files), f"{participant}_noscan", "excluded", cohorts)
        rows.append(row | {"path": None, "session_id": None})
    return rows


def _telling(files: pd.DataFrame) -> dict[str, Any]:
    """The row of `rejected` that says why a participant has no scan."""
    of_folder = files[files["path"] == files["participant_id"]]
    if len(of_folder):
        return of_folder.iloc[0].to_dict()
    for reason in ("filtered", "cohort"):
        if (files["reason"] == reason).all():
            return files.iloc[0].to_dict()
    no_scan = files[files["reason"] == "no_scan"]
    if len(no_scan):
        return no_scan.iloc[0].to_dict()
    numbers = ", ".join(
        f"{count} {reason}" for reason, count in files["reason"].value_counts().items()
    )
    message = f"None of its {len(files)} image(s) is a scan ({numbers})."
    return files.iloc[0].to_dict() | {
        "reason": "no_scan",
        "message": with_advice("no_scan", message),
    }


def _rejected_row(
    file: dict[str, Any], scan_id: str, status: str, cohorts: dict[str, str]
) -> dict[str, Any]:
    return {
        "scan_id": scan_id,
        "cohort": _cohort_of(file, cohorts),
        "participant_id": file["participant_id"],
        "session_id": file["session_id"],
        "path": file["path"],
        "status": status,
        "reason": file["reason"],
        "message": file["message"],
        "stage": "index",
    }


def _cohort_of(file: dict[str, Any], cohorts: dict[str, str]) -> str:
    """Cohort of a row of `rejected`: as indexed, else that of the participant's scans.

    Where neither says: the only cohort of the manifest, or "unknown" where there are several.
    """
    if not pd.isna(file["cohort"]):
        return str(file["cohort"])
    names = set(cohorts.values())
    alone = names.pop() if len(names) == 1 else "unknown"
    return cohorts.get(file["participant_id"], alone)


def with_counts(scans: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """`scans` with counts and pattern: 0 where a scan was read and holds none, else null."""
    small = lesions[~lesions["macrohaemorrhage"]]
    definite = small[small["label"] == "definite"]
    read = scans["status"] == "ok"

    def counted(rows: pd.DataFrame) -> pd.Series:
        number = scans["scan_id"].map(rows.groupby("scan_id").size())
        return number.astype("Float64").fillna(0).astype("Int64").where(read)

    groups = definite.groupby("scan_id")["group"].agg(list).to_dict()
    pattern = [
        pattern_of(groups.get(scan_id, [])) if ok else None
        for scan_id, ok in zip(scans["scan_id"], read, strict=True)
    ]
    large = lesions[lesions["macrohaemorrhage"] & (lesions["label"] == "definite")]
    return scans.assign(
        n_cmb=counted(definite),
        n_possible=counted(small[small["label"] == "possible"]),
        n_macrohaemorrhage=counted(large),
        pattern=pattern,
    )


def read_verdicts(
    layout: Layout, reviews: pd.DataFrame, scans: pd.DataFrame
) -> tuple[Verdicts, list[Verdicts]]:
    """The readers' verdicts on the candidates in work/candidates.parquet; those of second readings.

    Decisions on an image that changed since are left out, with a warning.
    """
    if not len(reviews):
        return settle(reviews, CANDIDATES.frame([]), scans), []
    candidates = candidates_of(layout, set(reviews["scan_id"]))
    verdicts = settle(first_readings(reviews), candidates, scans)
    for scan_id in verdicts.outdated:
        _log.warning(
            "%s: its image or sidecar changed since it was reviewed; these decisions are left out, "
            "review it again",
            scan_id,
        )
    return verdicts, settled_again(reviews, candidates, scans)


def with_review(scans: pd.DataFrame, lesions: pd.DataFrame, verdicts: Verdicts) -> pd.DataFrame:
    """`scans` with the counts of the readers' verdicts; all null where nobody reviews the cohort.

    In a cohort under review a scan without a decision has no reader, and all lesions are open.
    """
    scans = scans.merge(verdicts.counts, on="scan_id", how="left", suffixes=("_unset", ""))
    if len(verdicts.counts):
        read = scans["status"] == "ok"
        n_lesions = scans["scan_id"].map(lesions.groupby("scan_id").size()).fillna(0)
        for name, otherwise in (("n_readers", 0), ("n_reviewed", 0), ("n_review_open", n_lesions)):
            scans[name] = scans[name].fillna(otherwise).where(read)
    scans = scans.astype(dict.fromkeys(REVIEWED_COUNTS, "Int64"))
    return scans[[name for name in SCANS.names if name in scans]]


def region_counts(scans: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """`counts`: scan by region and side; the sum over a scan is its n_cmb and n_possible.

    A scan whose left and right are unknown has a row a region, of hemisphere unknown.
    """
    nowhere = (UNKNOWN.name, "unknown")
    with_side = [(region.name, side) for region in REGIONS for side in ("left", "right")]
    without_side = [(region.name, "unknown") for region in REGIONS]
    small = lesions[~lesions["macrohaemorrhage"]]
    images = scans.loc[scans["path"].notna(), ["scan_id", "status", LEFT_RIGHT]]
    known = images[LEFT_RIGHT].fillna(True).astype(bool)
    in_all = set(with_side + without_side)
    further = sorted(set(zip(small["region"], small["hemisphere"], strict=True)) - in_all)
    further = [nowhere, *[place for place in further if place != nowhere]]
    grid = pd.concat(
        images[rows].merge(
            pd.DataFrame(places + further, columns=["region", "hemisphere"]), how="cross"
        )
        for rows, places in ((known, with_side), (~known, without_side))
    )
    for label in ("definite", "possible"):
        keys = ["scan_id", "region", "hemisphere"]
        number = small[small["label"] == label].groupby(keys).size().rename(f"n_{label}")
        grid = grid.merge(number.reset_index(), on=keys, how="left")
        grid[f"n_{label}"] = (
            grid[f"n_{label}"]
            .astype("Float64")
            .fillna(0)
            .astype("Int64")
            .where(grid["status"] == "ok")
        )
    groups = {name: region.group for name, region in BY_NAME.items()}
    grid["group"] = grid["region"].map(groups).fillna(UNKNOWN.group)
    return grid[COUNTS.names]


def _model_id(config: dict[str, Any], stage: str) -> str | None:
    """Id of the stage's model by its contract; None where the folder has none."""
    contract = contract_of(config, stage)
    return contract.get("id") if contract else None
