"""Where lesions are inserted: by region and depth as published ones lie, away from candidates.

Within its part of the brain every place is as likely as another, so that lesions lie beside veins
and sulci as often as chance has them there.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from nibabel.affines import apply_affine
from scipy.spatial import cKDTree

from cmburden.images.prepared import Prepared
from cmburden.insert import published
from cmburden.space import template
from cmburden.space.regions import BY_NAME, region_of, without_side
from cmburden.space.transform import Transform

#: Places that are looked at in a scan.
_SAMPLE = 6000
#: Least distance, mm, from a candidate that was rejected, from a lesion or a reader's microbleed,
#: and from another insertion. A detection is a hit within 3 mm.
REJECTED_MM, LESION_MM, INSERTED_MM = 4.5, 10.0, 15.0
#: Most of the template's fluid at a place: a microbleed lies in tissue.
_MOST_FLUID = 0.5
_TEMPLATE_MM = 1.0
#: MARS regions of the published places that are no lobes.
_REGIONS = {
    "cerebellum": ("cerebellum",),
    "brainstem": ("brainstem",),
    "thalamus": ("thalamus",),
    "basal ganglia": ("basal ganglia", "internal capsule", "external capsule"),
}
_WHITE, _CORTEX = "subcortical white matter", "cortex and grey-white junction"


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """``at`` (3,) scanner RAS mm; the published ``part`` of the brain, MARS region and group."""

    at: np.ndarray
    part: str
    region: str
    group: str


@dataclasses.dataclass(frozen=True, eq=False)
class Avoided:
    """Scanner RAS mm of what no lesion is inserted near: (n, 3) each."""

    rejected: np.ndarray
    lesions: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Room:
    """Places of a scan that can take a lesion: ``points`` (n, 3) mm, ``part`` and ``label`` (n,).

    ``closed`` is the share of places in tissue that lie too near to what was found before.
    """

    points: np.ndarray
    part: np.ndarray
    label: np.ndarray
    closed: float


def room(
    prepared: Prepared,
    regions: np.ndarray,
    transform: Transform,
    avoided: Avoided,
    rng: np.random.Generator,
) -> Room:
    """Places that can take a lesion, drawn at random from the brain. ``regions`` are MARS labels.

    Draws: voxels, then the place within each.
    """
    index = np.flatnonzero(prepared.mask & (regions > 0))
    if not len(index):
        return Room(np.zeros((0, 3)), np.zeros(0, object), np.zeros(0, int), 1.0)
    chosen = rng.choice(index, min(_SAMPLE, len(index)), replace=False)
    voxels = np.stack(np.unravel_index(chosen, prepared.mask.shape), axis=1)
    points = apply_affine(prepared.affine, voxels + rng.uniform(-0.5, 0.5, voxels.shape))
    labels = regions.ravel()[chosen]
    part = parts(without_side(labels), template.tissues_at(transform(points), _TEMPLATE_MM))
    placed = part != ""
    away = _away(points, avoided.rejected, REJECTED_MM) & _away(points, avoided.lesions, LESION_MM)
    free = placed & away
    closed = 1 - free.sum() / placed.sum() if placed.any() else 1.0
    return Room(points[free], part[free], labels[free], float(closed))


def parts(values: np.ndarray, tissues: np.ndarray) -> np.ndarray:
    """The published part of the brain of each place; '' where there is none.

    ``values`` (n,) are MARS regions without side, ``tissues`` (n, 3) the template's shares of grey
    matter, white matter and the rest.
    """
    part = np.full(len(values), "", object)
    for name, regions in _REGIONS.items():
        part[np.isin(values, [BY_NAME[region].value for region in regions])] = name
    lobar = np.isin(values, [r.value for r in BY_NAME.values() if r.group == "lobar"])
    grey, white = tissues[:, 0], tissues[:, 1]
    part[lobar] = np.where(grey[lobar] > white[lobar], _CORTEX, _WHITE)
    part[(tissues[:, 2] > _MOST_FLUID) | (tissues.sum(1) < _MOST_FLUID)] = ""
    return part


def draw(free: Room, number: int, rng: np.random.Generator) -> list[Place]:
    """At most ``number`` places, each part of the brain as often as published; none near another.

    Draws of each: the part, then the place.
    """
    names = list(published.PLACES)
    shares = np.array([share for _, share in published.PLACES.values()])
    left = np.ones(len(free.points), bool)
    chosen: list[Place] = []
    for _ in range(number):
        there = np.array([bool((left & (free.part == name)).any()) for name in names])
        if not there.any():
            break
        weights = shares * there
        name = str(rng.choice(names, p=weights / weights.sum()))
        index = int(rng.choice(np.flatnonzero(left & (free.part == name))))
        at, (region, _) = free.points[index], region_of(int(free.label[index]))
        chosen.append(Place(at, name, region.name, region.group))
        left &= np.linalg.norm(free.points - at, axis=1) >= INSERTED_MM
    return chosen


def _away(points: np.ndarray, others: np.ndarray, least_mm: float) -> np.ndarray:
    """Whether each of ``points`` (n, 3) lies ``least_mm`` or more from all ``others`` (m, 3)."""
    if not len(others):
        return np.ones(len(points), bool)
    nearest, _ = cKDTree(others).query(points)
    return nearest >= least_mm
