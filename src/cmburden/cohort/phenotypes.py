"""Reads participants.tsv and sessions.tsv as people write them. No oddity stops the cohort.

An oddity with a plain meaning is corrected. Each kind of oddity is reported once, in a sentence.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

_MISSING = {"", "n/a", "na", "nan", "null", ".", "-"}
_IDS = ("participant_id", "participant", "subject_id", "subject", "sub", "bids_id", "id")
#: Our name of a column: names in the user's file by preference, without regard to case.
_VARIANTS = {
    "age": ("age", "age_years", "age_at_scan", "age_at_baseline", "age_mri"),
    "sex": ("sex", "gender"),
    "site": ("site", "site_id", "centre", "center", "scanner_site"),
    "diagnosis": ("diagnosis", "dx", "diagnostic_group", "clinical_status", "group"),
}
#: Columns that participants.tsv and sessions.tsv share.
SHARED = tuple(_VARIANTS)
_SEXES = {"m": "M", "male": "M", "man": "M", "f": "F", "female": "F", "woman": "F"}
#: A number above this is no age in years.
_MAX_AGE = 120
#: Most items that a sentence lists.
_MOST_LISTED = 5


@dataclasses.dataclass(frozen=True)
class Phenotypes:
    """``participants``: one row a participant_id; ``sessions``: one row a participant and session.

    Both have age, sex, site and diagnosis (sessions: as far as given) and every other column of
    the files. ``problems`` are sentences. ``described`` has column descriptions from the tree's
    participants.json.
    """

    participants: pd.DataFrame
    sessions: pd.DataFrame
    problems: list[str]
    described: dict[str, str]


def read(bids_dir: Path, participants: list[str]) -> Phenotypes:
    """Phenotypes of ``participants`` (ids with 'sub-') from the tree; never raises for its content.

    Rows of people who have no folder are left out and counted in ``problems``.
    """
    bids_dir = Path(bids_dir)
    problems: list[str] = []
    table = _read_tsv(bids_dir / "participants.tsv", problems)
    has_table = table is not None
    if table is None:
        problems.append("no participants.tsv with rows: age, sex, site and diagnosis are unknown")
        table = pd.DataFrame({"participant_id": []}, dtype=object)
    table = _identified(table, "participants.tsv", problems)
    table = _standardised(table, "participants.tsv", problems)
    in_tree = set(participants)
    strangers = sorted(set(table["participant_id"]) - in_tree)
    if strangers:
        problems.append(
            f"participants.tsv lists {len(strangers)} participant(s) of whom the tree holds no "
            f"scan folder that was indexed: {_some(strangers)}"
        )
    absent = sorted(in_tree - set(table["participant_id"]))
    if absent and has_table:
        problems.append(
            f"participants.tsv lacks {len(absent)} participant(s) of the tree: {_some(absent)}"
        )
    table = table[table["participant_id"].isin(in_tree)]
    return Phenotypes(
        participants=_typed(table.reset_index(drop=True)),
        sessions=_sessions(bids_dir, participants, problems),
        problems=problems,
        described=_descriptions(bids_dir / "participants.json"),
    )


def parse_age(text: str) -> float | None:
    """Age in years; '90+' and '>89' are read as their number.

    >>> parse_age("90+"), parse_age("71.5"), parse_age("n/a"), parse_age("n.k.")
    (90.0, 71.5, None, None)
    """
    match = re.fullmatch(r"\s*[>≥]?=?\s*(\d+(?:[.,]\d+)?)\s*(?:\+|y|yrs?|years?)?\s*", text, re.I)
    if not match:
        return None
    age = float(match[1].replace(",", "."))
    return age if age <= _MAX_AGE else None


def _read_tsv(path: Path, problems: list[str]) -> pd.DataFrame | None:
    """All cells as text, missing ones None; None where there is no such file."""
    if not path.is_file():
        return None
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        problems.append(f"{path.name} is empty")
        return None
    mark = "," if "," in lines[0] and "\t" not in lines[0] else "\t"
    if mark == ",":
        problems.append(f"{path.name} is separated by commas, not tabs; read as such")
    header, *rows = csv.reader(lines, delimiter=mark)
    names = [name.strip() for name in header]
    ragged = [number for number, row in enumerate(rows, start=2) if len(row) != len(names)]
    if ragged:
        problems.append(
            f"{path.name}: line(s) {_some(ragged)} have not {len(names)} cells; missing cells are "
            "taken as n/a, surplus cells are dropped"
        )
    cells = [(row + [""] * len(names))[: len(names)] for row in rows]
    frame = pd.DataFrame(cells, columns=names, dtype=object)
    return _each_column_once(frame, path.name, problems).map(_cell)


def _each_column_once(frame: pd.DataFrame, name: str, problems: list[str]) -> pd.DataFrame:
    """``frame`` without columns that have no name, and without repeated ones."""
    frame = frame.loc[:, [bool(column) for column in frame.columns]]
    again = frame.columns.duplicated()
    if again.any():
        twice = sorted(set(frame.columns[again]))
        problems.append(f"{name}: column(s) {_some(twice)} occur twice; the first is used")
    return frame.loc[:, ~again]


def _cell(value: str) -> str | None:
    value = value.strip()
    return None if value.lower() in _MISSING else value


def _identified(table: pd.DataFrame, name: str, problems: list[str]) -> pd.DataFrame:
    """``table`` with one row a participant_id, each with 'sub-'."""
    by_lower = {column.lower(): column for column in table.columns}
    column = next((by_lower[option] for option in _IDS if option in by_lower), None)
    if column is None:
        problems.append(f"{name} has no column participant_id: it is not used")
        return pd.DataFrame({"participant_id": []}, dtype=object)
    if column != "participant_id":
        problems.append(f"{name}: column {column!r} is taken as participant_id")
    table = table.rename(columns={column: "participant_id"})
    empty = table["participant_id"].isna()
    if empty.any():
        problems.append(f"{name}: {int(empty.sum())} row(s) without a participant are dropped")
        table = table[~empty]
    bare = ~table["participant_id"].str.startswith("sub-")
    if bare.any():
        problems.append(f"{name}: 'sub-' is put before {int(bare.sum())} participant id(s)")
        table = table.assign(
            participant_id=table["participant_id"].where(~bare, "sub-" + table["participant_id"])
        )
    table = table.drop_duplicates()
    again = table["participant_id"].duplicated()
    if again.any():
        twice = sorted(set(table.loc[again, "participant_id"]))
        problems.append(
            f"{name}: {len(twice)} participant(s) have several different rows, the first is used: "
            f"{_some(twice)}"
        )
    return table[~again]


def _standardised(table: pd.DataFrame, name: str, problems: list[str]) -> pd.DataFrame:
    """``table`` with age (float), sex, site and diagnosis where a variant of them is there."""
    table = table.copy()
    by_lower = {column.lower(): column for column in reversed(list(table.columns))}
    for ours, variants in _VARIANTS.items():
        theirs = next((by_lower[option] for option in variants if option in by_lower), None)
        if theirs is None:
            continue
        values = table[theirs]
        if theirs != ours:
            problems.append(f"{name}: column {theirs!r} is taken as {ours}")
        if ours == "age":
            values = _ages(values, name, problems)
        elif ours == "sex":
            values = values.map(lambda text: _SEXES.get(text.lower(), text), na_action="ignore")
        table[ours] = values
    return table


def _ages(values: pd.Series, name: str, problems: list[str]) -> pd.Series:
    ages = values.map(parse_age, na_action="ignore").astype("Float64")
    capped = sorted({text for text in values.dropna() if re.search(r"[+>≥]", text)})
    if capped:
        problems.append(f"{name}: age(s) {_some(capped)} are read as the number they hold")
    lost = sorted(set(values[ages.isna() & values.notna()]))
    if lost:
        problems.append(f"{name}: age(s) {_some(lost)} are no age in years and taken as n/a")
    return ages


def _sessions(bids_dir: Path, participants: list[str], problems: list[str]) -> pd.DataFrame:
    """Rows of sub-*/sub-*_sessions.tsv; empty where the tree has none."""
    tables: list[pd.DataFrame] = []
    oddities: dict[str, list[str]] = {}
    for participant in participants:
        path = bids_dir / participant / f"{participant}_sessions.tsv"
        here: list[str] = []
        table = _read_tsv(path, here)
        if table is None:
            continue
        if "session_id" not in table:
            here.append("*_sessions.tsv has no column session_id: it is not used")
        else:
            table = table[table["session_id"].notna()].drop_duplicates("session_id")
            bare = ~table["session_id"].str.startswith("ses-")
            table["session_id"] = table["session_id"].where(~bare, "ses-" + table["session_id"])
            table.insert(0, "participant_id", participant)
            tables.append(_standardised(table, "*_sessions.tsv", here))
        for oddity in here:
            text = oddity.replace(path.name, "*_sessions.tsv")
            oddities.setdefault(text, []).append(participant)
    problems += [f"{text} ({_some(who)})" for text, who in oddities.items()]
    if not tables:
        return pd.DataFrame({"participant_id": [], "session_id": []}, dtype=object)
    return _typed(pd.concat(tables, ignore_index=True))


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of numbers as Int64 or Float64, the others as text; ids stay text."""
    typed = {}
    for name in table.columns:
        values = table[name]
        if name in ("participant_id", "session_id", "sex", "site", "diagnosis"):
            typed[name] = values.astype("string")
            continue
        numbers = pd.to_numeric(values, errors="coerce").astype("Float64")
        if values.notna().any() and (numbers.notna() == values.notna()).all():
            whole = name != "age" and (numbers.dropna() % 1 == 0).all()
            typed[name] = numbers.astype("Int64") if whole else numbers
        else:
            typed[name] = values.astype("string")
    return pd.DataFrame(typed, index=table.index)


def _descriptions(path: Path) -> dict[str, str]:
    """Column descriptions of participants.json; none where it is absent or unreadable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {
        name: str(entry["Description"])
        for name, entry in content.items()
        if isinstance(entry, dict) and entry.get("Description")
    }


def _some(items: list[Any]) -> str:
    """The first items, and how many more there are."""
    listed = ", ".join(str(item) for item in items[:_MOST_LISTED])
    left = len(items) - _MOST_LISTED
    return f"{listed} and {left} more" if left > 0 else listed
