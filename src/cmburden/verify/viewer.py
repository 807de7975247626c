"""The data of the interactive viewer on a participant's page: one script file for each scan.

A page that was opened by a double click may load a script, but browsers refuse to fetch a file
under ``file:``. The script therefore holds small NIfTI files, cropped to the brain, in 64 greys.
The page loads the script when the reader opens the viewer.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from cmburden.core.files import whole_file
from cmburden.images.geometry import box, cropped

_MARGIN_MM = 6.0
#: Greys of the scan, from 0 to ``_WHITE`` times the median of the brain.
_GREYS = 64
_WHITE = 2.0
#: Level of gzip: 4 takes half as long again for 2 % fewer bytes (a scan of 0.5 mm).
_COMPRESSION = 2


@dataclasses.dataclass(frozen=True)
class Shown:
    """Arrays (x, y, z) that the viewer shows, on one grid.

    ``volume`` has a median of 1 in ``mask`` (bool); ``regions`` and ``lesions`` are labels;
    ``affine`` leads from voxel index to scanner RAS mm.
    """

    volume: np.ndarray
    mask: np.ndarray
    regions: np.ndarray
    lesions: np.ndarray
    affine: np.ndarray


def write(path: Path, scan_id: str, shown: Shown) -> None:
    """Write the script of a scan: ``cmburdenViewer(scan_id, {scan, mask, regions, lesions})``.

    Each array becomes a gzipped NIfTI-1 in base64. Same input, same bytes.
    """
    inside = shown.mask | (shown.lesions > 0)
    if not inside.any():
        inside = np.ones(inside.shape, dtype=bool)
    part = box(inside, np.ceil(_MARGIN_MM / voxel_sizes(shown.affine)))
    moved = cropped(shown.affine, part)
    greys = np.clip(shown.volume[part] / _WHITE, 0, 1) * (_GREYS - 1)
    parts = {
        "scan": _packed(np.rint(greys).astype(np.uint8), moved, slope=_WHITE / (_GREYS - 1)),
        "mask": _packed(shown.mask[part].astype(np.uint8), moved),
        "regions": _packed(shown.regions[part].astype(np.uint8), moved),
        "lesions": _packed(shown.lesions[part].astype(np.int16), moved),
    }
    text = f"cmburdenViewer({json.dumps(scan_id)}, {json.dumps(parts)});\n"
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _packed(data: np.ndarray, affine: np.ndarray, slope: float | None = None) -> str:
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    content = bytearray(image.to_bytes())
    if slope is not None:
        # nibabel would rescale the array; the header alone is to say what a grey means.
        content[112:120] = np.array([slope, 0], image.header.endianness + "f4").tobytes()
    return base64.b64encode(gzip.compress(bytes(content), _COMPRESSION, mtime=0)).decode()
