"""The microbleeds of a scan as the printed rating forms have them: MARS and BOMBS.

MARS: Gregoire et al., Neurology 2009;73:1759. BOMBS: Cordonnier et al., Stroke 2009;40:94. The
software's definite and possible stand for the certainty of both. Macrohaemorrhages are on neither
form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from cmburden.report.typeset import Row
from cmburden.space.regions import REGIONS

#: Sides in the order of the printed forms, as one sees the person.
SIDES = ("right", "left")
#: Groups of MARS in the order of its form.
_GROUPS = ("infratentorial", "deep", "lobar")
#: A microbleed of BOMBS is small below this diameter, mm.
_SMALL_MM = 5.0
#: Rows of BOMBS and the MARS regions of each. BOMBS parts lobes in cortex and subcortical white
#: matter, which MARS does not, and has no row for the last.
_BOMBS = {
    "Lobes (cortex, grey-white junction, subcortical white matter)": (
        *(region.name for region in REGIONS if region.group == "lobar"),
    ),
    "Basal ganglia grey matter": ("basal ganglia",),
    "Internal and external capsule": ("internal capsule", "external capsule"),
    "Thalamus": ("thalamus",),
    "Brainstem": ("brainstem",),
    "Cerebellum": ("cerebellum",),
    "Corpus callosum, deep and periventricular white matter": (
        "corpus callosum",
        "deep and periventricular white matter",
    ),
}


@dataclasses.dataclass(frozen=True)
class FormRow:
    """A line of a form; ``total``: it adds lines up."""

    name: str
    cells: list[int]
    total: bool = False


@dataclasses.dataclass(frozen=True)
class Form:
    """A table: ``heads`` over two columns each, right and left; ``left_out`` microbleeds have no
    side, region or size that the form could hold."""

    name: str
    heads: list[str]
    rows: list[FormRow]
    left_out: int


def of_scan(lesions: Iterable[Row]) -> list[Form]:
    """Both forms of the rows of `lesions` of a scan."""
    small = [lesion for lesion in lesions if not lesion["macrohaemorrhage"]]
    return [_mars(small), _bombs(small)]


def _mars(lesions: list[Row]) -> Form:
    columns = [_is("label", label) for label in ("definite", "possible")]
    rows: list[FormRow] = []
    for group in _GROUPS:
        names = [region.name for region in REGIONS if region.group == group]
        rows += [
            FormRow(name[:1].upper() + name[1:], _cells(lesions, (name,), columns))
            for name in names
        ]
        total = _cells(lesions, names, columns)
        rows.append(FormRow(f"Total {group}", total, total=True))
    return _form("MARS", ["Definite", "Possible"], rows, lesions, columns)


def _bombs(lesions: list[Row]) -> Form:
    columns = [
        _all(_is("label", label), size)
        for label in ("definite", "possible")
        for size in (_is_small, _is_large)
    ]
    rows = [FormRow(name, _cells(lesions, regions, columns)) for name, regions in _BOMBS.items()]
    heads = [
        f"{word} {size}"
        for word in ("Certain", "Uncertain")
        for size in ("below 5 mm", "5 to 10 mm")
    ]
    return _form("BOMBS", heads, rows, lesions, columns)


Choice = Callable[[Row], bool]


def _form(
    name: str, heads: list[str], rows: list[FormRow], lesions: list[Row], columns: list[Choice]
) -> Form:
    every = _cells(lesions, [region.name for region in REGIONS], columns)
    rows = [*rows, FormRow("Total", every, total=True)]
    return Form(name, heads, rows, len(lesions) - sum(every))


def _cells(lesions: list[Row], regions: Iterable[str], columns: list[Choice]) -> list[int]:
    """Numbers by column and side."""
    inside = [lesion for lesion in lesions if lesion["region"] in set(regions)]
    return [
        sum(column(lesion) and lesion["hemisphere"] == side for lesion in inside)
        for column in columns
        for side in SIDES
    ]


def _is(column: str, value: str) -> Choice:
    return lambda lesion: lesion[column] == value


def _all(*choices: Choice) -> Choice:
    return lambda lesion: all(choice(lesion) for choice in choices)


def _is_small(lesion: Row) -> bool:
    return lesion["diameter_mm"] is not None and lesion["diameter_mm"] < _SMALL_MM


def _is_large(lesion: Row) -> bool:
    return lesion["diameter_mm"] is not None and lesion["diameter_mm"] >= _SMALL_MM
