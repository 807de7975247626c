"""Which lesions a scan's copy gets, and the copy itself.

A scan's lesions depend on the seed and on the scan alone: a command that was killed goes on with
the same ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.tables import RENDERERS
from cmburden.images.geometry import slice_axis
from cmburden.images.prepared import Prepared, read_regions
from cmburden.images.volume import Volume
from cmburden.insert import copies, looks, physics, pictures, places, plain, published, transplant
from cmburden.insert.copies import Change, LeftOut, Original
from cmburden.insert.ground import ASSUMED_ECHO_S, ASSUMED_FIELD_T, Acquisition, Ground, about
from cmburden.insert.places import Avoided, Place
from cmburden.insert.transplant import Donor
from cmburden.space.transform import Transform, load_transform

#: Most lesions a copy gets.
MOST = 3
#: Radii of the half of the lesions that are not drawn as published ones are, mm: the curves reach
#: further than most microbleeds do.
_RADII_MM = (0.6, 3.5)
#: Affines of scan and prepared volume differ by less, mm.
_SAME_GRID = 1e-3


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a user asked for: the seed, and the lesions of each copy; None: 1 to 3, drawn."""

    seed: int = 0
    lesions: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Background:
    """A scan that lesions are drawn into: what the run made of it, and where none may lie."""

    scan: Scan
    acquisition: Acquisition
    avoided: Avoided
    prepared: Prepared
    regions: np.ndarray
    transform: Transform


@dataclasses.dataclass(frozen=True, eq=False)
class Lesion:
    """A lesion of a copy: where it lies, how it was drawn, what it changes."""

    place: Place
    renderer: str
    change: Change
    ground: Ground


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """The lesions of a copy before it is read: ``rows`` by the columns of `inserted`.

    ``closed`` is the share of the brain's tissue that was closed to lesions, ``pictures``
    (n, 2, rows, columns) uint8 show each lesion's place without and with it.
    """

    rows: list[dict[str, Any]]
    closed: float
    pictures: np.ndarray


def acquisition_of(scan: Scan, row: Mapping[str, Any], slice_mm: float) -> Acquisition:
    """The acquisition of a scan with the ``row`` of the manifest.

    An image of the contrast SWI is taken as multiplied with the phase mask unless the manifest says
    that it is a magnitude.
    """
    known = scan.field_strength_t is not None and scan.echo_time_s is not None
    gap = row.get("slice_gap_mm") or 0.0
    three = row.get("dimension") == "3D" or (
        row.get("dimension") is None and scan.contrast == "SWI"
    )
    return Acquisition(
        scan.field_strength_t or ASSUMED_FIELD_T,
        scan.echo_time_s or ASSUMED_ECHO_S,
        masked=scan.contrast == "SWI" and row.get("image_kind") != "magnitude",
        partitions=three,
        thickness_mm=max(slice_mm - float(gap), slice_mm / 2),
        assumed=not known,
    )


def insert(
    scan: Scan,
    acquisition: Acquisition,
    avoided: Avoided,
    library: Sequence[Donor],
    layout: Layout,
    wish: Wish,
    target: Path,
) -> Drawn:
    """Write the copy of a scan with its lesions to ``target``.

    Raises
    ------
    ScanError
        As reading a scan does.
    LeftOut
        Where the image is another one than the run has read, or has no room for a lesion.
    """
    rng = np.random.default_rng(seed_of("insert", wish.seed, scan.scan_id))
    prepared, transform = Prepared.read(scan, layout), load_transform(layout, scan)
    original = Original.read(scan.path)
    if original.volume.data.shape != prepared.volume.shape or not np.allclose(
        original.volume.affine, prepared.affine, atol=_SAME_GRID
    ):
        raise LeftOut("The image is another one than the run has read; run again first.")
    subject = Background(
        scan, acquisition, avoided, prepared, read_regions(scan, layout), transform
    )
    drawn, closed = _lesions(subject, library, wish, RENDERERS, rng)
    changes = [lesion.change for lesion in drawn]
    across = slice_axis(prepared.affine)
    values = copies.with_lesions(original, changes, prepared.mask, across, rng)
    copies.write(target, values, original.volume.affine)
    bare = original.volume.data
    shown = [pictures.pair(bare, values, prepared.affine, lesion.place.at) for lesion in drawn]
    return Drawn(_rows(drawn, subject, bare, values), closed, np.stack(shown))


def into_prepared(
    subject: Background,
    library: Sequence[Donor],
    wish: Wish,
    renderers: Collection[str],
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The prepared volume (x, y, z) float32 with lesions, and their rows as those of `inserted`.

    Bias was corrected before: a lesion is multiplied in, so that it would be the same after it.
    Raises LeftOut where there is no room for a lesion.
    """
    prepared = subject.prepared
    drawn, _ = _lesions(subject, library, wish, renderers, rng)
    original = Original(Volume(prepared.volume, prepared.affine), None)
    changes = [lesion.change for lesion in drawn]
    across = slice_axis(prepared.affine)
    values = copies.with_lesions(original, changes, prepared.mask, across, rng)
    return values, _rows(drawn, subject, prepared.volume, values)


def _lesions(
    subject: Background,
    library: Sequence[Donor],
    wish: Wish,
    renderers: Collection[str],
    rng: np.random.Generator,
) -> tuple[list[Lesion], float]:
    """The lesions of a copy, and the share of the tissue that was closed to them.

    Draws: the places' sample, the number, the places, the first renderer, then of each lesion.
    """
    prepared, acquisition = subject.prepared, subject.acquisition
    free = places.room(prepared, subject.regions, subject.transform, subject.avoided, rng)
    number = wish.lesions or int(rng.integers(1, MOST + 1))
    sites = places.draw(free, number, rng)
    if not sites:
        raise LeftOut("No room: lesions and candidates lie near every place.")
    chosen = transplant.fitting(list(library), subject.scan, prepared.affine, acquisition)
    ways = [*(["transplant"] if chosen else []), "physics", "plain"]
    ways = [name for name in ways if name in renderers]
    start = int(rng.integers(len(ways)))
    drawn = [
        _drawn(place, ways[(start + n) % len(ways)], prepared.affine, acquisition, chosen, rng)
        for n, place in enumerate(sites)
    ]
    return drawn, free.closed


def _rows(
    drawn: Sequence[Lesion], subject: Background, bare: np.ndarray, image: np.ndarray
) -> list[dict[str, Any]]:
    """Rows of `inserted` of the lesions that make ``image`` of ``bare``, both (x, y, z)."""
    rows, affine = [], subject.prepared.affine
    for count, lesion in enumerate(drawn, start=1):
        diameter = looks.diameter_mm(lesion.change.left, lesion.ground)
        tissue = looks.tissue_about(lesion.place.at, subject.prepared, subject.transform)
        seen = looks.look(lesion.place.at, diameter, bare, image, tissue, affine)
        rows.append(_row(count, lesion, seen, subject.acquisition))
    return rows


def _drawn(
    place: Place,
    renderer: str,
    affine: np.ndarray,
    acquisition: Acquisition,
    donors: Sequence[Donor],
    rng: np.random.Generator,
) -> Lesion:
    """A lesion at a place. Draws: the radius, then what its renderer draws."""
    radius = published.draw_radius(rng)
    if rng.random() < 0.5:
        radius = float(np.exp(rng.uniform(*np.log(_RADII_MM))))
    if renderer == "physics":
        clot = physics.Clot.draw(radius, acquisition, rng)
        ground, middle = about(place.at, affine, physics.reach_mm(clot, acquisition))
        left = physics.render(clot, ground, acquisition, rng)
    elif renderer == "plain":
        ball = plain.Ellipsoid.draw(radius, rng)
        ground, middle = about(place.at, affine, ball.reach_mm)
        left = plain.render(ball, ground)
    else:
        donor = donors[int(rng.integers(len(donors)))]
        ground, middle = about(place.at, affine, 1.0)
        ground = dataclasses.replace(ground, half=donor.half)
        left = donor.turned(rng)
    return Lesion(place, renderer, Change(middle, ground.half, left), ground)


def _row(
    number: int, lesion: Lesion, seen: looks.Looks, acquisition: Acquisition
) -> dict[str, Any]:
    place = lesion.place
    centre = dict(zip(("x_mm", "y_mm", "z_mm"), np.round(place.at, 3).tolist(), strict=True))
    return {
        "number": number,
        "renderer": lesion.renderer,
        "assumed": acquisition.assumed,
        "part": place.part,
        **centre,
        "region": place.region,
        "group": place.group,
        "diameter_mm": round(seen.diameter_mm, 3),
        "signal_loss": round(seen.loss, 4),
        "surrounded": round(seen.surrounded, 4),
        "visible": seen.visible,
    }
