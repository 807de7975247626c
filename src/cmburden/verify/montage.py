"""One picture of a scan's lesions for the reader: each lesion in its slice and in a projection."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from cmburden.core.files import whole_file
from cmburden.images import drawing

MAX_LESIONS = 12
CROP_MM = 30.0
#: Half thickness of the minimum-intensity projection: a vein that runs across slices shows as a
#: line within it, a microbleed stays a dot.
PROJECTION_HALF_MM = 4.0
MAX_BYTES = 150_000
#: Radius of the ring about a lesion.
RING_MM = 5.0

#: Numbers of greys, tried until the file is small enough.
_GREYS = (64, 32, 16, 8)
_CROP = 96  # pixels of a crop's side
_GAP = 2
_TILE_GAP = 14
_CAPTION = 17
_HEADER = 40
_MARGIN = 12
_COLUMNS = 4
_TILE = (2 * _CROP + _GAP, _CROP + _CAPTION)  # width and height
#: Sizes of the letters of the title and of captions.
_LARGE, _SMALL = 15, 12
#: Palette entries after the greys.
_COLOURS = {
    "paper": drawing.PAPER,
    "ink": drawing.INK,
    "muted": drawing.MUTED,
    "definite": drawing.AMBER,
    "possible": drawing.BLUE,
}


def lesion_montage(
    volume_ras: np.ndarray,
    affine: np.ndarray,
    lesions: Sequence[dict[str, Any]],
    path: Path,
    title: str,
) -> None:
    """Write a PNG (below 150 kB) of up to 12 lesions, the most probable first.

    Each lesion has two crops of 30 x 30 mm in radiological orientation (the person's right on the
    picture's left): the axial slice through its centre, ringed, and the minimum over the slices
    within 4 mm (at least one on each side), left unmarked so that nothing hides it.

    Parameters
    ----------
    volume_ras : array, shape (x, y, z)
        Scan in canonical RAS voxel order, any intensity unit.
    affine : array, shape (4, 4)
        Voxel index to scanner RAS mm.
    lesions : sequence of dict
        x_mm, y_mm, z_mm (scanner RAS), probability, label (definite or possible), region; and
        where known lesion_id and hemisphere.
    path : Path
        PNG to write.
    title : str
        First line of the picture.
    """
    volume = np.asarray(volume_ras, dtype=np.float32)
    if volume.ndim != 3:
        raise ValueError(f"a montage needs a 3D volume, not shape {volume.shape}")
    numbered = [
        {"lesion_id": number, "hemisphere": None} | dict(lesion)
        for number, lesion in enumerate(lesions, start=1)
    ]
    numbered.sort(key=lambda lesion: (-lesion["probability"], lesion["lesion_id"]))
    tiles = [
        Tile(lesion, *crops(volume, np.asarray(affine, float), lesion))
        for lesion in numbered[:MAX_LESIONS]
    ]
    content = b""
    for greys in _GREYS:
        content = _png(tiles, title, _explanation(len(tiles), len(numbered)), greys)
        if len(content) <= MAX_BYTES:
            break
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


@dataclasses.dataclass(frozen=True)
class Tile:
    """A lesion with its slice and its projection, (pixels, pixels) in 0..1."""

    lesion: dict[str, Any]
    plane: np.ndarray
    projection: np.ndarray


def crops(
    volume: np.ndarray, affine: np.ndarray, lesion: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Slice and projection of one lesion, each (96, 96) in 0..1, rows from front to back.

    ``volume`` (x, y, z) in canonical RAS voxel order, ``affine`` (4 x 4) to scanner RAS mm. A
    centre outside the volume is shown in the nearest slice.
    """
    spacing = voxel_sizes(affine)
    centre = np.array([lesion["x_mm"], lesion["y_mm"], lesion["z_mm"], 1.0], dtype=float)
    i, j, k = (np.linalg.inv(affine) @ centre)[:3]
    offsets = drawing.offsets_mm(_CROP, CROP_MM)
    # Right is left: the first column is the person's right (largest x), the first row the front.
    rows, columns = np.meshgrid(
        j - offsets / spacing[1],
        i - offsets / spacing[0],
        indexing="ij",
    )
    half = max(1, round(PROJECTION_HALF_MM / spacing[2]))
    middle = int(np.clip(round(k), 0, volume.shape[2] - 1))
    low, high = max(0, middle - half), min(volume.shape[2], middle + half + 1)
    planes = [
        ndimage.map_coordinates(volume[:, :, z], [columns, rows], order=1, cval=0.0)
        for z in range(low, high)
    ]
    top = drawing.white_level(planes[middle - low])
    scale = 1.0 / top if top > 0 else 1.0
    return (
        np.clip(planes[middle - low] * scale, 0, 1),
        np.clip(np.min(planes, axis=0) * scale, 0, 1),
    )


def _png(tiles: Sequence[Tile], title: str, explanation: str, greys: int) -> bytes:
    """The picture: title and explanation above rows of ``tiles``."""
    columns = min(_COLUMNS, max(2, len(tiles)))
    rows = -(-len(tiles) // columns)
    width = 2 * _MARGIN + columns * _TILE[0] + (columns - 1) * _TILE_GAP
    height = 2 * _MARGIN + _HEADER + max(0, rows * (_TILE[1] + _TILE_GAP) - _TILE_GAP)
    canvas = drawing.Canvas.blank((width, height), greys, _COLOURS)
    canvas.text((_MARGIN, _MARGIN - 4), title, "ink", drawing.font(_LARGE))
    canvas.text((_MARGIN, _MARGIN + 16), explanation, "muted", drawing.font(_SMALL))
    for place, tile in enumerate(tiles):
        x = _MARGIN + (place % columns) * (_TILE[0] + _TILE_GAP)
        y = _MARGIN + _HEADER + (place // columns) * (_TILE[1] + _TILE_GAP)
        _draw_tile(canvas, tile, x, y)
    return canvas.png()


def _draw_tile(canvas: drawing.Canvas, tile: Tile, x: int, y: int) -> None:
    """A lesion's crops, its ring and its caption; (x, y) is the tile's upper left pixel."""
    letters = drawing.font(_SMALL)
    label = tile.lesion["label"]
    tint = label if label in canvas.index else "muted"
    canvas.paste(tile.plane, (x, y))
    canvas.paste(tile.projection, (x + _CROP + _GAP, y))
    canvas.ring((x + _CROP / 2, y + _CROP / 2), RING_MM * _CROP / CROP_MM, canvas.index[tint])
    number = str(tile.lesion["lesion_id"])
    canvas.text((x + 1, y + _CROP + 2), number, tint, letters)
    indent = canvas.pen.textlength(number, font=letters) + 7
    caption = drawing.fitted(canvas.pen, _caption(tile.lesion), _TILE[0] - indent, letters)
    canvas.text((x + 1 + indent, y + _CROP + 2), caption, "ink", letters)


def _explanation(shown: int, total: int) -> str:
    if not total:
        return "No definite or possible lesion"
    some = f"{shown} most probable of {total} lesions. " if total > shown else ""
    return (
        f"{some}Slice | minimum over {PROJECTION_HALF_MM:.0f} mm. The person's right is on the left"
    )


def _caption(lesion: dict[str, Any]) -> str:
    side = {"left": "L ", "right": "R "}.get(lesion["hemisphere"] or "", "")
    region = str(lesion["region"]).replace("deep and periventricular white matter", "deep WM")
    return f"{lesion['probability']:.2f} {side}{region}"
