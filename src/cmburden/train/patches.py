"""Training patches of the 3D CNN: where they are cut from a slab, their truth, their variation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

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
#: Steps between 0 and 1 in which a slab holds the truth: errors stay below 0.002.
TRUTH_STEPS = 254
#: Flags of a voxel.
IN_BRAIN, NEAR_LESION = 1, 2
#: Normal draws that noise is taken from.
_POOL = 1 << 20
#: All numbers of float16 from 0 to CLIP, in the order of their bits.
_NUMBERS = torch.from_numpy(
    np.arange(np.float16(CLIP).view(np.uint16) + 1, dtype=np.uint16)
    .view(np.float16)
    .astype(np.float32)
)


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


class Drawable:
    """A slab that patches are drawn from, with all that is the same for every patch.

    Attributes
    ----------
    shape : (3,) int
        Voxels of the slab; the volumes are at least as large as a patch.
    microbleeds, mimics : (n, 3)
        Centres in voxels.
    bits : (x, y, slice) uint16
        The image as bits of float16: an index into a table of brightness.
    truth : (x, y, slice) uint8
        :func:`target` in steps of ``1 / TRUTH_STEPS``; one more than these at faint lesions.
    flags : (x, y, slice) uint8
        ``IN_BRAIN`` and ``NEAR_LESION``.
    """

    def __init__(self, slab: PatchSource) -> None:
        self.shape = np.array(slab.image.shape)
        self.microbleeds, self.mimics = slab.microbleeds.centre, slab.mimics.centre
        # The sum turns -0 into 0, whose bits are the first of the table.
        image = np.clip(slab.image.astype(np.float16), 0, CLIP) + np.float16(0)
        self.bits = _filled(image.view(np.uint16))
        truth = target(slab.image.shape, slab.microbleeds, slab.spacing)
        steps = np.round(truth * TRUTH_STEPS).astype(np.uint8)
        # Readers disagree on faint lesions: the loss leaves them out (detector.loss_of).
        faint = target(slab.image.shape, slab.faint, slab.spacing) > 0
        steps[faint & (steps == 0)] = TRUTH_STEPS + 1
        near = ndimage.maximum_filter(steps > 0, LESION_MARGIN)
        flags = (slab.mask > 0) * np.uint8(IN_BRAIN) + near * np.uint8(NEAR_LESION)
        self.truth, self.flags = _filled(steps), _filled(flags)


def _filled(volume: np.ndarray) -> np.ndarray:
    """``volume`` (x, y, slice), filled up with 0 to the size of a patch at least."""
    lacking = np.maximum(np.array(PATCH) - volume.shape, 0)
    return np.pad(volume, [(0, n) for n in lacking]) if lacking.any() else volume


@dataclasses.dataclass(frozen=True)
class Patch:
    """A part of a slab with its truth, and where in the slab it lies.

    Attributes
    ----------
    image : (x, y, slice) float32
    steps, flags : (x, y, slice) uint8
        As ``truth`` and ``flags`` of :class:`Drawable`.
    low : (3,) int
        The slab's voxel at the patch's lowest corner, before mirroring.
    mirrored : tuple of bool
        Axes of the slab that are mirrored in the patch.
    turned : bool
        Whether the first two axes are exchanged, after mirroring.
    """

    image: np.ndarray
    steps: np.ndarray
    flags: np.ndarray
    low: np.ndarray
    mirrored: tuple[bool, ...]
    turned: bool

    @property
    def mask(self) -> np.ndarray:
        """Brain mask (x, y, slice) float32."""
        return (self.flags & IN_BRAIN).astype(np.float32)

    @property
    def truth(self) -> np.ndarray:
        """Truth (x, y, slice) float32: :func:`target`, or ``NO_PART`` at faint lesions."""
        return truth_of(torch.from_numpy(self.steps)).numpy()

    def in_slab(self, index: np.ndarray) -> np.ndarray:
        """Voxel of the slab (3,) at voxel ``index`` (3,) of the patch."""
        return in_slab(index, self.image.shape, self.low, self.mirrored, self.turned)


def in_slab(
    index: np.ndarray,
    shape: Sequence[int],
    low: np.ndarray,
    mirrored: Sequence[bool],
    turned: bool,
) -> np.ndarray:
    """Voxel of the slab (3,) at voxel ``index`` (3,) of a patch of ``shape`` (:class:`Patch`)."""
    index, size = np.array(index), np.array(shape)
    if turned:
        index, size = index[[1, 0, 2]], size[[1, 0, 2]]
    return np.where(mirrored, size - 1 - index, index) + low


def truth_of(steps: torch.Tensor) -> torch.Tensor:
    """Truth float32 of ``Drawable.truth`` (any shape)."""
    return torch.where(steps > TRUTH_STEPS, float(NO_PART), steps.float() / TRUTH_STEPS)


def draw_patch(slab: Drawable, hard: np.ndarray, rng: np.random.Generator) -> Patch:
    """A patch of ``PATCH`` voxels about a source, a ``hard`` place (n, 3 in voxels) or anywhere.

    Brightness and noise vary, axes are mirrored and exchanged. Where the slab is smaller, the patch
    is filled up with 0.
    """
    middle = _middle(slab, hard, rng)
    wanted = np.array(PATCH)
    low = np.round(middle + rng.uniform(-SHIFT, SHIFT, 3) * wanted - wanted / 2).astype(int)
    low = np.clip(low, 0, np.maximum(slab.shape - wanted, 0))
    placing = _Placing(low, *_directions(rng))
    image = np.take(_brightness(rng), placing.of(slab.bits), mode="clip")
    _add_noise(image, rng)
    steps, flags = placing.of(slab.truth), placing.of(slab.flags)
    return Patch(image, steps, flags, low, placing.mirrored, placing.turned)


def _directions(rng: np.random.Generator) -> tuple[tuple[bool, ...], bool]:
    """Which axes are mirrored, and whether the first two are exchanged."""
    return tuple(bool(rng.random() < 0.5) for _ in range(3)), bool(rng.random() < 0.5)


@dataclasses.dataclass(frozen=True)
class _Placing:
    """The box of a slab from voxel ``low`` (3,) on, and how it comes to lie in a patch."""

    low: np.ndarray
    mirrored: tuple[bool, ...]
    turned: bool

    def of(self, volume: np.ndarray) -> np.ndarray:
        """The box of ``volume``, mirrored, then turned; contiguous."""
        part = volume[tuple(slice(a, a + n) for a, n in zip(self.low, PATCH, strict=True))]
        part = part[tuple(slice(None, None, -1 if flip else 1) for flip in self.mirrored)]
        return np.ascontiguousarray(part.transpose(1, 0, 2) if self.turned else part)


def _middle(slab: Drawable, hard: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The voxel (3,) that a patch is about."""
    pick = rng.random()
    microbleeds, mimics = slab.microbleeds, slab.mimics
    if pick < ABOUT_MICROBLEED and len(microbleeds):
        return microbleeds[rng.integers(len(microbleeds))]
    if pick < ABOUT_MIMIC and len(mimics):
        return mimics[rng.integers(len(mimics))]
    if pick < ABOUT_HARD_PLACE and len(hard):
        return hard[rng.integers(len(hard))].astype(float)
    middle = rng.uniform(0, slab.shape)
    for _ in range(ATTEMPTS - 1):
        if slab.flags[tuple(middle.astype(int))] & IN_BRAIN:
            break
        middle = rng.uniform(0, slab.shape)
    return middle


def _brightness(rng: np.random.Generator) -> np.ndarray:
    """Brightness float32 of each number that the image may hold, with another gamma and gain."""
    gamma = rng.uniform(*GAMMA) if rng.random() < GAMMA_SHARE else 1.0
    return (_NUMBERS**gamma).mul_(rng.uniform(*GAIN)).clamp_(max=CLIP).numpy()


def _add_noise(image: np.ndarray, rng: np.random.Generator) -> None:
    """Add noise to a share of all images, in place, clipped as the network's input is."""
    if rng.random() < NOISE_SHARE:
        sd, pool = rng.uniform(*NOISE_SD), _noise_pool()
        first = rng.integers(len(pool) - image.size)
        noise = pool[first : first + image.size].view(image.shape)
        torch.from_numpy(image).add_(noise, alpha=sd).clamp_(0, CLIP)


@lru_cache(maxsize=1)
def _noise_pool() -> torch.Tensor:
    """Normal draws, of which each image takes a stretch: drawing takes longer than all else."""
    draws = np.random.default_rng(0).standard_normal(_POOL, dtype=np.float32)
    return torch.from_numpy(draws)


class HardPlaces:
    """For each slab the last places that the network wrongly took for a lesion.

    Training itself finds them: no pass over whole slabs is needed to mine them. A place is drawn
    from ``LAG`` steps after it was seen: patches are drawn ahead of the step that learns them, and
    must not depend on how far ahead.
    """

    #: Places that a slab has at most. Unmeasured.
    MOST = 48
    #: Steps after which a place takes part. More than batches are drawn ahead.
    LAG = 16

    def __init__(self, places: dict[str, torch.Tensor] | None = None) -> None:
        #: Of each slab the step and the voxel (n, 4) int32 of each place, oldest first.
        self.places = {name: rows.cpu().numpy() for name, rows in (places or {}).items()}

    def of(self, name: str, step: int) -> np.ndarray:
        """Voxels (n, 3) of the slab ``name`` that a patch of ``step`` may be about."""
        rows = self.places.get(name)
        if rows is None:
            return np.zeros((0, 3), np.int32)
        return rows[rows[:, 0] <= step - self.LAG][-self.MOST :, 1:]

    def update(self, step: int, batch: Batch, probability: np.ndarray) -> None:
        """Add the worst false alarm of each patch of ``batch``, which ``step`` has learnt.

        ``probability`` (n, x, y, slice) is the network's.
        """
        wrong = np.where(batch.flags.numpy() >= NEAR_LESION, 0, probability)
        worst = wrong.reshape(len(wrong), -1).argmax(1)
        for number, (name, flat) in enumerate(zip(batch.names, worst, strict=True)):
            index = np.unravel_index(int(flat), wrong.shape[1:])
            if wrong[number][index] > HARD_P:
                place = batch.in_slab(number, np.array(index))
                row = np.array([[step, *place]], np.int32)
                before = self.places.get(name, row[:0])
                seen = before[:, 0] <= step - self.LAG
                kept = [before[seen][-self.MOST :], before[~seen], row]
                self.places[name] = np.concatenate(kept)

    def state(self) -> dict[str, torch.Tensor]:
        """The places as tensors, for a checkpoint."""
        return {name: torch.from_numpy(rows) for name, rows in self.places.items()}


@dataclasses.dataclass(frozen=True)
class Batch:
    """The n patches of a step, as small as they are passed on between processes.

    ``image`` (n, x, y, slice) float16, ``steps`` and ``flags`` (n, x, y, slice) uint8, ``low``
    (n, 3), ``mirrored`` (n, 3) and ``turned`` (n,) are as those of :class:`Patch`; ``names`` are
    the slabs'.
    """

    names: list[str]
    image: torch.Tensor
    steps: torch.Tensor
    flags: torch.Tensor
    low: np.ndarray
    mirrored: np.ndarray
    turned: np.ndarray

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU copies from."""
        return self._each(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device) -> Batch:
        """The batch on ``device``."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        image, steps, flags = (change(one) for one in (self.image, self.steps, self.flags))
        return dataclasses.replace(self, image=image, steps=steps, flags=flags)

    @property
    def images(self) -> torch.Tensor:
        """Image and brain mask (n, 2, x, y, slice) float32: what the network sees."""
        images = torch.stack([self.image.float(), (self.flags & IN_BRAIN).float()], 1)
        return images.contiguous(memory_format=torch.channels_last_3d)

    @property
    def truth(self) -> torch.Tensor:
        """The truth (n, 1, x, y, slice) float32, ``NO_PART`` at faint lesions."""
        return truth_of(self.steps)[:, None]

    def in_slab(self, number: int, index: np.ndarray) -> np.ndarray:
        """Voxel of the slab (3,) at voxel ``index`` (3,) of the patch ``number``."""
        shape, at = self.flags.shape[1:], (self.low, self.mirrored, self.turned)
        return in_slab(index, shape, *(rows[number] for rows in at))


def names_of(slabs: Sequence[str], number: int, rng: np.random.Generator) -> list[str]:
    """The slabs of a batch of ``number`` patches, drawn from all ``slabs``."""
    return [slabs[int(rng.integers(len(slabs)))] for _ in range(number)]


def draw_batch(
    slabs: Mapping[str, Drawable],
    names: list[str],
    hard: Mapping[str, np.ndarray],
    rng: np.random.Generator,
) -> Batch:
    """A patch of each of ``names`` in ``slabs``; ``hard`` holds the hard places of each."""
    drawn = [draw_patch(slabs[name], hard[name], rng) for name in names]
    return Batch(
        names,
        torch.from_numpy(np.stack([patch.image for patch in drawn])).half(),
        torch.from_numpy(np.stack([patch.steps for patch in drawn])),
        torch.from_numpy(np.stack([patch.flags for patch in drawn])),
        np.array([patch.low for patch in drawn]),
        np.array([patch.mirrored for patch in drawn]),
        np.array([patch.turned for patch in drawn]),
    )
