"""What the modules of cohorts of DICOM share: finding series, people by headers, own tables."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from cmburden.core.errors import CMBurdenError
from cmburden.onboard import ida, listing
from cmburden.onboard import series as dicom_series
from cmburden.onboard.parts import Image, Passed, Person, Request, Source, Told
from cmburden.onboard.paths import Onboarded

_Read = TypeVar("_Read")
Visits = Mapping[tuple[str, str], str]
PersonOf = Callable[[str], str | None]
_ZIP = ".zip"
#: Years in a unit of PatientAge: years, months, weeks, days.
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def find(
    request: Request, person_of: PersonOf = lambda text: text or None, *, by_folder: bool = True
) -> Iterator[Source | Passed]:
    """Series of DICOM below the sources and in their zip archives.

    ``person_of`` gives the cohort's own id from the name of a folder or PatientID. Where not
    ``by_folder``, PatientID comes first, and a name of a person in it is not used.
    """
    roots, places, rows = unpacked(request)
    gathered, passed = dicom_series.gather(roots, places)
    if by_folder:
        sources = [ida.source_of(one, person_of) for one in gathered]
    else:
        sources = [ida.source_of(one, person_of, patient=_patient) for one in gathered]
    yield from ida.without_clashes(sources)
    yield from passed
    yield from rows


def _patient(one: dicom_series.Series, place: str) -> str | None:
    """The participant of a series: PatientID, unless it is a person's name; else the folder."""
    patient = str(one.header.get("PatientID", "")).strip()
    if patient and "^" not in patient and " " not in patient:
        return patient
    first, _, rest = place.partition("/")
    return first if rest or first != "." else None


def unpacked(
    request: Request,
) -> tuple[list[Path], dict[str, str], list[Passed]]:
    """Folders to look through, places of files that came out of archives, and rows on archives.

    Archives are unpacked into one tree: a series may lie in two of them. A dry run leaves them.
    """
    folders = [path for path in request.sources if path.is_dir()]
    for path in request.sources:
        if path not in folders and path.suffix.lower() != _ZIP:
            raise CMBurdenError(f"{path}: is neither a folder nor a zip archive; name the download")
    if len(folders) == len(request.sources) and not any(map(_has_zip, folders)):
        return folders, {}, []
    from cmburden.onboard.archives import Unpacked, unpack_all

    target = Onboarded(request.out).unpacked
    places: dict[str, str] = {}
    rows: list[Passed] = []
    for part in unpack_all(request.sources, target, _wanted, dry_run=request.dry_run):
        if isinstance(part, Unpacked):
            places[str(part.path)] = part.place
        else:
            rows.append(part)
    if request.dry_run:
        rows.append(Passed("", f"{len(places)} files lie in zip archives, which a run unpacks"))
        return folders, {}, rows
    return [*folders, *([target] if places else [])], places, rows


def _has_zip(folder: Path) -> bool:
    """Whether any file below ``folder`` is an archive."""
    return any(name.lower().endswith(_ZIP) for _, _, names in os.walk(folder) for name in names)


def _wanted(name: str) -> bool:
    """Whether a member of an archive may be DICOM."""
    return not name.lower().endswith((".xml", ".csv", ".pdf", ".txt"))


def with_sessions(sources: Iterable[Source | Passed], visits: Visits) -> Iterator[Source | Passed]:
    """``sources`` with the session that ``visits`` has for them, by the ids of `joins`."""
    from cmburden.onboard.visits import session_of

    for source in sources:
        if isinstance(source, Source) and visits:
            yield dataclasses.replace(source, session=session_of(source, visits))
        else:
            yield source


def day_of(source: Source) -> str:
    """Session label of a source by its date: 20110708; ``undated`` without one."""
    return re.sub(r"\D", "", source.date or "") or "undated"


def people_of_tables(
    request: Request, read: Callable[[tuple[Path, ...]], list[Person]]
) -> list[Person]:
    """People by the tables (:func:`_from_tables`)."""
    nobody: list[Person] = []
    return _from_tables(request, read, nobody)


def sessions_of_tables(request: Request, read: Callable[[tuple[Path, ...]], Visits]) -> Visits:
    """Session labels by the ids of `joins`, by the tables (:func:`_from_tables`)."""
    none: Visits = {}
    return _from_tables(request, read, none)


def _from_tables(
    request: Request, read: Callable[[tuple[Path, ...]], _Read], without: _Read
) -> _Read:
    """What ``read`` makes of the tables of ``--tables``, else of those that lie in the sources.

    A table that merely lies in the download stops nothing: a warning is printed, and ``without``
    is taken.
    """
    if request.tables:
        return read(request.tables)
    try:
        return read(tuple(path for path in request.sources if path.is_dir()))
    except CMBurdenError as error:
        advice = "the tables in the download are left out; name the right ones by --tables"
        print(f"cmburden: warning: {error}: {advice}", file=sys.stderr, flush=True)
        return without


# --- people by headers ---


def people_of_headers(images: Sequence[Image]) -> list[Person]:
    """Age and sex of each participant and session, as the scanner's files have them."""
    visits: dict[tuple[str, str | None], Person] = {}
    for image in images:
        key = image.participant_id, image.session_id
        known = visits.get(key, Person(*key))
        header = image.source.header
        sex = str(header.get("PatientSex", "")).upper()
        visits[key] = dataclasses.replace(
            known,
            age=known.age if known.age is not None else age_of(str(header.get("PatientAge", ""))),
            sex=known.sex or (sex if sex in ("F", "M") else None),
        )
    return list(visits.values())


def age_of(text: str) -> float | None:
    """Years of DICOM's PatientAge.

    >>> age_of("071Y"), age_of("018M"), age_of("")
    (71.0, 1.5, None)
    """
    match = re.fullmatch(r"(\d{3})([DWMY])", text.strip().upper())
    return round(int(match[1]) * _YEARS[match[2]], 1) if match else None


def with_headers(people: Sequence[Person], images: Sequence[Image]) -> list[Person]:
    """``people``, with age and sex of the headers where tables tell nothing."""
    told = {(one.participant_id, one.session_id): one for one in people}
    rows = []
    for of_header in people_of_headers(images):
        one = told.get((of_header.participant_id, of_header.session_id), of_header)
        rows.append(
            dataclasses.replace(
                one,
                age=one.age if one.age is not None else of_header.age,
                sex=one.sex or of_header.sex,
            )
        )
    return rows


# --- tables of readers ---


def own_tables(request: Request, images: Sequence[Image], without: str = "") -> Told:
    """What the user's own tables, or masks in a folder, say; ``without`` is the remark if none."""
    if request.lesions is not None and request.lesions.is_dir():
        from cmburden.onboard.masks import told_of_folder

        return told_of_folder(request.lesions, images)
    if request.lesions is not None:
        from cmburden.onboard.own_table import findings

        return findings(request.lesions, images, request)
    if request.counts is not None:
        from cmburden.onboard.counts import of_table

        return of_table(request.counts, images)
    return Told(remarks=(without or "no table of lesions was given (--lesions): no truth.tsv",))


def without_table(request: Request, images: Sequence[Image], table: str) -> Told:
    """What the user's own tables say where the cohort's ``table`` was not given."""
    return own_tables(request, images, f"{table} was not given: there is no truth.tsv")


def overview(request: Request) -> list[str]:
    """Name, number of rows and columns of each table; no row of it."""
    from cmburden.onboard.sheets import read

    given = [path for path in (request.lesions, request.counts) if path is not None]
    lines = []
    for path in (table for one in (*given, *request.tables) for table in listing.tables_of(one)):
        if path.suffix.lower() not in (".csv", ".tsv", ".txt", ".xlsx"):
            continue
        try:
            sheet = read(path)
            columns = ", ".join(sheet.header)
            lines.append(f"{path.name}: {len(sheet.rows)} rows; columns: {columns}")
        except CMBurdenError as error:
            lines.append(str(error))
    return lines
