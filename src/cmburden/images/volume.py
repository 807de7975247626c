"""NIfTI in and out: every scan in canonical RAS or a ``ScanError``, every output with fixed bytes.

A file is read once (``reading``), its header gives the geometry (``header``), and its values are
checked and mended (``intensity``). A torn file has another reason than a foreign one.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError

from cmburden.core.errors import ScanError
from cmburden.core.files import whole_file
from cmburden.images.geometry import slice_axis
from cmburden.images.header import geometry_of
from cmburden.images.intensity import as_magnitude
from cmburden.images.reading import read_array, read_image
from cmburden.images.stripped import without_nan_background

#: Rounding of stored intensities (tissue is about 1): far below noise. The file is half as large
#: and written three times as fast.
_STEP = 2.0**-12
#: gzip's levels. Noise in a volume hardly compresses: a higher level costs seconds and gains little
#: (unmeasured). Masks and labels compress well.
_FLOAT_COMPRESSION, _INTEGER_COMPRESSION = 1, 6


@dataclasses.dataclass(frozen=True)
class Volume:
    """A 3D image in canonical RAS: ``data`` (x, y, z) float32, ``affine`` voxel to scanner mm.

    ``orientation`` names the form that the affine is from, 'sform' or 'qform'. It is 'none' where
    the header has neither: left and right are then a convention. ``notes`` are sentences about what
    was mended in values and header.
    """

    data: np.ndarray
    affine: np.ndarray
    orientation: str = "sform"
    notes: tuple[str, ...] = ()

    @property
    def zooms(self) -> tuple[float, float, float]:
        """Voxel size in mm along x, y, z."""
        x, y, z = (float(size) for size in voxel_sizes(self.affine))
        return x, y, z

    @property
    def slice_axis(self) -> int:
        return slice_axis(self.affine)

    @property
    def in_plane_mm(self) -> tuple[float, float]:
        """Voxel size of the two axes that are not the slice axis."""
        x, y = (size for axis, size in enumerate(self.zooms) if axis != self.slice_axis)
        return x, y

    @property
    def slice_mm(self) -> float:
        return self.zooms[self.slice_axis]


def load_volume(path: Path, *, phase_allowed: bool = False) -> Volume:
    """Read a NIfTI-1 or NIfTI-2 image, compressed or not, as a 3D volume in canonical RAS.

    Raises
    ------
    ScanError
        With one of these reasons: not_present, empty_file, unreadable, truncated, not_3d,
        not_finite, constant, voxel_size; also is_phase and polarity, unless ``phase_allowed``: the
        values of a phase image are left as they are.
    """
    image, sizes = read_image(Path(path))
    geometry = geometry_of(image.header, sizes)
    array = _squeezed(read_array(image))
    if np.iscomplexobj(array):
        raise ScanError("is_phase", "It holds complex values, not a magnitude.")
    if array.dtype.names is not None:
        raise ScanError("unreadable", "It holds colours, not intensities.")
    data, background = without_nan_background(np.asarray(array, dtype=np.float32))
    bad = int(data.size - np.count_nonzero(np.isfinite(data)))
    if bad:
        raise ScanError("not_finite", f"{bad} of {data.size} voxels are NaN or infinite.")
    if data.max() == data.min():
        raise ScanError("constant", f"All voxels are {data.flat[0]:g}.")
    if data.max() <= 0:
        # A negative scl_slope over a stored magnitude: the sign has no meaning.
        data = -data
    canonical = nib.as_closest_canonical(nib.Nifti1Image(data, geometry.affine))
    data = np.ascontiguousarray(np.asanyarray(canonical.dataobj), dtype=np.float32)
    notes = geometry.notes if background is None else (*geometry.notes, background)
    volume = Volume(data, canonical.affine, geometry.form, notes)
    if phase_allowed:
        return volume
    data, mended = as_magnitude(data, volume.zooms)
    return dataclasses.replace(volume, data=data, notes=volume.notes + mended)


def load_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Whole-numbered labels (x, y, z) of a mask or segmentation in canonical RAS, and the affine.

    Unlike a scan, a label image may have one value only: an empty mask is a result.

    Raises
    ------
    ScanError
        not_present, empty_file, unreadable, truncated, not_3d, not_finite, voxel_size.
    """
    values, affine = load_label_values(path)
    if not np.isfinite(values).all():
        raise ScanError("not_finite", "It holds NaN or infinite voxels.")
    return np.rint(values).astype(np.int32), affine


def load_label_values(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values (x, y, z) of a label image as they are stored, in canonical RAS, and the affine.

    Raises
    ------
    ScanError
        As :func:`load_labels`, but not_finite.
    """
    image, sizes = read_image(Path(path))
    geometry = geometry_of(image.header, sizes)
    array = _squeezed(read_array(image))
    if array.dtype.names is not None or np.iscomplexobj(array):
        raise ScanError("unreadable", "It holds colours or complex values, not labels.")
    if array.dtype == bool:
        array = array.astype(np.uint8)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(array, geometry.affine))
    return np.asanyarray(canonical.dataobj), canonical.affine


def _squeezed(array: np.ndarray) -> np.ndarray:
    """Drop trailing axes of length 1; what is left must have three axes of 2 or more."""
    shape = array.shape
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or min(array.shape) < 2:
        raise ScanError("not_3d", f"Its shape is {' x '.join(map(str, shape))}.")
    return array


def save_volume(
    path: Path,
    data: np.ndarray,
    affine: np.ndarray,
    dtype: type[Any],
    *,
    intent: str = "none",
    compression: int | None = None,
    scaling: tuple[float, float] | None = None,
) -> None:
    """Write ``data`` as .nii.gz by rename, both forms set; equal input gives equal bytes.

    Floating data are rounded to 2^-12. ``intent`` is NIfTI's name of the data's meaning.
    ``compression``: gzip's level, 1 to 9; by default 1 for floating data and 6 for integers.
    ``scaling``: slope and intercept of the header, which lead from ``data`` to what is meant.
    """
    floating = np.issubdtype(dtype, np.floating)
    if floating:
        data = np.round(np.asarray(data, dtype=np.float32) / _STEP) * _STEP
    image = nib.Nifti1Image(np.asarray(data).astype(dtype), affine)
    image.header.set_data_dtype(dtype)
    image.header.set_xyzt_units("mm")
    image.header.set_intent(intent)
    if scaling is not None:
        image.header.set_slope_inter(*scaling)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    if compression is None:
        compression = _FLOAT_COMPRESSION if floating else _INTEGER_COMPRESSION
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=compression, fileobj=packed, mtime=0) as f:
        f.write(image.to_bytes())
    with whole_file(path) as temporary:
        temporary.write_bytes(packed.getvalue())


def open_image(path: Path) -> nib.Nifti1Image:
    """A NIfTI image whose voxels are read from ``path`` when they are asked for.

    Raises
    ------
    ImageFileError
        Where the file is no NIfTI image.
    """
    image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):
        raise ImageFileError(f"{path} is no NIfTI image")
    return image


def read_derivative(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Data and affine of an image that ``save_volume`` wrote."""
    image = open_image(path)
    return np.asanyarray(image.dataobj), image.affine


def sidecar(path: Path) -> Path:
    """The JSON file beside a compressed image.

    >>> sidecar(Path("anat/sub-1_desc-brain_mask.nii.gz")).name
    'sub-1_desc-brain_mask.json'
    """
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")
