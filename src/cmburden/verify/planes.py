"""One picture of all lesions of a scan for its page: a row a lesion, four square tiles a row.

The page shows each tile by its place in the picture: a scan has one file for any number of lesions.
Same bytes for the same input.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from PIL import Image
from scipy import ndimage

from cmburden.core.files import whole_file
from cmburden.images import drawing
from cmburden.verify.montage import CROP_MM, PROJECTION_HALF_MM

#: Tiles of a row, in their order.
TILES = ("axial", "coronal", "sagittal", "projection")
TILE = 128  # pixels of a tile's side
_GREYS = 64
#: Axes of the canonical voxel grid along which each plane lies: across and up the picture.
_PLANES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}


def draw(
    volume: np.ndarray, affine: np.ndarray, lesions: Sequence[dict[str, Any]], path: Path
) -> None:
    """Write a grey PNG of ``len(lesions)`` rows of 4 tiles of 30 x 30 mm.

    Axial, coronal and sagittal slice through the lesion's centre, and the axial minimum within
    4 mm (at least one slice on each side). Radiological: the person's right is on the left, in the
    sagittal tile the front is on the left.

    Parameters
    ----------
    volume : array, shape (x, y, z)
        Scan in canonical RAS voxel order, any intensity unit.
    affine : array, shape (4, 4)
        Voxel index to scanner RAS mm.
    lesions : sequence of dict
        x_mm, y_mm, z_mm (scanner RAS), in the order of the rows.
    """
    picture = np.zeros((TILE * len(lesions), TILE * len(TILES)), np.uint8)
    for row, lesion in enumerate(lesions):
        for column, tile in enumerate(_tiles(volume, affine, lesion)):
            grey = np.rint(tile * (_GREYS - 1)) * (255 / (_GREYS - 1))
            rows, columns = (slice(n * TILE, (n + 1) * TILE) for n in (row, column))
            picture[rows, columns] = grey.astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", compress_level=6)
    with whole_file(path) as temporary:
        temporary.write_bytes(stream.getvalue())


def _tiles(volume: np.ndarray, affine: np.ndarray, lesion: dict[str, Any]) -> list[np.ndarray]:
    """The four tiles of a lesion, each (TILE, TILE) in 0..1, in the order of ``TILES``."""
    centre_mm = np.array([lesion["x_mm"], lesion["y_mm"], lesion["z_mm"], 1.0], float)
    centre = (np.linalg.inv(affine) @ centre_mm)[:3]
    spacing = voxel_sizes(affine)
    tiles = [_slice(volume, centre, spacing, axes) for axes in _PLANES.values()]
    tiles.append(_projection(volume, centre, spacing))
    top = drawing.white_level(tiles[0])
    return [np.clip(tile / top if top > 0 else tile * 0, 0, 1) for tile in tiles]


def _slice(
    volume: np.ndarray, centre: np.ndarray, spacing: np.ndarray, axes: tuple[int, int]
) -> np.ndarray:
    """The plane of ``axes`` (across, up) through the voxel nearest to ``centre`` (voxels)."""
    across, up = axes
    offsets = drawing.offsets_mm(TILE, CROP_MM)
    # Both axes fall along the picture: right, front and top come first.
    rows, columns = np.meshgrid(
        centre[up] - offsets / spacing[up],
        centre[across] - offsets / spacing[across],
        indexing="ij",
    )
    grid = [np.full_like(rows, round(centre[axis])) for axis in range(3)]
    grid[across], grid[up] = columns, rows
    return ndimage.map_coordinates(volume, grid, order=1, cval=0.0)


def _projection(volume: np.ndarray, centre: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Minimum of the axial slices within ``PROJECTION_HALF_MM`` of ``centre`` (voxels)."""
    half = max(1, round(PROJECTION_HALF_MM / spacing[2]))
    middle = round(centre[2])
    slices = [
        _slice(volume, np.array([centre[0], centre[1], z]), spacing, _PLANES["axial"])
        for z in range(max(0, middle - half), min(volume.shape[2], middle + half + 1))
    ]
    return np.min(slices, axis=0) if slices else np.zeros((TILE, TILE))
