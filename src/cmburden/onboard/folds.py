"""Which cohort a scan is of, and the fold of each participant.

A fold follows from the participant's label alone. Other participants, or their order, change
nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

from cmburden.core import config, keys, resources
from cmburden.models.people import family_of
from cmburden.onboard.parts import Image

FOLDS = 5
#: Name of a cohort in tables, by its name on the command line.
COHORTS = {
    "adni": "ADNI",
    "aibl": "AIBL",
    "ukb": "UKB",
    "oasis3": "OASIS3",
    "a4": "A4",
    "valdo": "VALDO",
    "csiro": "CSIRO",
    "cuhk": "CUHK",
}
#: Cohort of participants whose label no cohort file knows.
_UNKNOWN = "unassigned"


def cohort_of(name: str, participant_id: str) -> str:
    """Cohort of a participant of ``cmburden onboard name``; by the label where ``name`` is dicom.

    >>> cohort_of("csiro", "sub-AIBLmom101"), cohort_of("dicom", "sub-ADNI002S0685")
    ('CSIRO', 'ADNI')
    >>> cohort_of("dicom", "sub-01")
    'unassigned'
    """
    if name in COHORTS:
        return COHORTS[name]
    label = participant_id.removeprefix("sub-")
    fitting = (name for name, pattern in _known() if re.search(pattern, label))
    return next(fitting, _UNKNOWN)


@functools.cache
def _known() -> tuple[tuple[str, str], ...]:
    """Names and patterns of the shipped cohorts; read once, not once a participant."""
    files = sorted((resources.root() / "config" / "cohorts").glob("*.yaml"))
    known = config.cohorts({"cohorts": [str(file) for file in files]})
    return tuple((one["name"], one["participant_pattern"]) for one in known)


def rows(cohort: str, images: Iterable[Image]) -> list[dict[str, Any]]:
    """Rows of ``tables.FOLDS``, one a participant of ``images``."""
    found = []
    for participant_id in sorted({image.participant_id for image in images}):
        name = cohort_of(cohort, participant_id)
        person = participant_id.removeprefix("sub-")
        found.append(
            {
                "participant_id": participant_id,
                "person": person,
                "family": family_of(name) if name != _UNKNOWN else name,
                "fold": keys.bucket_of(person, FOLDS),
            }
        )
    return found
