"""The REDCap data dictionary: instruments are the tables with a row a participant or of one.

The 18 columns of the dictionary, in the order that REDCap's upload wants. A dictionary cannot say
which instruments repeat: in the project, `scans`, `lesions`, `counts`, `pairs` and `changes` are
made repeating instruments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cmburden.core.schema import Column
from cmburden.export.tables import Exported

COLUMNS = (
    "Variable / Field Name",
    "Form Name",
    "Section Header",
    "Field Type",
    "Field Label",
    "Choices, Calculations, OR Slider Labels",
    "Field Note",
    "Text Validation Type OR Show Slider Number",
    "Text Validation Min",
    "Text Validation Max",
    "Identifier?",
    "Branching Logic (Show field only if...)",
    "Required Field?",
    "Custom Alignment",
    "Question Number (surveys only)",
    "Matrix Group Name",
    "Matrix Ranking?",
    "Field Annotation",
)
#: Longest name of a field that REDCap takes without a warning.
LONGEST_NAME = 26
#: Tables that become instruments, with the start of their fields' names. Names are unique in a
#: project. The first has a row a participant: its first field is the record's id.
_INSTRUMENTS = {
    "participants": "",
    "scans": "scan_",
    "lesions": "les_",
    "counts": "cnt_",
    "pairs": "pair_",
    "changes": "chg_",
}
RECORD = "participant_id"
_VALIDATION = {"int": "integer", "float": "number"}
#: Columns that hold an id of a person or scan.
_IDENTIFIER = re.compile(r"participant_id|scan_id(_[12])?|session_id(_[12])?|path|log")


def rows(tables: Iterable[Exported]) -> list[list[str]]:
    """Rows of the dictionary, the record's id first."""
    by_name = {table.name: table for table in tables}
    taken: set[str] = set()
    lines = []
    for form, start in _INSTRUMENTS.items():
        if form not in by_name:
            continue
        columns = list(by_name[form].columns)
        columns.sort(key=lambda column: column.name != RECORD)
        for column in columns:
            if form != "participants" and column.name == RECORD:
                continue  # the record's id says it
            name = field_name(start + column.name, taken)
            taken.add(name)
            lines.append(_row(name, form, column))
    return lines


def field_name(text: str, taken: Iterable[str]) -> str:
    """A name that REDCap takes: lower case letters, digits and underscores, from a letter on.

    >>> field_name("scan_registration_correlation", ()), field_name("1 APOE-e4", ())
    ('scan_registration_correlat', 'f_1_apoe_e4')
    >>> field_name("age", {"age"})
    'age_2'
    """
    name = re.sub(r"_+", "_", re.sub(r"[^a-z0-9_]", "_", text.lower())).strip("_") or "f"
    name = name if name[0].isalpha() else f"f_{name}"
    taken = set(taken)
    choice, number = name[:LONGEST_NAME].rstrip("_"), 1
    while choice in taken:
        number += 1
        end = f"_{number}"
        choice = name[: LONGEST_NAME - len(end)].rstrip("_") + end
    return choice


def _row(name: str, form: str, column: Column) -> list[str]:
    kind, choices = "text", ""
    if column.levels:
        kind = "radio"
        # A bar parts choices. A comma may stand in a choice after the first.
        choices = " | ".join(
            f"{place}, {level.replace('|', '/')}" for place, level in enumerate(column.levels, 1)
        )
    elif column.kind == "bool":
        kind = "truefalse"
    values = {
        "Variable / Field Name": name,
        "Form Name": form,
        "Field Type": kind,
        "Field Label": column.name.replace("_", " "),
        "Choices, Calculations, OR Slider Labels": choices,
        "Field Note": column.description + (f" [{column.unit}]" if column.unit else ""),
        "Text Validation Type OR Show Slider Number": (
            _VALIDATION.get(column.kind, "") if kind == "text" else ""
        ),
        "Identifier?": "y" if _IDENTIFIER.fullmatch(column.name) else "",
    }
    return [values.get(title, "") for title in COLUMNS]
