"""Names and colours of a label image's values: BIDS's ``dseg.tsv``, and ITK-SNAP's description."""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cmburden.space.regions import REGIONS, RIGHT_OFFSET

#: First lines of ITK-SNAP's label descriptions, and its entry for no label.
_ITKSNAP = (
    "# ITK-SnAP Label Description File\n"
    "# IDX -R- -G- -B- -A-- VIS MSH LABEL\n"
    '    0     0    0    0        0  0  0    "Clear Label"\n'
)
#: Turn of the hue between neighbouring regions: the golden ratio keeps any number of hues apart.
_TURN = 0.618034


@dataclasses.dataclass(frozen=True)
class Name:
    """A value of a label image: its name, its colour (#rrggbb), and further columns."""

    index: int
    name: str
    colour: str
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def as_tsv(names: Iterable[Name], more: Sequence[str] = ()) -> str:
    r"""The names as BIDS has them in ``dseg.tsv``; ``more``: further columns.

    >>> as_tsv([Name(1, "left frontal", "#ff0000", {"group": "lobar"})], ["group"])
    'index\tname\tcolor\tgroup\n1\tleft frontal\t#ff0000\tlobar\n'
    """
    rows = [["index", "name", "color", *more]]
    rows += [[str(n.index), n.name, n.colour, *(str(n.more[key]) for key in more)] for n in names]
    return "".join("\t".join(row) + "\n" for row in rows)


def as_itksnap(names: Iterable[Name]) -> str:
    """The names as ITK-SNAP reads them (Segmentation, Import label descriptions)."""
    lines = []
    for one in names:
        red, green, blue = (int(one.colour[at : at + 2], 16) for at in (1, 3, 5))
        lines.append(f'{one.index:5d} {red:5d} {green:4d} {blue:4d} {1:8d}  1  1    "{one.name}"\n')
    return _ITKSNAP + "".join(lines)


def of_regions() -> list[Name]:
    """The values of ``_desc-MARS_dseg.nii.gz``. A right region has the left one's hue, darker."""
    names = []
    for side, offset, value in (("left", 0, 0.95), ("right", RIGHT_OFFSET, 0.7)):
        for region in REGIONS:
            rgb = colorsys.hsv_to_rgb(region.value * _TURN % 1, 0.6, value)
            colour = "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
            more = {"group": region.group, "hemisphere": side}
            names.append(Name(region.value + offset, f"{side} {region.name}", colour, more))
    return names
