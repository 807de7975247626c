"""Refuses an evaluation on people whom the run's networks were tuned on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.tables import SCANS
from cmburden.evaluate.cases import contract_of_run
from cmburden.models import people
from cmburden.models.people import Person

#: In the id of a model that was tuned on labels, and of one that was adapted without.
TUNED = ("-tuned-", "-adapted-")


def folds_of(truth: Path, folds: Path | None) -> Path | None:
    """The table of people: ``folds``, or else the one beside the table ``truth``, if any."""
    beside = truth.with_name(people.FOLDS)
    return folds or (beside if beside.exists() else None)


def refuse(layout: Layout, truth: pd.DataFrame, folds: Path | None) -> None:
    """Raise CMBurdenError where a network of the run was tuned on a participant of ``truth``.

    Raises too where that cannot be found out: a tuned model is gone from its folder, or was tuned
    on a cohort of the same people under other ids (CSIRO is AIBL).
    """
    scans = SCANS.read(layout.table("scans"))
    read = set(scans.loc[scans["status"] == "ok", "scan_id"])
    asked = truth[truth["scan_id"].isin(read)]
    participants = people.people_of(asked, folds) if len(asked) else []
    for stage, column in (("detect", "detector_id"), ("verify", "verifier_id")):
        contract = contract_of_run(layout, stage)
        ids = sorted(name for name in set(scans[column].dropna()) if any(t in name for t in TUNED))
        if ids and not contract.get("tuned_on"):
            raise CMBurdenError(
                f"{layout.root}: its scans were read by {ids[0]}, a tuned model that is no longer "
                "in its folder, so that nobody can say whether it was tuned on these people; put "
                "the model back, or run with another"
            )
        _refuse(contract, participants)


def _refuse(contract: dict[str, Any], participants: list[Person]) -> None:
    known, unclear = people.seen(contract, participants)
    if known:
        raise CMBurdenError(
            f"{len(known)} of {len(participants)} participants, such as {known[0].participant_id}, "
            f"are among those that {contract['id']} was tuned on: figures on them would be too "
            "good; leave them out of the truth table, or take the table of unseen people in "
            "tuning.md beside the models"
        )
    if unclear:
        tuned = contract["tuned_on"]["families"][unclear[0].family]
        raise CMBurdenError(
            f"{contract['id']} was tuned on {' and '.join(tuned)}, and {unclear[0].cohort} holds "
            f"people of {unclear[0].family} under other ids ({unclear[0].participant_id}): nobody "
            "can say who was seen; evaluate on another cohort, or with the shipped models"
        )
