"""Reads participants.json and sessions.json: what the columns of the tables beside them mean.

Reference: BIDS specification 1.10, "Tabular files": Description, Levels, Units, Minimum, Maximum.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmburden.core.foreign import UnreadableFile, printable, read_json_object

#: Labels of levels that stand for a missing value.
_NO_VALUE = re.compile(
    r"(missing|unknown|undetermined|not (available|known|done|tested|collected|recorded|"
    r"applicable|assessed|asked|stated)|n/?a|no (data|answer|value)|refused|invalid)\b.*",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{0,15})?")
#: Fields that some write beside those of BIDS to name the codes of missing values.
_MISSING_FIELDS = ("MissingValues", "MissingValue", "missingValues", "missing_values")


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a dictionary says of a column.

    ``levels``: label by code, without codes of missing values, which ``missing`` holds; codes as
    ``code_of`` writes them. ``minimum`` and ``maximum``: the declared range of its values.
    """

    description: str = ""
    levels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    units: str = ""
    minimum: float | None = None
    maximum: float | None = None

    def allows(self, value: float) -> bool:
        """True where the declared range holds ``value``; False where no range is declared."""
        if self.minimum is None and self.maximum is None:
            return False
        above = self.minimum is None or value >= self.minimum
        return above and (self.maximum is None or value <= self.maximum)


_NOTHING = Meaning()


@dataclasses.dataclass(frozen=True)
class Dictionary:
    """Meanings by the name of the column."""

    meanings: Mapping[str, Meaning] = dataclasses.field(default_factory=dict)

    def of(self, column: str) -> Meaning:
        """The meaning of ``column``, whose name may be written in other letters' case."""
        if column in self.meanings:
            return self.meanings[column]
        lower = column.lower()
        return next((m for name, m in self.meanings.items() if name.lower() == lower), _NOTHING)

    @property
    def descriptions(self) -> dict[str, str]:
        return {name: m.description for name, m in self.meanings.items() if m.description}


def read(path: Path, problems: list[str]) -> Dictionary:
    """The dictionary ``path``; an empty one where there is none, with a sentence if unreadable."""
    if not path.is_file():
        return Dictionary()
    try:
        content = read_json_object(path)
    except UnreadableFile as error:
        problems.append(
            f"{path.name} cannot be read ({error}): its Levels and Units are not used; mend it"
        )
        return Dictionary()
    return Dictionary(
        {name: _meaning(entry) for name, entry in content.items() if isinstance(entry, dict)}
    )


def code_of(cell: str) -> str:
    """A cell or key as a code: 1, 1.0, 01 and +1 are one code.

    >>> code_of("1.0"), code_of("01"), code_of("-9"), code_of(" AD ")
    ('1', '1', '-9', 'AD')
    """
    text = cell.strip()
    return f"{float(text):.15g}" if _NUMBER.fullmatch(text) else text


def _meaning(entry: dict[str, Any]) -> Meaning:
    levels, missing = _levels(entry.get("Levels"))
    for field in _MISSING_FIELDS:
        codes = entry.get(field)
        listed = codes if isinstance(codes, list) else [codes]
        missing |= {code_of(str(code)) for code in listed if isinstance(code, str | int | float)}
    units = entry.get("Units")
    return Meaning(
        description=printable(str(entry.get("Description") or "")),
        levels={code: label for code, label in levels.items() if code not in missing},
        missing=frozenset(missing),
        units=units.strip().lower() if isinstance(units, str) else "",
        minimum=_number(entry.get("Minimum")),
        maximum=_number(entry.get("Maximum")),
    )


def _levels(levels: Any) -> tuple[dict[str, str], set[str]]:
    """Labels by code, and the codes that stand for a missing value."""
    labels: dict[str, str] = {}
    for code, label in levels.items() if isinstance(levels, dict) else ():
        if isinstance(label, dict):  # BIDS from 1.8 on
            label = label.get("Description") or label.get("LongName") or code
        labels[code_of(str(code))] = " ".join(printable(str(label)).split())
    return labels, {code for code, label in labels.items() if _NO_VALUE.fullmatch(label)}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
