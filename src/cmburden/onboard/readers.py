"""One truth of a scan that several readers read.

The rule: marks of different readers that lie within 5 mm of each other are one lesion. The lesion
is definite (microbleed) where at least half of those who read the scan marked a definite one, and
possible (faint) where fewer did, or where they marked a possible one. Its place is the mean of its
marks. A reader who found nothing in the scan counts as one who read it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

#: Marks of readers at most this far from each other are one lesion, mm.
SAME_MM = 5.0
#: The rule in a sentence, for the user.
RULE = (
    f"Several readers: marks within {SAME_MM:g} mm are one lesion; it is definite where at least "
    "half of the scan's readers marked a definite one, else possible."
)
#: Share of a scan's readers who mark a definite lesion at least.
_MAJORITY = 0.5
#: Name of the reader of a table that names none.
UNNAMED = "unnamed"


@dataclasses.dataclass(frozen=True)
class Mark:
    """What a reader marked in a scan: ``place`` in scanner RAS mm, None where ``kind`` is none."""

    scan_id: str
    kind: str
    place: tuple[float, float, float] | None = None
    radius_mm: float | None = None
    reader: str = UNNAMED


#: Of several marks at one place the first kind counts.
_BEFORE = {"microbleed": 0, "faint": 1}


def order(mark: Mark) -> tuple:
    """Sort key of marks that does not depend on the order of a table's rows."""
    x, y, z = mark.place or (0.0, 0.0, 0.0)
    kind = _BEFORE.get(mark.kind, len(_BEFORE))
    return mark.scan_id, z, y, x, kind, mark.kind, mark.radius_mm or 0.0, mark.reader


def once(marks: Iterable[Mark]) -> list[Mark]:
    """``marks`` in order, those of one reader at one place once, and one 'none' a reader.

    >>> same = Mark("s", "microbleed", (1.0, 2.0, 3.0))
    >>> len(once([same, Mark("s", "faint", (1.0, 2.0, 3.0)), same]))
    1
    """
    kept: dict[tuple, Mark] = {}
    for mark in sorted(marks, key=order):
        kept.setdefault((mark.scan_id, mark.reader, mark.place), mark)
    return list(kept.values())


def agreed(marks: Sequence[Mark]) -> list[Mark]:
    """One truth of the ``marks`` of one scan; ``marks`` themselves where one reader read it."""
    readers = {mark.reader for mark in marks}
    if len(readers) < 2:
        return list(marks)
    placed = [mark for mark in sorted(marks, key=order) if mark.place is not None]
    lesions = [_lesion([placed[i] for i in group], len(readers)) for group in _groups(placed)]
    return sorted(lesions, key=order) or [Mark(marks[0].scan_id, "none")]


def _groups(marks: Sequence[Mark]) -> list[list[int]]:
    """Indices of marks that are one lesion: at most one a reader, all within ``SAME_MM``.

    The nearest pairs are joined first.
    """
    places = np.array([mark.place for mark in marks], dtype=float).reshape(-1, 3)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    group = {i: [i] for i in range(len(marks))}
    pairs = [(i, j) for i in range(len(marks)) for j in range(i) if distance[i, j] <= SAME_MM]
    for i, j in sorted(pairs, key=lambda pair: (distance[pair], pair)):
        one, other = group[i], group[j]
        readers = [marks[k].reader for k in (*one, *other)]
        near = distance[np.ix_(one, other)].max() <= SAME_MM
        if one is not other and near and len(set(readers)) == len(readers):
            one += other
            group.update(dict.fromkeys(other, one))
    return [members for i, members in group.items() if min(members) == i]


def _lesion(marks: Sequence[Mark], readers: int) -> Mark:
    """The lesion that ``marks``, at most one a reader, stand for."""
    kinds = Counter(mark.kind for mark in marks)
    if kinds["microbleed"] >= _MAJORITY * readers:
        kind = "microbleed"
    elif kinds["microbleed"] or kinds["faint"]:
        kind = "faint"
    else:
        kind = min(kinds, key=lambda name: (-kinds[name], name))
    places = [mark.place for mark in marks if mark.place is not None]
    x, y, z = np.mean(places, axis=0).tolist()
    radii = [mark.radius_mm for mark in marks if mark.radius_mm is not None]
    radius = float(np.mean(radii)) if radii else None
    return Mark(marks[0].scan_id, kind, (x, y, z), radius)
