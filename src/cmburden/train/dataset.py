"""Training scans: simulated slabs on the network's grid, each a compressed .npz file."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from cmburden.core.errors import CMBurdenError, told
from cmburden.core.files import whole_file
from cmburden.core.keys import seed_of
from cmburden.detect.grid import to_network
from cmburden.simulate import acquisition as aq
from cmburden.simulate import anatomy as an
from cmburden.simulate.scan import simulate
from cmburden.simulate.sources import crowded_findings


def flatten(image: np.ndarray, mask: np.ndarray, spacing) -> np.ndarray:
    """Divide by the slow change of brightness in the brain: what N4 leaves, without N4's time.

    A Gaussian of 22 mm over the mask, on blocks of about 5 mm and interpolated.
    """
    factor = np.maximum(1, np.round(5.0 / np.array(spacing))).astype(int)
    padding = [(0, -n % f) for n, f in zip(image.shape, factor, strict=True)]
    split = [n for size, f in zip(image.shape, factor, strict=True) for n in (-(-size // f), f)]
    weight, level = (
        np.pad(volume, padding).reshape(split).mean((1, 3, 5))
        for volume in (mask.astype(np.float32), (image * mask).astype(np.float32))
    )
    sigma = 22 / (np.array(spacing) * factor)
    weight, level = (ndimage.gaussian_filter(v, sigma, mode="constant") for v in (weight, level))
    level = np.where(weight > 0.02, level / np.maximum(weight, 1e-3), np.median(image[mask]))
    fine = ndimage.zoom(level, factor, order=1, grid_mode=True, mode="nearest")
    flat = image / np.maximum(fine[tuple(slice(n) for n in image.shape)], 1e-6)
    return flat / np.median(flat[mask])


def training_slab(
    anatomy: an.Anatomy, seed: int, *, extent: tuple[float, float],
    presets: tuple[str, ...] = tuple(aq.PRESETS), without: tuple[str, ...] = (),
) -> dict[str, np.ndarray]:  # fmt: skip
    """A slab of a random acquisition (or a varied preset), crowded with microbleeds and mimics.

    ``extent`` is the range of heights in mm, ``presets`` those to choose from. Presets named in
    ``without``, and random acquisitions like them, are not drawn.
    """
    rng = np.random.default_rng(seed)
    presets = [name for name in presets if name not in without]
    if presets and rng.random() < 0.5:
        acquisition = aq.vary(aq.PRESETS[str(rng.choice(presets))], rng)
    else:
        acquisition = aq.random_acquisition(rng, tuple(aq.PRESETS[name] for name in without))
    acquisition = dataclasses.replace(acquisition, extent_mm=float(rng.uniform(*extent)))
    scan = simulate(
        anatomy,
        an.deformation(anatomy, rng),
        acquisition,
        rng,
        crowded_findings(rng, int(rng.integers(12, 45))),
    )
    mask = scan.brain
    # A brain mask of a real extraction errs by about a millimetre.
    if rng.random() < 0.6:
        change = ndimage.binary_erosion if rng.random() < 0.6 else ndimage.binary_dilation
        mask = change(mask, np.ones((3, 3, 1)), iterations=int(rng.integers(1, 3)))
    return slab_content(
        flatten(scan.image, mask, acquisition.voxel_mm),
        mask,
        scan.affine,
        centres=np.array([s.centre for s in scan.sources]).reshape(-1, 3),
        radii=np.array([s.visible_mm for s in scan.sources]),
        kinds=[s.kind for s in scan.sources],
        name=acquisition.name,
        contrast=acquisition.contrast,
        person=anatomy.name,
    )


def slab_content(
    flat: np.ndarray, mask: np.ndarray, affine: np.ndarray, *, centres: np.ndarray,
    radii: np.ndarray, kinds: list[str], name: str, contrast: str, person: str,
) -> dict[str, np.ndarray]:  # fmt: skip
    """What a slab file holds, of simulated scans and of a user's own alike.

    ``flat`` (x, y, z) has median 1 in ``mask`` (bool); ``affine`` to scanner RAS mm; ``centres``
    (n, 3) in those mm with ``radii`` (n,) in mm and ``kinds``; ``name`` of the acquisition, by
    which one is left out, and ``person``, by whom folds are made.
    """
    network = to_network(flat, mask, affine)
    inverse = np.linalg.inv(network.affine)
    return {
        # The scan itself, for the candidates' views and measures.
        "scan": flat.astype(np.float16),
        "scan_mask": mask.astype(bool),
        "affine": affine,
        "centre_mm": centres.astype(np.float32),
        # On the network's grid, for patches.
        "image": network.image.astype(np.float16),
        "mask": network.mask.astype(np.uint8),
        "spacing": np.array(network.spacing_mm, np.float32),
        "centre": nib.affines.apply_affine(inverse, centres).astype(np.float32).reshape(-1, 3),
        "radius": radii.astype(np.float32),
        "kind": np.array(kinds, dtype=str),
        "name": np.array(name),
        "contrast": np.array(contrast),
        "person": np.array(person),
    }


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.train.dataset OUT --anatomy DIR --people 1-10 --slabs 160``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--anatomy", type=Path, default=None)
    parser.add_argument("--people", default="1-10", help="label maps to use, first-last from 1")
    parser.add_argument("--slabs", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--presets", nargs="+", default=list(aq.PRESETS), choices=list(aq.PRESETS),
                        help="presets of the half that is not random (default: all)")  # fmt: skip
    parser.add_argument("--without", nargs="*", default=[], choices=list(aq.PRESETS),
                        help="presets to leave out, and acquisitions like them")  # fmt: skip
    parser.add_argument("--extent", type=float, nargs=2, default=(32.0, 56.0), help="height, mm")
    parser.add_argument("--part", default="0/1", help="this process's share, i/n")
    args = parser.parse_args(arguments)
    if not set(args.presets) - set(args.without):
        raise CMBurdenError(
            f"--without {' '.join(args.without)} leaves out every one of --presets: "
            "name others in --presets, or leave it away"
        )
    # The template among the people: one anatomy more, and the one that the demo has.
    maps = [*an.selected(an.available(args.anatomy), args.people), None]
    part, parts = (int(n) for n in args.part.split("/"))
    for number in range(part, args.slabs, parts):
        target = args.out / f"slab-{number:04d}.npz"
        if target.exists():
            continue
        slab = training_slab(
            an.load(maps[number % len(maps)]), seed_of("slab", args.seed, number),
            extent=tuple(args.extent), presets=tuple(args.presets), without=tuple(args.without),
        )  # fmt: skip
        with whole_file(target) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **slab)
        print(target.name, slab["image"].shape, str(slab["name"]), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
