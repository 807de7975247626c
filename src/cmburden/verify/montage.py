"""One picture of a scan's lesions for the reader: each in its slice and in a thin projection.

Drawn with Pillow into a palette image: small, and the same bytes for the same input.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from cmburden.core.files import whole_file

MAX_LESIONS = 12
CROP_MM = 30.0
#: Half thickness of the minimum-intensity projection: a vein that runs across slices shows as a
#: line within it, a microbleed stays a dot.
PROJECTION_HALF_MM = 4.0
MAX_BYTES = 150_000

_CROP = 96  # pixels of a crop's side
_GAP = 2
_TILE_GAP = 14
_CAPTION = 17
_HEADER = 40
_MARGIN = 12
_COLUMNS = 4
#: Palette entries after the greys.
_COLOURS = {
    "paper": (16, 18, 22),
    "ink": (236, 238, 240),
    "muted": (150, 156, 164),
    "definite": (255, 176, 0),
    "possible": (100, 190, 255),
}
_RING_MM = 5.0


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
    shown = numbered[:MAX_LESIONS]
    crops = [_crops(volume, np.asarray(affine, float), lesion) for lesion in shown]
    for greys in (64, 32, 16, 8):
        content = _png(crops, shown, len(numbered), title, greys)
        if len(content) <= MAX_BYTES:
            break
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def _crops(volume, affine, lesion) -> tuple[np.ndarray, np.ndarray]:
    """Slice and projection of one lesion, each (_CROP, _CROP) in 0..1, rows from front to back."""
    spacing = voxel_sizes(affine)
    centre = np.array([lesion["x_mm"], lesion["y_mm"], lesion["z_mm"], 1.0], dtype=float)
    i, j, k = (np.linalg.inv(affine) @ centre)[:3]
    offsets = (np.arange(_CROP) - (_CROP - 1) / 2) * (CROP_MM / _CROP)
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
    top = float(np.percentile(planes[middle - low], 99))
    scale = 1.0 / top if top > 0 else 1.0
    return (
        np.clip(planes[middle - low] * scale, 0, 1),
        np.clip(np.min(planes, axis=0) * scale, 0, 1),
    )


def _png(crops, lesions, total, title, greys) -> bytes:
    tile_width = 2 * _CROP + _GAP
    tile_height = _CROP + _CAPTION
    columns = min(_COLUMNS, max(2, len(lesions)))
    rows = -(-len(lesions) // columns)
    width = 2 * _MARGIN + columns * tile_width + (columns - 1) * _TILE_GAP
    height = 2 * _MARGIN + _HEADER + max(0, rows * (tile_height + _TILE_GAP) - _TILE_GAP)
    colour = {name: greys + number for number, name in enumerate(_COLOURS)}
    image = Image.new("P", (width, height), colour["paper"])
    ramp = [value for grey in range(greys) for value in [round(255 * grey / (greys - 1))] * 3]
    image.putpalette(ramp + [value for entry in _COLOURS.values() for value in entry])
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"  # a palette image cannot blend edges
    large, small = ImageFont.load_default(15), ImageFont.load_default(12)
    draw.text((_MARGIN, _MARGIN - 4), title, fill=colour["ink"], font=large)
    draw.text(
        (_MARGIN, _MARGIN + 16), _explanation(len(lesions), total), fill=colour["muted"], font=small
    )
    for place, (lesion, pair) in enumerate(zip(lesions, crops, strict=True)):
        x = _MARGIN + (place % columns) * (tile_width + _TILE_GAP)
        y = _MARGIN + _HEADER + (place // columns) * (tile_height + _TILE_GAP)
        for side, crop in enumerate(pair):
            levels = np.rint(crop * (greys - 1)).astype(np.uint8)
            patch = Image.frombytes("P", (_CROP, _CROP), levels.tobytes())
            image.paste(patch, (x + side * (_CROP + _GAP), y))
        tint = colour.get(lesion["label"], colour["muted"])
        ring = _RING_MM * _CROP / CROP_MM
        middle = (x + _CROP / 2, y + _CROP / 2)
        draw.ellipse(
            (middle[0] - ring, middle[1] - ring, middle[0] + ring, middle[1] + ring), outline=tint
        )
        number = str(lesion["lesion_id"])
        draw.text((x + 1, y + _CROP + 2), number, fill=tint, font=small)
        indent = draw.textlength(number, font=small) + 7
        caption = _fitted(draw, _caption(lesion), tile_width - indent, small)
        draw.text((x + 1 + indent, y + _CROP + 2), caption, fill=colour["ink"], font=small)
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _explanation(shown: int, total: int) -> str:
    if not total:
        return "No definite or possible lesion"
    some = f"{shown} most probable of {total} lesions. " if total > shown else ""
    return (
        f"{some}Slice | minimum over {PROJECTION_HALF_MM:.0f} mm. The person's right is on the left"
    )


def _caption(lesion) -> str:
    side = {"left": "L ", "right": "R "}.get(lesion["hemisphere"] or "", "")
    region = str(lesion["region"]).replace("deep and periventricular white matter", "deep WM")
    return f"{lesion['probability']:.2f} {side}{region}"


def _fitted(draw, text, width, font) -> str:
    """``text`` cut, with an ellipsis, to ``width`` pixels."""
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text.rstrip() + "…"
