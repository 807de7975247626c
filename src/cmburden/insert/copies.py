"""A copy of a scan with lesions in it: bias, noise and integer steps stay those of the scan."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from cmburden.core.files import whole_file
from cmburden.images.reading import read_image
from cmburden.images.volume import Volume, load_volume
from cmburden.insert.ground import within

#: Second difference in both directions of a slice: what noise of standard deviation 1 leaves has 6
#: (Immerkaer, Comput Vis Image Underst 1996;64:300).
_DIFFERENCE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], float)
_DIFFERENCE_SD = 6.0
#: Median of the absolute value of a standard normal.
_MEDIAN_ABSOLUTE = 0.6745
#: Voxels that change by less are left as they are.
_LEAST_CHANGE = 0.002
#: How far about a lesion the noise is measured, voxels in the plane, and fewest voxels of it.
_NOISE_VOXELS, _LEAST_VOXELS = 14, 50


class LeftOut(Exception):
    """A scan of which no copy is made, in a sentence. No fault of the scan."""


@dataclasses.dataclass(frozen=True, eq=False)
class Original:
    """A scan with its air at 0: ``volume``, and the ``step`` of its integers; None for floats."""

    volume: Volume
    step: float | None

    @classmethod
    def read(cls, path: Path) -> Original:
        """Read the image.

        Raises
        ------
        ScanError
            As ``load_volume``.
        LeftOut
            Where the header has no orientation: a copy could not be placed.
        """
        volume = load_volume(path)
        if volume.orientation == "none":
            raise LeftOut("Its header has no orientation, which a copy needs.")
        image, _ = read_image(Path(path))
        kind = image.header.get_data_dtype()
        slope = image.header.get("scl_slope", 1.0)
        step = abs(float(slope)) if np.isfinite(slope) and slope else 1.0
        return cls(volume, step if np.issubdtype(kind, np.integer) else None)


@dataclasses.dataclass(frozen=True, eq=False)
class Change:
    """What is left of the signal in a box about the voxel ``middle`` (3,), of ``half`` (3,)."""

    middle: np.ndarray
    half: np.ndarray
    left: np.ndarray


def with_lesions(
    original: Original,
    changes: Sequence[Change],
    mask: np.ndarray,
    across: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The scan's values (x, y, z) float32 with the ``changes``.

    A voxel that is multiplied loses its noise with its signal. The noise that is lacking is put
    back, in the real and in the imaginary channel, as the scanner's would be. ``mask`` (x, y, z) is
    that of the brain, ``across`` the axis across slices.

    Draws: two numbers for each voxel of each box, in the order of the changes.
    """
    values = original.volume.data.copy()
    for change in changes:
        of_volume, of_box = within(change.middle, change.half, values.shape)
        left = change.left[of_box]
        before = values[of_volume]
        lacking = noise_sd(original.volume.data, mask, change.middle, across) * np.sqrt(
            np.clip(1 - left**2, 0, 1)
        )
        real, imaginary = rng.normal(size=(2, *left.shape))
        after = np.hypot(before * left + lacking * real, lacking * imaginary)
        if original.step is not None:
            after = before + np.rint((after - before) / original.step) * original.step
        changed = np.abs(1 - left) >= _LEAST_CHANGE
        values[of_volume] = np.where(changed, after, before)
    return values


def noise_sd(values: np.ndarray, mask: np.ndarray, middle: np.ndarray, across: int) -> float:
    """Standard deviation of the noise in the brain about a voxel; 0 where there is no brain."""
    reach = np.full(3, _NOISE_VOXELS)
    reach[across] = 1
    part, _ = within(middle, reach, values.shape)
    here, brain = np.moveaxis(values[part], across, -1), np.moveaxis(mask[part], across, -1)
    if min(here.shape[:2]) < len(_DIFFERENCE):
        return 0.0
    rough = ndimage.convolve(here.astype(float), _DIFFERENCE[..., None])
    inside = ndimage.binary_erosion(brain, np.ones((3, 3, 1)))
    if inside.sum() < _LEAST_VOXELS:
        return 0.0
    return float(np.median(np.abs(rough[inside])) / _MEDIAN_ABSOLUTE / _DIFFERENCE_SD)


def write(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Write a copy, uncompressed: nobody keeps it."""
    with whole_file(path, durable=False) as temporary:
        nib.save(nib.Nifti1Image(values.astype(np.float32), affine), temporary)
