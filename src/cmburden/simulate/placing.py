"""Places of a scan's sources: microbleeds as in published sets, mimics at their usual places."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from cmburden.simulate import anatomy as an
from cmburden.simulate.acquisition import Acquisition
from cmburden.simulate.sources import (
    GROUP_OF_PLACE,
    PLACES,
    Findings,
    Paint,
    Source,
    draw_size,
    log_uniform,
    source_radius,
)
from cmburden.simulate.volumes import dilated

#: Places that are a region of the truth table by themselves.
_REGIONS = ("cerebellum", "brainstem", "thalamus", "basal ganglia")
#: Sources are at least this far apart, mm from visible edge to visible edge. By choice.
_APART_MM = 1.5
#: Draws of a place before a source is given up, and of a microbleed before it is.
_TRIES = 20
#: A microbleed of a cluster lies within the first of another one, a microbleed beside a vein within
#: the second of the vein, mm. By choice.
_CLUSTER_MM, _BESIDE_VEIN_MM = 15.0, 3.0
#: Voxels among which near ones are searched: a sample of so many is enough.
_MOST_VOXELS = 40_000

#: Mimics, by choice. Radius as it shows, mm.
_PINEAL_MM, _DURAL_MM, _PARENCHYMAL_MM = (1.2, 3.2), (0.9, 3.0), (0.8, 2.5)
_PALLIDAL_MM, _CHOROID_MM, _HAEMORRHAGE_MM = (0.8, 2.5), (0.9, 3.0), (6.0, 13.0)
#: Susceptibility against tissue, ppm: calcium is diamagnetic.
_CALCIUM_PPM, _HAEMORRHAGE_PPM = (-2.5, -0.8), (0.6, 1.5)
#: Share of calcifications of pallidum and choroid plexus that lie on both sides; how far the second
#: is from the mirrored place, mm; standard deviation of the log ratio of both radii.
_PALLIDAL_BOTH, _CHOROID_BOTH, _MIRRORED_MM, _MIRRORED_LOG_SD = 0.9, 0.75, 3.0, 0.2
#: Dura: fluid further than this from the ventricles, mm.
_DURA_FROM_VENTRICLE_MM = 15
#: Choroid plexus: lateral ventricle nearer than this to deep grey matter, mm.
_CHOROID_TO_GREY_MM = 15
#: Pineal gland: so far behind the third ventricle's posterior end, mm; and the fewest voxels of a
#: third ventricle.
_PINEAL_BEHIND_MM, _LEAST_THIRD_VENTRICLE = 5.0, 5
#: A cavernoma: half its width and visible radius of its bleeds, mm, their susceptibility, ppm, and
#: number.
_CAVERNOMA_MM, _CAVERNOMA_BLEED_MM = (3.0, 9.0), (1.2, 4.0)
_CAVERNOMA_PPM, _CAVERNOMA_BLEEDS = (0.4, 2.0), (4, 10)
#: Radius of a stretch of superficial siderosis, mm.
_SIDEROSIS_MM = (8, 20)


def place_masks(anatomy: an.GridAnatomy) -> dict[str, np.ndarray]:
    """Voxels of each place of ``sources.PLACES``, by the anatomy's labels and distances."""
    labels = anatomy.labels
    white = an.is_any(labels, an.WHITE)
    deep = white & (
        (anatomy.to_ventricle < an.PERIVENTRICULAR_MM) | (anatomy.to_deep_grey < an.CAPSULE_MM)
    )
    return {
        "subcortical white": white & ~deep,
        "cortex": an.is_any(labels, an.CORTEX),
        "cerebellum": an.is_any(labels, an.CEREBELLUM),
        "basal ganglia": an.is_any(labels, an.BASAL_GANGLIA),
        "thalamus": an.is_any(labels, an.THALAMUS),
        "brainstem": an.is_any(labels, an.BRAINSTEM),
        "deep white": deep,
    }


class Drawing:
    """Draws a scan's sources, one after the other, in :meth:`draw`.

    ``anatomy`` is that of the scan's grid; ``veins_mm`` (n, 3) are points on veins; ``grade`` says
    what a reader calls a microbleed (as ``sources.grade``). ``sources`` grows while drawing, as
    each source keeps away from those before.
    """

    def __init__(
        self,
        anatomy: an.GridAnatomy,
        acquisition: Acquisition,
        veins_mm: np.ndarray,
        grade: Callable[[Source], str],
        rng: np.random.Generator,
    ) -> None:
        self.anatomy, self.acquisition, self.veins_mm = anatomy, acquisition, veins_mm
        self.grade, self.rng = grade, rng
        masks = place_masks(anatomy)
        self.places = {k: flat for k, v in masks.items() if len(flat := np.flatnonzero(v))}
        self.sources: list[Source] = []

    def draw(self, findings: Findings) -> list[Source]:
        """All sources of ``findings``.

        Order of draws: microbleeds; calcifications of pineal gland, dura and parenchyma;
        haemorrhages; calcifications of pallidum and choroid plexus; cavernomas.
        """
        for _ in range(findings.microbleeds if self.places else 0):
            self._microbleed(findings)
        for _ in range(findings.pineal):
            self._single("calcification", self._pineal(), _PINEAL_MM, _CALCIUM_PPM)
        for _ in range(findings.dural):
            self._single("calcification", self._dura(), _DURAL_MM, _CALCIUM_PPM)
        for _ in range(findings.parenchymal):
            self._single("calcification", self._anywhere(), _PARENCHYMAL_MM, _CALCIUM_PPM)
        for _ in range(findings.macrohaemorrhages):
            self._single("macrohaemorrhage", self._anywhere(), _HAEMORRHAGE_MM, _HAEMORRHAGE_PPM)
        for _ in range(findings.pallidal):
            self._calcium_of_both_sides(self._pallida(), _PALLIDAL_MM, _PALLIDAL_BOTH)
        for _ in range(findings.choroid):
            self._calcium_of_both_sides(self._choroid(), _CHOROID_MM, _CHOROID_BOTH)
        for _ in range(findings.cavernomas):
            self._cavernoma()
        return self.sources

    def _single(
        self,
        kind: str,
        flat: np.ndarray,
        visible_mm: tuple[float, float],
        chi_ppm: tuple[float, float],
    ) -> None:
        """One source somewhere in the voxels ``flat``; nothing where there are none."""
        if len(flat):
            visible = log_uniform(self.rng, *visible_mm)
            self._add(kind, flat, None, visible, float(self.rng.uniform(*chi_ppm)))

    def _calcium_of_both_sides(
        self,
        sides: tuple[np.ndarray, np.ndarray],
        visible_mm: tuple[float, float],
        both: float,
    ) -> None:
        """A calcification of one side and, in a share ``both``, one at the mirrored place.

        ``sides`` are the voxels of each. Readers tell calcium from blood by its symmetry.
        """
        visible = log_uniform(self.rng, *visible_mm)
        order = self.rng.permutation(2)
        one, other = (sides[k] for k in order)
        chi = float(self.rng.uniform(*_CALCIUM_PPM))
        if not len(one) or not self._add("calcification", one, None, visible, chi):
            return
        if not len(other) or self.rng.random() > both:
            return
        middles = [self.anatomy.voxels_mm(flat).mean(0) for flat in (one, other)]
        offset = (self.sources[-1].centre - middles[0]) * np.array([-1.0, 1.0, 1.0])
        there = self._near(other, middles[1] + offset, _MIRRORED_MM)
        ratio = np.exp(self.rng.normal(0, _MIRRORED_LOG_SD))
        self._add("calcification", there, None, visible * ratio, chi)

    def _anywhere(self) -> np.ndarray:
        """Voxels of a random place; none where the scan holds no place."""
        if not self.places:
            return np.zeros(0, int)
        return self.places[list(self.places)[self.rng.integers(len(self.places))]]

    def _dura(self) -> np.ndarray:
        outer = self.anatomy.to_ventricle > _DURA_FROM_VENTRICLE_MM
        return np.flatnonzero((self.anatomy.labels == an.CSF) & outer)

    def _pallida(self) -> tuple[np.ndarray, np.ndarray]:
        left, right = an.PALLIDUM
        labels = self.anatomy.labels
        return np.flatnonzero(labels == left), np.flatnonzero(labels == right)

    def _choroid(self) -> tuple[np.ndarray, np.ndarray]:
        left, right = an.LATERAL_VENTRICLES
        labels, near = self.anatomy.labels, self.anatomy.to_deep_grey < _CHOROID_TO_GREY_MM
        return np.flatnonzero((labels == left) & near), np.flatnonzero((labels == right) & near)

    def _pineal(self) -> np.ndarray:
        """The voxel behind the third ventricle's posterior end; none where the scan lacks it."""
        labels, affine = self.anatomy.labels, self.anatomy.affine
        third = np.argwhere(labels == an.THIRD_VENTRICLE)
        if len(third) < _LEAST_THIRD_VENTRICLE:
            return np.zeros(0, int)
        mm = third @ affine[:3, :3].T + affine[:3, 3]
        at = mm[mm[:, 1].argmin()] - np.array([0, _PINEAL_BEHIND_MM, 0])
        index = np.round(np.linalg.inv(affine)[:3, :3] @ (at - affine[:3, 3])).astype(int)
        if (index < 0).any() or (index >= labels.shape).any():
            return np.zeros(0, int)
        return np.array([np.ravel_multi_index(tuple(index), labels.shape)])

    def _microbleed(self, findings: Findings) -> None:
        """One microbleed that a reader would see; faint ones that are drawn on the way stay.

        Order of draws: the place, whether in a cluster or beside a vein and of which, whether
        painted and how; then size and susceptibility and a point, until the microbleed is seen.
        """
        names = list(self.places)
        share = np.array([PLACES[name] for name in names])
        place = names[self.rng.choice(len(names), p=share / share.sum())]
        flat = self._company(self.places[place], findings)
        painted = None
        if self.rng.random() < findings.painted:
            painted = Paint.draw(self.rng)
        for _ in range(_TRIES):
            if self._add("microbleed", flat, place, *draw_size(self.rng), painted):
                return

    def _company(self, flat: np.ndarray, findings: Findings) -> np.ndarray:
        """Of the voxels ``flat`` those in a cluster or beside a vein; all for a lone microbleed."""
        before = [s for s in self.sources if s.kind == "microbleed" and s.group != "unknown"]
        draw = self.rng.random()
        if before and draw < findings.clustered:
            centre = before[self.rng.integers(len(before))].centre
            return self._near(flat, centre, _CLUSTER_MM)
        if len(self.veins_mm) and draw < findings.clustered + findings.beside_vein:
            point = self.veins_mm[self.rng.integers(len(self.veins_mm))]
            return self._near(flat, point, _BESIDE_VEIN_MM)
        return flat

    def _near(self, flat: np.ndarray, point_mm: np.ndarray, reach_mm: float) -> np.ndarray:
        """Of the voxels ``flat`` those within ``reach_mm`` of a point; all where there are none."""
        some = flat if len(flat) < _MOST_VOXELS else self.rng.choice(flat, _MOST_VOXELS)
        distance = np.linalg.norm(self.anatomy.voxels_mm(some) - point_mm, axis=1)
        close = some[distance < reach_mm]
        return close if len(close) else flat

    def _add(
        self,
        kind: str,
        flat: np.ndarray,
        place: str | None,
        visible_mm: float,
        chi_ppm: float,
        painted: Paint | None = None,
    ) -> bool:
        """Add a source in the voxels ``flat`` that shows with ``visible_mm`` on this very scan.

        Returns whether a source of ``kind`` was added. None is where no point lies apart from the
        other sources. A microbleed that a reader would not see is dropped. One that a reader would
        call faint stays, as in people, but the microbleed is still to come.
        """
        centre = self._free_point(flat, visible_mm)
        if centre is None:
            return False
        source = Source(
            kind,
            centre,
            source_radius(visible_mm, chi_ppm, self.acquisition),
            chi_ppm,
            visible_mm,
            region=place if place in _REGIONS else None,
            group="unknown" if place is None else GROUP_OF_PLACE[place],
            painted=painted,
        )
        if kind == "microbleed":
            source = dataclasses.replace(source, kind=self.grade(source))
            if source.kind == "unseen":
                return False
        self.sources.append(source)
        return source.kind == kind

    def _free_point(self, flat: np.ndarray, visible_mm: float) -> np.ndarray | None:
        """A point (3,) in mm in the voxels ``flat`` that lies apart from all sources."""
        for _ in range(_TRIES):
            centre = self.anatomy.draw_point(flat, self.rng)
            if all(
                np.linalg.norm(centre - other.centre) > _APART_MM + visible_mm + other.visible_mm
                for other in self.sources
            ):
                return centre
        return None

    def _cavernoma(self) -> None:
        """Several bleeds of different age together, 6 to 18 mm wide.

        Order of draws: the middle, the width, the number; then of each bleed the direction and
        distance from the middle, susceptibility and radius.
        """
        flat = self._anywhere()
        if not len(flat):
            return
        affine = self.anatomy.affine
        index = np.array(np.unravel_index(self.rng.choice(flat), self.anatomy.labels.shape), float)
        middle = affine[:3, :3] @ index + affine[:3, 3]
        half = self.rng.uniform(*_CAVERNOMA_MM)
        for _ in range(int(self.rng.integers(*_CAVERNOMA_BLEEDS))):
            offset = self.rng.normal(size=3)
            offset *= half * np.cbrt(self.rng.random()) / np.linalg.norm(offset)
            chi = float(self.rng.uniform(*_CAVERNOMA_PPM))
            visible = float(self.rng.uniform(*_CAVERNOMA_BLEED_MM))
            radius = source_radius(visible, chi, self.acquisition)
            self.sources.append(
                Source("cavernoma", middle + offset, radius, chi, visible, None, "unknown")
            )


def siderosis(labels: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mask (x, y, z) of a stretch of cortex surface, 15 to 40 mm wide, lined with haemosiderin.

    Draws: the middle, then the radius; nothing where the scan holds no surface of the cortex.
    """
    surface = an.is_any(labels, an.CORTEX) & dilated(labels == an.CSF, 1)
    flat = np.flatnonzero(surface)
    if not len(flat):
        return surface
    index = np.stack(np.unravel_index(flat, labels.shape), 1)
    mm = index @ affine[:3, :3].T
    middle = mm[rng.integers(len(mm))]
    far = np.linalg.norm(mm - middle, axis=1) > rng.uniform(*_SIDEROSIS_MM)
    surface.reshape(-1)[flat[far]] = False
    return surface
