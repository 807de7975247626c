"""A4 and LEARN: a download of LONI's archive, with the central readers' counts of microbleeds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cmburden.onboard import downloads
from cmburden.onboard.names import plain
from cmburden.onboard.parts import Image, Passed, Person, Request, Source, Told

NOTES = (
    "Data of the Anti-Amyloid Treatment in Asymptomatic Alzheimer's disease study (A4) and LEARN, "
    "from LONI. Its terms of use forbid to pass images on; neither pass on weights tuned on them "
    "without clearance."
)
URL = "https://www.a4studydata.org"
_BID = re.compile(r"B\d{6,10}")


def person_of(text: str) -> str | None:
    """The participant's BID in a folder's name or PatientID.

    >>> person_of("B90000001"), person_of("Smith")
    ('B90000001', None)
    """
    match = _BID.search(text)
    return match[0] if match else None


def find(request: Request) -> Iterator[Source | Passed]:
    """Series of the download."""
    yield from downloads.find(request, person_of)


def label(source: Source) -> tuple[str, str | None]:
    """Labels of participant and session.

    >>> label(Source("", (), "B90000001", date="2014-07-08"))
    ('A4B90000001', '20140708')
    """
    return f"A4{plain(source.participant)}", source.session or downloads.day_of(source)


def people(request: Request, images: Sequence[Image]) -> list[Person]:
    """Age, sex and site by A4's tables, else by the headers."""
    from cmburden.onboard.phenotypes import a4

    told = downloads.people_of_tables(request, lambda tables: a4(tables, images))
    return downloads.with_headers(told, images)


def findings(request: Request, images: Sequence[Image]) -> Told:
    """Counts of the central readers; A4 publishes no places."""
    if request.counts is None:
        return downloads.without_table(request, images, "imaging_MRI_reads.csv, A4's (--counts)")
    from cmburden.onboard.counts import a4

    return a4(request.counts, images)
