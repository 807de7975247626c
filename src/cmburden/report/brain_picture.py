"""Axial slices of the template, over which the map of microbleeds is drawn."""

from __future__ import annotations

import base64
import functools
import io

import numpy as np

from cmburden.summary.lesion_map import EXTENT

#: Edge of a pixel, and of a voxel of the template that the picture is cut from.
_PIXEL_MM = 2.0
#: Signal of the template that has the brightest grey, and that grey (0 to 255). By eye.
_WHITE, _WHITE_GREY = 1.25, 200
#: Least signal of the template that is drawn; the rest is transparent. By eye.
_BRAIN = 0.05


@functools.cache
def slice_picture(z_mm: int) -> str:
    """Axial slice of the template at ``z_mm`` over ``EXTENT``, as a data URI of a grey PNG.

    Left of the person is left in the picture, and the front is up: so run the map's axes.
    """
    # PIL and the template's libraries take a second to import.
    from PIL import Image

    from cmburden.space import template

    data, affine = template.brain(_PIXEL_MM)
    inverse = np.linalg.inv(affine)
    (x0, x1), (y0, y1) = EXTENT
    # Centres of the pixels: half a pixel from the edges.
    x = np.arange(x0 + _PIXEL_MM / 2, x1, _PIXEL_MM)
    y = np.arange(y1 - _PIXEL_MM / 2, y0, -_PIXEL_MM)
    points = np.stack(np.broadcast_arrays(x[None, :], y[:, None], float(z_mm), 1.0))
    voxels = np.rint(np.tensordot(inverse[:3], points, axes=1)).astype(int)
    inside = ((voxels >= 0) & (voxels < np.array(data.shape)[:, None, None])).all(0)
    signal = np.zeros(inside.shape)
    signal[inside] = data[tuple(voxels[:, inside])]
    grey = np.clip(signal / _WHITE, 0, 1) * _WHITE_GREY
    alpha = np.where(signal > _BRAIN, 255, 0)
    picture = Image.fromarray(np.stack([grey, alpha], -1).astype(np.uint8), "LA")
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
