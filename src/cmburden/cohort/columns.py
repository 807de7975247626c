"""Which columns of participants.tsv and sessions.tsv the cohort's tables take over.

The tables are made to be shared; the BIDS tree need not be. A column is taken over if its name says
that it holds a usual variable of research, or if the configuration names it. A column whose name or
content identifies a person is never taken over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import pandas as pd

#: Names that the configuration adds; all: every column that identifies nobody.
Wanted = Iterable[str] | Literal["all"]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: Words of names of usual variables of research; docs/privacy.md lists them.
USUAL = _set(
    """
    age sex gender site centre center scanner diagnosis dx group arm cohort treatment randomisation
    randomization education edu handedness hand ethnicity race language
    apoe apoe4 e4 genotype carrier amyloid abeta tau ptau nfl csf pet centiloid suvr plasma
    mmse moca cdr cdrsb adas ravlt avlt gds faq npi trails stroop fluency iq cognition cognitive
    memory executive attention dementia mci updrs nihss mrs barthel
    bmi height weight waist hypertension htn diabetes smoking smoker alcohol cholesterol ldl hdl
    hba1c glucose creatinine egfr sbp dbp systolic diastolic pressure bp
    stroke tia ich haemorrhage hemorrhage infarct fibrillation af anticoagulant anticoagulation
    antiplatelet antithrombotic aspirin statin medication
    fazekas wmh wml leukoaraiosis lacunes lacune epvs pvs caa siderosis svd atrophy icv
    microbleeds microbleed cmb
    interval years followup visit status severity score
    """
)
#: Words of names of columns that identify a person, or may hold any text.
_IDENTIFYING = _set(
    """
    id ids identifier uid uuid guid mrn nhs chi ssn nric bsn dni medicare medicaid passport
    insurance name names surname forename firstname lastname initials alias nickname
    dob yob birth birthday birthdate born date dates datum datetime timestamp acq
    address street city town suburb village postcode postal zip zipcode plz latitude longitude
    phone telephone tel mobile fax mail email contact spouse carer caregiver kin nok
    physician doctor gp clinician referrer consultant
    comment comments note notes remark remarks text description photo url link
    """
)
#: Words that identify a person together with one of ``_NUMBER``.
_OF_RECORD = _set(
    """
    hospital patient record medical case file chart social security health account accession licence
    license study exam folder card
    """
)
_NUMBER = _set("number no nr num nummer code")
#: Parts of a name that are written as one word, such as dateofbirth.
_PARTS = re.compile(
    r"birth|surname|address|phone|e-?mail|comment|postcode|zipcode|insurance|medicare|passport"
    r"|hospitaln|name$|geburt|vorname|prenom|apellido"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
#: Dates in a cell: 1951-03-02, 2/3/51, 19510302, 2 March 1951.
_DATE = re.compile(
    r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}\b"
    r"|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{4}|[0-9]{2})\b"
    r"|(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])$"
    r"|[0-9]{1,2}\.?[-/ ][A-Za-z]{3,9}\.?[-/ ,]+(?:[0-9]{4}|[0-9]{2})\b"
)
_MAIL = re.compile(r"[^\s@]@[^\s@]+\.[^\s@]")
#: A longer cell is a text that may say anything.
_LONGEST_CATEGORY = 100


def is_date(text: str) -> bool:
    """True for a text that begins with a date.

    >>> [is_date(text) for text in ("1951-03-02", "2/3/51", "19510302", "2 March 1951", "71.5")]
    [True, True, True, True, False]
    """
    return _DATE.match(text) is not None


def identifies(name: str) -> bool:
    """True where the ``name`` of a column is that of something that identifies a person.

    >>> [identifies(name) for name in ("DateOfBirth", "hospital_no", "e-mail", "mmse_z", "site")]
    [True, True, True, False, False]
    """
    words = _words(name)
    if words & _IDENTIFYING or _PARTS.search(name.lower()):
        return True
    return bool(words & _OF_RECORD and words & _NUMBER)


def kept(table: pd.DataFrame, always: Iterable[str], wanted: Wanted) -> tuple[list[str], list[str]]:
    """Columns of ``table`` (cells are text or None) that are taken over, and those left out.

    ``always`` are taken over whatever they hold; ``wanted`` are the configuration's, in any case of
    letters.
    """
    chosen = None if wanted == "all" else {name.lower() for name in wanted}
    always = set(always)
    keep: list[str] = []
    left: list[str] = []
    for name in table.columns:
        asked = chosen is None or name.lower() in chosen or bool(_words(name) & USUAL)
        take = name in always or (asked and not identifies(name) and not _tells(table[name]))
        (keep if take else left).append(name)
    return keep, left


def _words(name: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(name)}


def _tells(cells: pd.Series) -> bool:
    """True where cells of a column are dates, addresses of mail or long texts."""
    texts = [str(cell) for cell in cells.dropna()]
    return any(
        len(text) > _LONGEST_CATEGORY or is_date(text) or _MAIL.search(text) for text in texts
    )
