"""Tables that count microbleeds of a scan without saying where they are.

A4 and LEARN publish such a table (``imaging_MRI_reads.csv``). Any other one has a row a scan:
``scan_id`` or ``participant_id`` [``session_id``], ``n_cmb``, and maybe ``n_lobar``, ``n_deep``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from cmburden.onboard import own_table
from cmburden.onboard.joins import Scans, sessions_of
from cmburden.onboard.parts import Count, Image, Told
from cmburden.onboard.sheets import Row, Sheet, number, read, some, stop

#: Columns of A4's table, and its number of superficial siderosis.
_A4 = (("BID",), ("Definite.MCH",), ("Lobar",), ("Deep",), ("Definite.SS",))
_DAYS = ("STUDYDATE_DAYS_CONSENT", "STUDYDATE_DAYS_T0")
#: Columns of a table of counts by its user.
_N = ("n_cmb", "count", "n", "cmb", "microbleeds", "n_microbleeds", "Definite.MCH")
_LOBAR, _DEEP = ("n_lobar", "lobar"), ("n_deep", "deep")


def of_table(path: Path, images: Iterable[Image]) -> Told:
    """Counts of any table: of A4's, where it has A4's columns, else of a user's own."""
    sheet = read(path)
    is_a4 = all(sheet.column(*names) for names in _A4)
    return a4(path, images) if is_a4 else general(path, images)


def general(path: Path, images: Iterable[Image]) -> Told:
    """Counts of a user's table; a row whose count is empty says: not read.

    Raises
    ------
    CMBurdenError
        With all problems at once: a missing column, a count that is none, a scan with two rows.
    """
    sheet = read(path)
    ids = (*own_table.SCAN, *own_table.PERSON, *own_table.UIDS, *own_table.IMAGES)
    sheet.need(ids, _N)
    scans = Scans.of(images)
    problems: list[str] = []
    pairs: list[tuple[Row, Image]] = []
    absent: list[str] = []
    for row in sheet.rows:
        fitting = own_table.scans_of_row(row, scans)
        if not fitting:
            absent.append(own_table.name_of_row(row))
        elif len(fitting) > 1:
            problems.append(own_table.several(sheet, row, fitting))
        else:
            pairs.append((row, fitting[0]))
    found = list(_counts(sheet, pairs, problems))
    stop(problems)
    own_table.check_any(sheet, scans, absent)
    strangers = list(dict.fromkeys(absent))
    return Told(
        counts=tuple(sorted(found, key=lambda one: one.scan_id)),
        counted=_counted(scans, found, {"no series": len(strangers)}),
        remarks=tuple(own_table.without_series(strangers)),
    )


def a4(path: Path, images: Iterable[Image]) -> Told:
    """Counts of A4's and LEARN's central readers.

    A reading is of the scan of its visit. Where the download does not name visits, the readings
    of a participant are those of the scans in the order of their days, if there are as many.

    Raises
    ------
    CMBurdenError
        With all problems at once: a missing column, a count that is none, a scan with two rows.
    """
    sheet = read(path)
    sheet.need(*_A4)
    scans = Scans.of(images)
    problems: list[str] = []
    people: dict[str, list[Row]] = defaultdict(list)
    for row in sheet.rows:
        people[row.text("BID")].append(row)
    pairs: list[tuple[Row, Image]] = []
    counted: Counter[str] = Counter()
    absent, several = [], []
    for person, rows in people.items():
        fitting = scans.of_person(person, "")
        found = _of_visits(rows, fitting)
        pairs += found
        if not fitting:
            absent.append(person)
        elif not found:
            several.append(f"{person}: {len(rows)} reading(s), {len(fitting)} scan(s)")
    found_counts = list(_counts(sheet, pairs, problems))
    stop(problems)
    own_table.check_any(sheet, scans, [row.text("BID") for p in absent for row in people[p]])
    counted["Definite.SS"] = sum((row.number("Definite.SS") or 0) > 0 for row, _ in pairs)
    counted["no series"], counted["several series"] = len(absent), len(several)
    remarks = list(own_table.without_series(absent))
    if several:
        remarks.append(f"Readings that fit no single scan are left out: {some(several)}.")
    return Told(
        counts=tuple(sorted(found_counts, key=lambda one: one.scan_id)),
        seen={"SUBSTUDY": sheet.levels("SUBSTUDY"), "VISCODE": sheet.levels("VISCODE")},
        counted=_counted(scans, found_counts, counted),
        remarks=tuple(remarks),
    )


def _of_visits(rows: list[Row], images: tuple[Image, ...]) -> list[tuple[Row, Image]]:
    """Readings of a participant with their scans; none where it is not clear which."""
    by_visit = [
        (row, image)
        for row in rows
        for image in images
        if row.text("VISCODE") and row.coded("VISCODE") in sessions_of(image)
    ]
    if by_visit:
        clear = len({image.scan_id for _, image in by_visit}) == len(by_visit)
        return by_visit if clear else []
    name_visits = any(row.text("VISCODE") for row in rows)
    if name_visits and any(image.source.session for image in images):
        return []  # the names of the table and of the download differ
    return _in_order(rows, images)


def _in_order(rows: list[Row], images: tuple[Image, ...]) -> list[tuple[Row, Image]]:
    """As many readings as scans, both in the order of their days."""
    if len(rows) != len(images):
        return []
    if len(rows) == 1:
        return [(rows[0], images[0])]
    of_rows = [(day, row) for row in rows if (day := row.number(*_DAYS)) is not None]
    of_images = [(image.source.date, image) for image in images if image.source.date]
    if min(len(dict(of_rows)), len(dict(of_images))) < len(rows):
        return []  # a day is missing, or stands twice
    of_rows.sort(key=lambda pair: pair[0])
    of_images.sort(key=lambda pair: pair[0])
    pairs = zip(of_rows, of_images, strict=True)
    return [(row, image) for (_, row), (_, image) in pairs]


def _counts(
    sheet: Sheet, pairs: Iterable[tuple[Row, Image]], problems: list[str]
) -> Iterator[Count]:
    """The counts of rows that have one; ``problems`` gets a sentence for each wrong row."""
    lines: dict[str, int] = {}
    for row, image in pairs:
        try:
            total = _whole(row, _N)
            parts = _whole(row, _LOBAR), _whole(row, _DEEP)
        except ValueError as error:
            problems.append(f"{sheet.path}, line {row.line}: {error}")
            continue
        if total is None:
            continue
        if image.scan_id in lines:
            problems.append(
                f"{sheet.path}, lines {lines[image.scan_id]} and {row.line}: are both of "
                f"{image.scan_id}; remove one of them"
            )
        elif sum(part or 0 for part in parts) > total:
            problems.append(
                f"{sheet.path}, line {row.line}: lobar and deep microbleeds are more than the "
                f"{total} of the scan; correct the row"
            )
        else:
            yield Count(image.scan_id, total, *parts)
        lines.setdefault(image.scan_id, row.line)


def _whole(row: Row, names: tuple[str, ...]) -> int | None:
    """A count; None where the cell is empty; ValueError for what is no count."""
    text = row.coded(*names)
    if not text:
        return None
    value = number(text)
    if value is None or value < 0 or value != int(value):
        raise ValueError(f"{names[0]} is {text!r}; give a whole number, or leave it empty")
    return int(value)


def _counted(scans: Scans, found: list[Count], others: dict[str, int]) -> dict[str, int]:
    counted = {**others, "not read": len(scans.images) - len(found)}
    return {name: number for name, number in sorted(counted.items()) if number}
