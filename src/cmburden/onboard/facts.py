"""A participant at a session, and what tables tell of the two: the ground of `phenotypes`."""

from __future__ import annotations

import dataclasses
import datetime
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.core.foreign import UnreadableFile, first_bytes, text_of
from cmburden.onboard.days import day_of, newest, years_between
from cmburden.onboard.parts import Image, Person
from cmburden.onboard.sheets import ENDINGS, Sheet, plain, read, whole

#: An age above this is none, years.
_OLDEST = 120.0
#: Days between a scan and an examination whose diagnosis is taken for the scan's, at most.
NEAR_DAYS = 183
_DIAGNOSES = {
    **dict.fromkeys(("cn", "nl", "normal", "hc", "cognitively normal"), "CN"),
    "mci": "MCI",
    **dict.fromkeys(("ad", "dementia", "ad dementia"), "AD"),
}
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}
#: Bytes of a table in which its header ends.
_HEADER_BYTES = 2**16


@dataclasses.dataclass(frozen=True)
class Visit:
    """A participant at a session.

    Attributes
    ----------
    own : str
        The cohort's own id of the participant.
    day : date or None
        Day of the scans.
    images : tuple of Image
    """

    participant_id: str
    session_id: str | None
    own: str
    day: datetime.date | None
    images: tuple[Image, ...]


@dataclasses.dataclass(frozen=True)
class Facts:
    """What one table tells of a visit; None where it tells nothing."""

    age: float | None = None
    sex: str | None = None
    diagnosis: str | None = None
    site: str | None = None


def visits_of(images: Iterable[Image]) -> list[Visit]:
    """The visits of ``images``, by participant and session."""
    groups: dict[tuple[str, str | None], list[Image]] = defaultdict(list)
    for image in images:
        groups[image.participant_id, image.session_id].append(image)
    found = []
    for (person, session), members in groups.items():
        days = [d for image in members if (d := day_of(image.source.date or ""))]
        own = members[0].source.participant
        found.append(Visit(person, session, own, min(days, default=None), tuple(members)))
    return sorted(found, key=lambda visit: (visit.participant_id, visit.session_id or ""))


def people(images: Iterable[Image], tell: Callable[[Visit], Iterable[Facts]]) -> list[Person]:
    """A person a visit; each value is of the first of the facts that ``tell`` has it."""
    found = []
    for visit in visits_of(images):
        facts = list(tell(visit))
        age = next((one.age for one in facts if one.age and 0 < one.age < _OLDEST), None)
        found.append(
            Person(
                visit.participant_id,
                visit.session_id,
                age=None if age is None else round(age, 1),
                sex=next((one.sex for one in facts if one.sex), None),
                diagnosis=next((one.diagnosis for one in facts if one.diagnosis), None),
                site=next((one.site for one in facts if one.site), None),
            )
        )
    return found


def sex_of(text: str, codes: Mapping[str, str]) -> str | None:
    """F or M by a word, or by the ``codes`` of the cohort.

    >>> sex_of("Female", {}), sex_of("1.0", {"1": "M", "2": "F"}), sex_of("1", {})
    ('F', 'M', None)
    """
    return _SEXES.get(text.strip().casefold()) or codes.get(whole(text))


def diagnosis_of(text: str, codes: Mapping[str, str] | None = None) -> str | None:
    """CN, MCI or AD by a word or by the cohort's ``codes``; else the cohort's word.

    >>> diagnosis_of("Dementia"), diagnosis_of("EMCI"), diagnosis_of("1", {"1": "CN"})
    ('AD', 'EMCI', 'CN')
    >>> diagnosis_of("7", {"1": "CN"}) is None
    True
    """
    if codes is not None:
        return codes.get(whole(text))
    return _DIAGNOSES.get(text.casefold(), text) or None


def age_at(day: datetime.date | None, birth: str) -> float | None:
    """Age in years at ``day``, of a month or a year of birth; by years alone it is whole.

    >>> age_at(datetime.date(2011, 7, 8), "/1940"), age_at(datetime.date(2011, 7, 15), "07/1941")
    (71.0, 70.0)
    """
    month, _, year = birth.rpartition("/")
    if day is None or not year.isdecimal() or not 1800 < int(year) < 2200:
        return None
    if month.isdecimal() and 1 <= int(month) <= 12:
        return round(years_between(datetime.date(int(year), int(month), 15), day), 1)
    return float(day.year - int(year))


def tables_named(tables: Sequence[Path], pattern: str) -> list[Path]:
    """Files of ``tables``, and of the folders among these to the second level, by their names.

    The name holds ``pattern``, without regard to case and punctuation.
    """
    files: set[Path] = set()
    for path in tables:
        inside = [*path.glob("*"), *path.glob("*/*")] if path.is_dir() else [path]
        files |= {file for file in inside if file.suffix.lower() in ENDINGS}
    return sorted(file for file in files if plain(pattern) in plain(file.name) and file.is_file())


def table_named(tables: Sequence[Path], pattern: str) -> Sheet | None:
    """The newest of the tables whose name holds ``pattern``; None where there is none."""
    files = tables_named(tables, pattern)
    return read(newest(files) if len(files) > 1 else files[0]) if files else None


def tables_with(tables: Sequence[Path], *columns: str) -> list[Sheet]:
    """The tables whose first line holds all ``columns``, whatever their names."""
    found = []
    for path in tables_named(tables, ""):
        try:
            start = text_of(first_bytes(path, _HEADER_BYTES))
        except UnreadableFile:
            continue
        header = plain(start.splitlines()[0]) if start.strip() else ""
        of_excel = start.startswith("PK")
        if not of_excel and any(plain(name) not in header for name in columns):
            continue
        try:
            sheet = read(path)
        except CMBurdenError:
            if of_excel:
                continue  # nothing says that it is one of the tables
            raise
        if all(sheet.column(name) for name in columns):
            found.append(sheet)
    return found
