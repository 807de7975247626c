"""Reads participants.tsv and sessions.tsv as people write them. No oddity stops the cohort.

An oddity with a plain meaning is corrected. Each kind of oddity is reported once, in a sentence.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pandas as pd

from cmburden.cohort import ages, codes, dictionary
from cmburden.cohort.cells import read_tsv, some, typed
from cmburden.cohort.columns import Wanted, kept
from cmburden.cohort.dictionary import Dictionary
from cmburden.follow.sessions import parse_time

_IDS = ("participant_id", "participant", "subject_id", "subject", "sub", "bids_id", "id")
#: Names of the column of sessions.
_SESSIONS = ("session_id", "session", "ses")
#: Our name of a column: names in the user's file by preference, without regard to case.
_VARIANTS = {
    "age": (
        *("age", "age_years", "age_at_scan", "age_at_session", "age_at_visit", "age_at_mri"),
        *("age_mri", "age_at_baseline", "age_baseline", "age_months", "age_in_months", "age_days"),
    ),
    "sex": ("sex", "gender"),
    "site": ("site", "site_id", "centre", "center", "scanner_site"),
    "diagnosis": ("diagnosis", "dx", "diagnostic_group", "clinical_status", "group"),
}
#: Columns that participants.tsv and sessions.tsv share.
SHARED = tuple(_VARIANTS)
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
    bids_dir, name = Path(bids_dir), "participants.tsv"
    problems: list[str] = []
    meanings = dictionary.read(bids_dir / "participants.json", problems)
    of_sessions = dictionary.read(bids_dir / "sessions.json", problems)
    both = Dictionary({**meanings.meanings, **of_sessions.meanings})
    table = _standardised(_table(bids_dir, participants, problems), name, meanings, problems)
    table = _with_plausible_ages(table, name, meanings, problems)
    table, rows = _row_a_person(table, problems)
    table = table[table["participant_id"].isin(participants)].reset_index(drop=True)
    table = _without_identity(table, name, wanted, problems)
    by_session = _sessions(bids_dir, participants, both, problems)
    if rows is not None:
        by_session.append(_by_session(rows[rows["participant_id"].isin(participants)]))
    sessions = _joined(by_session, wanted, problems)
    sessions = _with_plausible_ages(sessions, "*_sessions.tsv", both, problems)
    table, sessions = _one_spelling(table, sessions, problems)
    return Phenotypes(
        participants=_typed(table, name, meanings, problems),
        sessions=_typed(sessions, "*_sessions.tsv", both, problems),
        problems=list(dict.fromkeys(problems)),
        described=meanings.descriptions,
    )


def _with_plausible_ages(
    table: pd.DataFrame, name: str, meanings: Dictionary, problems: list[str]
) -> pd.DataFrame:
    if "age" not in table:
        return table
    years = table["age"].astype("Float64")
    return table.assign(age=ages.plausible(years, name, meanings.of("age"), problems))


def _table(bids_dir: Path, participants: list[str], problems: list[str]) -> pd.DataFrame:
    """Rows of participants.tsv, with a participant_id each; who is missing, and who is surplus."""
    table = read_tsv(bids_dir / "participants.tsv", problems)
    if table is None:
        problems.append("no participants.tsv with rows: age, sex, site and diagnosis are unknown")
        return pd.DataFrame({"participant_id": []}, dtype=object)
    table = _identified(table, participants, problems)
    in_tree, listed = set(participants), set(table["participant_id"])
    if strangers := sorted(listed - in_tree):
        problems.append(
            f"participants.tsv lists {len(strangers)} participant(s) of whom the tree holds no "
            f"scan folder that was indexed: {some(strangers)}"
        )
    if absent := sorted(in_tree - listed):
        problems.append(
            f"participants.tsv lacks {len(absent)} participant(s) of the tree: {some(absent)}"
        )
    return table


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
    """``ids`` as the tree writes them: sub-1, sub-1.0 and sub-sub_01 where it has sub-01 alone."""
    known, given = set(participants), set(ids)
    by_number: dict[str, list[str]] = {}
    for name in participants:
        by_number.setdefault(_without_zeros(name), []).append(name)
    renamed = {}
    for name in given - known:
        like = by_number.get(_without_zeros(name), [])
        if len(like) == 1 and like[0] not in given:
            renamed[name] = like[0]
    pairs = [f"{old} as {new}" for old, new in sorted(renamed.items())]
    cut = [pair for pair in pairs if re.match(r"sub-[0-9]+ ", pair)]
    if cut:
        problems.append(f"participants.tsv: {some(cut)}: zeros were cut away and are put back")
    if others := [pair for pair in pairs if pair not in cut]:
        problems.append(f"participants.tsv: {some(others)}: taken as the tree writes them")
    return ids.replace(renamed)


def _without_zeros(name: str) -> str:
    """A participant's label without what spreadsheets and people change in it."""
    label = name.removeprefix("sub-").casefold()
    label = re.sub(r"^sub[-_ \u2010-\u2013]?(?=.)", "", label)
    label = re.sub(r"^([0-9]+)\.0+$", r"\1", label)
    return label.lstrip("0") or "0" if label.isdecimal() else label


def _column(table: pd.DataFrame, options: tuple[str, ...]) -> str | None:
    """The column of ``table`` with the first of the names ``options``, however its words are set.

    A name in the very letters comes before one in others.
    """
    by_name = {_in_words(column): column for column in reversed(list(table.columns))}
    return next(
        (option if option in table else by_name[option] for option in options if option in by_name),
        None,
    )


def _in_words(name: str) -> str:
    """The name of a column as lower-case words: "Age (years)" and "ageYears" are age_years."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def _row_a_person(
    table: pd.DataFrame, problems: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """``table`` with one row a participant_id; its rows by session where it has a row a session.

    In the latter case a participant's value is the one that all rows agree on, else missing.
    """
    name = "participants.tsv"
    again = table["participant_id"].duplicated()
    session = _column(table, _SESSIONS)
    if not again.any() and session is None:
        return table, None
    twice = sorted(set(table.loc[again, "participant_id"]))
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
    if not again.any():
        return people, rows
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


def _standardised(
    table: pd.DataFrame, name: str, meanings: Dictionary, problems: list[str]
) -> pd.DataFrame:
    """``table`` with age (float), sex, site and diagnosis where a variant of them is there."""
    table = table.copy()
    for ours, variants in _VARIANTS.items():
        theirs = _column(table, variants)
        if theirs is None:
            continue
        if theirs != ours:
            problems.append(f"{name}: column {theirs!r} is taken as {ours}")
        _say_rivals(table, name, ours, theirs, problems)
        meaning = meanings.of(theirs)
        values = codes.without_declared(table[theirs], meaning)
        if ours == "age":
            values = ages.ages(values, name, theirs, meaning, problems)
        elif ours == "sex":
            values = codes.sexes(values, name, theirs, meaning, problems)
        else:
            where = f"{name}: column {theirs!r}"
            values = codes.without_codes_of_text(values, where, problems)
            values = codes.labelled(values, where, meaning, problems)
        table[ours] = values
    return table


def _say_rivals(
    table: pd.DataFrame, name: str, ours: str, theirs: str, problems: list[str]
) -> None:
    """Name columns that could have been ``ours`` as well and hold other values than ``theirs``."""
    variants = _VARIANTS["age"] if ours == "age" else (ours,)
    rivals = [
        column
        for column in table.columns
        if column != theirs
        and _in_words(column) in variants
        and not table[column].equals(table[theirs])
    ]
    if rivals:
        problems.append(
            f"{name}: column(s) {some(rivals)} could be {ours} too; {theirs!r} is used: rename or "
            "remove what is wrong"
        )


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
    bids_dir: Path, participants: list[str], meanings: Dictionary, problems: list[str]
) -> list[pd.DataFrame]:
    """Rows of each sub-*/sub-*_sessions.tsv."""
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
                table["participant_id"] = participant
                rows = _by_session(table)
                tables.append(_standardised(rows, "*_sessions.tsv", meanings, here))
        for oddity in here:
            text = oddity.replace(path.name, "*_sessions.tsv")
            oddities.setdefault(text, []).append(participant)
    problems += [f"{text} ({some(who)})" for text, who in oddities.items()]
    return tables


def _joined(tables: list[pd.DataFrame], wanted: Wanted, problems: list[str]) -> pd.DataFrame:
    """``tables`` of sessions below each other, of a session that several have the first row."""
    if not tables:
        return pd.DataFrame({"participant_id": [], "session_id": []}, dtype=object)
    joined = pd.concat(tables, ignore_index=True).astype(object)
    joined = joined.where(joined.notna(), None)
    joined = joined.drop_duplicates(["participant_id", "session_id"], ignore_index=True)
    _say_unreadable_times(joined, problems)
    return _without_identity(joined, "*_sessions.tsv", wanted, problems, ("acq_time",))


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


def _one_spelling(
    table: pd.DataFrame, sessions: pd.DataFrame, problems: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with one spelling of each level of a column: AD for ad and Ad."""
    frames = [table.copy(), sessions.copy()]
    for column in dict.fromkeys([*table.columns, *sessions.columns]):
        if column in ("participant_id", "session_id", "acq_time", "age"):
            continue
        having = [frame for frame in frames if column in frame]
        renamed, spellings = codes.one_spelling(frame[column] for frame in having)
        for frame in having if renamed else ():
            frame[column] = frame[column].replace(renamed)
        if renamed:
            listed = some([f"{', '.join(one[1:])} as {one[0]}" for one in spellings])
            problems.append(
                f"participants.tsv, *_sessions.tsv: column {column!r}: {listed}: spellings of one "
                "level, taken together"
            )
    return frames[0], frames[1]


def _typed(
    table: pd.DataFrame, name: str, meanings: Dictionary, problems: list[str]
) -> pd.DataFrame:
    """Columns of numbers as Int64 or Float64, the others as text; ids stay text."""
    columns = {}
    for column in table.columns:
        if column == "age":
            columns[column] = table[column].astype("Float64")
        elif column in _TEXT:
            columns[column] = table[column].astype("string")
        else:
            columns[column] = _covariate(table[column], name, meanings, problems)
    return pd.DataFrame(columns, index=table.index)


def _covariate(
    values: pd.Series, name: str, meanings: Dictionary, problems: list[str]
) -> pd.Series:
    """A further column of the user's: numbers, or levels where its numbers name something."""
    column, where = str(values.name), f"{name}: column {values.name!r}"
    meaning = meanings.of(column)
    known = codes.without_declared(values, meaning)
    labels = codes.labelled(known, where, meaning, problems)
    if not labels.equals(known):
        return labels.astype("string")
    numbers = typed(known, where, problems)
    if not pd.api.types.is_numeric_dtype(numbers):
        return numbers
    numbers = codes.without_codes(numbers, where, meaning, problems)
    if not codes.names_something(numbers, column, meaning):
        return numbers
    problems.append(f"{where}: its whole numbers name something; taken as levels, not as a number")
    return numbers.map(lambda value: f"{value:g}", na_action="ignore").astype("string")
