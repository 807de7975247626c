"""One row a participant: the scan that stands for them, and their phenotypes."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cmburden.cohort import choose as burden
from cmburden.cohort import patterns, phenotypes
from cmburden.cohort.scans import _REVIEWED, _STAGES
from cmburden.core.tables import (
    PARTICIPANTS,
)
from cmburden.summary import bins

_OF_CHOSEN = (
    "scan_id",
    "session_id",
    "n_cmb",
    "n_possible",
    "n_macrohaemorrhage",
    "pattern",
    *_REVIEWED,
)


def participant_rows(scans, lesions, known, config: dict[str, Any]) -> pd.DataFrame:
    """One row a participant of the tree, with the scan that stands for them and phenotypes."""
    rules, suffixes = config["aggregate"]["choose_scan"], list(config["index"]["suffixes"])
    shown = config["report"]
    times = _session_times(known.sessions)
    of_person: dict[str, list[dict[str, Any]]] = {}
    for scan in scans.to_dict("records"):
        of_person.setdefault(scan["participant_id"], []).append(scan)
    rows = []
    for participant, own in sorted(of_person.items()):
        row = {
            "participant_id": participant,
            "n_scans": sum(not pd.isna(scan["path"]) for scan in own),
        }
        usable = [
            scan | {"acq_time": times.get((participant, scan["session_id"]))}
            for scan in own
            if scan["status"] == "ok"
        ]
        if usable:
            chosen, why = burden.choose_scan(usable, rules, suffixes)
            row |= {"chosen_because": why} | {name: chosen[name] for name in _OF_CHOSEN}
        else:
            chosen = _furthest(own)
            row["chosen_because"] = f"no usable scan: {chosen['reason']}"
            row["missing_reason"] = chosen["reason"]
        rows.append(row | {"cohort": chosen["cohort"], "contrast": chosen["contrast"]})
    participants = pd.DataFrame(rows, columns=PARTICIPANTS.names)
    definite = lesions[(lesions["label"] == "definite") & ~lesions["macrohaemorrhage"]]
    groups = definite.groupby("scan_id")["group"].agg(list).to_dict()
    participants["boston_imaging"] = [
        None if pd.isna(scan_id) else patterns.is_boston_imaging(groups.get(scan_id, []))
        for scan_id in participants["scan_id"]
    ]
    participants["cmb_bin"] = bins.binned(
        participants["n_cmb"], shown["bins"], bins.bin_labels(shown["bins"])
    )
    participants = _with_phenotypes(participants, known)
    bands = shown["age_bands"]
    participants["age_band"] = bins.binned(participants["age"], bands, bins.age_band_labels(bands))
    return participants


def _furthest(own: list[dict[str, Any]]) -> dict[str, Any]:
    """The unusable scan that got furthest: what kept the participant out."""
    order = {stage: number for number, stage in enumerate(("index", *_STAGES))}
    return min(own, key=lambda scan: (-order.get(scan["stage"], -1), scan["scan_id"]))


def _session_times(sessions: pd.DataFrame) -> dict[tuple[str, str], str]:
    if "acq_time" not in sessions:
        return {}
    timed = sessions[sessions["acq_time"].notna()]
    return {
        (row.participant_id, row.session_id): str(row.acq_time)
        for row in timed[["participant_id", "session_id", "acq_time"]].itertuples()
    }


def _with_phenotypes(participants: pd.DataFrame, known: phenotypes.Phenotypes) -> pd.DataFrame:
    """All columns of participants.tsv, and those of the chosen session as ``session_*``.

    A column of theirs whose name is ours but not meant alike is kept as ``phenotype_*``.
    """
    shared = ("age", "sex", "site", "diagnosis")
    taken = set(PARTICIPANTS.names) - set(shared) - {"participant_id"}
    theirs = known.participants.rename(columns={n: f"phenotype_{n}" for n in taken})
    merged = participants.drop(columns=list(shared)).merge(theirs, on="participant_id", how="left")
    sessions = known.sessions
    if len(sessions):
        renamed = sessions.rename(
            columns={
                name: f"session_{name}"
                for name in sessions.columns
                if name not in ("participant_id", "session_id")
            }
        )
        merged = merged.merge(renamed, on=["participant_id", "session_id"], how="left")
        for name in shared:
            if f"session_{name}" in merged:
                values = merged.pop(f"session_{name}")
                merged[name] = values.fillna(merged[name]) if name in merged else values
    for name in shared:
        if name not in merged:
            merged[name] = pd.Series([None] * len(merged), dtype="object")
    merged["age"] = merged["age"].astype("Float64")
    extra = [name for name in merged.columns if name not in PARTICIPANTS.names]
    # Arrow stores both of pandas' text types alike only when told.
    text = {name: object for name in extra if pd.api.types.is_string_dtype(merged[name])}
    return merged[[*PARTICIPANTS.names, *extra]].astype(text)
