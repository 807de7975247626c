"""Head of the cohort's page: key figures, training data of the networks, missing results."""

from __future__ import annotations

import dataclasses
from typing import Any

from cmburden.report.tables import ReportTables
from cmburden.report.typeset import Row
from cmburden.summary.measures import (
    CorrectionCheck,
    DetectorRate,
    Lesions,
    Participants,
    Presence,
    Prevalence,
    Scans,
)
from cmburden.summary.strata import EVERYBODY, Stratum

_PHENOTYPES = ("age", "sex", "site")
_STAGES = ("detect", "verify")


@dataclasses.dataclass(frozen=True)
class Arm:
    """Participants with a scan of a contrast, and the share of them with a microbleed.

    ``corrected`` for the detector's error, None where it cannot be. ``floor``: share of scans
    without a microbleed in which one is called, None where nobody measured it. ``sentences``: why
    the prevalence was not corrected, or what the counts say against the correction.
    """

    contrast: str
    presence: Row
    corrected: Row | None
    floor: Row | None
    sentences: list[str]


@dataclasses.dataclass(frozen=True)
class Overview:
    """Variable ``overview`` of index.html.j2: rows of `summary`, then sentences."""

    participants: Row
    usable: Row
    scans: Row
    definite: Row
    possible: Row
    macrohaemorrhages: Row
    arms: list[Arm]
    cohorts: list[str]
    macro_mm: str
    training: str
    missing: list[str]


def select(
    tables: ReportTables,
    config: dict[str, Any],
    contracts: dict[str, dict[str, Any]],
    regressions: bool,
) -> Overview:
    """``contracts`` by stage, of the stages whose model has one; ``regressions``: are there any."""
    return Overview(
        participants=tables.estimate(EVERYBODY, Participants()),
        usable=tables.estimate(EVERYBODY, Participants("usable")),
        scans=tables.estimate(EVERYBODY, Scans()),
        definite=tables.estimate(EVERYBODY, Lesions("definite")),
        possible=tables.estimate(EVERYBODY, Lesions("possible")),
        macrohaemorrhages=tables.estimate(EVERYBODY, Lesions("macrohaemorrhage")),
        arms=arms(tables),
        cohorts=tables.cohorts(),
        macro_mm=f"{config['aggregate']['macrohaemorrhage_mm']:g}",
        training=_training(contracts),
        missing=[
            *_not_reviewed(tables, config["report"]["counts"]),
            *_missing(tables, contracts, regressions),
        ],
    )


def arms(tables: ReportTables) -> list[Arm]:
    """An arm for each contrast with a usable scan."""
    result = []
    for name in tables.contrasts():
        stratum = Stratum(contrast=name)
        corrected = tables.estimate(stratum, Prevalence("corrected"))
        floor = floor_of(tables, name)
        result.append(
            Arm(
                name,
                tables.estimate(stratum, Presence("definite")),
                None if corrected["estimate"] is None else corrected,
                floor,
                _sentences(tables, stratum, corrected) if floor else [],
            )
        )
    return result


def _sentences(tables: ReportTables, stratum: Stratum, corrected: Row) -> list[str]:
    if corrected["estimate"] is None:
        return [corrected["method"]]
    return [
        row["method"]
        for check, row in tables.of(CorrectionCheck, stratum)
        if not check.of and row["estimate"]
    ]


def floor_of(tables: ReportTables, contrast: str) -> Row | None:
    """The row of the false-positive floor of a contrast; None where nobody measured it."""
    row = tables.estimate(Stratum(contrast=contrast), DetectorRate("false-positive floor"))
    return None if row["estimate"] is None else row


def _training(contracts: dict[str, dict[str, Any]]) -> str:
    """What the networks learned from, in the words of their contracts: a user may bring others."""
    statements = dict.fromkeys(
        str(contract["training_data"])
        for contract in contracts.values()
        if isinstance(contract.get("training_data"), str)
    )
    if not statements:
        return "What the networks were trained on is not known: their contracts do not say."
    return f"What the networks were trained on: {'; '.join(statements).rstrip('.')}."


def _not_reviewed(tables: ReportTables, wanted: str) -> list[str]:
    """A sentence where the counts are not those that the configuration names."""
    if wanted == tables.counts:
        return []
    return [
        f"report.counts is {wanted}, but readers have settled no count that it needs: the counts "
        "below are the software's. Review scans (cmburden review), then run again."
    ]


def _missing(
    tables: ReportTables, contracts: dict[str, dict[str, Any]], regressions: bool
) -> list[str]:
    """What a complete report has and this one has not, a sentence each."""
    sentences = []
    if (tables.scans["reason"] == "not_run").any():
        sentences.append(
            "Some scans were not run to the end; they are missing below, not counted as free of "
            "microbleeds. The tables and this page can be made again at any time."
        )
    sentences += [
        f"No participant has a value of {column}: add the column to participants.tsv for "
        f"results by {column}."
        for column in _PHENOTYPES
        if tables.participants[column].isna().all()
    ]
    sentences += [
        f"No model contract (model.json) of the {stage} stage was found: thresholds and "
        "expected performance are not known."
        for stage in _STAGES
        if stage not in contracts
    ]
    if not regressions:
        sentences.append("The tables hold no regression model.")
    return sentences
