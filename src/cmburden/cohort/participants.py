"""The table `participants`: a row each, with the chosen scan and the phenotypes."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cmburden.cohort.cells import some
from cmburden.cohort.choose import choose_scan
from cmburden.cohort.patterns import boston_column
from cmburden.cohort.phenotypes import SHARED, Phenotypes
from cmburden.cohort.scans import REVIEWED_COUNTS
from cmburden.core.rows import grouped
from cmburden.core.schema import as_records
from cmburden.core.stages import RECORDED_STAGES
from cmburden.core.tables import PARTICIPANTS
from cmburden.follow.sessions import ordered, parse_time
from cmburden.summary import bins

#: Columns of the scan chosen that a participant takes over.
_OF_CHOSEN = (
    "scan_id",
    "session_id",
    "n_cmb",
    "n_possible",
    "n_macrohaemorrhage",
    "pattern",
    *REVIEWED_COUNTS,
)


def participant_rows(
    scans: pd.DataFrame, lesions: pd.DataFrame, phenotypes: Phenotypes, config: dict[str, Any]
) -> pd.DataFrame:
    """One row a participant of the tree, with the scan that stands for them and phenotypes.

    ``scans`` and ``lesions`` of their contracts.
    """
    when = _when(phenotypes.sessions)
    rows = [
        {"participant_id": participant, **_choice(of_person, when, config)}
        for participant, of_person in sorted(grouped(scans, "participant_id").items())
    ]
    participants = pd.DataFrame(rows, columns=PARTICIPANTS.names)
    edges, bands = config["report"]["bins"], config["report"]["age_bands"]
    participants["cmb_bin"] = bins.binned(participants["n_cmb"], edges, bins.bin_labels(edges))
    participants = _with_phenotypes(participants, phenotypes)
    participants["boston_imaging"] = boston_column(participants, lesions)
    participants["age_band"] = bins.binned(participants["age"], bands, bins.age_band_labels(bands))
    return participants


def ages_of_another_session(
    participants: pd.DataFrame, scans: pd.DataFrame, sessions: pd.DataFrame
) -> list[str]:
    """A sentence on people whose age is that of participants.tsv, not of the session chosen.

    participants.tsv is taken to hold the age at the first session. ``participants`` and ``scans``
    of their contracts, ``sessions`` of the phenotypes. None where each age is that of the session.
    """
    when = _when(sessions)
    of_person: dict[str, set[str | None]] = {}
    both = (scans[["participant_id", "session_id"]], sessions[["participant_id", "session_id"]])
    for person, session in pd.concat(both).dropna().itertuples(index=False):
        of_person.setdefault(person, set()).add(session)
    later = []
    for row in as_records(participants):
        person, chosen = row["participant_id"], row["session_id"]
        there: dict[str | None, dict[str, Any]] = {
            name: when.get((person, str(name)), {}) for name in of_person.get(person, set())
        }
        if row["age"] is None or chosen is None or there.get(chosen, {}).get("age") is not None:
            continue
        times = {name: parse_time(known.get("acq_time")) for name, known in there.items()}
        years: dict[str | None, float | None] = {
            name: known.get("age") for name, known in there.items()
        }
        if len(there) > 1 and ordered(there, times, years)[0][0] != chosen:
            later.append(person)
    if not later:
        return []
    return [
        f"*_sessions.tsv: the age at the session chosen is unknown of {len(later)} participant(s); "
        f"the age in participants.tsv, which may be years lower, is used: {some(later)}; give age "
        "in *_sessions.tsv"
    ]


def _choice(
    scans: list[dict[str, Any]],
    when: dict[tuple[str, str], dict[str, Any]],
    config: dict[str, Any],
) -> dict[str, Any]:
    """Columns of a participant that are of the scan chosen, or say why there is none.

    ``when``: acq_time and age of (participant, session).
    """
    usable = [
        scan | when.get((scan["participant_id"], scan["session_id"]), {})
        for scan in scans
        if scan["status"] == "ok"
    ]
    row: dict[str, Any] = {"n_scans": sum(scan["path"] is not None for scan in scans)}
    if usable:
        rules, suffixes = config["aggregate"]["choose_scan"], list(config["index"]["suffixes"])
        chosen, why = choose_scan(usable, rules, suffixes)
        row |= {"chosen_because": why} | {name: chosen[name] for name in _OF_CHOSEN}
    else:
        chosen = _furthest(scans)
        row["chosen_because"] = f"no usable scan: {chosen['reason']}"
        row["missing_reason"] = chosen["reason"]
    return row | {"cohort": chosen["cohort"], "contrast": chosen["contrast"]}


def _furthest(scans: list[dict[str, Any]]) -> dict[str, Any]:
    """The unusable scan that passed the most stages: its reason is the participant's."""
    order = {stage: number for number, stage in enumerate(("index", *RECORDED_STAGES))}
    return min(scans, key=lambda scan: (-order.get(scan["stage"], -1), scan["scan_id"]))


def _when(sessions: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """acq_time and age of each (participant, session) of sessions.tsv, None where missing."""
    names = ["participant_id", "session_id", "acq_time", "age"]
    return {
        (row["participant_id"], row["session_id"]): {key: row[key] for key in ("acq_time", "age")}
        for row in as_records(sessions.reindex(columns=names))
    }


def _with_phenotypes(participants: pd.DataFrame, phenotypes: Phenotypes) -> pd.DataFrame:
    """The columns that ``phenotypes`` took over, those of the chosen session as ``session_*``.

    A column of the user's with the name of one of ours, but another meaning, is ``phenotype_*``.
    """
    taken = set(PARTICIPANTS.names) - set(SHARED) - {"participant_id"}
    theirs = phenotypes.participants.rename(columns={name: f"phenotype_{name}" for name in taken})
    merged = participants.drop(columns=list(SHARED)).merge(theirs, on="participant_id", how="left")
    if len(phenotypes.sessions):
        merged = _with_sessions(merged, phenotypes.sessions)
    for name in SHARED:
        if name not in merged:
            merged[name] = pd.Series([None] * len(merged), dtype="object")
    merged["age"] = merged["age"].astype("Float64")
    extra = [name for name in merged.columns if name not in PARTICIPANTS.names]
    # Pandas has two types of text. Arrow stores both alike if both are objects.
    text = {name: object for name in extra if pd.api.types.is_string_dtype(merged[name])}
    return merged[[*PARTICIPANTS.names, *extra]].astype(text)


def _with_sessions(participants: pd.DataFrame, sessions: pd.DataFrame) -> pd.DataFrame:
    """Columns of the chosen session; age, sex, site and diagnosis of the session come first.

    The date of the session stays out: acq_time orders sessions and identifies people.
    """
    keys = ["participant_id", "session_id"]
    sessions = sessions.drop(columns="acq_time", errors="ignore")
    names = {name: f"session_{name}" for name in sessions.columns if name not in keys}
    merged = participants.merge(sessions.rename(columns=names), on=keys, how="left")
    for name in SHARED:
        if f"session_{name}" in merged:
            values = merged.pop(f"session_{name}")
            merged[name] = values.fillna(merged[name]) if name in merged else values
    return merged
