"""Reads a preprocessed scan: volume, brain mask and MARS regions, as earlier stages wrote them.

If CMBurden's own file cannot be read, the machine is at fault and not the scan (a full disk, a copy
that ended early): :class:`UnreadableDerivative`. Files are read whole, with gzip's checksum:
nibabel stops before it, so that a flipped bit would be another volume.
"""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from cmburden.core.errors import DamagedFile, ScanError, sentence, short_text
from cmburden.core.files import sha256_of_file
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan


class UnreadableDerivative(DamagedFile):
    """A file that an earlier stage wrote of ``scan_id`` is missing or damaged."""

    def __init__(self, path: Path, scan_id: str, error: Exception):
        advice = f"make it again: cmburden retry OUTPUT_DIR --scan {scan_id}, then cmburden run"
        super().__init__(path, short_text(error), advice)
        self.scan_id = scan_id


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Result of preprocess: ``volume`` float32 and ``mask`` bool of the brain, both (x, y, z).

    The median of ``volume`` in ``mask`` is 1. ``affine`` (4 x 4): voxel index to scanner RAS mm.
    """

    volume: np.ndarray
    mask: np.ndarray
    affine: np.ndarray

    @classmethod
    def read(cls, scan: Scan, layout: Layout) -> Prepared:
        """Read the volume and the mask of ``scan``.

        Raises
        ------
        UnreadableDerivative
            Where one of the files is damaged.
        ScanError
            not_finite, where the volume holds NaN or infinite voxels.
        """
        data, affine = read_file(layout.preproc(scan), scan)
        require_finite(data, "The prepared volume holds {} of {} voxels that are NaN or infinite.")
        mask, _ = read_file(layout.brain_mask(scan), scan)
        return cls(np.asarray(data, dtype=np.float32), mask > 0, affine)


def read_regions(scan: Scan, layout: Layout) -> np.ndarray:
    """MARS labels (x, y, z) of ``scan``, on the grid of its prepared volume."""
    return read_file(layout.regions(scan), scan)[0]


def checksums(scan: Scan, layout: Layout) -> tuple[str, str]:
    """sha256 of the files of volume and mask: parts of the keys of what is made from them."""
    volume, mask = layout.preproc(scan), layout.brain_mask(scan)
    return _sha256(volume, scan), _sha256(mask, scan)


def read_file(path: Path, scan: Scan) -> tuple[np.ndarray, np.ndarray]:
    """Data and affine of the file ``path``, which an earlier stage wrote of ``scan``.

    Raises UnreadableDerivative where the file is missing or damaged.
    """
    image = read_image(path, scan.scan_id)
    return np.asanyarray(image.dataobj), image.affine


def read_image(path: Path, scan_id: str) -> nib.Nifti1Image:
    """The NIfTI image ``path`` of a scan, which ``save_volume`` wrote.

    Raises UnreadableDerivative where the file is missing or damaged.
    """
    try:
        content = gzip.decompress(path.read_bytes())
        if not content:
            raise ValueError("it is empty")
        image = nib.Nifti1Image.from_bytes(content)
        np.asanyarray(image.dataobj)  # a file that is shorter than its header says
    except Exception as error:  # nibabel raises many kinds
        if sentence(error) is not None:
            raise  # a closed folder or a full disk: the file itself may be sound
        raise UnreadableDerivative(path, scan_id, error) from error
    return image


def require_finite(values: np.ndarray, message: str, reason: str = "not_finite") -> None:
    """Raise ScanError where ``values`` hold NaN or infinity, which no comparison would notice.

    ``message`` has two gaps: how many are not finite, and of how many.
    """
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise ScanError(reason, message.format(bad, values.size))


def _sha256(path: Path, scan: Scan) -> str:
    try:
        return sha256_of_file(path)
    except OSError as error:
        if sentence(error) is not None:
            raise
        raise UnreadableDerivative(path, scan.scan_id, error) from error
