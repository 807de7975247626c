"""Training patches of the 3D CNN: where they are cut from a slab, their truth, their variation."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from scipy import ndimage

from cmburden.detect.grid import CLIP
from cmburden.train.slabs import PatchSource, Spheres

#: Voxels of a training patch on the network's grid.
PATCH = (48, 48, 12)
#: A uniform draw below the first number puts a patch about a microbleed, below the second about a
#: mimic, below the third about a hard place; other patches lie anywhere in the brain. Unmeasured.
ABOUT_MICROBLEED, ABOUT_MIMIC, ABOUT_HARD_PLACE = 0.45, 0.55, 0.8
#: A patch's middle is up to this share of its size away from the place that it is about.
SHIFT = 0.35
#: Attempts to draw a place in the brain; the last one is taken wherever it is.
ATTEMPTS = 4
#: Voxels beyond a patch in which a source may lie and still reach into the patch.
REACH = 8
#: The truth has at least this radius, mm: otherwise a small lesion may cover no voxel.
LEAST_RADIUS_MM = 0.9
#: Variation of brightness. Unmeasured.
GAMMA_SHARE, GAMMA = 0.5, (0.7, 1.4)
GAIN = (0.92, 1.08)
NOISE_SHARE, NOISE_SD = 0.3, (0, 0.05)
#: A false alarm above this probability is a hard place. Unmeasured.
HARD_P = 0.3
#: Voxels around a lesion (and a faint lesion) in which no place is hard.
LESION_MARGIN = (7, 7, 3)
#: Value of the truth where a voxel takes no part in the loss.
NO_PART = -1


def target(shape: tuple[int, ...], lesions: Spheres, spacing: np.ndarray) -> np.ndarray:
    """The truth of a box: 1 inside each lesion's visible sphere, falling to 0 over a voxel.

    The voxel nearest to a centre is 1 too. In thick slices the sphere reaches half a slice beyond
    itself, as the signal loss of a lesion does.

    ``shape`` is the box's in voxels, in which the centres of ``lesions`` are given too;
    ``spacing`` (3,) is in mm. Returns float32.
    """
    result = np.zeros(shape, np.float32)
    radii = np.maximum(lesions.radius, LEAST_RADIUS_MM)
    for centre, radius in zip(lesions.centre, radii, strict=True):
        half = np.array([radius, radius, max(radius, spacing[2] * 0.5)])
        reach = np.ceil((half + spacing) / spacing).astype(int)
        first = np.maximum(np.floor(centre).astype(int) - reach, 0)
        end = np.minimum(np.floor(centre).astype(int) + reach + 2, shape)
        if (first >= end).any():
            continue
        x, y, z = (
            (np.arange(a, b) - c) * s / h
            for a, b, c, s, h in zip(first, end, centre, spacing, half, strict=True)
        )
        # 1 on the surface of the ellipsoid with half axes ``half``.
        distance = np.sqrt(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None] ** 2)
        value = np.clip((1 - distance) * radius / spacing[0] + 1, 0, 1)
        box = tuple(slice(a, b) for a, b in zip(first, end, strict=True))
        result[box] = np.maximum(result[box], value)
    return result


@dataclasses.dataclass(frozen=True)
class Patch:
    """A part of a slab with its truth, and where in the slab it lies.

    Attributes
    ----------
    image, mask, truth : (x, y, slice) float32
        All of one shape. ``truth`` is :func:`target`, or ``NO_PART`` at faint lesions.
    low : (3,) int
        The slab's voxel at the patch's lowest corner, before mirroring.
    mirrored : tuple of bool
        Axes of the slab that are mirrored in the patch.
    turned : bool
        Whether the first two axes are exchanged, after mirroring.
    """

    image: np.ndarray
    mask: np.ndarray
    truth: np.ndarray
    low: np.ndarray
    mirrored: tuple[bool, ...]
    turned: bool

    def in_slab(self, index: np.ndarray) -> np.ndarray:
        """Voxel of the slab (3,) at voxel ``index`` (3,) of the patch."""
        index, size = np.array(index), np.array(self.image.shape)
        if self.turned:
            index, size = index[[1, 0, 2]], size[[1, 0, 2]]
        return np.where(self.mirrored, size - 1 - index, index) + self.low


def draw_patch(
    slab: PatchSource,
    hard: np.ndarray,
    rng: np.random.Generator,
    size: tuple[int, int, int] = PATCH,
) -> Patch:
    """A patch of ``size`` voxels about a source, a ``hard`` place (n, 3 in voxels) or anywhere.

    Brightness and noise vary, axes are mirrored and exchanged. Where the slab is smaller than
    ``size``, the patch is filled up with 0.
    """
    middle = _middle(slab, hard, rng)
    wanted = np.array(size)
    low = np.round(middle + rng.uniform(-SHIFT, SHIFT, 3) * wanted - wanted / 2).astype(int)
    low = np.clip(low, 0, np.maximum(np.array(slab.image.shape) - wanted, 0))
    high = np.minimum(low + wanted, slab.image.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    volumes = [slab.image[box].astype(np.float32), slab.mask[box].astype(np.float32)]
    volumes.append(_truth(slab, low, high))
    pad = [(0, n - s) for n, s in zip(wanted, volumes[0].shape, strict=True)]
    volumes = [np.pad(volume, pad) for volume in volumes]
    volumes[0] = _varied(volumes[0], rng)
    mirrored = tuple(bool(rng.random() < 0.5) for _ in range(3))
    turned = bool(rng.random() < 0.5)
    image, mask, truth = (_placed(volume, mirrored, turned) for volume in volumes)
    return Patch(image, mask, truth, low, mirrored, turned)


def _placed(volume: np.ndarray, mirrored: tuple[bool, ...], turned: bool) -> np.ndarray:
    """``volume`` with the marked axes mirrored, then the first two exchanged if ``turned``."""
    for axis in range(3):
        if mirrored[axis]:
            volume = np.flip(volume, axis)
    if turned:
        volume = volume.transpose(1, 0, 2)
    return np.ascontiguousarray(volume, dtype=np.float32)


def _middle(slab: PatchSource, hard: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The voxel (3,) that a patch is about."""
    pick = rng.random()
    microbleeds, mimics = slab.microbleeds.centre, slab.mimics.centre
    if pick < ABOUT_MICROBLEED and len(microbleeds):
        return microbleeds[rng.integers(len(microbleeds))]
    if pick < ABOUT_MIMIC and len(mimics):
        return mimics[rng.integers(len(mimics))]
    if pick < ABOUT_HARD_PLACE and len(hard):
        return hard[rng.integers(len(hard))].astype(float)
    middle = rng.uniform(0, slab.image.shape)
    for _ in range(ATTEMPTS - 1):
        if slab.mask[tuple(middle.astype(int))]:
            break
        middle = rng.uniform(0, slab.image.shape)
    return middle


def _truth(slab: PatchSource, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Truth of the voxels from ``low`` to below ``high`` (3,)."""

    def drawn(sources: Spheres) -> np.ndarray:
        near = ((sources.centre > low - REACH) & (sources.centre < high + REACH)).all(1)
        in_box = Spheres(sources.centre[near] - low, sources.radius[near])
        return target(tuple(high - low), in_box, slab.spacing)

    truth = drawn(slab.microbleeds)
    # Readers disagree on faint lesions: the loss leaves them out (detector.loss_of).
    truth[(drawn(slab.faint) > 0) & (truth == 0)] = NO_PART
    return truth


def _varied(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``image`` with another gamma, gain and noise, clipped as the network's input is."""
    if rng.random() < GAMMA_SHARE:
        image = np.clip(image, 0, None) ** rng.uniform(*GAMMA)
    image = image * rng.uniform(*GAIN)
    if rng.random() < NOISE_SHARE:
        image = image + rng.normal(0, rng.uniform(*NOISE_SD), image.shape).astype(np.float32)
    return np.clip(image, 0, CLIP)


class HardPlaces:
    """For each slab the last places that the network wrongly took for a lesion.

    Training itself finds them: no pass over whole slabs is needed to mine them.
    """

    #: Places that a slab has at most. Unmeasured.
    MOST = 48

    def __init__(self, places: dict[str, torch.Tensor] | None = None) -> None:
        self.places = {name: rows.cpu().numpy() for name, rows in (places or {}).items()}

    def of(self, name: str) -> np.ndarray:
        """Voxels (n, 3) int16 of the slab ``name``."""
        return self.places.get(name, np.zeros((0, 3), np.int16))

    def update(self, names: list[str], patches: list[Patch], probability: torch.Tensor) -> None:
        """Add the worst false alarm of each patch.

        ``probability`` (n, 1, x, y, slice) is the network's on ``patches``, which are of the slabs
        ``names``.
        """
        for name, patch, p in zip(names, patches, probability[:, 0].numpy(), strict=True):
            lesion = ndimage.maximum_filter(np.abs(patch.truth), LESION_MARGIN) > 0
            wrong = np.where(lesion, 0, p)
            worst = np.unravel_index(int(wrong.argmax()), wrong.shape)
            if wrong[worst] > HARD_P:
                place = patch.in_slab(np.array(worst)).astype(np.int16)
                self.places[name] = np.concatenate([self.of(name), place[None]])[-self.MOST :]

    def state(self) -> dict[str, torch.Tensor]:
        """The places as tensors, for a checkpoint."""
        return {name: torch.from_numpy(rows) for name, rows in self.places.items()}
