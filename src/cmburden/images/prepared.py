"""A preprocessed scan read back: volume, brain mask and regions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images import prepared
from cmburden.images import volume as images


def load_result(scan: Scan, layout: Layout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Volume, brain mask (bool) and affine that this stage wrote."""
    data, affine = images.read_derivative(layout.preproc(scan))
    mask, _ = images.read_derivative(layout.brain_mask(scan))
    return np.asarray(data, dtype=np.float32), mask > 0, affine


class Brain(NamedTuple):
    """What earlier stages wrote of a scan: ``volume``, ``mask`` (bool) and MARS ``regions``, all
    (x, y, z), and their ``affine`` to scanner RAS mm."""

    volume: np.ndarray
    mask: np.ndarray
    regions: np.ndarray
    affine: np.ndarray

    @classmethod
    def read(cls, scan: Scan, layout: Layout) -> Brain:
        volume, mask, affine = prepared.load_result(scan, layout)
        return cls(volume, mask, images.read_derivative(layout.regions(scan))[0], affine)
