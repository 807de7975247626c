"""Lesions that a reader labelled, from masks or from a table of labels."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.tables import RADIUS_MM


@dataclasses.dataclass(frozen=True)
class Lesion:
    """A labelled lesion; ``centre`` in scanner RAS mm, ``kind`` one of the simulated sources'."""

    centre: tuple[float, float, float]
    radius_mm: float = RADIUS_MM
    kind: str = "microbleed"


@dataclasses.dataclass(frozen=True)
class Run:
    """The output of a run: its scans by id, and the ids of those that labels are wanted for.

    Only scans of ``usable`` have a preprocessed volume and a brain mask.
    """

    layout: Layout
    scans: Mapping[str, Scan]
    usable: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Scans that were read, with their lesions (none: no finding), and problems as sentences."""

    lesions: dict[str, tuple[Lesion, ...]]
    problems: tuple[str, ...]


def labelled(
    lesions: Mapping[str, Sequence[Lesion]], spoiled: Iterable[str], problems: Iterable[str]
) -> Labelled:
    """``lesions`` without the scans of ``spoiled``, and the problems in order.

    A scan with one wrong label is left out whole: otherwise training would take the scan for one
    without that lesion.
    """
    left_out = set(spoiled)
    sound = {scan_id: tuple(rows) for scan_id, rows in lesions.items() if scan_id not in left_out}
    return Labelled(sound, tuple(sorted(problems, key=_by_numbers)))


def _by_numbers(text: str) -> list[tuple[int, str]]:
    """Sort key that puts line 9 before line 10."""
    parts = re.split(r"(\d+)", text)
    return [(int(part) if part.isdigit() else -1, part) for part in parts]


def which(fitting: Sequence[str]) -> str:
    """Says that a label fits no scan, or several."""
    if not fitting:
        return "it fits no scan of the run"
    return f"it fits {len(fitting)} scans ({', '.join(fitting)})"
