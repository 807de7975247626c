"""What was drawn, to be looked at: the scan and its copy side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from cmburden.images.drawing import INK, MUTED, PAPER, Canvas, font, offsets_mm
from cmburden.images.geometry import slices_last

#: Side of a picture, mm and pixels; grey levels; brightest signal against the median about it.
SIDE_MM, PIXELS, _GREYS, _WHITE = 36.0, 108, 64, 1.6
#: Pairs of each renderer; space between pairs, and for the renderer's name, pixels.
MOST, _GAP, _NAME, _LETTERS = 3, 10, 96, 14
_LARGEST = 255


def pair(before: np.ndarray, after: np.ndarray, affine: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Greys (2, rows, columns) uint8 of the slice at ``at`` (3,) mm, of the scan and of its copy.

    ``before`` and ``after`` are (x, y, z). Rows fall from the back of the second axis in the slice.
    """
    order = slices_last(affine)
    turned = affine[:, [*order, 3]]
    middle = apply_affine(np.linalg.inv(turned), at)
    sizes = np.linalg.norm(turned[:3, :2], axis=0)
    along = [m + offsets_mm(PIXELS, SIDE_MM) / s for m, s in zip(middle, sizes, strict=False)]
    columns, rows = np.meshgrid(along[0], along[1][::-1])
    depth = int(np.clip(np.rint(middle[2]), 0, before.shape[order[2]] - 1))
    planes = [
        ndimage.map_coordinates(
            image.transpose(order)[..., depth].astype(np.float32), [columns, rows], order=1
        )
        for image in (before, after)
    ]
    white = max(float(np.median(planes[0])) * _WHITE, 1e-6)
    return np.rint(np.clip(np.stack(planes) / white, 0, 1) * _LARGEST).astype(np.uint8)


def examples(pairs: Mapping[str, Sequence[np.ndarray]]) -> bytes:
    """PNG with a line of pairs for each renderer."""
    names = [name for name in pairs if len(pairs[name])]
    wide = 2 * PIXELS + _GAP
    columns = max((min(len(pairs[name]), MOST) for name in names), default=1)
    size = (_NAME + columns * wide, max(1, len(names)) * (PIXELS + _GAP))
    canvas = Canvas.blank(size, _GREYS, {"paper": PAPER, "ink": INK, "muted": MUTED})
    for row, name in enumerate(names):
        top = row * (PIXELS + _GAP)
        canvas.text((4, top + PIXELS // 2), name, "ink", font(_LETTERS))
        for column, one in enumerate(pairs[name][:MOST]):
            for side in (0, 1):
                corner = (_NAME + column * wide + side * PIXELS, top)
                canvas.paste(one[side] / _LARGEST, corner)
    return canvas.png()
