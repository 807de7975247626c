"""Reads a preprocessed scan: volume, brain mask and MARS regions, as earlier stages wrote them.

If CMBurden's own file cannot be read, the machine is at fault and not the scan (a full disk, a copy
that ended early). :class:`UnreadableDerivative` then stops the job.
"""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

from cmburden.core.errors import CMBurdenError, sentence
from cmburden.core.files import sha256_of_file
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images.volume import read_derivative


class UnreadableDerivative(CMBurdenError):
    """A file that an earlier stage wrote is missing or damaged; ``path`` names the file."""

    def __init__(self, path: Path, scan: Scan, error: Exception):
        super().__init__(
            f"{path}: cannot be read ({error}); make it again: cmburden retry OUTPUT_DIR "
            f"--scan {scan.scan_id}, then cmburden run"
        )
        self.path = path


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
        """Read the volume and the mask of ``scan``; UnreadableDerivative where one is damaged."""
        data, affine = read_file(layout.preproc(scan), scan)
        mask, _ = read_file(layout.brain_mask(scan), scan)
        if not np.isfinite(data).all():
            # preprocess writes none: the file was damaged since. No lesion is seen in NaN.
            error = ValueError("it holds NaN or infinite voxels")
            raise UnreadableDerivative(layout.preproc(scan), scan, error)
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
    try:
        return read_derivative(path)
    except (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError) as error:
        if sentence(error) is not None:
            raise  # a closed folder or a full disk: the file itself may be sound
        raise UnreadableDerivative(path, scan, error) from error


def _sha256(path: Path, scan: Scan) -> str:
    try:
        return sha256_of_file(path)
    except FileNotFoundError as error:
        raise UnreadableDerivative(path, scan, error) from error
