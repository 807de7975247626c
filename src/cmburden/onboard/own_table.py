"""A user's own table of lesions: a row a lesion, or a scan that was read without a finding.

A row names its scan by ``scan_id``, by ``participant_id`` with or without ``session_id``, or by
the series' DICOM UID or LONI's image id. A scan without a row was not read. Several readers may
have read a scan; ``onboard.readers`` makes one truth of them.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.onboard import joins
from cmburden.onboard.joins import Scans
from cmburden.onboard.parts import Finding, Image, Request, Told
from cmburden.onboard.sheets import Row, Sheet, number, read, some, stop

#: Names of a column, by preference.
SCAN = ("scan_id", "scan", "file", "filename", "image")
PERSON = ("participant_id", "participant", "subject_id", "subject", "sub", "PTID", "BID", "eid")
SESSION = ("session_id", "session", "ses", "visit")
UIDS = ("SeriesInstanceUID", "series_uid", "uid", "dicom_uid")
IMAGES = ("image_id", "LONI_IMG_ID", "image_data_id")
_KIND = ("kind", "label", "certainty", "class")
_READER = ("reader", "rater", "reader_id", "rater_id")
_RADIUS, _DIAMETER = ("radius_mm", "radius"), ("diameter_mm", "diameter", "size_mm")
#: Groups of columns that hold a place: the first group that is complete is used.
_PLACES = (("x_mm", "y_mm", "z_mm"), ("x", "y", "z"), ("x_voxel", "y_voxel", "z_voxel"))
#: Word of a table -> kind of ``tables.TRUTH``.
KINDS = {
    **dict.fromkeys(("microbleed", "definite", "cmb", "mch", "1", ""), "microbleed"),
    **dict.fromkeys(("faint", "possible"), "faint"),
    **dict.fromkeys(("none", "clean", "no finding", "0"), "none"),
    **{kind: kind for kind in ("vessel", "calcification", "cavernoma", "macrohaemorrhage")},
}
#: Radii must be below this, mm.
_RADIUS_BELOW_MM = 50.0


def findings(path: Path, images: Iterable[Image], request: Request) -> Told:
    """What a user's table says of ``images``; the places stay in the table's coordinates.

    ``request`` is not asked: the signature is that of every cohort's findings.

    Raises
    ------
    CMBurdenError
        With all problems at once: a missing column, a kind that is not known, a row that fits
        several scans, half a place, a scan that is clean and has lesions by the same reader.
    """
    sheet = read(path)
    sheet.need((*SCAN, *PERSON, *UIDS, *IMAGES))
    columns = _Columns.of(sheet)
    scans = Scans.of(images)
    problems = list(_unknown_kinds(sheet, columns))
    found: list[Finding] = []
    absent: list[str] = []
    for row in sheet.rows:
        fitting = scans_of_row(row, scans)
        if not fitting:
            absent.append(name_of_row(row))
        elif len(fitting) > 1:
            problems.append(several(sheet, row, fitting))
        else:
            try:
                found.append(_finding(row, fitting[0].scan_id, sheet, columns))
            except ValueError as error:
                problems.append(f"{sheet.path}, line {row.line}: {error}")
    problems += _clean_and_not(found)
    stop(problems)
    check_any(sheet, scans, absent)
    strangers = list(dict.fromkeys(absent))
    counted = {
        "no series": len(strangers),
        "not read": len(scans.images) - len({one.scan_id for one in found}),
        "readers": len({one.reader for one in found if one.reader}),
    }
    return Told(
        findings=tuple(found),
        seen={columns.kind: sheet.levels(columns.kind)} if columns.kind else {},
        counted={name: number for name, number in counted.items() if number},
        remarks=tuple(without_series(strangers)),
    )


def scans_of_row(row: Row, scans: Scans) -> tuple[Image, ...]:
    """The images that a row may be of; the first of its ids that is written decides."""
    if named := row.text(*SCAN):
        stem = re.split(r"[/\\]", named)[-1].removesuffix(".gz").removesuffix(".nii")
        return tuple(image for image in scans.images if image.scan_id == stem)
    if uid := row.text(*UIDS):
        return scans.by_key.get((joins.UID, uid), ())
    if image_id := row.text(*IMAGES):
        return scans.by_key.get((joins.IMAGE, joins.loni_number(image_id)), ())
    person = row.text(*PERSON)
    return scans.of_person(person, row.text(*SESSION)) if person else ()


def name_of_row(row: Row) -> str:
    """The ids of a row, for a sentence."""
    named = row.text(*SCAN) or row.text(*UIDS) or row.text(*IMAGES)
    return named or " ".join(filter(None, (row.text(*PERSON), row.text(*SESSION)))) or "no id"


def several(sheet: Sheet, row: Row, fitting: Iterable[Image]) -> str:
    """Sentence for a row that fits several images."""
    return (
        f"{sheet.path}, line {row.line}: {name_of_row(row)} fits several scans "
        f"({some(image.scan_id for image in fitting)}); give one of them as scan_id"
    )


def check_any(sheet: Sheet, scans: Scans, absent: list[str]) -> None:
    """Raise CMBurdenError where no row of a table fits an image."""
    if scans.images and sheet.rows and len(absent) == len(sheet.rows):
        raise CMBurdenError(
            f"{sheet.path}: none of its {len(sheet.rows)} rows fits a scan; the table names "
            f"{some(dict.fromkeys(absent))}; the scans are "
            f"{some(image.scan_id for image in scans.images)}; write these as scan_id"
        )


def without_series(strangers: list[str]) -> Iterator[str]:
    """Sentence on ids of a table that no image has."""
    if strangers:
        yield f"The table names {len(strangers)} scan(s) that are not there: {some(strangers)}."


@dataclasses.dataclass(frozen=True)
class _Columns:
    """The columns of a table that hold place, kind, size and reader."""

    place: tuple[str, str, str]
    kind: str | None
    reader: str | None
    radius: str | None
    diameter: str | None

    @classmethod
    def of(cls, sheet: Sheet) -> _Columns:
        for group in _PLACES:
            if all(map(sheet.column, group)):
                names = _KIND, _READER, _RADIUS, _DIAMETER
                return cls(group, *(sheet.column(*name) for name in names))
        sheet.need(*([name, short] for name, short in zip(_PLACES[0], _PLACES[1], strict=True)))
        raise CMBurdenError(
            f"{sheet.path}: x, y and z of a place have names of different forms; name the columns "
            f"{', '.join(_PLACES[0])}"
        )


def _unknown_kinds(sheet: Sheet, columns: _Columns) -> Iterator[str]:
    if columns.kind is None:
        return
    strange = sorted(k for k in sheet.levels(columns.kind) if k.casefold() not in KINDS)
    if strange:
        yield (
            f"{sheet.path}: column {columns.kind} holds {some(strange)}, which is not known; seen "
            f"are {sheet.described(columns.kind)}; "
            f"allowed are {', '.join(sorted(filter(None, KINDS)))}"
        )


def _finding(row: Row, scan_id: str, sheet: Sheet, columns: _Columns) -> Finding:
    """The finding of a row; ValueError for what is wrong in it."""
    texts = [row.text(name) for name in columns.place]
    word = row.text(columns.kind).casefold() if columns.kind else ""
    kind = KINDS.get(word, "microbleed")
    where = f"{sheet.path.name}, line {row.line}"
    reader = row.text(columns.reader) or None if columns.reader else None
    if not any(texts):
        if word and kind != "none":
            raise ValueError(f"a {word} without a place; give {', '.join(columns.place)}")
        return Finding(scan_id, "none", where=where, reader=reader)
    if kind == "none":
        raise ValueError(f"{word} has a place; leave the place empty, or give another kind")
    values = [number(text) for text in texts]
    if any(value is None for value in values):
        shown = ", ".join(
            f"{name} {text!r}" for name, text in zip(columns.place, texts, strict=True)
        )
        raise ValueError(f"the place is {shown}; give three numbers, or leave all three empty")
    x, y, z = (float(value) for value in values if value is not None)
    return Finding(scan_id, kind, (x, y, z), _radius(row, columns), where, reader)


def _radius(row: Row, columns: _Columns) -> float | None:
    """Radius of a row, mm; None where it has none; ValueError for one that cannot be."""
    for name, factor in ((columns.radius, 1.0), (columns.diameter, 0.5)):
        text = row.text(name) if name else ""
        if text:
            value = number(text)
            radius = math.nan if value is None else factor * value
            if not 0 < radius < _RADIUS_BELOW_MM:
                raise ValueError(f"{name} is {text!r}; give millimetres above 0")
            return radius
    return None


def _clean_and_not(found: Iterable[Finding]) -> Iterator[str]:
    """A sentence for each scan that one reader called clean and gave lesions."""
    kinds = Counter((one.scan_id, one.reader or "", one.kind == "none") for one in found)
    for scan_id, reader, clean in sorted(kinds):
        if clean and (scan_id, reader, False) in kinds:
            lines = [
                one.where
                for one in found
                if (one.scan_id, one.reader or "", one.kind) == (scan_id, reader, "none")
            ]
            yield (
                f"{lines[0]}: nothing was found in {scan_id}, but other lines name lesions; remove "
                "one or the other"
            )
