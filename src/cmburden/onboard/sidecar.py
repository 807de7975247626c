"""What a sidecar may hold: fields of the acquisition, nothing of the person."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Fields that name a person, a day, a place, or lead back to the scanner's archive. Times such as
#: EchoTime stay.
_PERSONAL = re.compile(
    r"^Patient(?!Position)|UIDs?$|Date|^(Study|Series|Content|Instance|Acquisition)\w*Time$|StudyID"
    r"|Accession|Physician|Operator|Comment|^Institution|^Station|Requested|Requesting"
    r"|^ProcedureStep|^PerformedProcedure|^Other|Insurance|Ethnic|Address|BidsGuess|Issuer"
)


def without_person(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` without those that tell who was scanned, when, or where.

    >>> without_person({"PatientName": "A", "AcquisitionTime": "07:59", "EchoTime": 0.02})
    {'EchoTime': 0.02}
    >>> without_person({"PatientPosition": "HFS", "StudyInstanceUID": "1.2", "StationName": "B"})
    {'PatientPosition': 'HFS'}
    """
    return {key: value for key, value in fields.items() if not _PERSONAL.search(key)}
