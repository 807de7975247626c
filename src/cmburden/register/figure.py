"""QC figure of a scan: three planes with the brain mask's edge, and again with the MARS regions.

Numpy and Pillow draw the figure: every scan has one, and matplotlib alone takes longer to start.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from PIL import Image, ImageDraw
from scipy import ndimage

from cmburden.core.files import whole_file
from cmburden.space.regions import BY_VALUE, RIGHT_OFFSET

#: RGB of each region on the left, by its value.
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
#: RGB of the brain mask's edge and of the legend's text.
_EDGE, _TEXT = (255, 60, 60), (220, 220, 220)
_LARGEST = 255
#: A region's colour on the right is this much darker, and colours cover the scan by this share.
_RIGHT_STRENGTH, _OPACITY = 0.8, 0.4
#: Signal, in medians of the brain, that is drawn white. By eye.
_WHITE = 1.8
#: Side of a plane's tile and the edge that is left free around the plane, in pixels.
_TILE, _FREE = 260, 2
#: Level of a PNG's compression: a quarter of the time of Pillow's most, and a smaller file.
_COMPRESSION = 3
# The legend, in pixels: height of a line, side of a square, space before a text and between.
_PER_ROW, _LINE, _SQUARE, _INDENT, _GAP = 5, 14, 9, 13, 4


def draw(
    path: Path, data: np.ndarray, mask: np.ndarray, regions: np.ndarray, affine: np.ndarray
) -> None:
    """Write a PNG of two rows (mask edge; regions) and three planes through the brain's centre.

    ``data`` (x, y, z) has tissue at about 1, ``mask`` is bool, ``regions`` holds MARS labels. Right
    is on the right of the picture, up is up.
    """
    sizes = voxel_sizes(affine)
    centre = [round(value) for value in ndimage.center_of_mass(mask)]
    rows = []
    for with_regions in (False, True):
        tiles = []
        for axis in (2, 1, 0):
            plane = tuple(centre[a] if a == axis else slice(None) for a in range(3))
            in_plane = [float(size) for a, size in enumerate(sizes) if a != axis]
            tiles.append(
                _regions_tile(data[plane], regions[plane], in_plane)
                if with_regions
                else _edge_tile(data[plane], mask[plane], in_plane)
            )
        rows.append(np.concatenate(tiles, axis=1))
    picture = Image.fromarray(np.concatenate(rows, axis=0))
    picture = _with_legend(picture)
    with whole_file(path) as temporary:
        picture.save(temporary, format="PNG", compress_level=_COMPRESSION)


def _edge_tile(grey: np.ndarray, mask: np.ndarray, sizes: Sequence[float]) -> np.ndarray:
    """A plane with the edge of the brain mask."""
    grid = _pixels(grey.shape, sizes)
    picture = _greys(grey[grid])
    inside = mask[grid]
    picture[inside & ~ndimage.binary_erosion(inside)] = _EDGE
    return _upright(picture)


def _regions_tile(grey: np.ndarray, regions: np.ndarray, sizes: Sequence[float]) -> np.ndarray:
    """A plane with the regions in their colours."""
    grid = _pixels(grey.shape, sizes)
    picture, labels = _greys(grey[grid]), regions[grid]
    for value, colour in COLOURS.items():
        for label, strength in ((value, 1.0), (value + RIGHT_OFFSET, _RIGHT_STRENGTH)):
            here = labels == label
            picture[here] = (1 - _OPACITY) * picture[here] + _OPACITY * strength * np.array(colour)
    return _upright(picture)


def _pixels(shape: tuple[int, ...], sizes: Sequence[float]) -> tuple[np.ndarray, ...]:
    """Indices (``np.ix_``) of the voxels of a plane's pixels, at equal scale on both axes."""
    extent = np.array(shape) * sizes
    scale = (_TILE - 2 * _FREE) / extent.max()
    counts = np.maximum(1, np.round(extent * scale)).astype(int)
    return np.ix_(
        *(
            np.minimum((np.arange(count) / count * length).astype(int), length - 1)
            for count, length in zip(counts, shape, strict=True)
        )
    )


def _greys(plane: np.ndarray) -> np.ndarray:
    """RGB (a, b, 3) as floats of a plane's signal."""
    level = np.clip(plane / _WHITE, 0, 1) * _LARGEST
    return np.repeat(level[..., None], 3, axis=2)


def _upright(picture: np.ndarray) -> np.ndarray:
    """A picture (a, b, 3) in the middle of a square tile, with axis b upwards."""
    tile = np.zeros((_TILE, _TILE, 3), dtype=np.uint8)
    upright = np.clip(picture, 0, _LARGEST).astype(np.uint8).transpose(1, 0, 2)[::-1]
    top, left = ((_TILE - length) // 2 for length in upright.shape[:2])
    tile[top : top + upright.shape[0], left : left + upright.shape[1]] = upright
    return tile


def _with_legend(picture: Image.Image) -> Image.Image:
    """The picture over lines of colours and region names."""
    lines = -(-len(COLOURS) // _PER_ROW)
    framed = Image.new("RGB", (picture.width, picture.height + lines * _LINE + _GAP))
    framed.paste(picture)
    pen = ImageDraw.Draw(framed)
    for number, (value, colour) in enumerate(COLOURS.items()):
        x = _GAP + (number % _PER_ROW) * (picture.width // _PER_ROW)
        y = picture.height + _GAP - 1 + (number // _PER_ROW) * _LINE
        pen.rectangle((x, y, x + _SQUARE, y + _SQUARE), fill=colour)
        name = BY_VALUE[value].name.replace("deep and periventricular", "deep")
        pen.text((x + _INDENT, y - 2), name, fill=_TEXT)
    return framed
