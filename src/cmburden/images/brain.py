"""Brain extraction by deepbet's two networks, and how much of the brain a scan covers.

deepbet (Fisch et al., Comput Biol Med 2024, MIT) finds the brain's box on a grid of 128^3 and the
brain within the box on a grid of 256^3, whatever the voxel size. deepbet's own class reads,
reorients and writes files. Here its networks run on a volume in memory: the first on the whole
head, the second on a grid of 192^3 with bright fluid clipped. Either misses cortex that the other
one finds. The larger one of their probabilities on the scan's grid makes the mask
(docs/decisions.md).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.core.resources import folder_of
from cmburden.images.geometry import largest_part

if TYPE_CHECKING:
    import torch

#: Grid of the network for the box, as it was trained.
_BOX_SHAPE = (128, 128, 128)
#: Grid of the network for the mask, which was trained at 256^3: 192^3 takes a third of the time.
_SHAPE = (192, 192, 192)
# deepbet's own numbers: it was trained with them.
#: Intensities are clipped at these quantiles of the head.
_QUANTILES = (0.005, 0.995)
#: Mean and standard deviation of the clipped intensities.
_MEAN, _DEVIATION = 0.449, 0.226
#: A plane belongs to the brain's box if more than this share of it is brain.
_BOX_SHARE = 0.02
#: The box is widened by this share of its size at either end.
_MARGIN = 0.1

#: Within the box intensities are clipped at this multiple of the brain's median: the network was
#: trained on T1w, where fluid is dark, and bright fluid hides cortex from it.
_TISSUE_TOP = 1.05

#: Width and height of a brain mask over its length. The lower ends over 14 people and the real
#: scans at hand (0.85-0.90 for the height, 0.78-0.82 for the width): coverage errs upwards.
_HEIGHT_OVER_LENGTH = 0.83
_WIDTH_OVER_LENGTH = 0.76
#: Width over length above which the length is held to be cut: the upper end (by eye).
_MOST_WIDTH_OVER_LENGTH = 0.85
#: Brain in an outer plane of the field of view from which the brain is cut off there (mm^2).
_CUT_MM2 = 100.0


@functools.cache
def _networks() -> tuple[torch.jit.ScriptModule, torch.jit.ScriptModule]:
    """deepbet's network for the box and its network for the mask."""
    import torch

    # deepbet's wheel puts its weights beside the package, in a folder called "data".
    folder = folder_of("deepbet").parent / "data" / "models"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about TorchScript
        box, mask = (
            torch.jit.load(folder / name, map_location="cpu").eval()
            for name in ("bbox_model.pt", "model.pt")
        )
    return box, mask


@contextmanager
def _torch_threads(number: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def brain_mask(volume: np.ndarray, threads: int = 1) -> np.ndarray:
    """Brain mask of a head.

    Parameters
    ----------
    volume : float array (x, y, z)
        Canonical RAS, any voxel size; T1w, GRE, SWI or EPI.
    threads : int
        CPU threads of the networks.

    Returns
    -------
    bool array (x, y, z)
        The largest connected part, without holes.

    Raises
    ------
    ScanError
        not_brain where no brain is found.
    """
    import torch
    from torch.nn.functional import interpolate

    box_network, network = _networks()
    with _torch_threads(threads), torch.inference_mode():
        x = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
        small = interpolate(x, _BOX_SHAPE, mode="nearest-exact")
        low, high = (small.quantile(share) for share in _QUANTILES)
        if high <= low:
            raise ScanError("not_brain", "It has no contrast.")
        coarse = box_network(_normalised(small, low, high))[:, 1:2]
        head = _largest(coarse[0, 0].numpy() > 0.5)
        box = _box(head, volume.shape)
        top = torch.minimum(high, _TISSUE_TOP * small[0, 0][torch.from_numpy(head)].median())
        inside = interpolate(x[0, 0][box][None, None], _SHAPE, mode="nearest-exact")
        fine = network(_normalised(inside, low, top if top > low else high))[:, 1:2]
        probability = torch.maximum(
            _upsampled(coarse, volume.shape)[box],
            _upsampled(fine, tuple(part.stop - part.start for part in box)),
        )
    mask = np.zeros(volume.shape, dtype=bool)
    mask[box] = ndimage.binary_fill_holes(_largest(probability.numpy() > 0.5))
    return mask


def _upsampled(probability: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A network's probability (1, 1, a, b, c) on a grid (x, y, z) of ``shape``, linearly."""
    from torch.nn.functional import interpolate

    return interpolate(probability, shape, mode="trilinear", align_corners=False)[0, 0]


def _normalised(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """``x`` clipped to ``low`` and ``high`` and standardised, as deepbet's networks expect it."""
    x = ((x - low) / (high - low)).clamp(0, 1)
    return _DEVIATION * (x - x.mean()) / x.std() + _MEAN


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask; ScanError where the mask is empty."""
    if not mask.any():
        raise ScanError("not_brain", "No brain was found.")
    return largest_part(mask)


def _box(coarse: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Box around a coarse mask on a grid of ``shape``, widened at either end by a tenth.

    Raises ScanError (not_brain) where no plane has more than 2 % of brain.
    """
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(coarse.mean(others) > _BOX_SHARE)
        if planes.size == 0:
            raise ScanError("not_brain", "No brain was found.")
        scale = shape[axis] / coarse.shape[axis]
        low, high = planes[0] * scale, (planes[-1] + 1) * scale
        margin = _MARGIN * (high - low)
        box.append(
            slice(max(0, round(low - margin)), min(shape[axis], max(1, round(high + margin))))
        )
    return tuple(box)


def coverage(mask: np.ndarray, affine: np.ndarray, seen: tuple[slice, ...]) -> float:
    """Share of the brain within the field of view, 0 to 1.

    Along an axis on which the field of view cuts the brain off, the share is the mask's extent over
    the extent that is expected from the mask's length or width. The least share of the three axes
    counts.

    Parameters
    ----------
    mask : bool array (x, y, z)
        Brain mask in canonical RAS, not empty.
    affine : array (4, 4)
        Voxel index to RAS mm.
    seen : three slices
        The part of the grid that holds signal (:func:`field_of_view`).
    """
    sizes = voxel_sizes(affine)
    mask = mask[seen]
    extents, cut = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        areas = mask.sum(others) * float(np.prod(sizes[list(others)]))
        planes = np.flatnonzero(areas)
        extents.append((planes[-1] - planes[0] + 1) * sizes[axis])
        cut.append(max(areas[0], areas[-1]) > _CUT_MM2)
    width, length, _ = extents
    from_width = width / _MOST_WIDTH_OVER_LENGTH
    length = max(length, from_width)
    expected = (_WIDTH_OVER_LENGTH * length, from_width, _HEIGHT_OVER_LENGTH * length)
    shares = [
        extent / due if is_cut else 1.0
        for extent, due, is_cut in zip(extents, expected, cut, strict=True)
    ]
    return float(min(1.0, *shares))


def field_of_view(volume: np.ndarray) -> tuple[slice, ...]:
    """The box of a volume outside which every plane is empty (one value)."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(volume.max(others) > volume.min(others))
        box.append(slice(int(planes[0]), int(planes[-1]) + 1))
    return tuple(box)
