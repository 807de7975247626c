"""ADNI: a download of LONI's archive, with the central readers' table of microhaemorrhages."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

from cmburden.onboard import downloads
from cmburden.onboard.names import plain
from cmburden.onboard.parts import Image, Passed, Person, Request, Source, Told

NOTES = (
    "Data used in preparation of this article were obtained from the Alzheimer's Disease "
    "Neuroimaging Initiative (ADNI) database (adni.loni.usc.edu). Its terms of use forbid to pass "
    "images on; neither pass on weights tuned on them without clearance."
)
URL = "https://adni.loni.usc.edu"
#: A participant's id in a text: 002_S_0685.
_PTID = re.compile(r"(?<!\d)(\d{3})_?S_?(\d{4,5})(?!\d)")


def person_of(text: str) -> str | None:
    """The participant's id in a folder's name or PatientID.

    >>> person_of("002_S_0685"), person_of("002S0685"), person_of("Smith")
    ('002_S_0685', '002_S_0685', None)
    """
    match = _PTID.search(text)
    return f"{match[1]}_S_{match[2]}" if match else None


def find(request: Request) -> Iterator[Source | Passed]:
    """Series of the download; their sessions are those that ADNI's tables name."""
    yield from downloads.with_sessions(downloads.find(request, person_of), _visits(request))


def _visits(request: Request) -> dict[tuple[str, str], str]:
    """Session label by id of a series: of the readers' table, else of the archive's Key_MRI."""
    from cmburden.onboard.mch import sessions
    from cmburden.onboard.phenotypes import adni_sessions

    read = sessions(request.lesions) if request.lesions is not None else {}
    return {**downloads.sessions_of_tables(request, adni_sessions), **read}


def label(source: Source) -> tuple[str, str | None]:
    """Labels of participant and session.

    >>> label(Source("", (), "002_S_0685", "M000")), label(Source("", (), "1", date="2011-07-08"))
    (('ADNI002S0685', 'M000'), ('ADNI1', '20110708'))
    """
    return f"ADNI{plain(source.participant)}", source.session or downloads.day_of(source)


def people(request: Request, images: Sequence[Image]) -> list[Person]:
    """Age, sex and diagnosis by ADNI's tables and the archive's own, else by the headers."""
    from cmburden.onboard.phenotypes import adni

    told = downloads.people_of_tables(request, lambda tables: adni(tables, images))
    return downloads.with_headers(told, images)


def findings(request: Request, images: Sequence[Image]) -> Told:
    """What the readers' table says."""
    if request.lesions is None:
        return downloads.without_table(request, images, "MAYOADIRL_MRI_MCH, ADNI's table")
    from cmburden.onboard import mch

    return mch.findings(request.lesions, images, request)


def overview(request: Request) -> list[str]:
    """Lines on the tables that tell of nobody, for ``--dry-run``."""
    if request.lesions is None:
        return downloads.overview(request)
    from cmburden.onboard import mch

    without = dataclasses.replace(request, lesions=None)
    return [*mch.overview(request.lesions), *downloads.overview(without)]
