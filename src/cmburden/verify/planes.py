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
#: Signal, in medians of the brain, that is drawn white: the same in all tiles, so that lesions
#: compare with each other. As in the viewer of the page.
_WHITE = 1.8
#: Axes of the canonical voxel grid along which each plane lies: across and up the picture.
_PLANES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}


def draw(
    volume: np.ndarray,
    affine: np.ndarray,
    lesions: Sequence[dict[str, Any]],
    path: Path,
    mask: np.ndarray | None = None,
) -> None:
    """Write a grey PNG of ``len(lesions)`` rows of 4 tiles of 30 x 30 mm.

    Axial, coronal and sagittal slice through the lesion's centre, and the axial minimum within
    4 mm (at least one slice on each side), of the brain alone where a ``mask`` is given: bone and
    air are dark, too. Radiological: the person's right is on the left, in the
    sagittal tile the front is on the left.

    Parameters
    ----------
    volume : array, shape (x, y, z)
        Scan in canonical RAS voxel order, with a median of 1 in the brain.
    affine : array, shape (4, 4)
        Voxel index to scanner RAS mm.
    lesions : sequence of dict
        x_mm, y_mm, z_mm (scanner RAS), in the order of the rows.
    mask : array of bool, shape (x, y, z), optional
        Brain mask.
    """
    picture = np.zeros((TILE * len(lesions), TILE * len(TILES)), np.uint8)
    for row, lesion in enumerate(lesions):
        for column, tile in enumerate(_tiles(volume, affine, lesion, mask)):
            grey = np.rint(tile * (_GREYS - 1)) * (255 / (_GREYS - 1))
            rows, columns = (slice(n * TILE, (n + 1) * TILE) for n in (row, column))
            picture[rows, columns] = grey.astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", compress_level=6)
    with whole_file(path) as temporary:
        temporary.write_bytes(stream.getvalue())


def _tiles(
    volume: np.ndarray, affine: np.ndarray, lesion: dict[str, Any], mask: np.ndarray | None
) -> list[np.ndarray]:
    """The four tiles of a lesion, each (TILE, TILE) in 0..1, in the order of ``TILES``."""
    centre_mm = np.array([lesion["x_mm"], lesion["y_mm"], lesion["z_mm"], 1.0], float)
    centre = (np.linalg.inv(affine) @ centre_mm)[:3]
    spacing = voxel_sizes(affine)
    tiles = [_slice(volume, centre, spacing, axes) for axes in _PLANES.values()]
    tiles.append(_projection(volume, centre, spacing, mask))
    return [np.clip(tile / _WHITE, 0, 1) for tile in tiles]


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


def _projection(
    volume: np.ndarray, centre: np.ndarray, spacing: np.ndarray, mask: np.ndarray | None
) -> np.ndarray:
    """Minimum of the axial slices within ``PROJECTION_HALF_MM`` of ``centre`` (voxels).

    With a ``mask`` the minimum is over the brain, and outside of it the middle slice stands.
    """
    half = max(1, round(PROJECTION_HALF_MM / spacing[2]))
    middle = round(centre[2])
    planes = _PLANES["axial"]
    depths = range(max(0, middle - half), min(volume.shape[2], middle + half + 1))
    centres = [np.array([centre[0], centre[1], z]) for z in depths]
    slices = np.array([_slice(volume, at, spacing, planes) for at in centres])
    if not len(slices):
        return np.zeros((TILE, TILE))
    if mask is None:
        return np.min(slices, axis=0)
    inside = np.array(
        [_slice(mask.astype(np.float32), at, spacing, planes) > 0.5 for at in centres]
    )
    least = np.where(inside, slices, np.inf).min(axis=0)
    return np.where(np.isfinite(least), least, _slice(volume, centre, spacing, planes))
