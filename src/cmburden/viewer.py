"""What the interactive viewer of a scan's page needs, as one script file beside the figures.

A page opened by a double click may not fetch a file (browsers refuse it under ``file:``), but it
may load a script. So the scan travels as a script that hands over small NIfTI files: cropped to
the brain, in 64 greys. It is loaded when the reader asks for the viewer, not before.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from cmburden.images import voxel_sizes
from cmburden.records import whole_file

_MARGIN_MM = 6.0
#: Greys of the scan, from 0 to ``_WHITE`` times the median of the brain.
_GREYS = 64
_WHITE = 2.0


def write(
    path: Path,
    scan_id: str,
    volume: np.ndarray,
    mask: np.ndarray,
    regions: np.ndarray,
    lesions: np.ndarray,
    affine: np.ndarray,
) -> None:
    """Write the script of a scan: ``cmburdenViewer(scan_id, {scan, mask, regions, lesions})``.

    All arrays (x, y, z) lie on one grid with ``affine`` (voxel index to scanner RAS mm); ``volume``
    has the brain at about 1. Each becomes a gzipped NIfTI-1 in base64. Same input, same bytes.
    """
    box = _box(mask | (lesions > 0), voxel_sizes(affine))
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    greys = np.clip(volume[box] / _WHITE, 0, 1) * (_GREYS - 1)
    parts = {
        "scan": _packed(np.rint(greys).astype(np.uint8), moved, slope=_WHITE / (_GREYS - 1)),
        "mask": _packed(mask[box].astype(np.uint8), moved),
        "regions": _packed(regions[box].astype(np.uint8), moved),
        "lesions": _packed(lesions[box].astype(np.int16), moved),
    }
    text = f"cmburdenViewer({json.dumps(scan_id)}, {json.dumps(parts)});\n"
    with whole_file(path) as temporary:
        temporary.write_text(text)


def _box(inside: np.ndarray, sizes) -> tuple[slice, ...]:
    """Slices that hold ``inside`` with a margin; the whole grid where it is empty."""
    if not inside.any():
        return tuple(slice(0, length) for length in inside.shape)
    sides = []
    for axis, size in enumerate(sizes):
        there = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(np.ceil(_MARGIN_MM / size))
        low, high = max(0, there[0] - margin), min(inside.shape[axis], there[-1] + 1 + margin)
        sides.append(slice(int(low), int(high)))
    return tuple(sides)


def _packed(data: np.ndarray, affine: np.ndarray, slope: float | None = None) -> str:
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    content = bytearray(image.to_bytes())
    if slope is not None:
        # nibabel would rescale the array; the header alone is to say what a grey means.
        content[112:120] = np.array([slope, 0], image.header.endianness + "f4").tobytes()
    return base64.b64encode(gzip.compress(bytes(content), 4, mtime=0)).decode()
