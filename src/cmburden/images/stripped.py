"""Skull-stripped images: blank around the brain, and no skull. The brain mask is then in the image.

Data sets are given away so (VALDO with NaN around the brain, the CSIRO set with 0). A network that
was trained on heads would look for a skull and cut cortex away. A whole head whose air was set to 0
has a blank background too: what is told apart is the shell of bone below its surface, and the
scalp that lies apart from the brain. The limits lie between simulated heads with and without skull
(docs/inputs.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from cmburden.images import geometry

#: Share of the faces' voxels that are NaN from which NaN marks the background (by eye).
_LEAST_FACES = 0.3
#: Share of the voxels that are blank: a brain fills at most half of a box around it. Where a
#: sidecar says that the skull is gone, a blank margin suffices (by eye).
_LEAST_BLANK, _LEAST_BLANK_STATED = 0.3, 0.05
#: Most signal outside the largest part, as a share of all voxels with signal: stripped brains have
#: 0, heads whose bone and air are 0 have scalp apart from the brain.
_MOST_APART = 0.05
#: Volume of a brain, ml. Heads have 2700 ml and more.
_BRAIN_ML = (400.0, 2300.0)
#: Sphericity: simulated brains without skull have 0.88 to 0.92, heads whose air and
#: bone are 0 at most 0.52.
_LEAST_SPHERICITY = 0.70
#: Voxels are looked at about so far from each other, mm.
_STEP_MM = 2.0
#: Bone lies between these depths below the surface of a head, mm, in the upper half of it. The
#: signal deeper than the last depth is that of the brain.
_BONE_MM, _DEEP_MM = (4.0, 14.0), 25.0
#: Bone has less than this share of the brain's signal, and fills at least this share of the shell
#: of a head: simulated and real heads whose air is 0 have 0.12 and more, brains without skull 0 to
#: 0.03, for vessels and sinuses are as dark. A T1w, whose fluid is dark, has 0.13.
_DARK, _MOST_DARK = 0.3, 0.1
#: Gaps up to twice this width are closed: dark veins and sulci (by eye).
_CLOSING_MM = 2.0

SizesMm = tuple[float, float, float]


def without_nan_background(data: np.ndarray) -> tuple[np.ndarray, str | None]:
    """``data`` (x, y, z) with 0 where NaN marks the background, and a sentence if there was any.

    The background is NaN that reaches the faces of the grid and covers a good part of them. Other
    NaN, and infinity, are left: the caller refuses them.
    """
    nan = np.isnan(data)
    faces = np.concatenate(
        [np.take(nan, end, axis=axis).ravel() for axis in range(3) for end in (0, -1)]
    )
    if faces.mean() < _LEAST_FACES:
        return data, None
    outer = np.pad(nan, 1, constant_values=True)
    parts, _ = ndimage.label(outer)
    background = (parts == parts[0, 0, 0])[1:-1, 1:-1, 1:-1]
    filled = np.where(background, np.float32(0), data)
    return filled, f"NaN in its background ({background.mean():.0%} of the voxels) was read as 0."


def brain_of(data: np.ndarray, sizes: SizesMm, *, stated: bool = False) -> np.ndarray | None:
    """Brain mask (x, y, z) bool of a skull-stripped magnitude; None where there is a head.

    Parameters
    ----------
    data : float32 array (x, y, z)
        Canonical RAS; a blank background is 0.
    sizes : (3,)
        Voxel sizes, mm.
    stated : bool
        The sidecar says ``SkullStripped``: then the mask is taken wherever a background is blank.

    Returns
    -------
    The largest part of what has a signal, with gaps closed and holes filled.
    """
    signal = data > 0
    share = 1 - np.count_nonzero(signal) / signal.size
    if share < (_LEAST_BLANK_STATED if stated else _LEAST_BLANK) or share == 1:
        return None
    if not (stated or _is_brain(data, sizes)):
        return None
    return _whole(geometry.largest_part(signal), sizes)


def _whole(main: np.ndarray, sizes: Sequence[float]) -> np.ndarray:
    """``main`` (x, y, z) with gaps closed by a box and holes filled."""
    widths = [2 * int(_CLOSING_MM / size) + 1 for size in sizes]
    box = geometry.box(main)
    pad = [(width, width) for width in widths]
    wide = np.pad(main[box], pad).astype(np.uint8)
    closed = ndimage.minimum_filter(ndimage.maximum_filter(wide, widths), widths)
    background, _ = ndimage.label(closed == 0)
    filled = background != background[0, 0, 0]
    mask = np.zeros(main.shape, dtype=bool)
    mask[box] = filled[tuple(slice(width, -width) for width in widths)]
    return mask


def _is_brain(data: np.ndarray, sizes: SizesMm) -> bool:
    """Whether what has a signal is one part of a brain's volume without bone below its surface."""
    look = looks(data, sizes)
    least, most = _BRAIN_ML
    return (
        look.apart <= _MOST_APART
        and least <= look.volume_ml <= most
        and look.roundness >= _LEAST_SPHERICITY
        and look.bone is not None
        and look.bone < _MOST_DARK
    )


@dataclasses.dataclass(frozen=True)
class Looks:
    """What tells a brain from a head.

    Attributes
    ----------
    apart : float
        Signal outside the largest part, as a share of all.
    volume_ml, roundness : float
        Volume and sphericity of the largest part.
    bone : float or None
        Share of dark voxels where a head has bone; None where nothing lies deep enough.
    """

    apart: float
    volume_ml: float
    roundness: float
    bone: float | None


def looks(data: np.ndarray, sizes: SizesMm) -> Looks:
    """:class:`Looks` of ``data`` (x, y, z) with a blank background, from voxels 2 mm apart."""
    steps = [max(1, round(_STEP_MM / size)) for size in sizes]
    values = data[tuple(slice(None, None, step) for step in steps)]
    spacing = np.array(sizes) * steps
    signal = values > 0
    main = geometry.largest_part(signal)
    if not main.any():
        return Looks(1.0, 0.0, 0.0, None)
    inside = _whole(main, [float(size) for size in spacing])
    depth = ndimage.distance_transform_edt(np.pad(inside, 1), spacing)[1:-1, 1:-1, 1:-1]
    deep = depth > _DEEP_MM
    low, high = _BONE_MM
    shell = (depth > low) & (depth <= high)
    shell[:, :, : int(np.median(np.flatnonzero(inside.any((0, 1)))))] = False
    bone = None
    if deep.any() and shell.any():
        bone = float(np.mean(values[shell] < _DARK * np.median(values[deep])))
    apart = 1 - float(main.sum() / signal.sum())
    volume = float(inside.sum() * spacing.prod()) / 1000
    return Looks(apart, volume, geometry.sphericity(inside, spacing), bone)
