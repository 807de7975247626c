"""A module a cohort: what its download holds, its labels, its people, its readers."""

from __future__ import annotations

import importlib
from typing import Any

from cmburden.core.errors import CMBurdenError

#: Name of a cohort -> what it is, for the command's help.
COHORTS = {
    "adni": "ADNI, a download of LONI's archive with the table MAYOADIRL_MRI_MCH",
    "aibl": "AIBL, a download of LONI's archive",
    "a4": "A4 and LEARN, a download of LONI's archive with imaging_MRI_reads.csv",
    "ukb": "UK Biobank, zip archives of fields 20251 and 20252",
    "oasis3": "OASIS-3, a download of NITRC",
    "valdo": "VALDO 2021, task 2",
    "csiro": "CSIRO's microbleed data of AIBL",
    "cuhk": "microbleed data of the Chinese University of Hong Kong",
    "dicom": "any folder of DICOM, with a lesion table of yours",
}


def module_of(name: str) -> Any:
    """The module of the cohort ``name``; only this one is imported.

    Raises
    ------
    CMBurdenError
        Where there is no such cohort.
    """
    if name not in COHORTS:
        raise CMBurdenError(f"{name}: there is no such cohort; name one of {', '.join(COHORTS)}")
    return importlib.import_module(f"cmburden.onboard.cohorts.{name}")
