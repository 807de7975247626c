"""A lesion in all sessions side by side, in one frame, for the reader to judge what became of it.

Drawn with Pillow into a palette image: small, and the same bytes for the same input.
"""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine, voxel_sizes
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from cmburden.core.files import whole_file
from cmburden.core.paths import Layout
from cmburden.core.text import natural

CROP_MM = 32.0
#: Half thickness of the minimum-intensity projection, mm.
PROJECTION_HALF_MM = 4.0
_CROP = 128
_GAP, _MARGIN, _CAPTION, _GREYS = 6, 8, 18, 64
_PAPER, _INK, _FOUND, _PLACE = (16, 18, 22), (236, 238, 240), (255, 176, 0), (150, 156, 164)


def draw(tracks: pd.DataFrame, visits: list, layout: Layout, participant: str) -> None:
    """A PNG a track (rows of ``tables.TRACKS``) of the ``visits`` (``longitudinal.Visit``)."""
    visits = sorted(visits, key=lambda visit: natural(visit.scan.session_id))
    for number, own in tracks.groupby("track_id"):
        rows = {row["scan_id"]: row for row in own.to_dict("records")}
        shown = [(visit, rows[visit.scan.scan_id]) for visit in visits]
        content = side_by_side(
            [
                (
                    *crops(
                        visit.image.data, visit.image.affine, visit.pose,
                        np.array([row["middle_x_mm"], row["middle_y_mm"], row["middle_z_mm"]],
                                 float),
                    ),
                    visit.scan.session_id or visit.scan.scan_id,
                    bool(row["found"]),
                )
                for visit, row in shown
            ]
        )  # fmt: skip
        with whole_file(layout.change_figure(participant, number)) as temporary:
            temporary.write_bytes(content)


def crops(
    data: np.ndarray, affine: np.ndarray, pose: np.ndarray, middle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The plane through ``middle`` (mid-space mm) and the minimum over 8 mm, (128, 128) in 0..1.

    In the mid-space's axes, the person's right on the picture's left: all sessions look alike. A
    scan of normalised intensity (tissue about 1) is cut at 1.6.
    """
    offsets = (np.arange(_CROP) - (_CROP - 1) / 2) * (CROP_MM / _CROP)
    step = max(1.0, min(voxel_sizes(affine)))
    depths = np.arange(-PROJECTION_HALF_MM, PROJECTION_HALF_MM + 0.01, step)
    depths = np.append(depths[depths != 0], 0.0)
    across, down = np.meshgrid(-offsets, -offsets, indexing="xy")
    to_voxel = np.linalg.inv(affine) @ np.linalg.inv(pose)
    planes = []
    for depth in depths:
        points = middle + np.stack([across, down, np.full_like(across, depth)], axis=-1)
        index = apply_affine(to_voxel, points.reshape(-1, 3)).T
        planes.append(ndimage.map_coordinates(data, index, order=1, cval=0.0).reshape(across.shape))
    scaled = np.clip(np.array(planes) / 1.6, 0, 1)
    return scaled[-1], scaled.min(axis=0)


def side_by_side(parts: list[tuple[np.ndarray, np.ndarray, str, bool]]) -> bytes:
    """PNG of (slice, projection, caption, found) a session: slices above, projections below."""
    width = 2 * _MARGIN + len(parts) * _CROP + (len(parts) - 1) * _GAP
    height = 2 * _MARGIN + _CAPTION + 2 * _CROP + _GAP
    image = Image.new("P", (width, height), _GREYS)
    ramp = [value for grey in range(_GREYS) for value in [round(255 * grey / (_GREYS - 1))] * 3]
    image.putpalette([*ramp, *_PAPER, *_INK, *_FOUND, *_PLACE])
    pen = ImageDraw.Draw(image)
    pen.fontmode = "1"  # a palette image cannot blend edges
    font = ImageFont.load_default(12)
    for number, (plane, projection, caption, found) in enumerate(parts):
        left, top = _MARGIN + number * (_CROP + _GAP), _MARGIN + _CAPTION
        words = f"{caption}: {'found' if found else 'not found'}"
        while len(words) > 3 and pen.textlength(words, font=font) > _CROP:
            words = words[:-2] + "…"
        pen.text((left, _MARGIN), words, fill=_GREYS + (2 if found else 1), font=font)
        for place, crop in enumerate((plane, projection)):
            levels = np.rint(crop * (_GREYS - 1)).astype(np.uint8)
            patch = Image.frombytes("P", (_CROP, _CROP), levels.tobytes())
            image.paste(patch, (left, top + place * (_CROP + _GAP)))
        ring = 5.0 * _CROP / CROP_MM
        middle = (left + _CROP / 2, top + _CROP / 2)
        pen.ellipse(
            (middle[0] - ring, middle[1] - ring, middle[0] + ring, middle[1] + ring),
            outline=_GREYS + (2 if found else 3),
        )
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
