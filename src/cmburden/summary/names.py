"""Base of the names of estimates: one template for each family writes and reads its names."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self, get_args, get_type_hints

#: Tokens of a template: an end of a part that may be absent, or a field.
_TOKEN = re.compile(r"(\[|\]|\{\w+(?::[^}]*)?\})")
#: A part in brackets without a part in brackets inside.
_OPTIONAL = re.compile(r"\[[^\[\]]*\]")
_FIELD = re.compile(r"\{(\w+)")
#: Patterns in use, made at the first look-up: a report parses thousands of names.
_PATTERNS: dict[type[Measure], re.Pattern[str]] = {}


class Measure:
    """The name of an estimate. ``TEMPLATE`` says once how the name is written and read.

    ``{field}`` stands for a field of the dataclass. A part in brackets is absent where its field is
    the empty string. A field of type str takes the shortest text that makes the whole name match.
    """

    TEMPLATE: ClassVar[str]

    @property
    def name(self) -> str:
        values = vars(self)

        def filled(part: re.Match[str]) -> str:
            """The optional part without brackets, or nothing."""
            present = all(values[field] != "" for field in _FIELD.findall(part[0]))
            return part[0][1:-1] if present else ""

        text, more = self.TEMPLATE, 1
        while more:
            text, more = _OPTIONAL.subn(filled, text)
        return text.format_map(values)

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The member of the family with this name; None where the name is another family's."""
        match = _pattern(cls).fullmatch(name)
        if match is None:
            return None
        types = get_type_hints(cls)
        read = {int: int, float: float}
        parts = match.groupdict("")
        return cls(**{field: read.get(types[field], str)(text) for field, text in parts.items()})


def _pattern(family: type[Measure]) -> re.Pattern[str]:
    """The regular expression of a family's names, a named group a field."""
    if family not in _PATTERNS:
        _PATTERNS[family] = re.compile(_expression(family), re.DOTALL)
    return _PATTERNS[family]


def _expression(family: type[Measure]) -> str:
    """A group for each field, an optional group for each part in brackets."""
    types = get_type_hints(family)
    pieces = []
    for token in _TOKEN.split(family.TEMPLATE):
        if field := _FIELD.match(token):
            pieces.append(f"(?P<{field[1]}>{_values(types[field[1]])})")
        else:
            pieces.append({"[": "(?:", "]": ")?"}.get(token, re.escape(token)))
    return "".join(pieces)


def _values(kind: Any) -> str:
    """The regular expression of a field's values, by the field's type."""
    if words := get_args(kind):
        return "|".join(re.escape(word) for word in words if word)
    return {int: "[0-9]+", float: "[0-9.]+"}.get(kind, ".+?")
