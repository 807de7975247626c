"""Axial slices of the template with the smoothed density of microbleeds, and that density."""

from __future__ import annotations

import base64
import functools
import io

import numpy as np
from scipy import ndimage

from cmburden.summary.lesion_map import CELL_MM, EXTENT

#: Edge of a pixel, and of a voxel of the template that the picture is cut from.
_PIXEL_MM = 2.0
#: Signal of the template that has the brightest grey, and that grey (0 to 255). By eye.
_WHITE, _WHITE_GREY = 1.25, 200
#: Least signal of the template that is drawn; the rest is transparent. By eye.
_BRAIN = 0.05
#: Standard deviation of the smoothing: about the side of a cell. By eye.
_SMOOTH_MM = 7.0
#: Colours (RGB) of a density from 0 to the most, and how far they cover the template.
COLOURS = ((0.0, (255, 235, 170)), (0.5, (245, 140, 50)), (1.0, (170, 10, 60)))
_LEAST_COVER, _MOST_COVER = 0.0, 0.85

(_X0, _X1), (_Y0, _Y1) = EXTENT


@functools.cache
def _signal(z_mm: int) -> np.ndarray:
    """The template at ``z_mm``, (rows, columns): front first, the person's right first."""
    # The template's libraries take a second to import.
    from cmburden.space import template

    data, affine = template.brain(_PIXEL_MM)
    inverse = np.linalg.inv(affine)
    # Centres of the pixels: half a pixel from the edges.
    x = np.arange(_X1 - _PIXEL_MM / 2, _X0, -_PIXEL_MM)
    y = np.arange(_Y1 - _PIXEL_MM / 2, _Y0, -_PIXEL_MM)
    points = np.stack(np.broadcast_arrays(x[None, :], y[:, None], float(z_mm), 1.0))
    voxels = np.rint(np.tensordot(inverse[:3], points, axes=1)).astype(int)
    inside = ((voxels >= 0) & (voxels < np.array(data.shape)[:, None, None])).all(0)
    signal = np.zeros(inside.shape)
    signal[inside] = data[tuple(voxels[:, inside])]
    return signal


def density(counts: dict[tuple[int, int, int], int], z_mm: int) -> np.ndarray:
    """Lesions a cell at each pixel of the slice, smoothed and cut to the brain.

    ``counts``: lesions by the cell's centre, mm of MNI152. Near the brain's edge a pixel stands for
    the part of its surroundings that lies in the brain.
    """
    brain = _signal(z_mm) > _BRAIN
    wide, deep = (round(side / _PIXEL_MM) for side in CELL_MM[:2])
    cells = np.zeros((brain.shape[0] // deep, brain.shape[1] // wide))
    for (x, y, z), number in counts.items():
        row, column = int((_Y1 - y) // CELL_MM[1]), int((_X1 - x) // CELL_MM[0])
        if z == z_mm and 0 <= row < cells.shape[0] and 0 <= column < cells.shape[1]:
            cells[row, column] += number
    fine = np.kron(cells, np.ones((deep, wide)))
    sigma = _SMOOTH_MM / _PIXEL_MM
    share = ndimage.gaussian_filter(brain.astype(float), sigma)
    smooth = ndimage.gaussian_filter(fine, sigma)
    return np.where(brain, smooth / np.maximum(share, 0.2), 0.0)


def slice_picture(z_mm: int, strength: np.ndarray) -> str:
    """Axial slice of the template at ``z_mm`` over ``EXTENT``, as a data URI of a PNG.

    ``strength``: density of each pixel, 0 to 1. The person's right is on the left.
    """
    # PIL takes a second to import.
    from PIL import Image

    signal = _signal(z_mm)
    grey = np.clip(signal / _WHITE, 0, 1) * _WHITE_GREY
    ends = [at for at, _ in COLOURS]
    colour = np.stack(
        [np.interp(strength, ends, [rgb[k] for _, rgb in COLOURS]) for k in range(3)], -1
    )
    cover = np.interp(strength, [0, 0.15, 1], [_LEAST_COVER, 0.5, _MOST_COVER])[..., None]
    mixed = colour * cover + grey[..., None] * (1 - cover)
    alpha = np.where(signal > _BRAIN, 255, 0)[..., None]
    # Few greys: the picture is small, and the same on every machine.
    levels = np.rint(np.concatenate([mixed / 4, alpha / 4], -1)) * 4
    picture = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8), "RGBA")
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
