"""QC figure of a scan: three planes plain with the brain mask's edge, and with the MARS regions.

Made with numpy and Pillow alone: it is drawn for every scan, and matplotlib's start costs more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from PIL import Image, ImageDraw
from scipy import ndimage

from cmburden.core.files import whole_file
from cmburden.space import regions as mars

#: One colour a region; the right side is drawn a little darker.
COLOURS = {
    1: (230, 80, 80),
    2: (240, 160, 60),
    3: (70, 130, 230),
    4: (120, 200, 240),
    5: (160, 100, 220),
    6: (220, 120, 220),
    7: (250, 230, 90),
    8: (120, 230, 170),
    9: (200, 60, 120),
    10: (60, 170, 90),
    11: (240, 200, 150),
    12: (110, 110, 250),
    13: (255, 255, 255),
}
_EDGE = (255, 60, 60)
_TILE = 260


def draw(
    path: Path, data: np.ndarray, mask: np.ndarray, regions: np.ndarray, affine: np.ndarray
) -> None:
    """Write a PNG of two rows (mask edge; regions) and three planes through the brain's centre.

    ``data`` (x, y, z) has tissue at about 1; right is on the right of the picture, up is up.
    """
    sizes = voxel_sizes(affine)
    centre = [round(value) for value in ndimage.center_of_mass(mask)]
    rows = []
    for with_regions in (False, True):
        tiles = []
        for axis in (2, 1, 0):
            plane = tuple(centre[a] if a == axis else slice(None) for a in range(3))
            shown = [size for a, size in enumerate(sizes) if a != axis]
            tiles.append(_tile(data[plane], mask[plane], regions[plane], shown, with_regions))
        rows.append(np.concatenate(tiles, axis=1))
    picture = Image.fromarray(np.concatenate(rows, axis=0))
    picture = _with_legend(picture)
    with whole_file(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def _tile(
    grey: np.ndarray, mask: np.ndarray, regions: np.ndarray, sizes: list[float], coloured: bool
) -> np.ndarray:
    """A plane (a, b) as a square RGB tile with axis b upwards, at equal scale on both axes."""
    extent = np.array(grey.shape) * sizes
    scale = (_TILE - 4) / extent.max()
    shape = np.maximum(1, np.round(extent * scale)).astype(int)
    index = tuple(
        np.minimum((np.arange(n) / n * size).astype(int), size - 1)
        for n, size in zip(shape, grey.shape, strict=True)
    )
    grid = np.ix_(*index)
    level = np.clip(grey[grid] / 1.8, 0, 1) * 255
    picture = np.repeat(level[..., None], 3, axis=2)
    if coloured:
        for value, colour in COLOURS.items():
            for label, strength in ((value, 1.0), (value + mars.RIGHT_OFFSET, 0.8)):
                here = regions[grid] == label
                picture[here] = 0.6 * picture[here] + 0.4 * strength * np.array(colour)
    else:
        inside = mask[grid]
        picture[inside & ~ndimage.binary_erosion(inside)] = _EDGE
    tile = np.zeros((_TILE, _TILE, 3), dtype=np.uint8)
    upright = np.clip(picture, 0, 255).astype(np.uint8).transpose(1, 0, 2)[::-1]
    top, left = ((_TILE - length) // 2 for length in upright.shape[:2])
    tile[top : top + upright.shape[0], left : left + upright.shape[1]] = upright
    return tile


def _with_legend(picture: Image.Image) -> Image.Image:
    """The picture over one line of colours and region names."""
    per_row, height = 5, 14
    lines = -(-len(COLOURS) // per_row)
    framed = Image.new("RGB", (picture.width, picture.height + lines * height + 4))
    framed.paste(picture)
    pen = ImageDraw.Draw(framed)
    for number, (value, colour) in enumerate(COLOURS.items()):
        x = 4 + (number % per_row) * (picture.width // per_row)
        y = picture.height + 3 + (number // per_row) * height
        pen.rectangle((x, y, x + 9, y + 9), fill=colour)
        name = mars.BY_VALUE[value].name.replace("deep and periventricular", "deep")
        pen.text((x + 13, y - 2), name, fill=(220, 220, 220))
    return framed
