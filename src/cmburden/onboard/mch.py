"""ADNI's table of microhaemorrhages, MAYOADIRL_MRI_MCH: a row a finding of the central readers.

Its public descriptions do not name the column of the places, and do not say in which coordinates
they are. The column is found by its content: three or four numbers in a cell. The coordinates are
left to ``images.conventions``.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.onboard import joins, visits
from cmburden.onboard.days import Dates, newest
from cmburden.onboard.joins import Key, Scans
from cmburden.onboard.parts import Finding, Image, Request, Told
from cmburden.onboard.sheets import ENDINGS, Row, Sheet, number, read, some, stop

#: Name of the table, and of its files.
TABLE, FILES = "MAYOADIRL_MRI_MCH", "MAYOADIRL_MRI_MCH*"
#: Columns whose levels are told to the user; none of them tells of a person.
LEVELS = ("COLPROT", "NOFINDINGS", "TYPE", "STATUS", "CHOSEN", "STUDY_QUALITY", "SERIES_QUALITY")
#: Columns that are known to hold no places.
_KNOWN = {
    *("RID", "COLPROT", "VISCODE", "VISCODE2", "SCANDATE", "LONI_STUDY", "LONI_SERIES"),
    *("LONI_IMG_ID", "SERIES_NUM", "CHOSEN", "STUDY_QUALITY", "SERIES_QUALITY", "EVALDATE"),
    *("NOFINDINGS", "TYPE", "STATUS", "SERIES_UID", "update_stamp"),
}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
#: Three or four numbers parted by blanks or commas, maybe in brackets.
_PLACE = re.compile(rf"[\[(]?\s*{_NUMBER}(?:(?:\s*[,;]\s*|\s+){_NUMBER}){{2,3}}\s*[,;]?\s*[\])]?")
#: Share of a column's cells that look like places at least, so that a wrong cell is a sentence.
_LEAST_PLACES = 0.5
_KINDS = {"definite": "microbleed", "possible": "faint"}
_MICROBLEED = re.compile(r"mch|cmb|micro-?\s?(?:h(?:a)?emorrhages?|bleeds?)")
_SIDEROSIS = re.compile(r"ss|.*siderosis.*")
#: Names of the files of ADNI's data dictionary.
_DICTIONARY = re.compile(r"DATADIC.*\.csv$", re.IGNORECASE)
#: How a reading says that a scan holds nothing, and that it may hold something.
_CLEAN, _NOT_CLEAN = "1", ("0", "")


def findings(path: Path | Sequence[Path], images: Iterable[Image], request: Request) -> Told:
    """What the table says of ``images``.

    ``path`` is the table, several of its releases, or a folder that holds them: the newest is
    read. Images without a row were not read and have no finding.

    Raises
    ------
    CMBurdenError
        With all problems at once: a missing column, a level that is not known, a microbleed
        without a place, a clean scan with a microbleed, no row that fits an image.
    """
    table = _table(path)
    problems = list(_unknown_levels(table.sheet))
    if table.fault:
        problems.append(table.fault)
    scans = Scans.of(images)
    joined = _join(table, scans)
    problems += joined.problems
    found: list[Finding] = []
    counted: Counter[str] = Counter()
    for image, rows in sorted(joined.rows.items(), key=lambda item: item[0]):
        found += _of_scan(table, image, rows, counted, problems)
    stop(problems)
    if scans.images and not joined.rows:
        raise CMBurdenError(
            f"{table.sheet.path}: none of its rows fits one of the {len(scans.images)} T2* series; "
            f"it was joined by {', '.join(joins.ORDER)}; give the table of these participants"
        )
    counted.update(joined.counted)
    counted["not read"] = len(scans.images) - len({one.scan_id for one in found})
    return Told(
        findings=tuple(found),
        seen={name: table.sheet.levels(name) for name in LEVELS if table.sheet.column(name)},
        counted={name: number for name, number in sorted(counted.items()) if number},
        remarks=(*_remarks(table, joined), *_dictionary(table, request)),
    )


def sessions(path: Path | Sequence[Path]) -> dict[Key, str]:
    """Session label (M000, M006, ...) by each id of a series in the table (``joins.Key``)."""
    table = _table(path)
    rows = [(row, visits.label(row.text("VISCODE2"))) for row in table.sheet.rows]
    return visits.agreed((key, name) for row, name in rows if name for key in table.keys(row))


def overview(path: Path | Sequence[Path]) -> list[str]:
    """Lines that describe the table without a row of it: for ``--dry-run``, and to be reported."""
    table = _table(path, complete=False)
    sheet = table.sheet
    lines = [f"{sheet.path.name}: {len(sheet.rows)} rows", f"columns: {', '.join(sheet.header)}"]
    lines.append(f"column of places: {table.place or table.fault}")
    for name in LEVELS:
        if sheet.column(name):
            lines.append(f"{name}: {sheet.described(name)}")
    if table.place:
        numbers = Counter(len(_numbers(text)) for text in sheet.values(table.place))
        lines.append(f"numbers in a place: {dict(sorted(numbers.items()))}")
    return lines + list(_dictionary(table, None))


@dataclasses.dataclass(frozen=True)
class _Table:
    """A release of the table; ``place`` is the column of the places, ``fault`` why none is."""

    sheet: Sheet
    dates: Dates
    place: str | None
    fault: str | None
    older: tuple[Path, ...] = ()

    def keys(self, row: Row) -> tuple[Key, ...]:
        """The ids of the row's series, in the order of trust."""
        day = self.dates.of(row.text("SCANDATE"))
        person = row.coded("RID")
        values = (
            row.text("SERIES_UID"),
            joins.loni_number(row.coded("LONI_IMG_ID")),
            joins.loni_number(row.coded("LONI_SERIES")),
            f"{joins.rid(person)} {day.isoformat()}" if person and day else "",
        )
        return tuple((n, value) for n, value in zip(joins.ORDER, values, strict=True) if value)

    def scan(self, row: Row) -> tuple[str, ...]:
        """What tells a row's scan from others of the table."""
        return tuple(dict(self.keys(row)).get(name, "") for name in (joins.IMAGE, joins.DAY))


def files_of(path: Path | Sequence[Path]) -> list[Path]:
    """Files of the table: ``path`` itself, or those of its name in a folder."""
    paths = [path] if isinstance(path, Path) else list(path)
    files: list[Path] = []
    for one in paths:
        inside = sorted(one.glob(FILES)) if one.is_dir() else []
        inside = [file for file in inside if file.suffix.lower() in ENDINGS and file.is_file()]
        if one.is_dir() and not inside:
            raise CMBurdenError(f"{one}: holds no table {FILES}; name the file")
        files += inside or [one]
    return files


def _table(path: Path | Sequence[Path], *, complete: bool = True) -> _Table:
    """The newest of the tables at ``path``; without ``complete`` it may lack columns."""
    files = files_of(path)
    used = newest(files) if len(files) > 1 else files[0]
    sheet = read(used)
    if complete:
        sheet.need(("RID",), ("NOFINDINGS",), ("TYPE",), ("STATUS",))
        if not any(map(sheet.column, (joins.UID, joins.IMAGE, joins.SERIES, "SCANDATE"))):
            sheet.need((joins.UID, joins.IMAGE, joins.SERIES, "SCANDATE"))
    place, fault = _place_column(sheet)
    older = tuple(file for file in files if file != used)
    return _Table(sheet, Dates(sheet, sheet.column("SCANDATE")), place, fault, older)


def _place_column(sheet: Sheet) -> tuple[str | None, str | None]:
    """The column of the places, or a sentence why none is."""
    if not any(_is_microbleed(row) for row in sheet.rows):
        return None, None
    known = {name.casefold() for name in _KNOWN}
    fitting = []
    for name in sheet.header:
        values = sheet.values(name) if name and name.casefold() not in known else []
        fit = sum(_PLACE.fullmatch(value) is not None for value in values)
        if fit and fit >= _LEAST_PLACES * len(values):
            fitting.append(name)
    if len(fitting) == 1:
        return fitting[0], None
    what = f"{len(fitting)} columns hold" if fitting else "no column holds"
    return None, (
        f"{sheet.path}: {what} places, cells of three or four numbers parted by blanks or commas"
        f"{': ' + some(fitting) if fitting else ''}; its columns are "
        f"{', '.join(filter(None, sheet.header))}; "
        + ("leave one of them" if fitting else "report them if the table is of a newer release")
    )


def _is_microbleed(row: Row) -> bool:
    return _MICROBLEED.fullmatch(row.coded("TYPE").casefold()) is not None


def _unknown_levels(sheet: Sheet) -> Iterator[str]:
    """A sentence for each column with a level that is not known; it lists what was seen."""
    known = {
        "TYPE": ("MCH, Superficial Siderosis", lambda row: not row.coded("TYPE") or _known(row)),
        "STATUS": (
            "Definite, Possible",
            lambda row: not _is_microbleed(row) or row.coded("STATUS").casefold() in {*_KINDS, ""},
        ),
        "NOFINDINGS": ("0, 1", lambda row: row.coded("NOFINDINGS") in (_CLEAN, *_NOT_CLEAN)),
    }
    for name, (levels, fits) in known.items():
        strange = Counter(row.text(name) for row in sheet.rows if not fits(row))
        if strange:
            yield (
                f"{sheet.path}: column {name} holds {some(sorted(strange))}, which is not known; "
                f"seen are {sheet.described(name)}; known are {levels}; report the new level, or "
                "write a known one in a copy of the table"
            )


def _known(row: Row) -> bool:
    return _is_microbleed(row) or _SIDEROSIS.fullmatch(row.coded("TYPE").casefold()) is not None


@dataclasses.dataclass
class _Joined:
    """Rows by the scan_id of their image, and what became of the others."""

    rows: dict[str, list[Row]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    counted: Counter[str] = dataclasses.field(default_factory=Counter)
    problems: list[str] = dataclasses.field(default_factory=list)
    absent: list[str] = dataclasses.field(default_factory=list)
    several: list[str] = dataclasses.field(default_factory=list)


def _join(table: _Table, scans: Scans) -> _Joined:
    """Each row with the image of its series, by the first of its ids that an image has."""
    joined = _Joined()
    by: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    absent: dict[tuple[str, ...], Row] = {}
    several: dict[tuple[str, ...], tuple[Row, str, tuple[Image, ...]]] = {}
    for row in table.sheet.rows:
        how, fitting = scans.fitting(table.keys(row))
        if not fitting:
            absent.setdefault(table.scan(row), row)
        elif len(fitting) > 1:
            several.setdefault(table.scan(row), (row, how, fitting))
        elif person := _other_person(row, fitting[0]):
            joined.problems.append(
                f"{table.sheet.path}, line {row.line}: {how} is of {fitting[0].scan_id}, whose "
                f"participant is {person}, but RID is {row.text('RID')}; correct the row"
            )
        else:
            by[fitting[0].scan_id][how].append(row)
    for scan_id, ways in by.items():
        for row in _settle(table, scan_id, ways, joined):
            absent.setdefault(table.scan(row), row)
    joined.absent = [f"RID {_visit(row)}" for row in absent.values()]
    joined.several = [
        f"RID {_visit(row)} ({how}: {some(image.scan_id for image in fitting)})"
        for row, how, fitting in several.values()
    ]
    joined.counted["no series"] = len(absent)
    joined.counted["several series"] = len(several)
    return joined


def _settle(table: _Table, scan_id: str, ways: dict[str, list[Row]], joined: _Joined) -> list[Row]:
    """Take the rows of one image; returns those that are of another series of that day."""
    of_day = ways.get(joins.DAY, [])
    by_id = [row for how, rows in ways.items() if how != joins.DAY for row in rows]
    images = {table.scan(row)[0] for row in by_id or of_day} - {""}
    if not by_id and len(images) > 1:
        joined.problems.append(
            f"{table.sheet.path}, lines {some(row.line for row in of_day)}: readings of several "
            f"series fit {scan_id} by {joins.DAY} alone; download the series that were read"
        )
        return []
    strange = [row for row in of_day if table.scan(row)[0] not in images | {""}]
    own = [row for row in of_day if row not in strange]
    joined.rows[scan_id] = sorted(by_id + own, key=lambda row: row.line)
    joined.counted[f"joined by {min(ways, key=joins.ORDER.index)}"] += 1
    return strange


def _other_person(row: Row, image: Image) -> str | None:
    """The participant of ``image`` where the row is of another one."""
    person = joins.rid(image.source.participant)
    stated = row.coded("RID")
    return person if stated and person.isdigit() and joins.rid(stated) != person else None


def _visit(row: Row) -> str:
    return f"{row.text('RID')} {row.text('SCANDATE')}".strip()


def _of_scan(
    table: _Table, scan_id: str, rows: list[Row], counted: Counter[str], problems: list[str]
) -> Iterator[Finding]:
    """The findings of one scan; ``problems`` gets a sentence for each row that makes no sense."""
    microbleeds = [row for row in rows if _is_microbleed(row)]
    others = [row for row in rows if row not in microbleeds and row.coded("TYPE")]
    clean = [row for row in rows if row.coded("NOFINDINGS") == _CLEAN]
    counted.update(row.coded("TYPE") for row in others)
    if microbleeds:
        if clean:
            problems.append(
                f"{table.sheet.path}, line {clean[0].line}: NOFINDINGS is 1, but line(s) "
                f"{some(row.line for row in microbleeds)} name microbleeds of the same scan; "
                "remove one or the other"
            )
        for row in microbleeds:
            yield from _lesion(table, scan_id, row, problems)
    elif read_rows := [*clean, *others]:
        line = read_rows[0].line
        yield Finding(scan_id, "none", where=f"{table.sheet.path.name}, line {line}")
    else:
        counted["rows without a reading"] += len(rows)


def _lesion(table: _Table, scan_id: str, row: Row, problems: list[str]) -> Iterator[Finding]:
    """The microbleed of a row, if the row is sound."""
    point = _point(table, row, problems)
    kind = _KINDS.get(row.coded("STATUS").casefold())
    if not row.coded("STATUS"):
        problems.append(
            f"{table.sheet.path}, line {row.line}: a microbleed without STATUS; write Definite or "
            "Possible"
        )
    if point is not None and kind is not None:
        yield Finding(scan_id, kind, point, where=f"{table.sheet.path.name}, line {row.line}")


def _point(table: _Table, row: Row, problems: list[str]) -> tuple[float, float, float] | None:
    if table.place is None:
        return None  # the table's own fault says so
    text = row.text(table.place)
    values = _numbers(text) if _PLACE.fullmatch(text) else []
    if len(values) not in (3, 4):  # a number may be beyond all bounds
        what = f"{table.place} is {text!r}" if text else f"{table.place} is empty"
        problems.append(
            f"{table.sheet.path}, line {row.line}: a microbleed without a place ({what}); give "
            "three numbers, or remove all rows of that scan"
        )
        return None
    x, y, z, *_ = values
    return x, y, z


def _numbers(text: str) -> list[float]:
    """The numbers of a place.

    >>> _numbers("6.9 46.5 -20.8 "), _numbers("(6.9, 46.5, -20.8)")
    ([6.9, 46.5, -20.8], [6.9, 46.5, -20.8])
    """
    values = (number(part) for part in re.findall(_NUMBER, text))
    return [value for value in values if value is not None]


def _remarks(table: _Table, joined: _Joined) -> Iterator[str]:
    """Sentences on the file, the column of the places, and rows that no image took."""
    name = table.sheet.path.name
    if table.older:
        yield f"{name} is the newest of the tables; not read: {some(p.name for p in table.older)}."
    if table.place:
        yield f"The places are in column {table.place} of {name}, found by its content."
        if any(len(_numbers(text)) > 3 for text in table.sheet.values(table.place)):
            yield f"Column {table.place} has a fourth number, which is not used."
    if table.dates.problem:
        yield f"{table.dates.problem}."
    if joined.absent:
        yield f"Readings of {len(joined.absent)} scan(s) have no series: {some(joined.absent)}."
    if joined.several:
        yield (
            f"Readings of {len(joined.several)} scan(s) fit several series and are left out: "
            f"{some(joined.several)}."
        )


def _dictionary(table: _Table, request: Request | None) -> Iterator[str]:
    """What ADNI's data dictionary beside the table, or among the tables, says of the places."""
    places = [table.sheet.path.parent, *(request.tables if request else ())]
    files = {path for place in places for path in ([place] if place.is_file() else place.glob("*"))}
    files = {path for path in files if path.is_file() and _DICTIONARY.search(path.name)}
    if not files or not table.place:
        return
    try:
        sheet = read(newest(sorted(files)))
    except CMBurdenError as error:
        yield f"{error}."
        return
    for row in sheet.rows:
        field = row.text("TBLNAME").casefold(), row.text("FLDNAME").casefold()
        if field == (TABLE.casefold(), table.place.casefold()):
            said = " ".join(row.text(name) for name in ("TEXT", "UNITS")).strip()
            yield f'{sheet.path.name} says of {table.place}: "{said or "nothing"}".'
