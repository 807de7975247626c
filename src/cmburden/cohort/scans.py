"""One row a scan of the manifest, whatever became of the scan, and counts by region."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.cohort import verdicts as settle
from cmburden.cohort.patterns import pattern_of
from cmburden.core.errors import REASONS
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.stages import RECORDED_STAGES
from cmburden.core.tables import (
    CANDIDATES,
    COUNTS,
    REVIEW_COUNTS,
    SCANS,
)
from cmburden.models.contract import contract_of
from cmburden.space.regions import BY_NAME, REGIONS, UNKNOWN

_log = logging.getLogger(__name__)


_STAGES = RECORDED_STAGES


#: Reasons for which a file that would have been a scan is one that failed.
_FAULTS = ("unreadable", "empty_file", "truncated", "not_finite", "not_3d", "constant")


#: Measures that stages leave in their records: the numbers of `scans` that are not counts.
_MEASURES = [column.name for column in SCANS.columns if column.kind == "float"]


#: What a participant takes over from the scan chosen.
_REVIEWED = tuple(column.name for column in REVIEW_COUNTS)


def _scans(layout, manifest, rejected, present, kept, config) -> pd.DataFrame:
    """A row for every scan of the manifest, every faulty file, every participant without either."""
    ids = {stage: _model_id(config, stage) for stage in ("detect", "verify")}
    rows = []
    for scan in manifest.to_dict("records"):
        row = {name: scan[name] for name in SCANS.names if name in scan}
        row |= _fate(
            layout, scan["scan_id"], int(scan["bucket"]) in present, kept.get(scan["scan_id"], 0)
        )
        done = row.pop("done")
        row["detector_id"] = ids["detect"] if "detect" in done else None
        row["verifier_id"] = ids["verify"] if "verify" in done else None
        # The sidecar's values are the manifest's; a stage gives only what it measured.
        row |= {name: scan[name] for name in ("echo_time_s", "field_strength_t")}
        rows.append(row)
    cohorts = dict(zip(manifest["participant_id"], manifest["cohort"], strict=True))
    rows += _without_scan(rejected, {row["scan_id"] for row in rows}, cohorts)
    return pd.DataFrame(rows, columns=SCANS.names)


def _fate(layout: Layout, scan_id: str, has_shard: bool, kept: int) -> dict[str, Any]:
    """Status, reason, message, stage, log and measures: the first stage not ok decides.

    A run over other participants rewrites a bucket's shard without this scan (``kept`` is then
    less than its record says): that is a scan without a result, never one with 0 microbleeds.
    """
    fate: dict[str, Any] = {"status": "ok", "done": []}
    for stage in _STAGES:
        outcome = _outcome(layout, stage, scan_id)
        if outcome.ok and stage == "verify" and not has_shard:
            outcome = _not_run(stage, scan_id, "its bucket of candidates is missing")
        elif outcome.ok and stage == "verify" and outcome.measures.get("n_kept", kept) != kept:
            outcome = _not_run(stage, scan_id, "its bucket was made again without it")
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
        fate["done"].append(stage)
    return fate


def _outcome(layout: Layout, stage: str, scan_id: str) -> Outcome:
    try:
        return Outcome.read(layout.record(stage, scan_id))
    except FileNotFoundError:
        return _not_run(stage, scan_id, "no record")
    except (ValueError, TypeError) as error:
        return _not_run(stage, scan_id, f"its record cannot be read ({error})")


def _not_run(stage: str, scan_id: str, found: str) -> Outcome:
    message = f"{stage}: {found}. To do: {REASONS['not_run']}."
    return Outcome(stage, scan_id, "failed", "not_run", message)


def _without_scan(rejected, taken, cohorts) -> list[dict[str, Any]]:
    """Rows for files that would be scans were they sound, and for participants with no scan.

    A participant without any scan gets one row, scan_id ``sub-X_noscan``, so that the rows of the
    table hold everybody of the tree.
    """
    rows = []
    somebody = set(cohorts)
    for file in rejected[rejected["reason"].isin(_FAULTS)].to_dict("records"):
        scan_id = Path(str(file["path"])).name.split(".")[0]
        if scan_id in taken or pd.isna(file["participant_id"]):
            continue
        taken.add(scan_id)
        somebody.add(file["participant_id"])
        rows.append(_rejected_row(file, scan_id, "failed", file["reason"], cohorts))
    others = rejected[
        rejected["participant_id"].notna() & ~rejected["participant_id"].isin(somebody)
    ]
    for participant, files in others.groupby("participant_id", sort=True):
        first = _telling(files)
        row = _rejected_row(first, f"{participant}_noscan", "excluded", first["reason"], cohorts)
        rows.append(row | {"path": None, "session_id": None})
    return rows


def _telling(files: pd.DataFrame) -> dict[str, Any]:
    """The row of `rejected` that says why a participant has no scan."""
    if (files["reason"] == "filtered").all():
        return files.iloc[0].to_dict()
    chosen = files[files["reason"] == "no_scan"]
    if len(chosen):
        return chosen.iloc[0].to_dict()
    found = ", ".join(
        f"{count} {reason}" for reason, count in files["reason"].value_counts().items()
    )
    message = f"None of its {len(files)} image(s) is a scan ({found}). To do: {REASONS['no_scan']}."
    return files.iloc[0].to_dict() | {"reason": "no_scan", "message": message}


def _rejected_row(file, scan_id, status, reason, cohorts) -> dict[str, Any]:
    return {
        "scan_id": scan_id,
        "cohort": _cohort_of(file, cohorts),
        "participant_id": file["participant_id"],
        "session_id": file["session_id"],
        "path": file["path"],
        "status": status,
        "reason": reason,
        "message": file["message"],
        "stage": "index",
    }


def _cohort_of(file: dict[str, Any], cohorts: dict[str, str]) -> str:
    """Cohort of a row of `rejected`: as indexed, else that of the participant's scans."""
    known = file["cohort"]
    if not pd.isna(known):
        return known
    names = set(cohorts.values())
    alone = names.pop() if len(names) == 1 else "unknown"
    return cohorts.get(file["participant_id"], alone)


def _with_counts(scans: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
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


def _verdicts(layout: Layout, reviews: pd.DataFrame, scans: pd.DataFrame) -> settle.Verdicts:
    """What readers decided, on the candidates just written."""
    if not len(reviews):
        return settle.settle(reviews, CANDIDATES.frame([]), scans)
    candidates = settle.candidates_of(layout, set(reviews["scan_id"]))
    verdicts = settle.settle(reviews, candidates, scans)
    for scan_id in verdicts.outdated:
        _log.warning(
            "%s: its image or sidecar changed since it was reviewed; these decisions are left out, "
            "review it again",
            scan_id,
        )
    return verdicts


def _with_review(scans, lesions, verdicts: settle.Verdicts) -> pd.DataFrame:
    """`scans` with what readers made of each; null everywhere where nobody reviews the cohort."""
    scans = scans.merge(verdicts.counts, on="scan_id", how="left", suffixes=("_unset", ""))
    if len(verdicts.counts):
        read = scans["status"] == "ok"
        waiting = scans["scan_id"].map(lesions.groupby("scan_id").size()).fillna(0)
        for name, otherwise in (("n_readers", 0), ("n_reviewed", 0), ("n_review_open", waiting)):
            scans[name] = scans[name].fillna(otherwise).where(read)
    scans = scans.astype(dict.fromkeys(_REVIEWED, "Int64"))
    return scans[[name for name in SCANS.names if name in scans]]


def _counts(scans: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """scan x region x hemisphere; the sum over a scan is its n_cmb and n_possible."""
    places = [(region.name, side) for region in REGIONS for side in ("left", "right")]
    places.append((UNKNOWN.name, "unknown"))
    small = lesions[~lesions["macrohaemorrhage"]]
    seen = set(zip(small["region"], small["hemisphere"], strict=True))
    places += sorted(seen - set(places))
    images = scans[scans["path"].notna()]
    grid = images[["scan_id", "status"]].merge(
        pd.DataFrame(places, columns=["region", "hemisphere"]), how="cross"
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
