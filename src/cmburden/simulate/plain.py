"""A second, plainer simulator of whole scans: ``python -m cmburden.simulate.plain OUT``.

Networks that were trained on one simulator may have learned its peculiarities. This simulator has
no physics: a microbleed is a dark ellipsoid with a soft edge, a vein a dark tube, tissue one grey a
label, all averaged over the voxel. Label maps, presets' voxel sizes, published sizes and places and
the reader's rule are all that this simulator shares with ``scan.simulate``; no network is trained
or calibrated on its scans. Numbers without a source are by eye.

Order of draws (a contract, as in ``scan``): the grid, greys of the labels, microbleeds, calcium,
veins, shading, noise.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage
from skimage.measure import block_reduce

from cmburden.core.errors import exit_code
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate import cohort, command, reader, sources
from cmburden.simulate.scan import Simulated
from cmburden.simulate.sources import Source

#: Grey of a label in GRE and in SWI; other labels as grey matter.
_GREY = {
    "GRE": {**dict.fromkeys(an.WHITE, 0.75), **dict.fromkeys(an.PALLIDUM, 0.6)},
    "SWI": {**dict.fromkeys(an.WHITE, 0.82), **dict.fromkeys(an.PALLIDUM, 0.65)},
}
_GREY_MATTER = {"GRE": 0.85, "SWI": 0.88}
_OUTSIDE = {0: 0.02, an.AIR: 0.02, an.BONE: 0.12, an.MARROW: 0.6, an.SOFT: 0.55}
_FLUID = {"GRE": 1.15, "SWI": 0.7}
#: How greys differ between people: range of fluid's, standard deviation of each label's.
_FLUID_RANGE, _GREY_SD = (0.9, 1.1), 0.03
#: Smoothing of the borders between labels, voxels of the label map.
_BORDER_VOXELS = 0.6
#: Samples of a voxel: about this far apart, mm.
_SAMPLE_MM = 0.4

#: The grid: scale of each axis, turns about x, y, z in degrees, the extent against the brain's and
#: what comes on top, mm. Every n-th voxel of the brain gives its box.
_SCALES, _TURN_DEG, _EXTENT, _MARGIN_MM, _BOX_EVERY = (
    (0.95, 1.05),
    (2, 2, 6),
    1.06,
    (24, 24, 14),
    20,
)

#: Codes of the labels of each place of ``sources.PLACES``.
CODES_OF_PLACE = {
    "subcortical white": an.WHITE,
    "cortex": an.CORTEX,
    "cerebellum": an.CEREBELLUM,
    "basal ganglia": an.BASAL_GANGLIA,
    "thalamus": an.THALAMUS,
    "brainstem": an.BRAINSTEM,
    "deep white": an.WHITE,
}

#: A microbleed takes this share of the signal; half axes of every ellipsoid against its radius.
_BLEED_DEPTH, _HALF_AXES = (0.6, 0.95), (0.75, 1.3)
#: A soft edge: the width of the Fermi profile in radii; beyond the second nothing is darkened.
_EDGE_RADII, _REACH_RADII = 0.1, 1.5

#: Calcium: share of people with it, radius in mm, share of the signal that it takes, how far the
#: second lies from the mirrored place, mm.
_CALCIUM_SHARE, _CALCIUM_MM, _CALCIUM_DEPTH, _CALCIUM_OFFSET_MM = 0.3, (1, 2), 0.7, 1

#: Veins of a scan: SWI shows more of them than of anything else.
_VEINS = {"GRE": 15, "SWI": 150}
#: A shorter piece of a vein would be a dot, which nobody can tell from a microbleed.
_LEAST_VEIN_MM = 8.0
#: A vein: radius and length in mm, share of the signal that it takes.
_VEIN_RADIUS_MM, _VEIN_MM, _VEIN_DEPTH = (0.3, 0.8), (10, 40), (0.4, 0.8)
#: How much a vein of 1 mm radius turns from bead to bead, radians.
_VEIN_WANDER = 0.12
#: Beads are half a radius apart and overlap: four cover a point of the centreline, fewer one beside
#: it. Each leaves this power of what the tube leaves. Unmeasured.
_BEAD_POWER = 0.28

#: Shading: standard deviation of its logarithm at the control points, and their number an axis.
_SHADING_SD, _SHADING_POINTS = 0.12, 3


@dataclasses.dataclass(frozen=True, eq=False)
class Ellipsoid:
    """Dark by ``depth`` inside; ``axes`` (3, 3) mm are its half axes as rows."""

    centre: np.ndarray
    axes: np.ndarray
    depth: float


@dataclasses.dataclass(frozen=True, eq=False)
class _Grid:
    """A tilted box about the brain.

    ``affine`` (4, 4) takes voxels to scan mm, ``to_person`` (4, 4) to mm of the label map.
    """

    affine: np.ndarray
    to_person: np.ndarray
    shape: tuple[int, ...]


def write_participant(plan: cohort.ParticipantPlan, root: Path) -> list[dict[str, Any]]:
    """Write one participant's scan below ``root``; returns its truth rows."""
    rng = np.random.default_rng(plan.seed)
    acquisition = aq.PRESETS[plan.cohort]
    scan = simulate(an.load(plan.anatomy), acquisition, plan.n_microbleeds, rng)
    stem = f"{plan.participant_id}_{acquisition.suffix}"
    cohort.write_scan(root / plan.participant_id / "anat", stem, scan, acquisition)
    return cohort.truth_rows(plan, stem, scan)


def simulate(
    person: an.Anatomy, acquisition: aq.Acquisition, microbleeds: int, rng: np.random.Generator
) -> Simulated:
    """One scan (x, y, slice) of ``person`` with ``microbleeds`` and their mimics.

    A microbleed that the finished image does not show dark enough is 'faint', as in
    ``scan.simulate``. The scan has no phase.
    """
    grid = _draw_grid(person, acquisition, rng)
    labels = sampled(person.labels, person.affine, grid.to_person, grid.shape)
    bare = _tissue(person, acquisition, grid, rng)
    bleeds = _microbleeds(microbleeds, labels, grid.affine, rng)
    stones = _calcium(labels, grid.affine, rng)
    for ball in stones + _vein_beads(labels, grid.affine, acquisition, rng):
        darken(bare, grid.affine, ball)
    image = bare.copy()
    for _, ball in bleeds:
        darken(image, grid.affine, ball)
    shading = _shading(grid.shape, rng)
    level = float(np.median((image * shading)[np.isin(labels, an.WHITE)]))
    noise = rng.normal(0, level / acquisition.snr, (2, *grid.shape))
    image, bare = (
        np.hypot(clean * shading + noise[0], noise[1]).astype(np.float32) for clean in (image, bare)
    )
    brain = sampled(person.brain, person.affine, grid.to_person, grid.shape) > 0
    parenchyma = an.parenchyma(labels)
    drawn = [reader.looked_at(source, image, bare, parenchyma, grid.affine) for source, _ in bleeds]
    drawn += [_source("calcification", ball) for ball in stones]
    phase = np.zeros_like(image)
    return Simulated(image, bare, phase, grid.affine, labels, brain, drawn, acquisition)


def _draw_grid(person: an.Anatomy, acquisition: aq.Acquisition, rng: np.random.Generator) -> _Grid:
    """A tilted box about the brain. Draws: scales, mirroring, turns."""
    inside = nib.affines.apply_affine(person.affine, np.argwhere(person.brain)[::_BOX_EVERY])
    low, high = inside.min(0), inside.max(0)
    scale = rng.uniform(*_SCALES, 3) * [rng.choice([-1, 1]), 1, 1]
    to_person = nib.affines.from_matvec(np.diag(scale), (low + high) / 2)
    turn = nib.eulerangles.euler2mat(*np.deg2rad(rng.normal(0, _TURN_DEG)))
    voxel = np.array(acquisition.voxel_mm)
    shape = np.ceil(((high - low) * _EXTENT + _MARGIN_MM) / voxel).astype(int)
    affine = nib.affines.from_matvec(turn * voxel, -(turn * voxel) @ ((shape - 1) / 2))
    return _Grid(affine, to_person @ affine, tuple(int(n) for n in shape))


def sampled(
    volume: np.ndarray,
    volume_affine: np.ndarray,
    affine: np.ndarray,
    shape: tuple[int, ...],
    order: int = 0,
) -> np.ndarray:
    """``volume`` on a grid with ``affine`` and ``shape``; ``order`` 0 is the nearest voxel."""
    to_voxel = np.linalg.inv(volume_affine) @ affine
    return ndimage.affine_transform(
        np.asarray(volume), to_voxel[:3, :3], to_voxel[:3, 3], shape, order=order
    )


def _tissue(
    person: an.Anatomy, acquisition: aq.Acquisition, grid: _Grid, rng: np.random.Generator
) -> np.ndarray:
    """Image (x, y, slice) float32 of the labels' greys, averaged through the slice.

    Draws: the grey of fluid, then a factor of every label.
    """
    greys = np.full(an.CODES_END, _GREY_MATTER[acquisition.contrast], np.float32)
    fluid = _FLUID[acquisition.contrast]
    greys[[*an.VENTRICLES, an.CSF]] = fluid * rng.uniform(*_FLUID_RANGE)
    for code, grey in {**_GREY[acquisition.contrast], **_OUTSIDE}.items():
        greys[code] = grey
    greys *= rng.normal(1, _GREY_SD, an.CODES_END).astype(np.float32)
    smooth = ndimage.gaussian_filter(greys[person.labels], _BORDER_VOXELS)
    parts = max(1, round(acquisition.voxel_mm[2] / _SAMPLE_MM))
    image = np.zeros(grid.shape, np.float32)
    for step in (np.arange(parts) + 0.5) / parts - 0.5:
        moved = grid.to_person @ nib.affines.from_matvec(np.eye(3), [0, 0, step])
        image += sampled(smooth, person.affine, moved, grid.shape, order=1) / parts
    return image


def anywhere(index: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A random place (3,) mm in one of the voxels ``index`` (n, 3); None where there are none."""
    if not len(index):
        return None
    voxel = index[rng.integers(len(index))] + rng.uniform(-0.5, 0.5, 3)
    return nib.affines.apply_affine(affine, voxel)


def _ellipsoid(
    centre: np.ndarray, radius: float, depth: float, rng: np.random.Generator
) -> Ellipsoid:
    """An ellipsoid of random axes. Draws: the rotation, three half axes."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return Ellipsoid(centre, turn * (radius * rng.uniform(*_HALF_AXES, 3))[:, None], depth)


def _microbleeds(
    number: int, labels: np.ndarray, affine: np.ndarray, rng: np.random.Generator
) -> list[tuple[Source, Ellipsoid]]:
    """Placed and sized as published ones are (``sources.PLACES``, ``sources.draw_size``)."""
    names, shares = list(sources.PLACES), list(sources.PLACES.values())
    voxels: dict[str, np.ndarray] = {}
    drawn = []
    for _ in range(number):
        place = str(rng.choice(names, p=shares))
        if place not in voxels:
            voxels[place] = np.argwhere(np.isin(labels, CODES_OF_PLACE[place]))
        centre = anywhere(voxels[place], affine, rng)
        if centre is None:
            raise ValueError(f"the label map holds no {place}")
        radius, _ = sources.draw_size(rng)
        ball = _ellipsoid(centre, radius, rng.uniform(*_BLEED_DEPTH), rng)
        drawn.append((_source("microbleed", ball, sources.GROUP_OF_PLACE[place]), ball))
    return drawn


def _source(kind: str, ball: Ellipsoid, group: str = "unknown") -> Source:
    radius = float(np.linalg.norm(ball.axes, axis=1).mean())
    return Source(kind, ball.centre, radius, 0.0, radius, None, group)


def _calcium(labels: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> list[Ellipsoid]:
    """Calcium of three in ten people: in both pallida or the choroid plexus, on both sides alike.

    Draws: whether, where, the place, the offset of the mirrored place, radii and shapes.
    """
    if rng.random() > _CALCIUM_SHARE:
        return []
    sides = an.PALLIDUM if rng.random() < 0.5 else an.LATERAL_VENTRICLES
    voxels = [np.argwhere(labels == side) for side in sides]
    here = anywhere(voxels[0], affine, rng)
    if here is None or not len(voxels[1]):
        return []
    left, right = (nib.affines.apply_affine(affine, index.mean(0)) for index in voxels)
    across = (right - left) / np.linalg.norm(right - left)
    middle = (left + right) / 2
    mirrored = here - 2 * ((here - middle) @ across) * across
    there = mirrored + rng.normal(0, _CALCIUM_OFFSET_MM, 3)
    return [
        _ellipsoid(place, rng.uniform(*_CALCIUM_MM), _CALCIUM_DEPTH, rng) for place in (here, there)
    ]


def _vein_beads(
    labels: np.ndarray, affine: np.ndarray, acquisition: aq.Acquisition, rng: np.random.Generator
) -> list[Ellipsoid]:
    """Veins along the sulci: tubes as rows of balls half a radius apart, which end in white matter.

    Draws of each vein: start, heading, radius, depth, length; then each turn.
    """
    cortex = ndimage.binary_dilation(np.isin(labels, an.CORTEX))
    fluid = np.argwhere((labels == an.CSF) & cortex)
    to_voxel = np.linalg.inv(affine)
    beads = []
    for _ in range(_VEINS[acquisition.contrast]):
        start = anywhere(fluid, affine, rng)
        if start is None:
            raise ValueError("the label map holds no fluid beside cortex")
        heading = rng.normal(size=3)
        radius, depth = rng.uniform(*_VEIN_RADIUS_MM), rng.uniform(*_VEIN_DEPTH)
        steps = int(rng.uniform(*_VEIN_MM) / (radius / 2))
        vein = [
            Ellipsoid(at, np.eye(3) * radius, 1 - (1 - depth) ** _BEAD_POWER)
            for at in _vein_path(labels, to_voxel, start, heading, radius, steps, rng)
        ]
        if len(vein) * radius / 2 >= _LEAST_VEIN_MM:
            beads += vein
    return beads


def _vein_path(
    labels: np.ndarray,
    to_voxel: np.ndarray,
    start: np.ndarray,
    heading: np.ndarray,
    radius: float,
    steps: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Points (3,) mm half a radius apart, until the vein leaves the brain or meets white matter."""
    path, at = [], start
    for _ in range(steps):
        heading = heading + rng.normal(0, _VEIN_WANDER * np.sqrt(radius), 3)
        heading /= np.linalg.norm(heading)
        at = at + heading * radius / 2
        voxel = np.round(nib.affines.apply_affine(to_voxel, at)).astype(int)
        if (voxel < 0).any() or (voxel >= labels.shape).any():
            break
        code = labels[tuple(voxel)]
        if code in an.WHITE or code > an.OUTSIDE_CODES_START:
            break
        path.append(at)
    return path


def darken(image: np.ndarray, affine: np.ndarray, ball: Ellipsoid) -> None:
    """Multiply ``image`` (x, y, z) by what ``ball`` leaves, averaged over samples of each voxel.

    ``affine`` (4, 4) takes the image's voxels to the mm of the ball.
    """
    voxel = nib.affines.voxel_sizes(affine)
    reach = np.linalg.norm(ball.axes, axis=1).max() * _REACH_RADII
    at = nib.affines.apply_affine(np.linalg.inv(affine), ball.centre)
    low = np.maximum(np.floor(at - reach / voxel), 0).astype(int)
    high = np.minimum(np.ceil(at + reach / voxel) + 1, image.shape).astype(int)
    if (low >= high).any():
        return
    parts = np.maximum(1, np.round(voxel / _SAMPLE_MM)).astype(int)
    axes = [
        (np.arange((b - a) * n) + 0.5) / n - 0.5 + a
        for a, b, n in zip(low, high, parts, strict=True)
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    unit = (nib.affines.apply_affine(affine, grid) - ball.centre) @ np.linalg.inv(ball.axes)
    edge = (np.linalg.norm(unit, axis=-1) - 1) / _EDGE_RADII
    left = 1 - ball.depth / (1 + np.exp(edge))
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    image[box] *= block_reduce(left, tuple(parts), np.mean).astype(np.float32)


def _shading(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Smooth factor (x, y, z) of the coil. Draws: 27 control points."""
    control = rng.normal(0, _SHADING_SD, (_SHADING_POINTS,) * 3)
    zoom = np.array(shape) / _SHADING_POINTS
    return np.exp(ndimage.zoom(control, zoom, order=2, mode="nearest"))


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.simulate.plain OUT [--participants N] [--anatomy FOLDER]``."""
    return command.simulate_as(
        "python -m cmburden.simulate.plain", list(aq.PRESETS), 4, write_participant, arguments
    )


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
