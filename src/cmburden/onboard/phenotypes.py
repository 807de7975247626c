"""Age at the scan, sex, diagnosis and site of participants, from the cohorts' own tables.

A function a cohort. ``tables`` are files, or folders that hold them. Of several releases of a table
the newest is read. Dates of birth are used for the age and go no further.
"""

from __future__ import annotations

import datetime
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from cmburden.onboard import joins, visits
from cmburden.onboard.days import Dates, years_between
from cmburden.onboard.facts import (
    NEAR_DAYS,
    Facts,
    Visit,
    age_at,
    diagnosis_of,
    people,
    sex_of,
    table_named,
    tables_with,
)
from cmburden.onboard.ida_people import Archive
from cmburden.onboard.joins import Key
from cmburden.onboard.parts import Image, Person
from cmburden.onboard.sheets import Row, Sheet

_MALE_1 = {"1": "M", "2": "F"}
_MALE_1_FEMALE_0 = {"1": "M", "0": "F"}
#: DIAGNOSIS and DXCURREN of ADNI and AIBL.
_STAGES = {"1": "CN", "2": "MCI", "3": "AD"}
#: DXCHANGE of ADNI: stable, or converted from one stage to another.
_CHANGES = {
    **dict.fromkeys("179", "CN"),
    **dict.fromkeys("248", "MCI"),
    **dict.fromkeys("356", "AD"),
}
_MONTHS_A_YEAR = 12


class _ByPerson:
    """Rows of a table by participant, and the days of one of its columns."""

    def __init__(self, sheet: Sheet | None, ids: Sequence[str], dates: Sequence[str] = ()):
        self.rows: dict[str, list[Row]] = defaultdict(list)
        self._date = sheet.column(*dates) if sheet and dates else None
        self._dates = Dates(sheet, self._date) if sheet else None
        for row in sheet.rows if sheet else ():
            if person := row.text(*ids):
                self.rows[joins.rid(person.removeprefix("sub-"))].append(row)

    def of(self, visit: Visit) -> list[Row]:
        return self.of_id(visit.own)

    def of_id(self, person: str) -> list[Row]:
        return self.rows.get(joins.rid(person), [])

    def day(self, row: Row) -> datetime.date | None:
        return self._dates.of(row.text(self._date)) if self._dates and self._date else None

    def near(self, visit: Visit, *codes: str) -> list[Row]:
        """Rows of the visit: of its code, else the nearest within half a year."""
        rows = self.of(visit)
        label = (visit.session_id or "").removeprefix("ses-")
        same = [row for row in rows if label and visits.label(row.text(*codes)) == label]
        if same:
            return same
        if visit.day is None:
            return []
        scan = visit.day
        days = [(abs((day - scan).days), row.line, row) for row in rows if (day := self.day(row))]
        return [row for apart, _, row in sorted(days, key=lambda d: d[:2]) if apart <= NEAR_DAYS]


def adni(tables: Sequence[Path], images: Sequence[Image]) -> list[Person]:
    """ADNI. Trust of ages: XML, collection CSV, Study_Entry, ADNIMERGE, birth in PTDEMOG.

    Of diagnoses: DXSUM and ADNIMERGE at the visit; then the group at entry.
    """
    archive = Archive.of(tables)
    entry = _ByPerson(
        table_named(tables, "Study_Entry"), ("subject_id", "PTID"), ("entry_date", "EXAMDATE")
    )
    merged = _ByPerson(table_named(tables, "ADNIMERGE"), ("PTID", "RID"), ("EXAMDATE",))
    births = _ByPerson(table_named(tables, "PTDEMOG"), ("PTID", "subject_id", "RID"))
    examined = _ByPerson(
        table_named(tables, "DXSUM"), ("PTID", "subject_id", "RID"), ("EXAMDATE", "USERDATE")
    )

    def tell(visit: Visit) -> Iterator[Facts]:
        site = re.match(r"(\d{3})_S_", visit.own)
        yield Facts(site=site[1] if site else None)
        for row in examined.near(visit, "VISCODE2", "VISCODE"):
            yield Facts(diagnosis=_stage(row))
        for row in merged.near(visit, "VISCODE"):
            yield Facts(diagnosis=diagnosis_of(row.coded("DX")))
        yield from archive.tell(visit)
        for row in entry.of(visit):
            yield Facts(
                age=_later(row.number("entry_age"), entry.day(row), visit),
                sex=sex_of(row.text("entry_sex", "PTGENDER"), _MALE_1),
                diagnosis=diagnosis_of(row.coded("entry_research_group")),
            )
        for row in merged.of(visit):
            first = row.text("VISCODE").casefold() == "bl"
            age = _later(row.number("AGE"), merged.day(row), visit) if first else None
            yield Facts(age=age, sex=sex_of(row.text("PTGENDER"), _MALE_1))
        yield from _born(visit, births.of(visit), visit.day)

    return people(images, tell)


def aibl(tables: Sequence[Path], images: Sequence[Image]) -> list[Person]:
    """AIBL: sex, site and year of birth in ptdemog, diagnoses in pdxconv, days in mri3meta."""
    archive = Archive.of(tables)
    births = _ByPerson(table_named(tables, "ptdemog"), ("RID",))
    examined = _ByPerson(table_named(tables, "pdxconv"), ("RID",), ("EXAMDATE",))
    scanned = [
        _ByPerson(table_named(tables, name), ("RID",), ("EXAMDATE",))
        for name in ("mri3meta", "mrimeta")
    ]

    def tell(visit: Visit) -> Iterator[Facts]:
        codes = {
            row.text("VISCODE").casefold()
            for meta in scanned
            for row in meta.of(visit)
            if visit.day and meta.day(row) == visit.day
        }
        at_visit = [
            row for row in examined.of(visit) if row.text("VISCODE").casefold() in codes
        ] or examined.near(visit, "VISCODE")
        for row in at_visit:
            yield Facts(diagnosis=diagnosis_of(row.coded("DXCURREN"), _STAGES))
        yield from archive.tell(visit)
        days = [
            day
            for meta in scanned
            for row in meta.near(visit, "VISCODE")
            if (day := meta.day(row)) is not None
        ]
        yield from _born(visit, births.of(visit), visit.day or next(iter(days), None))

    return people(images, tell)


def aibl_sessions(tables: Sequence[Path]) -> dict[Key, str]:
    """Session label (M000, M018, ...) by participant and day, from AIBL's mri3meta and mrimeta."""
    pairs = []
    for name in ("mri3meta", "mrimeta"):
        sheet = table_named(tables, name)
        if sheet is None:
            continue
        dates = Dates(sheet, sheet.column("EXAMDATE"))
        for row in sheet.rows:
            day, label = dates.of(row.coded("EXAMDATE")), visits.label(row.text("VISCODE"))
            if day and label:
                key = joins.DAY, f"{joins.rid(row.text('RID'))} {day.isoformat()}"
                pairs.append((key, label))
    return visits.agreed(pairs)


def adni_sessions(tables: Sequence[Path]) -> dict[Key, str]:
    """Session label by each id of a series in ADNI's Key_MRI (``joins.Key``)."""
    sheet = table_named(tables, "Key_MRI")
    if sheet is None:
        return {}
    dates = Dates(sheet, sheet.column("image_date"))
    pairs = []
    for row in sheet.rows:
        label, day = visits.label(row.text("image_visit")), dates.of(row.text("image_date"))
        person = row.text("subject_id")
        values = (
            row.text("series_instance_uid"),
            joins.loni_number(row.text("image_id", "loni_image")),
            joins.loni_number(row.text("loni_series")),
            f"{joins.rid(person)} {day.isoformat()}" if person and day else "",
        )
        names = zip(joins.ORDER, values, strict=True)
        pairs += [((name, value), label) for name, value in names if value and label]
    return visits.agreed(pairs)


def a4(tables: Sequence[Path], images: Sequence[Image]) -> list[Person]:
    """A4 and LEARN: PTDEMOG and SUBJINFO by BID; ages are those at consent.

    The days of A4's scans are not those of the calendar, so that nothing is added to an age.
    """
    archive = Archive.of(tables)
    known = [_ByPerson(table_named(tables, name), ("BID",)) for name in ("SUBJINFO", "PTDEMOG")]

    def tell(visit: Visit) -> Iterator[Facts]:
        yield from archive.tell(visit)
        for table in known:
            for row in table.of(visit):
                yield Facts(
                    age=row.number("AGEYR", "PTAGE"),
                    sex=sex_of(row.text("PTGENDER", "SEX"), _MALE_1),
                    site=row.coded("SITEID") or None,
                )

    return people(images, tell)


def ukb(tables: Sequence[Path], images: Sequence[Image]) -> list[Person]:
    """UK Biobank: fields 31 (sex), 21003 (age at the visit), 34 (year of birth), 54 (centre)."""
    sheets = [_ByPerson(sheet, ("eid", "participant.eid")) for sheet in _ukb_sheets(tables)]

    def field(row: Row, number: int, instance: str) -> str:
        names = [f"{number}-{instance}.0", f"p{number}_i{instance}"]
        names += [f"p{number}"] if instance == "0" else []
        return row.coded(*names, *(f"participant.{name}" for name in names))

    def tell(visit: Visit) -> Iterator[Facts]:
        instance = (visit.session_id or "").removeprefix("ses-")
        for sheet in sheets:
            for row in sheet.of(visit):
                age = field(row, 21003, instance)
                yield Facts(
                    age=float(age) if age.isdecimal() else None,
                    sex=sex_of(field(row, 31, "0"), _MALE_1_FEMALE_0),
                    site=field(row, 54, instance) or None,
                )
                yield Facts(age=age_at(visit.day, f"/{field(row, 34, '0')}"))

    return people(images, tell)


def _ukb_sheets(tables: Sequence[Path]) -> list[Sheet]:
    found = [*tables_with(tables, "eid"), *tables_with(tables, "participant.eid")]
    return list({sheet.path: sheet for sheet in found}.values())


def oasis3(tables: Sequence[Path], images: Sequence[Image]) -> list[Person]:
    """OASIS-3: sessions are days since entry; the age at entry is in the demographics.

    The diagnosis is of the nearest visit within half a year (``dx1`` of the clinical tables).
    """
    sheets = [*tables_with(tables, "OASISID"), *tables_with(tables, "Subject")]
    known = [_ByPerson(sheet, ("OASISID", "Subject")) for sheet in sheets]

    def tell(visit: Visit) -> Iterator[Facts]:
        day = _days_since_entry(visit)
        for table in known:
            for row in table.of(visit):
                entry = row.number("AgeatEntry", "ageAtEntry")
                age = None if entry is None or day is None else entry + day / 365.25
                sex = sex_of(row.text("GENDER", "M/F", "sex"), _MALE_1)
                near = _days_of(row)
                fits = near is not None and day is not None and abs(near - day) <= NEAR_DAYS
                word = row.coded("dx1") if fits else ""
                yield Facts(age=age, sex=sex, diagnosis=diagnosis_of(word))

    return people(images, tell)


def _days_since_entry(visit: Visit) -> int | None:
    names = (visit.session_id or "", visit.images[0].source.session or "")
    found = [match for name in names if (match := re.search(r"d(\d+)$", name))]
    return int(found[0][1]) if found else None


def _days_of(row: Row) -> int | None:
    """Days since entry of a row: a column of its own, or the end of its id (``..._d0757``)."""
    days = row.number("days_to_visit")
    if days is not None:
        return int(days)
    ends = [re.search(r"_d(\d+)$", row.text(*("OASIS_session_label", "MR ID", "label")))]
    ends += [re.search(r"_d(\d+)$", cell) for cell in row.cells[:2]]
    return next((int(end[1]) for end in ends if end), None)


def general(tables: Sequence[Path], images: Sequence[Image]) -> list[Person]:
    """A user's own table: participant_id, maybe session_id, and age, sex, diagnosis, site."""
    known = [
        _ByPerson(sheet, ("participant_id",)) for sheet in tables_with(tables, "participant_id")
    ]

    def tell(visit: Visit) -> Iterator[Facts]:
        ids = {visit.participant_id.removeprefix("sub-"), visit.own}
        sessions = {name for image in visit.images for name in joins.sessions_of(image)}
        for table in known:
            rows = {row.line: row for one in sorted(ids) for row in table.of_id(one)}
            for row in rows.values():
                session = row.text("session_id").removeprefix("ses-")
                if not session or session in sessions:
                    yield Facts(
                        age=row.number("age"),
                        sex=sex_of(row.text("sex", "gender"), {}),
                        diagnosis=diagnosis_of(row.coded("diagnosis", "dx", "group")),
                        site=row.text("site") or None,
                    )

    return people(images, tell)


def _stage(row: Row) -> str | None:
    """Diagnosis of a row of ADNI's DXSUM, of any release."""
    for name, codes in (("DIAGNOSIS", _STAGES), ("DXCURREN", _STAGES), ("DXCHANGE", _CHANGES)):
        if text := row.coded(name):
            return diagnosis_of(text, codes) or _word(text)
    return None


def _word(text: str) -> str | None:
    return None if text.isdecimal() else diagnosis_of(text)


def _later(age: float | None, then: datetime.date | None, visit: Visit) -> float | None:
    """Age at the visit of one whose age at an earlier day is known.

    Without the day, months since baseline are taken from the session's label.
    """
    if age is None:
        return None
    if then is not None and visit.day is not None:
        return age + years_between(then, visit.day)
    months = visits.months(visit.session_id)
    return None if months is None else age + months / _MONTHS_A_YEAR


def _born(visit: Visit, rows: list[Row], day: datetime.date | None) -> Iterator[Facts]:
    """Facts of tables with month or year of birth."""
    for row in rows:
        year = row.coded("PTDOBYY", "PTDOBYEAR")
        month = row.coded("PTDOBMM")
        birth = f"{month}/{year}" if year else row.coded("PTDOB")
        yield Facts(
            age=age_at(day, birth),
            sex=sex_of(row.coded("PTGENDER"), _MALE_1),
            site=row.coded("SITEID") or None,
        )
