"""Reads participants.tsv and sessions.tsv as people write them. No oddity stops the cohort.

An oddity with a plain meaning is corrected. Each kind of oddity is reported once, in a sentence.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pandas as pd

from cmburden.cohort.cells import read_tsv, some, typed
from cmburden.cohort.columns import Wanted, is_date, kept
from cmburden.follow.sessions import parse_time

_IDS = ("participant_id", "participant", "subject_id", "subject", "sub", "bids_id", "id")
#: Names of the column of sessions.
_SESSIONS = ("session_id", "session", "ses")
#: Our name of a column: names in the user's file by preference, without regard to case.
_VARIANTS = {
    "age": ("age", "age_years", "age_at_scan", "age_at_session", "age_at_baseline", "age_mri"),
    "sex": ("sex", "gender"),
    "site": ("site", "site_id", "centre", "center", "scanner_site"),
    "diagnosis": ("diagnosis", "dx", "diagnostic_group", "clinical_status", "group"),
}
#: Columns that participants.tsv and sessions.tsv share.
SHARED = tuple(_VARIANTS)
_SEXES = {"m": "M", "male": "M", "man": "M", "f": "F", "female": "F", "woman": "F"}
#: A number above this is no age in years.
_MAX_AGE = 120
#: A longer text is no age.
_LONGEST_AGE = 20
#: Columns of text whatever they hold, and the time that orders sessions.
_TEXT = ("participant_id", "session_id", "sex", "site", "diagnosis", "acq_time")


@dataclasses.dataclass(frozen=True)
class Phenotypes:
    """``participants``: one row a participant_id; ``sessions``: one row a participant and session.

    Both have age, sex, site and diagnosis (sessions: as far as given) and the other columns that
    :mod:`cmburden.cohort.columns` takes over; ``sessions`` has acq_time, which orders sessions and
    stands in no table of the cohort. ``problems`` are sentences. ``described`` has column
    descriptions from the tree's participants.json.
    """

    participants: pd.DataFrame
    sessions: pd.DataFrame
    problems: list[str]
    described: dict[str, str]


def read(bids_dir: Path, participants: list[str], wanted: Wanted = ()) -> Phenotypes:
    """Phenotypes of ``participants`` (ids with 'sub-') from the tree; never raises for its content.

    Rows of people who have no folder are left out and counted in ``problems``. ``wanted`` names
    columns to take over besides the usual ones, or is "all".
    """
    bids_dir = Path(bids_dir)
    problems: list[str] = []
    table = read_tsv(bids_dir / "participants.tsv", problems)
    has_table = table is not None
    if table is None:
        problems.append("no participants.tsv with rows: age, sex, site and diagnosis are unknown")
        table = pd.DataFrame({"participant_id": []}, dtype=object)
    table = _identified(table, participants, problems)
    table, of_sessions = _row_a_person(table, problems)
    table = _standardised(table, "participants.tsv", problems)
    in_tree = set(participants)
    strangers = sorted(set(table["participant_id"]) - in_tree)
    if strangers:
        problems.append(
            f"participants.tsv lists {len(strangers)} participant(s) of whom the tree holds no "
            f"scan folder that was indexed: {some(strangers)}"
        )
    absent = sorted(in_tree - set(table["participant_id"]))
    if absent and has_table:
        problems.append(
            f"participants.tsv lacks {len(absent)} participant(s) of the tree: {some(absent)}"
        )
    table = table[table["participant_id"].isin(in_tree)].reset_index(drop=True)
    table = _without_identity(table, "participants.tsv", wanted, problems)
    if of_sessions is not None:
        of_sessions = of_sessions[of_sessions["participant_id"].isin(in_tree)]
    return Phenotypes(
        participants=_typed(table, "participants.tsv", problems),
        sessions=_sessions(bids_dir, participants, of_sessions, wanted, problems),
        problems=problems,
        described=_descriptions(bids_dir / "participants.json"),
    )


def parse_age(text: str) -> float | None:
    """Age in years; '90+' and '>89' are read as their number.

    >>> parse_age("90+"), parse_age("71.5"), parse_age("n/a"), parse_age("n.k.")
    (90.0, 71.5, None, None)
    """
    text = text.strip()
    if len(text) > _LONGEST_AGE:
        return None
    match = re.fullmatch(r"[>≥]?=? *(\d+(?:[.,]\d+)?) *(?:\+|y|yrs?|years?)?", text, re.I)
    if not match:
        return None
    age = float(match[1].replace(",", "."))
    return age if age <= _MAX_AGE else None


def _identified(table: pd.DataFrame, participants: list[str], problems: list[str]) -> pd.DataFrame:
    """``table`` of participants.tsv with a participant_id in each row, each with 'sub-'."""
    name = "participants.tsv"
    column = _column(table, _IDS)
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
    ids = table["participant_id"]
    bare = ~ids.str.startswith("sub-")
    if bare.any():
        problems.append(f"{name}: 'sub-' is put before {int(bare.sum())} participant id(s)")
        # Some write SUB-01.
        ids = ids.where(~bare, "sub-" + ids.str.replace(r"^sub-", "", case=False, regex=True))
    return table.assign(participant_id=_with_zeros(ids, participants, problems)).drop_duplicates()


def _with_zeros(ids: pd.Series, participants: list[str], problems: list[str]) -> pd.Series:
    """``ids`` with the zeros that spreadsheets cut away: sub-1 where the tree has sub-01 alone."""
    known = set(participants)
    by_number: dict[str, list[str]] = {}
    for name in participants:
        by_number.setdefault(_without_zeros(name), []).append(name)
    renamed = {}
    for name in set(ids) - known:
        like = by_number.get(_without_zeros(name), [])
        if len(like) == 1 and not known.intersection(ids) & set(like):
            renamed[name] = like[0]
    if renamed:
        pairs = [f"{old} as {new}" for old, new in sorted(renamed.items())]
        problems.append(f"participants.tsv: {some(pairs)}: zeros were cut away and are put back")
    return ids.replace(renamed)


def _without_zeros(name: str) -> str:
    label = name.removeprefix("sub-")
    return label.lstrip("0") or "0" if label.isdecimal() else label


def _column(table: pd.DataFrame, options: tuple[str, ...]) -> str | None:
    """The column of ``table`` with the first of the names ``options``, in any case of letters."""
    by_lower = {column.lower(): column for column in reversed(list(table.columns))}
    return next((by_lower[option] for option in options if option in by_lower), None)


def _row_a_person(
    table: pd.DataFrame, problems: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """``table`` with one row a participant_id; its rows by session where it has a row a session.

    In the latter case a participant's value is the one that all rows agree on, else missing.
    """
    name = "participants.tsv"
    again = table["participant_id"].duplicated()
    if not again.any():
        return table, None
    twice = sorted(set(table.loc[again, "participant_id"]))
    session = _column(table, _SESSIONS)
    if session is None:
        problems.append(
            f"{name}: {len(twice)} participant(s) have several different rows, the first is used: "
            f"{some(twice)}"
        )
        return table[~again], None
    problems.append(
        f"{name} has a row a session: age, sex, site and diagnosis are those of the chosen session;"
        " of other columns, what a participant's rows agree on"
    )
    rows = table.rename(columns={session: "session_id"})
    people = rows.drop(columns="session_id")
    one_value = people.groupby("participant_id", sort=False).transform("nunique") <= 1
    people = people.assign(
        **{
            column: people.groupby("participant_id", sort=False)[column]
            .transform("first")
            .where(one_value[column], None)
            for column in one_value.columns
        }
    )
    return people[~again], rows


def _standardised(table: pd.DataFrame, name: str, problems: list[str]) -> pd.DataFrame:
    """``table`` with age (float), sex, site and diagnosis where a variant of them is there."""
    table = table.copy()
    for ours, variants in _VARIANTS.items():
        theirs = _column(table, variants)
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
    capped = sorted({text for text in values[ages.notna()] if re.search(r"[+>≥]", text)})
    if capped:
        problems.append(f"{name}: age(s) {some(capped)} are read as the number they hold")
    lost = sorted({_shown(text) for text in values[ages.isna() & values.notna()]})
    if lost:
        problems.append(f"{name}: age(s) {some(lost)} are no age in years and taken as n/a")
    return ages


def _shown(text: str) -> str:
    """A cell in a sentence: not the day on which somebody was born, nor what may be a note."""
    if is_date(text):
        return "(a date)"
    return text if len(text) <= _LONGEST_AGE else "(a long text)"


def _without_identity(
    table: pd.DataFrame, name: str, wanted: Wanted, problems: list[str], also: tuple[str, ...] = ()
) -> pd.DataFrame:
    """``table`` without the columns that the cohort's tables leave out, but with ``also``."""
    always = ("participant_id", "session_id", *SHARED, *also)
    keep, left = kept(table, always, wanted)
    if left:
        problems.append(
            f"{name}: {len(left)} column(s) are not copied into the tables: {some(left)}; name "
            "those that identify nobody in aggregate.phenotypes if you need them"
        )
    return table[keep]


def _sessions(
    bids_dir: Path,
    participants: list[str],
    of_participants: pd.DataFrame | None,
    wanted: Wanted,
    problems: list[str],
) -> pd.DataFrame:
    """Rows of sub-*/sub-*_sessions.tsv, then of ``of_participants`` (rows of participants.tsv by
    session) where the former have none; empty where the tree has neither."""
    tables: list[pd.DataFrame] = []
    oddities: dict[str, list[str]] = {}
    for participant in participants:
        path = bids_dir / participant / f"{participant}_sessions.tsv"
        here: list[str] = []
        table = read_tsv(path, here)
        if table is not None:
            if "session_id" not in table:
                here.append("*_sessions.tsv has no column session_id: it is not used")
            else:
                table.insert(0, "participant_id", participant)
                tables.append(_standardised(_by_session(table), "*_sessions.tsv", here))
        for oddity in here:
            text = oddity.replace(path.name, "*_sessions.tsv")
            oddities.setdefault(text, []).append(participant)
    problems += [f"{text} ({some(who)})" for text, who in oddities.items()]
    if of_participants is not None:
        tables.append(_standardised(_by_session(of_participants), "participants.tsv", []))
    if not tables:
        return pd.DataFrame({"participant_id": [], "session_id": []}, dtype=object)
    joined = pd.concat(tables, ignore_index=True).astype(object)
    joined = joined.where(joined.notna(), None)
    joined = joined.drop_duplicates(["participant_id", "session_id"], ignore_index=True)
    _say_unreadable_times(joined, problems)
    joined = _without_identity(joined, "*_sessions.tsv", wanted, problems, ("acq_time",))
    return _typed(joined, "*_sessions.tsv", problems)


def _say_unreadable_times(sessions: pd.DataFrame, problems: list[str]) -> None:
    """Name the participants with an acq_time that is no date. The values may be dates: not them."""
    if "acq_time" not in sessions:
        return
    given = sessions[sessions["acq_time"].notna()]
    unread = given["acq_time"].map(parse_time).isna()
    who = sorted(set(given.loc[unread, "participant_id"]))
    if who:
        problems.append(
            f"*_sessions.tsv: {len(who)} participant(s) have an acq_time that is no date such as "
            "2015-03-02T10:00:00; it orders nothing, age or label does: " + some(who)
        )


def _by_session(table: pd.DataFrame) -> pd.DataFrame:
    """``table`` with 'ses-' before each session_id, one row a participant and session."""
    table = table[table["session_id"].notna()]
    bare = ~table["session_id"].str.startswith("ses-")
    ids = table["session_id"].where(~bare, "ses-" + table["session_id"])
    return table.assign(session_id=ids).drop_duplicates(["participant_id", "session_id"])


def _typed(table: pd.DataFrame, name: str, problems: list[str]) -> pd.DataFrame:
    """Columns of numbers as Int64 or Float64, the others as text; ids stay text."""
    columns = {}
    for column in table.columns:
        if column == "age":
            columns[column] = table[column].astype("Float64")
        elif column in _TEXT:
            columns[column] = table[column].astype("string")
        else:
            columns[column] = typed(table[column], f"{name}: column {column!r}", problems)
    return pd.DataFrame(columns, index=table.index)


def _descriptions(path: Path) -> dict[str, str]:
    """Column descriptions of participants.json; none where it is absent or unreadable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {
        name: str(entry["Description"])
        for name, entry in content.items()
        if isinstance(entry, dict) and entry.get("Description")
    }
