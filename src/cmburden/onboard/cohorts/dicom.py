"""Any folder of DICOM. The lesions come from a table of the user's, if there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cmburden.onboard import downloads
from cmburden.onboard.names import plain
from cmburden.onboard.parts import Image, Passed, Person, Request, Source, Told

NOTES = "The terms of use of the scans hold for all that is made of them."


def find(request: Request) -> Iterator[Source | Passed]:
    """Series by PatientID; where a file has none, by the first folder below the source."""
    yield from downloads.find(request, by_folder=False)


def label(source: Source) -> tuple[str, str | None]:
    """Labels of participant and session.

    >>> label(Source("", (), "A-17", date="2011-07-08"))
    ('A17', '20110708')
    """
    return plain(source.participant), downloads.day_of(source)


def people(request: Request, images: Sequence[Image]) -> list[Person]:
    """Age and sex by the headers."""
    return downloads.people_of_headers(images)


def findings(request: Request, images: Sequence[Image]) -> Told:
    """What the user's tables say."""
    return downloads.own_tables(request, images)
