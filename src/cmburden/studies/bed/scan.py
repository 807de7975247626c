"""Scans of the test bed: ``python -m cmburden.studies.bed.scan BIDS``.

Writes a BIDS dataset whose cohorts are the domains, the truth beside it, and each scan's vessels
in ``sourcedata/truth/<scan>_vessels.tsv``. Label maps, published sizes and places and the reader's
rule are all that this renderer shares with the simulator of the training scans.

Order of draws: grid, tissue, vessels (whole, then short), calcium, microbleeds, faults.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from cmburden.core.errors import exit_code
from cmburden.images.volume import save_volume
from cmburden.simulate import anatomy as an
from cmburden.simulate import cohort, command, physics, plain, reader, sources
from cmburden.simulate.scan import Simulated
from cmburden.simulate.sources import Source
from cmburden.studies.bed import reading, tissue, vessels
from cmburden.studies.bed.domains import DOMAINS, Domain
from cmburden.studies.bed.fields import Spheres, multiply_spheres, multiply_tube
from cmburden.studies.bed.vessels import Ground, Vessel

#: Susceptibility of a microbleed and of calcium, ppm, and what signal is left within them.
_BLEED_PPM, _STONE_PPM, _LEFT = (0.5, 2.5), (-2.0, -0.5), (0.0, 0.2)
#: A microbleed is a clump of so many touching spheres.
_GRAINS = (1, 5)
#: Apparent radius of calcium, mm.
_STONE_MM = (0.8, 2.5)
#: Share of the microbleeds beside a vessel, and their distance from it, mm.
_BESIDE, _BESIDE_MM = 0.2, (2.5, 5.0)
#: The grid: standard deviation of the turns about x, y, z, degrees; margin about the brain, mm.
_TURN_DEG, _MARGIN_MM, _BOX_EVERY = (4.0, 2.0, 3.0), (26.0, 26.0, 16.0), 20


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """A simulated scan, and its vessels with the largest share of signal that each takes."""

    scan: Simulated
    vessels: list[Vessel]
    losses: list[float]


@dataclasses.dataclass(frozen=True, eq=False)
class _Grid:
    """``affine`` (4, 4) takes voxels to scan mm, ``to_person`` to mm of the label map."""

    affine: np.ndarray
    to_person: np.ndarray
    shape: tuple[int, ...]

    @classmethod
    def draw(cls, person: an.Anatomy, voxel: np.ndarray, rng: np.random.Generator) -> _Grid:
        """A tilted box about the brain's tissue. Draws: mirroring, turns."""
        # The brainstem of a label map goes on into the neck.
        shown = an.in_brain(person.labels) & ~np.isin(person.labels, an.BRAINSTEM)
        inside = nib.affines.apply_affine(person.affine, np.argwhere(shown)[::_BOX_EVERY])
        low, high = inside.min(0), inside.max(0)
        mirrored = np.diag([rng.choice([-1.0, 1.0]), 1.0, 1.0])
        turn = nib.eulerangles.euler2mat(*np.deg2rad(rng.normal(0, _TURN_DEG)))
        shape = np.ceil((high - low + _MARGIN_MM) / voxel).astype(int)
        affine = nib.affines.from_matvec(turn * voxel, -(turn * voxel) @ ((shape - 1) / 2))
        to_person = nib.affines.from_matvec(mirrored, (low + high) / 2) @ affine
        return cls(affine, to_person, tuple(int(n) for n in shape))


def simulate(
    person: an.Anatomy, domain: Domain, microbleeds: int, rng: np.random.Generator
) -> Scene:
    """One scan of ``person`` in a domain. A microbleed that the image shows grey is 'faint'."""
    acquisition = domain.acquisition
    grid = _Grid.draw(person, np.array(acquisition.voxel_mm), rng)
    labels = plain.sampled(person.labels, person.affine, grid.to_person, grid.shape)
    signal = tissue.signal(person, domain, grid.affine, grid.to_person, grid.shape, rng)
    level = float(np.median(np.abs(signal)[np.isin(labels, an.WHITE)]))
    # The field points along scanner z: scan mm are scanner mm.
    b0 = np.array([0.0, 0.0, 1.0])
    radians = physics.phase_per_ppm(acquisition.field_t, acquisition.echo_time_s)
    ground = Ground(labels, grid.affine)
    drawn = vessels.draw(domain.whole, "whole", ground, rng)
    drawn += vessels.draw(domain.short, "short", ground, rng)
    losses = [multiply_tube(signal, grid.affine, one.tube, b0, radians) for one in drawn]
    stones = _calcium(labels, grid.affine, domain, rng)
    for _, thing in stones:
        multiply_spheres(signal, grid.affine, thing, b0, radians)
    bleeds = _microbleeds(microbleeds, labels, grid.affine, domain, drawn, rng)
    faults = reading.Faults.draw(domain, grid.shape, level, rng)
    bare, phase = reading.image_of(signal, domain, faults)
    image = bare
    if bleeds:
        for _, thing in bleeds:
            multiply_spheres(signal, grid.affine, thing, b0, radians)
        image, phase = reading.image_of(signal, domain, faults)
    parenchyma = an.parenchyma(labels)
    seen = [reader.looked_at(one, image, bare, parenchyma, grid.affine) for one, _ in bleeds]
    brain = plain.sampled(person.brain, person.affine, grid.to_person, grid.shape) > 0
    truth = [*seen, *(one for one, _ in stones)]
    scan = Simulated(image, bare, phase, grid.affine, labels, brain, truth, acquisition)
    return Scene(scan, drawn, losses)


def _clump(centre: np.ndarray, radius: float, ppm: float, rng: np.random.Generator) -> Spheres:
    """Touching spheres of together the volume of one of ``radius`` about ``centre``.

    Draws: their number, their parts of the volume, their offsets, what signal is left.
    """
    number = int(rng.integers(*_GRAINS))
    radii = radius * np.cbrt(rng.dirichlet(np.full(number, 3.0)))
    offsets = rng.normal(0, 1, (number, 3))
    offsets *= 0.6 * radius * (number > 1) / np.linalg.norm(offsets, axis=1, keepdims=True)
    return Spheres(centre + offsets - offsets.mean(0), radii, ppm, rng.uniform(*_LEFT))


def _thing(
    kind: str,
    centre: np.ndarray,
    visible_mm: float,
    ppm: float,
    domain: Domain,
    rng: np.random.Generator,
    group: str = "unknown",
) -> tuple[Source, Spheres]:
    """A source as the truth names it, and the spheres that draw it."""
    radius = sources.source_radius(visible_mm, ppm, domain.acquisition)
    named = Source(kind, centre, radius, ppm, visible_mm, None, group)
    return named, _clump(centre, radius, ppm, rng)


def _microbleeds(
    number: int,
    labels: np.ndarray,
    affine: np.ndarray,
    domain: Domain,
    drawn: Sequence[Vessel],
    rng: np.random.Generator,
) -> list[tuple[Source, Spheres]]:
    """Sized and placed as published ones are; some beside a vessel, at the vessel's place.

    Draws: place, whether beside a vessel, centre, size, susceptibility, the clump.
    """
    names, shares = list(sources.PLACES), list(sources.PLACES.values())
    bleeds = []
    for _ in range(number):
        place = str(rng.choice(names, p=shares))
        group = sources.GROUP_OF_PLACE[place]
        centre = None
        if rng.random() < _BESIDE and drawn:
            centre = _beside(drawn[int(rng.integers(len(drawn)))], labels, affine, rng)
            group = "unknown" if centre is not None else group
        if centre is None:
            centre = plain.anywhere(
                np.argwhere(np.isin(labels, plain.CODES_OF_PLACE[place])), affine, rng
            )
        if centre is None:
            raise ValueError(f"the label map holds no {place}")
        visible, _ = sources.draw_size(rng)
        ppm = sources.log_uniform(rng, *_BLEED_PPM)
        bleeds.append(_thing("microbleed", centre, visible, ppm, domain, rng, group))
    return bleeds


def _beside(
    vessel: Vessel, labels: np.ndarray, affine: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """A place (3,) mm in brain tissue beside ``vessel``; None where a few tries find none."""
    inverse, tissue_there = np.linalg.inv(affine), an.parenchyma(labels)
    for _ in range(10):
        points = vessel.tube.points
        away = rng.normal(0, 1, 3)
        away *= (rng.uniform(*_BESIDE_MM) + vessel.tube.radius) / np.linalg.norm(away)
        at = points[int(rng.integers(len(points)))] + away
        voxel = np.round(nib.affines.apply_affine(inverse, at)).astype(int)
        inside = bool((voxel >= 0).all() and (voxel < labels.shape).all())
        if inside and tissue_there[tuple(voxel)]:
            return at
    return None


def _calcium(
    labels: np.ndarray, affine: np.ndarray, domain: Domain, rng: np.random.Generator
) -> list[tuple[Source, Spheres]]:
    """Calcium of the globus pallidus or the choroid plexus, on one side or both.

    Draws: whether, where, how many, then centre, size and susceptibility of each.
    """
    if rng.random() >= domain.calcium:
        return []
    codes = an.PALLIDUM if rng.random() < 0.6 else an.LATERAL_VENTRICLES
    stones = []
    for _ in range(int(rng.integers(1, 4))):
        centre = plain.anywhere(np.argwhere(np.isin(labels, codes)), affine, rng)
        if centre is not None:
            visible, ppm = rng.uniform(*_STONE_MM), rng.uniform(*_STONE_PPM)
            stones.append(_thing("calcification", centre, visible, ppm, domain, rng))
    return stones


def vessel_rows(scene: Scene) -> pd.DataFrame:
    """A row a point of each vessel, about a millimetre apart."""
    rows = [
        {
            "vessel": number,
            "kind": one.kind,
            "course": one.course,
            "radius_mm": round(one.tube.radius, 3),
            "length_mm": round(one.tube.length, 2),
            "loss": round(loss, 3),
            **{f"{axis}_mm": round(float(v), 2) for axis, v in zip("xyz", point, strict=True)},
        }
        for number, (one, loss) in enumerate(zip(scene.vessels, scene.losses, strict=True))
        for point in one.tube.points[:: vessels.TRUTH_EVERY]
    ]
    return pd.DataFrame(rows)


def write_participant(plan: cohort.ParticipantPlan, root: Path) -> list[dict[str, Any]]:
    """Write one participant's scan below ``root``; returns its truth rows."""
    rng = np.random.default_rng(plan.seed)
    domain = DOMAINS[plan.cohort]
    scene = simulate(an.load(plan.anatomy), domain, plan.n_microbleeds, rng)
    stem = f"{plan.participant_id}_{domain.acquisition.suffix}"
    cohort.write_scan(root / plan.participant_id / "anat", stem, scene.scan, domain.acquisition)
    folder = root / "sourcedata" / "truth"
    mask = folder / f"{plan.participant_id}_brain.nii.gz"
    save_volume(mask, scene.scan.brain, scene.scan.affine, np.uint8)
    vessel_rows(scene).to_csv(folder / f"{stem}_vessels.tsv", sep="\t", index=False)
    return cohort.truth_rows(plan, stem, scene.scan)


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.studies.bed.scan BIDS [--presets NAME ...] [--anatomy FOLDER]``."""
    return command.simulate_as(
        "python -m cmburden.studies.bed.scan", list(DOMAINS), 10, write_participant, arguments
    )


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
