"""The people that a model was tuned on, as salted checksums in its contract (``tuned_on``).

A contract travels with its weights; ids of other people's cohorts must not. A checksum tells
whether a person took part, for those who hold the person's id. It is no secret for somebody who
tries out all ids of a cohort.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.core.errors import CMBurdenError

#: Cohorts whose people are another cohort's: the CSIRO set is made of AIBL's scans.
FAMILIES = {"CSIRO": "AIBL"}
#: Labels of participants of the CSIRO set: their numbers are not AIBL's.
_CSIRO = re.compile(r"^(sub-)?AIBLmom", re.IGNORECASE)
#: Name of the table of people beside a table of truth.
FOLDS = "folds.tsv"
_COLUMNS = ("participant_id", "person", "family")
#: Column of the fold, which a table of people may have.
FOLD = "fold"


@dataclasses.dataclass(frozen=True)
class Person:
    """A participant, the person behind, and the cohort.

    ``family`` is the name that cohorts with the same people share. ``cohort`` names the numbering
    of the ids: two participants of a family and of one cohort can be told apart by their ids.
    """

    participant_id: str
    person: str
    family: str
    cohort: str
    fold: str | None = None

    @property
    def key(self) -> str:
        """``family:person``, the same for all participants that are one person."""
        return f"{self.family}:{_plain(self.person)}"

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that the person may have: by the person's id, and by the participant's label."""
        return tuple(sorted({self.key, f"{self.family}:{_plain(self.participant_id)}"}))


def _plain(name: str) -> str:
    """A label in one spelling.

    >>> _plain("sub-ADNI002S0685"), _plain("002_S_0685")
    ('adni002s0685', '002s0685')
    """
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("sub-"))


def family_of(cohort: str) -> str:
    """The family of a cohort.

    >>> family_of("CSIRO"), family_of("adni")
    ('AIBL', 'ADNI')
    """
    return FAMILIES.get(cohort.upper(), cohort.upper())


def people_of(truth: pd.DataFrame, folds: Path | None = None) -> list[Person]:
    """The participants of a truth table (``participant_id``, ``cohort``), sorted by label.

    ``folds`` names a table (TSV) of participant_id, person, family and, perhaps, fold. Without it
    every participant is a person, of the family of the cohort.

    Raises
    ------
    CMBurdenError
        When ``folds`` cannot be read, lacks a column or lacks a participant.
    """
    cohorts = truth.drop_duplicates("participant_id").set_index("participant_id")["cohort"]
    rows = _read_folds(folds) if folds else {}
    missing = sorted(set(cohorts.index) - set(rows)) if folds else []
    if missing:
        raise CMBurdenError(
            f"{folds}: {len(missing)} participant(s) of the truth table are missing, such as "
            f"{missing[0]}; write both anew by cmburden onboard, or add the rows"
        )
    return [_person(label, str(cohorts[label]), rows.get(label)) for label in sorted(cohorts.index)]


def _person(label: str, cohort: str, row: dict[str, str] | None) -> Person:
    cohort = "CSIRO" if _CSIRO.match(label) else cohort.upper()
    if row is None:
        return Person(label, label, family_of(cohort), cohort)
    return Person(label, row["person"], family_of(row["family"]), cohort, row.get(FOLD) or None)


def _read_folds(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table of people, by the participant's label with ``sub-``."""
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise CMBurdenError(f"{path}: not a readable table of people ({error})") from error
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise CMBurdenError(
            f"{path}: column(s) {', '.join(missing)} are missing; it needs {', '.join(_COLUMNS)}, "
            "separated by tabs"
        )
    return {"sub-" + row["participant_id"].removeprefix("sub-"): row for row in _records(table)}


def _records(table: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {str(name): "" if value == "n/a" else str(value).strip() for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def tuned_on(people: Sequence[Person], salt: str) -> dict[str, Any]:
    """The entry ``tuned_on`` of a contract: checksums of ``people``, and their cohorts."""
    cohorts: dict[str, set[str]] = {}
    for person in people:
        cohorts.setdefault(person.family, set()).add(person.cohort)
    return {
        "salt": salt,
        "number": len({person.key for person in people}),
        "people": sorted({_checksum(key, salt) for person in people for key in person.keys}),
        "families": {family: sorted(names) for family, names in sorted(cohorts.items())},
    }


def _checksum(key: str, salt: str) -> str:
    return hashlib.sha256(f"{salt}:{key}".encode()).hexdigest()


def seen(contract: dict[str, Any], people: Iterable[Person]) -> tuple[list[Person], list[Person]]:
    """Of ``people``: those that the model of ``contract`` was tuned on, and those who may be.

    People may be where the model was tuned on a cohort of their family whose ids are others.
    """
    entry = contract.get("tuned_on") or {}
    salt, sums = str(entry.get("salt", "")), set(entry.get("people") or [])
    families = entry.get("families") or {}
    known, unclear = [], []
    for person in people:
        if sums & {_checksum(key, salt) for key in person.keys}:
            known.append(person)
        elif set(families.get(person.family, [])) - {person.cohort}:
            unclear.append(person)
    return known, unclear
