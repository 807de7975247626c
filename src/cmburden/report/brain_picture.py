"""Axial slices of the template that the map of microbleeds is drawn over."""

from __future__ import annotations

import base64
import functools
import io

import numpy as np

from cmburden.summary.lesion_map import EXTENT


@functools.cache
def slice_picture(z_mm: int) -> str:
    """Axial slice of the template at ``z_mm`` over ``EXTENT``, as a data URI of a grey PNG.

    Left of the person is left in the picture, the front up: as the map's axes run.
    """
    from PIL import Image

    from cmburden.space import template

    data, affine = template.brain(2.0)
    inverse = np.linalg.inv(affine)
    (x0, x1), (y0, y1) = EXTENT
    x, y = np.arange(x0 + 1, x1, 2.0), np.arange(y1 - 1, y0, -2.0)
    grid = np.stack(np.broadcast_arrays(x[None, :], y[:, None], float(z_mm), 1.0))
    at = np.rint(np.tensordot(inverse[:3], grid, axes=1)).astype(int)
    inside = ((at >= 0) & (at < np.array(data.shape)[:, None, None])).all(0)
    grey = np.zeros(inside.shape)
    grey[inside] = data[tuple(at[:, inside])]
    level = np.clip(grey / 1.25, 0, 1) * 200
    alpha = np.where(grey > 0.05, 255, 0)
    picture = Image.fromarray(np.stack([level, alpha], -1).astype(np.uint8), "LA")
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
