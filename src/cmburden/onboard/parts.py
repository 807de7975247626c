"""What an onboarding hands on: sources, images, readers' findings and counts, people.

A *source* is a series of DICOM files, or an image, as the download holds it. An *image* is a file
of ``OUT/bids``. A *finding* is what a reader said of an image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Fields of DICOM (pydicom's keywords) or of a sidecar, by name.
Header = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Source:
    """A series or an image of the download.

    Attributes
    ----------
    place : str
        Folder or file as `onboard.tsv` names it: relative to its root, ``archive.zip!member`` in an
        archive.
    files : tuple of Path
        Its DICOM files in the order of their names, or one NIfTI file.
    participant : str
        The cohort's own id (``002_S_0413``), not yet a BIDS label.
    session : str or None
        The cohort's own name of the visit; None where only the date tells.
    date, time : str or None
        Of the acquisition: ``2011-07-08``, ``07:59:15``.
    header : mapping
        Fields of its first file by DICOM keyword, times of echo in ms as DICOM has them; for a
        NIfTI file those of its sidecar, in the same units.
    uid : str or None
        SeriesInstanceUID.
    image_id, series_id : str or None
        LONI's numbers without letter: ``I346239`` is 346239, ``S114041`` is 114041.
    fixed : (rule, suffix, entities, sidecar) or None
        Where the cohort's layout says by itself what the image is, no rule is asked.
    variants : tuple of mapping
        Headers of the first file of each time of echo. Empty for a NIfTI file.
    n_slices : int or None
        Different positions of its slices; None where its files do not tell.
    fault : str or None
        Why its files make no image, such as missing slices. A rule that leaves it out speaks first.
    remark : str
        What its row in `onboard.tsv` says besides.
    """

    place: str
    files: tuple[Path, ...]
    participant: str
    session: str | None = None
    date: str | None = None
    time: str | None = None
    header: Header = dataclasses.field(default_factory=dict)
    uid: str | None = None
    image_id: str | None = None
    series_id: str | None = None
    fixed: Fixed | None = None
    variants: tuple[Header, ...] = ()
    n_slices: int | None = None
    fault: str | None = None
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Fixed:
    """What an image is by the layout of its cohort.

    ``entities`` are those behind ``ses``, such as (("echo", "2"), ("part", "mag")). ``sidecar``
    holds BIDS fields in BIDS units that nothing else tells, such as EchoTime in s.
    """

    rule: str
    suffix: str
    entities: tuple[tuple[str, str], ...] = ()
    sidecar: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Passed:
    """A source, or a file that is none, from which no image is made: a row of `onboard.tsv`."""

    place: str
    reason: str
    participant: str = ""
    rule: str | None = None
    source: Source | None = None


@dataclasses.dataclass(frozen=True)
class Image:
    """An image of ``OUT/bids``; ``scan_id`` is its file name without ending."""

    path: Path
    scan_id: str
    participant_id: str
    session_id: str | None
    suffix: str
    rule: str
    source: Source


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a reader's table says of an image, a row a lesion.

    Attributes
    ----------
    scan_id : str
    kind : str
        microbleed, faint (possible), or none: read, nothing found.
    point : (x, y, z) or None
        In the table's own coordinates; None where ``kind`` is none.
    radius_mm : float or None
        None where the table has no size.
    where : str
        The table's file and line, for sentences.
    reader : str or None
    """

    scan_id: str
    kind: str
    point: tuple[float, float, float] | None = None
    radius_mm: float | None = None
    where: str = ""
    reader: str | None = None


@dataclasses.dataclass(frozen=True)
class Count:
    """A reader's number of definite microbleeds in a scan, without places."""

    scan_id: str
    n_cmb: int
    n_lobar: int | None = None
    n_deep: int | None = None


@dataclasses.dataclass(frozen=True)
class Told:
    """What the readers' tables say of the images.

    Attributes
    ----------
    findings : tuple of Finding
        Of scans that were read; a scan that was not read has none.
    counts : tuple of Count
        Of scans whose lesions were counted, not placed.
    convention : str or None
        Coordinates of the points where the cohort states them: ras, lps, las, voxel0 or voxel1.
        None where the images have to tell.
    seen : mapping
        Column -> level -> number of rows, for `onboard.json`.
    counted : mapping
        What the tables hold besides, such as {"superficial siderosis": 1, "no series": 1}.
    remarks : tuple of str
        Sentences for the user.
    """

    findings: tuple[Finding, ...] = ()
    counts: tuple[Count, ...] = ()
    convention: str | None = None
    seen: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    counted: Mapping[str, int] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Person:
    """A participant at a session; values are None where no table tells.

    ``sex`` is F or M, ``age`` in years at the scan, ``diagnosis`` CN, MCI, AD or the cohort's word.
    """

    participant_id: str
    session_id: str | None
    age: float | None = None
    sex: str | None = None
    diagnosis: str | None = None
    site: str | None = None


@dataclasses.dataclass(frozen=True)
class Request:
    """The command line of ``cmburden onboard``."""

    cohort: str
    sources: tuple[Path, ...]
    out: Path
    lesions: Path | None = None
    counts: Path | None = None
    tables: tuple[Path, ...] = ()
    rules: Path | None = None
    coordinates: str = "auto"
    only_read: bool = False
    link: bool = False
    jobs: int = 1
    dry_run: bool = False
