"""Brain extraction: deepbet's two networks on a volume in memory, and whether the mask is a brain.

deepbet (Fisch et al., Comput Biol Med 2024, MIT) finds the brain's box at 128^3 and the brain in it
at 256^3, whatever the voxel size. Its own class reads, reorients and writes files; here only its
networks are used, and the probability, not the mask, is brought back to the scan's grid.
"""

from __future__ import annotations

import functools
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.images.geometry import largest_part

_BOX_SHAPE = (128, 128, 128)
_SHAPE = (256, 256, 256)
_MARGIN = 0.1
#: What is brighter than this share of the brain's median is seen as this bright at the second look.
_TISSUE_TOP = 1.05


@functools.cache
def _networks():
    import torch

    # deepbet's wheel puts its weights beside the package, in a folder called "data".
    folder = Path(find_spec("deepbet").origin).parents[1] / "data" / "models"
    networks = []
    for name in ("bbox_model.pt", "model.pt"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch about TorchScript
            network = torch.jit.load(folder / name, map_location="cpu")
        networks.append(network.eval())
    return tuple(networks)


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
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
            small = interpolate(x, _BOX_SHAPE, mode="nearest-exact")
            low, high = small.quantile(0.005), small.quantile(0.995)
            if high <= low:
                raise ScanError("not_brain", "It has no contrast.")
            coarse = box_network(_normalised(small, low, high))[0, 1].numpy() > 0.5
            box = _box(_largest(coarse), volume.shape)
            inside = interpolate(x[(..., *box)], _SHAPE, mode="nearest-exact")
            probability = network(_normalised(inside, low, high))[:, 1:2]
            # The networks know T1w, where fluid is dark. Seen again with all that is brighter than
            # tissue cut off, bright fluid hides no cortex (the tissue that the mask misses falls by
            # a third).
            tissue = inside[probability > 0.5]
            if tissue.numel() > 0:
                top = torch.minimum(high, _TISSUE_TOP * tissue.median())
                if top > low:
                    again = network(_normalised(inside, low, top))[:, 1:2]
                    probability = torch.maximum(probability, again)
            shape = tuple(part.stop - part.start for part in box)
            probability = interpolate(probability, shape, mode="trilinear", align_corners=False)
    finally:
        torch.set_num_threads(before)
    mask = np.zeros(volume.shape, dtype=bool)
    mask[box] = ndimage.binary_fill_holes(_largest(probability[0, 0].numpy() > 0.5))
    return mask


def _normalised(x, low, high):
    """What deepbet's networks were trained on: clipped to two quantiles, then standardised."""
    x = ((x - low) / (high - low)).clamp(0, 1)
    return 0.226 * (x - x.mean()) / x.std() + 0.449


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask; ScanError where the mask is empty."""
    if not mask.any():
        raise ScanError("not_brain", "No brain was found.")
    return largest_part(mask)


def _box(coarse: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Box around a coarse mask on a grid of ``shape``, a tenth of its size added at either end.

    A plane belongs to the box where more than 2 % of it is brain.
    """
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(coarse.mean(others) > 0.02)
        if planes.size == 0:
            raise ScanError("not_brain", "No brain was found.")
        scale = shape[axis] / coarse.shape[axis]
        low, high = planes[0] * scale, (planes[-1] + 1) * scale
        margin = _MARGIN * (high - low)
        box.append(
            slice(max(0, round(low - margin)), min(shape[axis], max(1, round(high + margin))))
        )
    return tuple(box)


#: Expected height and width of a brain mask over its length, lower ends over 14 people and the
#: real scans looked at (0.85-0.90 and 0.78-0.82), so that coverage errs upwards.
_HEIGHT_OVER_LENGTH = 0.83
_WIDTH_OVER_LENGTH = 0.76
#: Brain in an outer plane of the field of view that counts as cut off (mm^2).
_CUT_MM2 = 100.0


def coverage(mask: np.ndarray, affine: np.ndarray, seen: tuple[slice, ...]) -> float:
    """Share of the brain that the field of view holds, 0 to 1.

    Along each axis whose outer planes of ``seen`` cut through the mask, the mask's extent over what
    its extent along another axis lets expect; the least of the three. ``seen`` is the part of the
    grid that holds signal (``field_of_view``).
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
    length = max(length, width / 0.85)
    expected = (_WIDTH_OVER_LENGTH * length, width / 0.85, _HEIGHT_OVER_LENGTH * length)
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
