"""Pictures of a lesion in all sessions side by side, for the reader to judge how it changed.

All sessions of a picture are sampled in one frame, the mid-space.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from cmburden.core.files import whole_file
from cmburden.core.paths import Layout
from cmburden.core.text import natural
from cmburden.follow.presence import MIDDLE, Visit
from cmburden.images import drawing

CROP_MM = 32.0
#: Half thickness of the minimum-intensity projection, mm.
PROJECTION_HALF_MM = 4.0
#: Intensity that is drawn white, where the brain's median is 1. By eye.
WHITE = 1.6
#: Radius of the ring about the place, mm.
RING_MM = 5.0
#: Smallest step between planes of the projection, mm: finer steps show no more.
_LEAST_STEP_MM = 1.0
_CROP = 192  # pixels of a crop's side
_GAP, _GREYS, _RING_PX = 6, 64, 2
_COLOURS = {"paper": drawing.PAPER, "ink": drawing.INK, "found": drawing.AMBER}


@dataclasses.dataclass(frozen=True)
class Part:
    """One session of a picture: the plane and the projection, (pixels, pixels) in 0..1.

    ``found`` says whether the session shows the lesion.
    """

    plane: np.ndarray
    projection: np.ndarray
    found: bool


def draw(tracks: pd.DataFrame, visits: Sequence[Visit], layout: Layout, participant: str) -> None:
    """Draw the pictures of a participant, a PNG a track; remove those of an earlier run.

    ``tracks`` are rows of ``tables.TRACKS`` of the ``visits``.
    """
    remove(layout, participant)
    ordered = sorted(visits, key=lambda visit: natural(visit.scan.session_id))
    for number, of_track in tracks.groupby("track_id"):
        rows = {row["scan_id"]: row for row in of_track.to_dict("records")}
        content = side_by_side([_part(visit, rows[visit.scan.scan_id]) for visit in ordered])
        with whole_file(layout.change_figure(participant, number)) as temporary:
            temporary.write_bytes(content)


def remove(layout: Layout, participant: str) -> None:
    """Remove all pictures of a participant: they may be of other sessions or other lesions."""
    pattern = layout.change_figure(participant, "*")
    for path in pattern.parent.glob(pattern.name):
        path.unlink()


def complete(tracks: pd.DataFrame, layout: Layout) -> bool:
    """Whether each track of ``tracks`` (rows of ``tables.TRACKS``) has its picture."""
    names = tracks[["participant_id", "track_id"]].drop_duplicates()
    return all(layout.change_figure(*name).exists() for name in names.itertuples(index=False))


def _part(visit: Visit, row: dict) -> Part:
    middle = np.array([row[name] for name in MIDDLE], float)
    plane, projection = crops(visit.image.data, visit.image.affine, visit.pose, middle)
    return Part(plane, projection, bool(row["found"]))


def crops(
    data: np.ndarray, affine: np.ndarray, pose: np.ndarray, middle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The plane through ``middle`` and the minimum over 8 mm, each (192, 192) in 0..1.

    ``middle`` (3,) is in mid-space mm. The pictures lie along the mid-space's axes, the person's
    right on the left: all sessions look alike. ``data`` (x, y, z) has a median of 1 in the brain
    and is cut at ``WHITE``; ``affine`` leads from voxel index to scanner RAS mm, ``pose`` (4 x 4)
    from there to the mid-space.
    """
    offsets = drawing.offsets_mm(_CROP, CROP_MM)
    step = max(_LEAST_STEP_MM, min(voxel_sizes(affine)))
    depths = np.arange(-PROJECTION_HALF_MM, PROJECTION_HALF_MM + 0.01, step)
    depths = np.append(depths[depths != 0], 0.0)
    across, down = np.meshgrid(-offsets, -offsets, indexing="xy")
    to_voxel = np.linalg.inv(affine) @ np.linalg.inv(pose)
    planes = []
    for depth in depths:
        points = middle + np.stack([across, down, np.full_like(across, depth)], axis=-1)
        index = apply_affine(to_voxel, points.reshape(-1, 3)).T
        planes.append(ndimage.map_coordinates(data, index, order=1, cval=0.0).reshape(across.shape))
    scaled = np.clip(np.array(planes) / WHITE, 0, 1)
    return scaled[-1], scaled.min(axis=0)


def side_by_side(parts: Sequence[Part]) -> bytes:
    """PNG of the sessions from left to right: slices above, projections below.

    The page writes what each column is. A session that does not show the lesion has a dashed ring.
    """
    width = len(parts) * _CROP + (len(parts) - 1) * _GAP
    canvas = drawing.Canvas.blank((width, 2 * _CROP + _GAP), _GREYS, _COLOURS)
    for number, part in enumerate(parts):
        left = number * (_CROP + _GAP)
        for place, crop in enumerate((part.plane, part.projection)):
            canvas.paste(crop, (left, place * (_CROP + _GAP)))
        middle, radius = (left + _CROP / 2, _CROP / 2), RING_MM * _CROP / CROP_MM
        if part.found:
            canvas.ring(middle, radius, canvas.index["found"])
            canvas.ring(middle, radius + 1, canvas.index["found"])
        else:
            canvas.dashed_ring(middle, radius, canvas.index["ink"], _RING_PX)
    return canvas.png()
