"""AIBL: a download of LONI's archive. AIBL publishes no table of microbleeds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cmburden.onboard import downloads
from cmburden.onboard.names import plain
from cmburden.onboard.parts import Image, Passed, Person, Request, Source, Told

NOTES = (
    "Data used in the preparation of this article was obtained from the Australian Imaging "
    "Biomarkers and Lifestyle flagship study of ageing (AIBL), aibl.csiro.au. Its terms of use "
    "forbid to pass images on; neither pass on weights tuned on them without clearance. CSIRO's "
    "microbleed data are of AIBL: never evaluate on one what was tuned on the other."
)
URL = "https://aibl.csiro.au"


def person_of(text: str) -> str | None:
    """The participant's number in a folder's name or PatientID.

    >>> person_of("9"), person_of("0009"), person_of("Smith")
    ('9', '9', None)
    """
    match = re.fullmatch(r"(?:AIBL[_-]?)?0*(\d{1,6})", text)
    return match[1] if match else None


def find(request: Request) -> Iterator[Source | Passed]:
    """Series of the download; their sessions are those that AIBL's tables name."""
    from cmburden.onboard.phenotypes import aibl_sessions

    visits = downloads.sessions_of_tables(request, aibl_sessions)
    yield from downloads.with_sessions(downloads.find(request, person_of), visits)


def label(source: Source) -> tuple[str, str | None]:
    """Labels of participant and session.

    >>> label(Source("", (), "9", date="2011-07-08"))
    ('AIBL0009', '20110708')
    """
    return f"AIBL{plain(source.participant):0>4}", source.session or downloads.day_of(source)


def people(request: Request, images: Sequence[Image]) -> list[Person]:
    """Age, sex, diagnosis and site by AIBL's tables, else by the headers."""
    from cmburden.onboard.phenotypes import aibl

    told = downloads.people_of_tables(request, lambda tables: aibl(tables, images))
    return downloads.with_headers(told, images)


def findings(request: Request, images: Sequence[Image]) -> Told:
    """What the user's own table says."""
    return downloads.own_tables(
        request,
        images,
        without="AIBL publishes no table of microbleeds: there is no truth.tsv; "
        "give a table of yours with --lesions",
    )
