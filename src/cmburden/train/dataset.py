"""Training scans: simulated slabs, crowded with microbleeds and mimics."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.keys import seed_of
from cmburden.detect.grid import to_network
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate.scan import simulate
from cmburden.simulate.sources import crowded_findings
from cmburden.train import slabs
from cmburden.train.slabs import Slab, Spheres

#: Standard deviation of the Gaussian that follows the slow change of brightness, and the size of
#: the blocks that it is computed on, mm. By eye.
FLATTEN_SD_MM, FLATTEN_BLOCK_MM = 22, 5.0
#: Blocks whose smoothed share of brain is below this take the median instead; divisors are at
#: least the second and third number.
LEAST_WEIGHT, LEAST_DIVISOR, LEAST_LEVEL = 0.02, 1e-3, 1e-6
#: Share of slabs of a varied preset; the others are of random acquisitions.
PRESET_SHARE = 0.5
#: Share of the slabs of a varied preset whose SWI another software masked.
REPROCESSED_SHARE = 0.4
#: Slices up to this thickness, mm, show a short stretch of a vein as long: three of them are the
#: 6 mm that the shortest stretch has.
THIN_MM = 2.0
#: Sources of a slab, from the first number to below the second.
FINDINGS = (12, 45)
#: Share of slabs whose mask errs, and of these the share whose mask is too small rather than too
#: large, by one or two voxels in plane: masks of a real extraction err by about a millimetre.
MASK_ERROR_SHARE, ERODED_SHARE = 0.6, 0.6


@dataclasses.dataclass(frozen=True)
class Choice:
    """What the acquisition of a slab is drawn from.

    ``extent_mm`` is the range of heights, ``presets`` the names to choose from. Presets named in
    ``without``, and random acquisitions like them, are not drawn.
    """

    extent_mm: tuple[float, float]
    presets: tuple[str, ...] = tuple(aq.PRESETS)
    without: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class About:
    """Where a slab is from: acquisition or cohort, GRE or SWI, person."""

    name: str
    contrast: str
    person: str


def flatten(image: np.ndarray, mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """``image`` (x, y, z) without the slow change of brightness in ``mask``, of median 1 there.

    The division leaves about what N4 leaves, without the time that N4 takes. The slow change is a
    Gaussian mean over the mask, on blocks of ``FLATTEN_BLOCK_MM`` and interpolated; ``spacing``
    is in mm.
    """
    factor = np.maximum(1, np.round(FLATTEN_BLOCK_MM / np.array(spacing))).astype(int)
    padding = [(0, -n % f) for n, f in zip(image.shape, factor, strict=True)]
    split = [n for size, f in zip(image.shape, factor, strict=True) for n in (-(-size // f), f)]
    weight, level = (
        np.pad(volume, padding).reshape(split).mean((1, 3, 5))
        for volume in (mask.astype(np.float32), (image * mask).astype(np.float32))
    )
    sigma = FLATTEN_SD_MM / (np.array(spacing) * factor)
    weight, level = (ndimage.gaussian_filter(v, sigma, mode="constant") for v in (weight, level))
    level = np.where(
        weight > LEAST_WEIGHT, level / np.maximum(weight, LEAST_DIVISOR), np.median(image[mask])
    )
    fine = ndimage.zoom(level, factor, order=1, grid_mode=True, mode="nearest")
    flat = image / np.maximum(fine[tuple(slice(n) for n in image.shape)], LEAST_LEVEL)
    return flat / np.median(flat[mask])


def training_slab(anatomy: an.Anatomy, seed: int, choice: Choice) -> Slab:
    """A slab of a random acquisition or a varied preset; equal for equal arguments."""
    rng = np.random.default_rng(seed)
    acquisition = _acquisition(choice, rng)
    scan = simulate(
        anatomy,
        an.deformation(anatomy, rng),
        acquisition,
        rng,
        crowded_findings(rng, int(rng.integers(*FINDINGS)), _shows_length(acquisition)),
    )
    mask = scan.brain
    if rng.random() < MASK_ERROR_SHARE:
        eroded = rng.random() < ERODED_SHARE
        change = ndimage.binary_erosion if eroded else ndimage.binary_dilation
        mask = change(mask, np.ones((3, 3, 1)), iterations=int(rng.integers(1, 3)))
    centres = np.array([source.centre for source in scan.sources]).reshape(-1, 3)
    return make_slab(
        flatten(scan.image, mask, acquisition.voxel_mm),
        mask,
        scan.affine,
        Spheres(centres, np.array([source.visible_mm for source in scan.sources])),
        [source.kind for source in scan.sources],
        About(acquisition.name, acquisition.contrast, anatomy.name),
    )


def _shows_length(acquisition: aq.Acquisition) -> bool:
    """Whether a reader sees how long a vessel of any course is."""
    return max(acquisition.voxel_mm[2], acquisition.minip_mm) <= THIN_MM


def _acquisition(choice: Choice, rng: np.random.Generator) -> aq.Acquisition:
    presets = [name for name in choice.presets if name not in choice.without]
    if presets and rng.random() < PRESET_SHARE:
        acquisition = aq.vary(aq.PRESETS[str(rng.choice(presets))], rng)
        if rng.random() < REPROCESSED_SHARE:
            acquisition = aq.reprocessed(acquisition, rng)
    else:
        left_out = tuple(aq.PRESETS[name] for name in choice.without)
        acquisition = aq.random_acquisition(rng, left_out)
    return dataclasses.replace(acquisition, extent_mm=float(rng.uniform(*choice.extent_mm)))


def make_slab(
    flat: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    sources: Spheres,
    kinds: list[str],
    about: About,
) -> Slab:
    """The slab of a scan, simulated or a user's own.

    ``flat`` (x, y, z) has median 1 in ``mask`` (bool); ``affine`` leads to scanner RAS mm, in
    which the n ``sources`` are given, each of one of ``kinds``.
    """
    network = to_network(flat, mask, affine)
    voxels = nib.affines.apply_affine(np.linalg.inv(network.affine), sources.centre)
    return Slab(
        scan=flat.astype(np.float16),
        scan_mask=mask.astype(bool),
        affine=affine,
        centre_mm=sources.centre.astype(np.float32),
        image=network.image.astype(np.float16),
        mask=network.mask.astype(np.uint8),
        spacing=np.array(network.spacing_mm, np.float32),
        centre=voxels.astype(np.float32).reshape(-1, 3),
        radius=sources.radius.astype(np.float32),
        kind=np.array(kinds, dtype=str),
        name=about.name,
        contrast=about.contrast,
        person=about.person,
    )


def parser() -> argparse.ArgumentParser:
    """The step's arguments."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--anatomy", type=Path, default=None)
    parser.add_argument("--people", default="1-10", help="label maps to use, first-last from 1")
    parser.add_argument("--slabs", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--presets",
        nargs="+",
        default=list(aq.PRESETS),
        choices=list(aq.PRESETS),
        help="presets of the half that is not random (default: all)",
    )
    parser.add_argument(
        "--without",
        nargs="*",
        default=[],
        choices=list(aq.PRESETS),
        help="presets to leave out, and acquisitions like them",
    )
    parser.add_argument("--extent", type=float, nargs=2, default=(32.0, 56.0), help="height, mm")
    parser.add_argument("--part", default="0/1", help="this process's share, i/n")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """``cmburden train dataset OUT --anatomy DIR --people 1-10 --slabs 160``."""
    args = parser().parse_args(arguments)
    if not set(args.presets) - set(args.without):
        raise CMBurdenError(
            f"--without {' '.join(args.without)} leaves out every one of --presets: "
            "name others in --presets, or leave it away"
        )
    choice = Choice(tuple(args.extent), tuple(args.presets), tuple(args.without))
    # The template is one person more: the demo has its anatomy.
    maps = [*an.selected(an.available(args.anatomy), args.people), None]
    part, parts = (int(n) for n in args.part.split("/"))
    for number in range(part, args.slabs, parts):
        target = slabs.slab_path(args.out, number)
        if target.exists():
            continue
        anatomy = an.load(maps[number % len(maps)])
        slab = training_slab(anatomy, seed_of("slab", args.seed, number), choice)
        slabs.save(target, slab)
        print(target.name, slab.image.shape, slab.name, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
