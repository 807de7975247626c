"""A second, plainer simulator of whole scans: ``python -m cmburden.simulate.plain OUT``.

Networks that only know one simulator may know its tricks. Here nothing is physics: a microbleed is
a dark ellipsoid with a soft edge, a vein a dark tube, tissue one grey a label, all averaged over
the voxel. Label maps, presets' voxel sizes, published sizes and places and the reader's rule are
all that it shares with ``scan.simulate``; no network is trained or calibrated on its scans.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from cmburden.core import tables
from cmburden.core.errors import told
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate import cohort, reader, sources
from cmburden.simulate.scan import Simulated
from cmburden.simulate.sources import Source

#: Grey of a label in GRE and in SWI; others as grey matter.
_GREY = {
    "GRE": {**dict.fromkeys(an.WHITE, 0.75), **dict.fromkeys(an.PALLIDUM, 0.6)},
    "SWI": {**dict.fromkeys(an.WHITE, 0.82), **dict.fromkeys(an.PALLIDUM, 0.65)},
}
_OUTSIDE = {0: 0.02, an.AIR: 0.02, an.BONE: 0.12, an.MARROW: 0.6, an.SOFT: 0.55}
_FLUID = {"GRE": 1.15, "SWI": 0.7}
#: Samples of a voxel: about this far apart, mm.
_SAMPLE_MM = 0.4
#: Veins of a scan: in SWI they are what there is most of.
_VEINS = {"GRE": 15, "SWI": 150}
#: A shorter piece of a vein would be a dot, which nobody can tell from a microbleed.
_LEAST_VEIN_MM = 8.0


@dataclasses.dataclass(frozen=True)
class Ellipsoid:
    """Dark by ``depth`` inside; ``axes`` (3, 3) mm are its half axes as rows."""

    centre: np.ndarray
    axes: np.ndarray
    depth: float


def write_participant(plan: cohort.Plan, root: Path) -> list[dict]:
    """One participant's scan below ``root``; returns its truth rows."""
    rng = np.random.default_rng(plan.seed)
    acquisition = aq.PRESETS[plan.cohort]
    made = simulate(an.load(plan.anatomy), acquisition, plan.n_microbleeds, rng)
    stem = f"{plan.participant_id}_{acquisition.suffix}"
    cohort.write_scan(root / plan.participant_id / "anat", stem, made, acquisition)
    return cohort.truth_rows(plan, stem, made)


def simulate(
    person: an.Anatomy, acquisition: aq.Acquisition, microbleeds: int, rng: np.random.Generator
) -> Simulated:
    """One scan (x, y, slice) of ``person`` with ``microbleeds`` and what is mistaken for them.

    A microbleed that the finished image does not show dark enough is 'faint', as in
    ``scan.simulate``.
    """
    affine, to_person, shape = _grid(person, acquisition, rng)
    labels = _sampled(person.labels, person.affine, to_person, shape)
    image = _tissue(person, acquisition, to_person, shape, rng)
    bleeds = _microbleeds(microbleeds, labels, affine, rng)
    stones = _calcium(labels, affine, rng)
    for ball in stones + _vein_beads(labels, affine, acquisition, rng):
        _darken(image, affine, ball)
    bare = image.copy()
    for _, ball in bleeds:
        _darken(image, affine, ball)
    shading = _shading(shape, rng)
    level = float(np.median((image * shading)[np.isin(labels, an.WHITE)]))
    noise = rng.normal(0, level / acquisition.snr, (2, *shape))
    image, bare = (
        np.hypot(clean * shading + noise[0], noise[1]).astype(np.float32) for clean in (image, bare)
    )
    brain = _sampled(person.brain, person.affine, to_person, shape) > 0
    parenchyma = an.parenchyma(labels)
    found = [reader.looked_at(source, image, bare, parenchyma, affine) for source, _ in bleeds]
    found += [_source("calcification", ball) for ball in stones]
    return Simulated(image, bare, np.zeros_like(image), affine, labels, brain, found, acquisition)


def _grid(person: an.Anatomy, acquisition: aq.Acquisition, rng):
    """A tilted box about the brain: voxels to scan mm, voxels to the person's mm, and its shape."""
    inside = nib.affines.apply_affine(person.affine, np.argwhere(person.brain)[::20])
    low, high = inside.min(0), inside.max(0)
    scale = rng.uniform(0.95, 1.05, 3) * [rng.choice([-1, 1]), 1, 1]
    to_person = nib.affines.from_matvec(np.diag(scale), (low + high) / 2)
    turn = nib.eulerangles.euler2mat(*np.deg2rad(rng.normal(0, [2, 2, 6])))
    voxel = np.array(acquisition.voxel_mm)
    shape = np.ceil(((high - low) * 1.06 + [24, 24, 14]) / voxel).astype(int)
    affine = nib.affines.from_matvec(turn * voxel, -(turn * voxel) @ ((shape - 1) / 2))
    return affine, to_person @ affine, tuple(int(n) for n in shape)


def _sampled(volume, own_affine, affine, shape, order: int = 0) -> np.ndarray:
    to_voxel = np.linalg.inv(own_affine) @ affine
    return ndimage.affine_transform(
        np.asarray(volume), to_voxel[:3, :3], to_voxel[:3, 3], shape, order=order
    )


def _tissue(person: an.Anatomy, acquisition, affine, shape, rng) -> np.ndarray:
    """Greys of the labels, a little different in each person, averaged through the slice."""
    table = np.full(600, 0.85 if acquisition.contrast == "GRE" else 0.88, np.float32)
    fluid = _FLUID[acquisition.contrast]
    table[[*an.VENTRICLES, an.CSF]] = fluid * rng.uniform(0.9, 1.1)
    for code, grey in {**_GREY[acquisition.contrast], **_OUTSIDE}.items():
        table[code] = grey
    table *= rng.normal(1, 0.03, 600).astype(np.float32)
    smooth = ndimage.gaussian_filter(table[person.labels], 0.6)
    parts = max(1, round(acquisition.voxel_mm[2] / _SAMPLE_MM))
    image = np.zeros(shape, np.float32)
    for step in (np.arange(parts) + 0.5) / parts - 0.5:
        moved = affine @ nib.affines.from_matvec(np.eye(3), [0, 0, step])
        image += _sampled(smooth, person.affine, moved, shape, order=1) / parts
    return image


def _anywhere(index: np.ndarray, affine, rng) -> np.ndarray | None:
    """A random place (mm) in one of the voxels ``index`` (n, 3); None where there are none."""
    if not len(index):
        return None
    voxel = index[rng.integers(len(index))] + rng.uniform(-0.5, 0.5, 3)
    return nib.affines.apply_affine(affine, voxel)


def _ellipsoid(centre, radius: float, depth: float, rng) -> Ellipsoid:
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return Ellipsoid(centre, turn * (radius * rng.uniform(0.75, 1.3, 3))[:, None], depth)


def _microbleeds(number: int, labels, affine, rng) -> list[tuple[Source, Ellipsoid]]:
    """Placed and sized as published ones are (``sources.PLACES``, ``sources.draw_size``)."""
    codes = {
        "subcortical white": an.WHITE, "cortex": an.CORTEX, "cerebellum": an.CEREBELLUM,
        "basal ganglia": an.BASAL_GANGLIA, "thalamus": an.THALAMUS, "brainstem": an.BRAINSTEM,
        "deep white": an.WHITE,
    }  # fmt: skip
    names, shares = list(sources.PLACES), list(sources.PLACES.values())
    voxels: dict[str, np.ndarray] = {}
    drawn = []
    for _ in range(number):
        place = str(rng.choice(names, p=shares))
        if place not in voxels:
            voxels[place] = np.argwhere(np.isin(labels, codes[place]))
        centre = _anywhere(voxels[place], affine, rng)
        radius, _ = sources.draw_size(rng)
        ball = _ellipsoid(centre, radius, rng.uniform(0.6, 0.95), rng)
        drawn.append((_source("microbleed", ball, sources.GROUP_OF_PLACE[place]), ball))
    return drawn


def _source(kind: str, ball: Ellipsoid, group: str = "unknown") -> Source:
    radius = float(np.linalg.norm(ball.axes, axis=1).mean())
    return Source(kind, ball.centre, radius, 0.0, radius, None, group)


def _calcium(labels, affine, rng) -> list[Ellipsoid]:
    """In three of ten people, in both pallida or the choroid plexus, on both sides alike."""
    if rng.random() > 0.3:
        return []
    one, other = ((13,), (52,)) if rng.random() < 0.5 else ((4,), (43,))
    voxels = [np.argwhere(np.isin(labels, side)) for side in (one, other)]
    here = _anywhere(voxels[0], affine, rng)
    if here is None or not len(voxels[1]):
        return []
    left, right = (nib.affines.apply_affine(affine, index.mean(0)) for index in voxels)
    across = (right - left) / np.linalg.norm(right - left)
    like = here - 2 * ((here - (left + right) / 2) @ across) * across + rng.normal(0, 1, 3)
    return [_ellipsoid(place, rng.uniform(1, 2), 0.7, rng) for place in (here, like)]


def _vein_beads(labels, affine, acquisition, rng) -> list[Ellipsoid]:
    """Veins along the sulci: tubes as rows of balls half a radius apart, which end in white
    matter."""
    beads = []
    fluid = np.argwhere((labels == an.CSF) & ndimage.binary_dilation(np.isin(labels, an.CORTEX)))
    to_voxel = np.linalg.inv(affine)
    for _ in range(_VEINS[acquisition.contrast]):
        at = _anywhere(fluid, affine, rng)
        ahead = rng.normal(size=3)
        radius, depth = rng.uniform(0.3, 0.8), rng.uniform(0.4, 0.8)
        vein = []
        for _ in range(int(rng.uniform(10, 40) / (radius / 2))):
            ahead += rng.normal(0, 0.12 * np.sqrt(radius), 3)
            ahead /= np.linalg.norm(ahead)
            at = at + ahead * radius / 2
            voxel = np.round(nib.affines.apply_affine(to_voxel, at)).astype(int)
            outside = (voxel < 0).any() or (voxel >= labels.shape).any()
            if outside or labels[tuple(voxel)] in an.WHITE or labels[tuple(voxel)] > 500:
                break
            vein.append(Ellipsoid(at, np.eye(3) * radius, depth))
        if len(vein) * radius / 2 >= _LEAST_VEIN_MM:
            beads += vein
    # Beads overlap: each takes its part of the tube's depth.
    return [dataclasses.replace(bead, depth=1 - (1 - bead.depth) ** 0.28) for bead in beads]


def _darken(image: np.ndarray, affine: np.ndarray, ball: Ellipsoid) -> None:
    """Multiply ``image`` by what ``ball`` leaves, averaged over samples of each voxel."""
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    reach = np.linalg.norm(ball.axes, axis=1).max() * 1.5
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
    # A soft edge: from inside to outside within a fifth of the radius.
    left = 1 - ball.depth / (1 + np.exp((np.linalg.norm(unit, axis=-1) - 1) / 0.1))
    counts = [n for pair in zip(high - low, parts, strict=True) for n in pair]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    image[box] *= left.reshape(counts).mean((1, 3, 5)).astype(np.float32)


def _shading(shape, rng) -> np.ndarray:
    control = rng.normal(0, 0.12, (3, 3, 3))
    return np.exp(ndimage.zoom(control, np.array(shape) / 3, order=2, mode="nearest"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cmburden.simulate.plain")
    parser.add_argument("out", type=Path, help="new BIDS folder; the truth goes beside it")
    parser.add_argument("--anatomy", type=Path, help="folder of label maps; none: MNI152 template")
    parser.add_argument("--people", help="label maps to use, first-last from 1")
    parser.add_argument("--participants", type=int, default=4, help="a preset (default 4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args(arguments)
    plans = cohort.prepared(
        args.out, list(aq.PRESETS), args.participants, args.seed, anatomy=args.anatomy,
        people=args.people, positive_share=0.6, t1w_share=0.0,
    )  # fmt: skip
    work = [(plan, args.out) for plan in plans]
    truth = cohort.write_all(write_participant, work, args.out, tables.TRUTH, args.jobs)
    real = truth[truth["kind"] == "microbleed"]
    print(f"{args.out}: {truth['scan_id'].nunique()} scans, {len(real)} microbleeds")
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
